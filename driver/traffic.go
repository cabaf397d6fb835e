package driver

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/spool"
)

// traffic counts what became of a container's output since its session was opened. Reading it
// takes no lock that is held over anything that waits.
type traffic struct {
	// The intake's goroutine writes these fields.
	lines, bytes atomic.Int64 // lines and bytes count what was read from FIFOs.
	lastEvent    atomic.Int64 // lastEvent is the time of the last frame, in Unix nanoseconds.

	drops drops
}

// took counts a block from a FIFO.
func (t *traffic) took(info spool.BlockInfo, bytes int) {
	t.lines.Add(int64(info.Frames))
	t.bytes.Add(int64(bytes))
	if info.MaxTime != 0 {
		t.lastEvent.Store(info.MaxTime)
	}
}

// drops counts losses by reason.
type drops struct {
	mu       sync.Mutex // mu guards byReason, and is held for a few instructions.
	byReason map[string]dropped
}

type dropped struct {
	status.Counter
	last time.Time // last is when the last loss was counted.
}

func (d *drops) add(reason string, lines int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.byReason == nil {
		d.byReason = map[string]dropped{}
	}
	sum := d.byReason[reason]
	sum.Add(status.Counter{Lines: int64(lines), Bytes: bytes})
	sum.last = time.Now()
	d.byReason[reason] = sum
}

// counters returns the losses by reason, or nil if there is none.
func (d *drops) counters() map[string]status.Counter {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.byReason) == 0 {
		return nil
	}
	all := make(map[string]status.Counter, len(d.byReason))
	for reason, n := range d.byReason {
		all[reason] = n.Counter
	}
	return all
}

// list returns the losses, the latest last.
func (d *drops) list() (all []status.Loss) {
	d.mu.Lock()
	byReason := maps.Clone(d.byReason)
	d.mu.Unlock()
	for reason, n := range byReason {
		all = append(all, status.Loss{Reason: reason, Text: reasonText(reason), Counter: n.Counter, Last: n.last})
	}
	slices.SortFunc(all, func(a, b status.Loss) int {
		return cmp.Or(a.Last.Compare(b.Last), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// reasonText explains the word for a reason, as markers do.
func reasonText(word string) string {
	for r := spool.Reason(1); r < spool.EndOfReasons; r++ {
		if r.String() == word {
			return r.Text()
		}
	}
	for r := range events.LossReasons {
		if r.String() == word {
			return r.Text()
		}
	}
	return ""
}

// logStream is a log stream that gets a container's events, or those of one of its outputs.
type logStream struct {
	destination
	stats feed.Stats
	drops drops

	// session.mu guards these fields, which are nil while nothing is delivered.
	delivery Delivery
	feed     *feed.Feed
}

// sameStream reports whether two destinations are one stream, for the same outputs.
func sameStream(a, b *destination) bool {
	return a.Access == b.Access && a.Group == b.Group && a.Stream == b.Stream && a.outputs == b.outputs
}

// setStreams makes the destinations of the run that is delivered next the container's streams.
// A stream that the container already has keeps its counters. Nothing is being delivered.
func (s *session) setStreams(to []destination) []*logStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.streams
	s.streams = nil
	for _, t := range to {
		i := slices.IndexFunc(old, func(o *logStream) bool { return sameStream(&o.destination, &t) })
		if i < 0 {
			s.streams = append(s.streams, &logStream{destination: t})
			continue
		}
		old[i].destination = t
		s.streams = append(s.streams, old[i])
		old = slices.Delete(slices.Clone(old), i, i+1)
	}
	for _, o := range old {
		s.delivered.Add(o.deliveredNow())
	}
	return slices.Clone(s.streams)
}

func (t *logStream) deliveredNow() status.Counter {
	events, bytes := t.stats.Delivered()
	return status.Counter{Lines: events, Bytes: bytes}
}

// trafficNow returns what became of the container's output since the session was opened.
func (s *session) trafficNow() (t status.Traffic) {
	t.Read = status.Counter{Lines: s.traffic.lines.Load(), Bytes: s.traffic.bytes.Load()}
	t.Dropped = s.traffic.drops.counters()
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Delivered = s.delivered
	for _, o := range s.streams {
		t.Delivered.Add(o.deliveredNow())
	}
	return t
}
