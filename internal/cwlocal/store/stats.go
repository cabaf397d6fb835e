package store

import (
	"cmp"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// EventStats are counts of the events of all streams since the start. The events that
// were dropped belong to accepted batches.
type EventStats struct {
	Batches    int64 `json:"batches"` // Batches counts accepted batches.
	Events     int64 `json:"events"`  // Events counts accepted events.
	EventBytes int64 `json:"eventBytes"`
	TooOld     int64 `json:"tooOld"`  // TooOld counts events that were dropped as too old.
	Expired    int64 `json:"expired"` // Expired counts events that were dropped as expired.
	TooNew     int64 `json:"tooNew"`  // TooNew counts events that were dropped as too new.
}

// A StreamID names a stream of the account.
type StreamID struct {
	Region string `json:"region"`
	Group  string `json:"group"`
	Stream string `json:"stream"`
}

// StreamStats are the counts of one stream since it was created.
type StreamStats struct {
	StreamID
	Batches int64 `json:"batches"`
	// EMFBatches counts batches with the header x-amzn-logs-format: json/emf.
	EMFBatches int64 `json:"emfBatches"`
	// By counts batches by sender, which is protocol.Key.Principal.
	By     map[string]int64 `json:"by"`
	Events int64            `json:"events"`
	// Bytes is the sum of the lengths of messages.
	Bytes          int64 `json:"bytes"`
	FirstTimestamp int64 `json:"firstTimestamp"`
	LastTimestamp  int64 `json:"lastTimestamp"`
	// Backwards counts events that arrived after an event with a later time.
	Backwards int64 `json:"backwards"`
	// Digest is the SHA-256 of the messages in order of arrival, each with a newline.
	Digest    string          `json:"digest"`
	Entities  []EntityStats   `json:"entities,omitempty"`
	Sequences []SequenceStats `json:"sequences,omitempty"`
}

// record counts and keeps the accepted events of a batch. s.mu is held.
func (s *Store) record(r *protocol.Request, g *group, st *stream, events []Event) {
	s.stats.Batches++
	st.stats.Batches++
	if r.EMF {
		st.stats.EMFBatches++
	}
	if st.stats.By == nil {
		st.stats.By = map[string]int64{}
	}
	st.stats.By[r.Auth.Principal]++
	var line []byte
	for i := range events {
		e := &events[i]
		st.stats.addTime(e.Timestamp)
		st.stats.Events++
		st.stats.Bytes += int64(len(e.Message))
		s.stats.EventBytes += int64(len(e.Message))
		line = append(append(line[:0], e.Message...), '\n')
		st.digest.Write(line)
		st.lastIngested = e.Ingested
		if s.opts.Sequence != nil {
			st.addSequence(s.opts.Sequence(e.Message))
		}
	}
	s.stats.Events += int64(len(events))
	st.keep(events)
	if s.opts.OnAccepted != nil && len(events) > 0 {
		s.opts.OnAccepted(g.region, g.name, st.name, events)
	}
}

func (st *StreamStats) addTime(at int64) {
	if st.Events == 0 {
		st.FirstTimestamp, st.LastTimestamp = at, at
	}
	if at < st.LastTimestamp {
		st.Backwards++
	}
	st.FirstTimestamp = min(st.FirstTimestamp, at)
	st.LastTimestamp = max(st.LastTimestamp, at)
}

func (st *stream) addSequence(writer string, n uint64, ok bool) {
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

// Stats returns the current counts.
func (s *Store) Stats() EventStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Streams lists the counts of all streams by region, group and name.
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
		return cmp.Or(strings.Compare(a.Region, b.Region), strings.Compare(a.Group, b.Group),
			strings.Compare(a.Stream, b.Stream))
	})
	return list
}

// Stream returns the counts of one stream. The bool is false if the stream does not exist.
func (s *Store) Stream(region, group, name string) (StreamStats, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, st, err := s.stream(region, group, name)
	if err != nil {
		return StreamStats{}, false
	}
	return st.result(region, group), true
}

// result returns the counts of a stream. The Store's mu is held.
func (st *stream) result(region, group string) StreamStats {
	out := st.stats
	out.StreamID = StreamID{region, group, st.name}
	out.By = maps.Clone(out.By)
	out.Entities = slices.Clone(out.Entities)
	out.Digest = hex.EncodeToString(st.digest.Sum(nil))
	for _, writer := range slices.Sorted(maps.Keys(st.seqs)) {
		out.Sequences = append(out.Sequences, st.seqs[writer].result())
	}
	return out
}

// Arrived returns the events that a stream has kept, in order of arrival. The caller must
// not write to the slice.
func (s *Store) Arrived(region, group, stream string) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, st, err := s.stream(region, group, stream)
	if err != nil {
		return nil
	}
	return st.arrived()
}

// Sorted returns the events that a stream has kept, in the service's order: by time, and by
// arrival within a millisecond. The caller must not write to the slice.
func (s *Store) Sorted(region, group, stream string) []Event {
	events, err := s.readStream(region, group, stream)
	if err != nil {
		return nil
	}
	return events
}

// EventCount returns how many events a stream has accepted. An empty region, group or
// stream matches all.
func (s *Store) EventCount(region, group, stream string) (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r, groups := range s.regions {
		for _, g := range groups {
			for _, st := range g.streams {
				if (region == "" || region == r) && (group == "" || group == g.name) &&
					(stream == "" || stream == st.name) {
					n += st.stats.Events
				}
			}
		}
	}
	return n
}
