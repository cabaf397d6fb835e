package cwlocal

import (
	"cmp"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// outcomeOK is the outcome of a request that did what it asked for. The others are the service's
// error codes, "fault:KIND", and "gone" for a client that left before its request was whole.
const outcomeOK = "ok"

// maxRefusals is how many refusals are kept. Stats.Refused counts them all.
const maxRefusals = 1000

// Stats are counts since the start.
type Stats struct {
	// Requests by operation and outcome; the operation is "unknown" until it could be read.
	Requests map[string]map[string]int64 `json:"requests"`
	// By is who made them, by operation: the ARN of the role whose keys they were signed with, or the
	// ID of the access key. Those whose signature was refused are not among them.
	By            map[string]map[string]int64 `json:"by"`
	Tokens        int64                       `json:"tokens"`     // requests with a session token
	Concurrent    int                         `json:"concurrent"` // under way now
	MaxConcurrent int                         `json:"maxConcurrent"`
	Refused       int64                       `json:"refused"` // requests that broke a rule
	GzipRequests  int64                       `json:"gzipRequests"`
	WireBytes     int64                       `json:"wireBytes"` // of bodies as they came
	BodyBytes     int64                       `json:"bodyBytes"` // of bodies decompressed

	Batches    int64 `json:"batches"` // accepted
	Events     int64 `json:"events"`  // accepted
	EventBytes int64 `json:"eventBytes"`
	TooOld     int64 `json:"tooOld"` // events dropped from batches that were accepted
	Expired    int64 `json:"expired"`
	TooNew     int64 `json:"tooNew"`
	Replaced   int64 `json:"replaced"` // strings with invalid UTF-8
}

// StreamStats are a stream's counts since it was made.
type StreamStats struct {
	Region         string           `json:"region"`
	Group          string           `json:"group"`
	Stream         string           `json:"stream"`
	Batches        int64            `json:"batches"`
	EMFBatches     int64            `json:"emfBatches"` // with the header x-amzn-logs-format: json/emf
	By             map[string]int64 `json:"by"`         // batches by who sent them, as in Stats
	Events         int64            `json:"events"`
	Bytes          int64            `json:"bytes"` // of messages
	FirstTimestamp int64            `json:"firstTimestamp"`
	LastTimestamp  int64            `json:"lastTimestamp"`
	Backwards      int64            `json:"backwards"` // events that came after one with a later time
	Digest         string           `json:"digest"`    // SHA-256 of the messages in order of arrival, each with a newline
	Entities       []EntityStats    `json:"entities,omitempty"`
	Sequences      []SequenceStats  `json:"sequences,omitempty"`
}

// A Refusal is a request that broke a rule: it was refused, and not by a fault or a quota, nor
// because something is not there yet or is there already.
type Refusal struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"requestId"`
	Operation string    `json:"operation"`
	Region    string    `json:"region"`
	Group     string    `json:"group"`
	Stream    string    `json:"stream"`
	Code      string    `json:"code"`
	Message   string    `json:"message"`
	Events    int       `json:"events"`
	Bytes     int       `json:"bytes"` // of the body, decompressed
}

// enter counts a request in.
func (s *Server) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Concurrent++
	s.stats.MaxConcurrent = max(s.stats.MaxConcurrent, s.stats.Concurrent)
}

// leave counts a request out, before it is answered: who has the answer finds it in the counts.
func (s *Server) leave(c *call, outcome string, failed *protocol.Error) {
	s.mu.Lock()
	s.stats.Concurrent--
	byOutcome := s.stats.Requests[c.req.Operation]
	if byOutcome == nil {
		byOutcome = map[string]int64{}
		s.stats.Requests[c.req.Operation] = byOutcome
	}
	byOutcome[outcome]++
	if c.req.Auth.Principal != "" {
		s.stats.countBy(c.req.Auth.Principal, c.req.Operation)
	}
	if c.req.SessionToken != "" {
		s.stats.Tokens++
	}
	s.stats.WireBytes += int64(c.req.WireBytes)
	s.stats.BodyBytes += int64(c.req.BodyBytes)
	if c.req.Gzip {
		s.stats.GzipRequests++
	}
	s.stats.Replaced += int64(c.req.Input.Replaced)
	refused := failed != nil && !failed.Expected
	var r Refusal
	if refused {
		r = Refusal{Time: s.now(), RequestID: c.req.ID, Operation: c.req.Operation, Region: c.req.Auth.Region, Group: c.req.Input.Strings["logGroupName"],
			Stream: c.req.Input.Strings["logStreamName"], Code: failed.Code, Message: failed.Message, Events: len(c.req.Input.Events), Bytes: c.req.BodyBytes}
		s.stats.Refused++
		if len(s.refusals) < maxRefusals {
			s.refusals = append(s.refusals, r)
		}
	}
	s.mu.Unlock()
	s.touch()
	if refused && s.opts.OnRefused != nil {
		s.opts.OnRefused(r)
	}
}

// maxPrincipals bounds those that are told apart. The others are counted together, by no name.
const maxPrincipals = 1000

func (st *Stats) countBy(principal, op string) {
	byOp := st.By[principal]
	if byOp == nil {
		if len(st.By) >= maxPrincipals {
			principal = ""
		}
		if byOp = st.By[principal]; byOp == nil {
			byOp = map[string]int64{}
			st.By[principal] = byOp
		}
	}
	byOp[op]++
}

// count adds an accepted batch to the books. s.mu is held.
func (s *Server) count(c *call, g *group, st *stream, events []Event) {
	s.stats.Batches++
	st.stats.Batches++
	if c.req.EMF {
		st.stats.EMFBatches++
	}
	if st.stats.By == nil {
		st.stats.By = map[string]int64{}
	}
	st.stats.By[c.req.Auth.Principal]++
	newline := []byte("\n")
	var line []byte
	for i := range events {
		e := &events[i]
		st.stats.addTime(e.Timestamp)
		st.stats.Events++
		st.stats.Bytes += int64(len(e.Message))
		s.stats.EventBytes += int64(len(e.Message))
		line = append(append(line[:0], e.Message...), newline...)
		st.digest.Write(line)
		st.lastIngested = e.Ingested
		if s.opts.Sequence != nil {
			st.number(s.opts.Sequence(e.Message))
		}
	}
	s.stats.Events += int64(len(events))
	st.keep(events)
	if s.opts.OnAccepted != nil && len(events) > 0 {
		s.opts.OnAccepted(g.region, g.name, st.name, events)
	}
}

func (t *StreamStats) addTime(at int64) {
	if t.Events == 0 {
		t.FirstTimestamp, t.LastTimestamp = at, at
	}
	if at < t.LastTimestamp {
		t.Backwards++
	}
	t.FirstTimestamp = min(t.FirstTimestamp, at)
	t.LastTimestamp = max(t.LastTimestamp, at)
}

func (st *stream) number(writer string, n uint64, ok bool) {
	if !ok || n >= maxSequence {
		return
	}
	q := st.seqs[writer]
	if q == nil {
		q = &sequence{stats: SequenceStats{Writer: writer}}
		st.seqs[writer] = q
	}
	q.add(n)
}

// Stats are the counts as they are now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Requests = map[string]map[string]int64{}
	for op, byOutcome := range s.stats.Requests {
		out.Requests[op] = maps.Clone(byOutcome)
	}
	out.By = map[string]map[string]int64{}
	for who, byOp := range s.stats.By {
		out.By[who] = maps.Clone(byOp)
	}
	return out
}

// Refusals lists the requests that broke a rule, the first thousand of them. A test of a client
// wants it empty.
func (s *Server) Refusals() []Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refusals)
}

// Streams lists the streams that are there by region, group and name.
func (s *Server) Streams() []StreamStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []StreamStats{}
	for region, groups := range s.store.regions {
		for name, g := range groups {
			for _, st := range g.streams {
				list = append(list, st.result(region, name))
			}
		}
	}
	slices.SortFunc(list, func(a, b StreamStats) int {
		return cmp.Or(strings.Compare(a.Region, b.Region), strings.Compare(a.Group, b.Group), strings.Compare(a.Stream, b.Stream))
	})
	return list
}

// Stream is one stream's counts.
func (s *Server) Stream(region, group, name string) (StreamStats, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, st, err := s.store.stream(region, group, name)
	if err != nil {
		return StreamStats{}, false
	}
	return st.result(region, group), true
}

func (st *stream) result(region, group string) StreamStats {
	out := st.stats
	out.Region, out.Group, out.Stream = region, group, st.name
	out.By = maps.Clone(out.By)
	out.Entities = slices.Clone(out.Entities)
	out.Digest = hex.EncodeToString(st.digest.Sum(nil))
	for _, writer := range slices.Sorted(maps.Keys(st.seqs)) {
		out.Sequences = append(out.Sequences, st.seqs[writer].result())
	}
	return out
}

// Arrived are a stream's kept events in order of arrival. The slice must not be written to.
func (s *Server) Arrived(region, group, stream string) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, st, err := s.store.stream(region, group, stream)
	if err != nil {
		return nil
	}
	return st.arrived()
}

// Sorted are a stream's kept events as the service shows them: by time, and in order of arrival where
// that is the same. The slice must not be written to.
func (s *Server) Sorted(region, group, stream string) []Event {
	events, err := s.readStream(region, group, stream)
	if err != nil {
		return nil
	}
	return events
}
