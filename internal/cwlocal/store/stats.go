package store

import (
	"cmp"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// EventStats count the events of all streams since the start.
type EventStats struct {
	Batches    int64 `json:"batches"` // accepted
	Events     int64 `json:"events"`  // accepted
	EventBytes int64 `json:"eventBytes"`
	TooOld     int64 `json:"tooOld"` // events dropped from batches that were accepted
	Expired    int64 `json:"expired"`
	TooNew     int64 `json:"tooNew"`
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

// count adds an accepted batch to the books. s.mu is held.
func (s *Store) count(r *protocol.Request, g *group, st *stream, events []Event) {
	s.stats.Batches++
	st.stats.Batches++
	if r.EMF {
		st.stats.EMFBatches++
	}
	if st.stats.By == nil {
		st.stats.By = map[string]int64{}
	}
	st.stats.By[r.Auth.Principal]++
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
func (s *Store) Stats() EventStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Streams lists the streams that are there by region, group and name.
func (s *Store) Streams() []StreamStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []StreamStats{}
	for region, groups := range s.regions {
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
func (s *Store) Stream(region, group, name string) (StreamStats, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, st, err := s.stream(region, group, name)
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
func (s *Store) Arrived(region, group, stream string) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, st, err := s.stream(region, group, stream)
	if err != nil {
		return nil
	}
	return st.arrived()
}

// Sorted are a stream's kept events as the service shows them: by time, and in order of arrival where
// that is the same. The slice must not be written to.
func (s *Store) Sorted(region, group, stream string) []Event {
	events, err := s.readStream(region, group, stream)
	if err != nil {
		return nil
	}
	return events
}

// EventCount returns how many events a stream has taken. An empty region, group or stream stands for
// all of them together.
func (s *Store) EventCount(region, group, stream string) (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r, groups := range s.regions {
		for _, g := range groups {
			for _, st := range g.streams {
				if (region == "" || region == r) && (group == "" || group == g.name) && (stream == "" || stream == st.name) {
					n += st.stats.Events
				}
			}
		}
	}
	return n
}
