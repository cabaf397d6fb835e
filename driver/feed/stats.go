package feed

import (
	"sync/atomic"
	"time"
)

// Stats counts for the status what became of the events of feeds. Several feeds may share one.
// Any goroutine may use it, and no method waits. The zero value is ready for use.
type Stats struct {
	events, bytes atomic.Int64
	last          atomic.Pointer[lastBatch]
}

// lastBatch is the last batch that was accepted. It is immutable.
type lastBatch struct {
	at            time.Time
	events, bytes int64
}

// Delivered returns how many events CloudWatch has accepted, and their size as it counts them.
func (s *Stats) Delivered() (events, bytes int64) { return s.events.Load(), s.bytes.Load() }

// LastBatch returns when CloudWatch last accepted a batch, and the feed's share of it. The time
// is zero if there was none.
func (s *Stats) LastBatch() (at time.Time, events, bytes int64) {
	l := s.last.Load()
	if l == nil {
		return time.Time{}, 0, 0
	}
	return l.at, l.events, l.bytes
}

// accepted counts an accepted batch.
func (s *Stats) accepted(events int, bytes int64) {
	s.events.Add(int64(events))
	s.bytes.Add(bytes)
	s.last.Store(&lastBatch{time.Now(), int64(events), bytes})
}

// Accepted counts the events of the feed in a batch that CloudWatch accepted, and their size as
// CloudWatch counts it.
func (f *Feed) Accepted(events int, bytes int64) {
	if f.o.Stats != nil {
		f.o.Stats.accepted(events, bytes)
	}
}
