package cwlocal

import (
	"maps"
	"slices"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
	"github.com/logspool/logspool/internal/cwlocal/store"
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

	Replaced int64 `json:"replaced"` // strings with invalid UTF-8

	store.EventStats
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

// Stats are the counts as they are now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.EventStats = s.store.Stats()
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
