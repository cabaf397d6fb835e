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

// build makes a batch of what is pending. It waits for memory and for a builder. It returns nil when the
// uploader gives up.
func (l *sender) build(now time.Time) *batch {
	plain := l.u.plain || l.plainNext || l.s.endpoint.gzip.plain(now)
	b := l.u.reserve(plain)
	if b == nil {
		return nil
	}
	bl := l.u.pool.Get().(*builder)
	bl.begin(l.target, l.sizer.now, b)
	l.built++
	b.seq = l.built
	l.fillBatch(bl, now)
	switch {
	case len(b.records) == 0:
	case plain:
		bl.finish(nil)
	default:
		z := l.u.zippers.Get().(*compressor)
		bl.finish(z)
		l.u.zippers.Put(z)
	}
	l.u.pool.Put(bl)
	l.u.built(b)
	if !l.full() || len(l.deliveries) > mostOpen {
		for _, m := range l.deliveries {
			m.release()
		}
	}
	return b
}
