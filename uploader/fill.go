package uploader

import (
	"time"

	"github.com/logspool/logspool/events"
)

// head is the next event of one delivery, pulled and not yet in the batch.
type head struct {
	event    events.Event
	delivery *Delivery
	part     int
}

// heads is a heap, the event of the earliest millisecond first; of events of one millisecond, that of the delivery that
// came first. Each delivery has one head at a time, so that its events are always taken in the order in which they were
// written.
type heads []head

func (h heads) less(i, j int) bool {
	x, y := milliseconds(h[i].event.Time), milliseconds(h[j].event.Time)
	if x != y {
		return x < y
	}
	return h[i].part < h[j].part
}

func (h *heads) push(x head) {
	*h = append(*h, x)
	for i := len(*h) - 1; i > 0 && h.less(i, (i-1)/2); i = (i - 1) / 2 {
		(*h)[i], (*h)[(i-1)/2] = (*h)[(i-1)/2], (*h)[i]
	}
}

// sink restores the order after the first head has changed.
func (h heads) sink() {
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h.less(c, least) {
				least = c
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// pop removes the first head.
func (h *heads) pop() {
	last := len(*h) - 1
	(*h)[0] = (*h)[last]
	(*h)[last] = head{}
	*h = (*h)[:last]
	h.sink()
}

// fillBatch fills the builder's batch from the deliveries' feeds, merging them by time. The batch ends when it is full or the
// feeds are drained, or when it has taken too long. A delivery that was passed over too often, because the others have a
// long backlog of earlier events, has the batch to itself.
func (l *sender) fillBatch(bl *builder, now time.Time) {
	frames, bytes := l.frames.Load(), l.bytes.Load()
	begun := time.Now() // not now: there may have been a wait for the builder
	alone := l.starved()
	h := l.heads[:0]
	for _, m := range l.deliveries {
		if m.detached.Load() || alone != nil && m != alone || !m.worthAsking(now) {
			continue
		}
		if ev, ok := m.next(now); ok {
			h.push(head{ev, m, bl.b.part(m)})
		}
	}
	var framesOut, bytesOut int64
	for len(h) > 0 {
		first := &h[0]
		m := first.delivery
		fits := noRoom
		if len(bl.b.records) == 0 || time.Since(begun) < maxPull {
			fits = bl.add(first.part, first.event)
		}
		switch fits {
		case taken, skipped:
			m.passed = 0
			framesOut++
			for _, r := range first.event.Ranges {
				bytesOut += int64(r.To - r.From)
			}
			if ev, ok := m.next(now); ok {
				first.event = ev
				h.sink()
			} else {
				h.pop()
			}
		case tooFar:
			m.putBack()
			h.pop()
		case noRoom:
			for _, x := range h {
				x.delivery.putBack()
			}
			clear(h)
			h = h[:0]
		}
	}
	l.heads = h

	if l.pendingDeliveries() {
		l.framesOut.Store(min(l.framesOut.Load()+framesOut, frames))
		l.bytesOut.Store(min(l.bytesOut.Load()+bytesOut, bytes))
		l.dueBy(now.Add(l.delay()))
	} else {
		l.framesOut.Store(frames)
		l.bytesOut.Store(bytes)
		l.due = time.Time{}
	}
}

// pendingDeliveries reports whether a feed was not drained.
func (l *sender) pendingDeliveries() bool {
	for _, m := range l.deliveries {
		if !m.drained && !m.detached.Load() {
			return true
		}
	}
	return false
}

// starved returns the delivery that was passed over most often, if that is too often.
func (l *sender) starved() *Delivery {
	var worst *Delivery
	for _, m := range l.deliveries {
		if m.passed >= starvedAfter && !m.detached.Load() && (worst == nil || m.passed > worst.passed) {
			worst = m
		}
	}
	return worst
}

// worthAsking reports whether the feed may have an event.
func (m *Delivery) worthAsking(now time.Time) bool {
	return !m.drained || m.written.Load() || m.finished.Load() && !m.seen ||
		!m.due.IsZero() && !now.Before(m.due)
}

// exhausted reports whether the feed had nothing more when it was last asked, and that was after Finish.
func (m *Delivery) exhausted() bool { return m.drained && m.seen && !m.written.Load() }

// unfinishedPause is how long a feed is left alone that did not hand out an unfinished event at the time it had
// named itself.
const unfinishedPause = 100 * time.Millisecond

// next pulls the feed's next event.
func (m *Delivery) next(now time.Time) (events.Event, bool) {
	// Both before the feed is asked: what comes after that is not missed.
	m.written.Store(false)
	finished := m.finished.Load()
	m.open = true
	ev, ok := m.feed.Next(now)
	if m.drained = !ok; ok {
		return ev, true
	}
	m.unknown, m.passed, m.seen = false, 0, finished
	if m.due = m.feed.Due(); !m.due.IsZero() && !m.due.After(now) {
		m.due = now.Add(unfinishedPause)
	}
	return events.Event{}, false
}

// putBack gives the event back that was pulled last and has no place in this batch.
func (m *Delivery) putBack() {
	m.feed.Unread()
	m.passed++
}
