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

// siftDown restores the order after the first head has changed.
func (h heads) siftDown() {
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
	h.siftDown()
}

// fillBatch fills the builder's batch from the deliveries' feeds, merging them by time. The batch ends when it is full or the
// feeds are drained, or when it has taken too long. A delivery that was passed over too often, because the others have a
// long backlog of earlier events, has the batch to itself.
func (s *sender) fillBatch(bl *builder, now time.Time) {
	frames, bytes := s.frames.Load(), s.bytes.Load()
	begun := time.Now() // not now: there may have been a wait for the builder
	alone := s.starved()
	h := s.heads[:0]
	for _, d := range s.deliveries {
		if d.detached.Load() || alone != nil && d != alone || !d.mayHaveEvent(now) {
			continue
		}
		if ev, ok := d.next(now); ok {
			h.push(head{ev, d, bl.b.addPart(d)})
		}
	}
	var framesOut, bytesOut int64
	for len(h) > 0 {
		first := &h[0]
		d := first.delivery
		fits := noRoom
		if len(bl.b.records) == 0 || time.Since(begun) < maxFillTime {
			fits = bl.add(first.part, first.event)
		}
		switch fits {
		case taken, skipped:
			d.passedOver = 0
			framesOut++
			for _, r := range first.event.Ranges {
				bytesOut += int64(r.To - r.From)
			}
			if ev, ok := d.next(now); ok {
				first.event = ev
				h.siftDown()
			} else {
				h.pop()
			}
		case tooFar:
			d.unread()
			h.pop()
		case noRoom:
			for _, x := range h {
				x.delivery.unread()
			}
			clear(h)
			h = h[:0]
		}
	}
	s.heads = h

	if s.anyUndrained() {
		s.framesOut.Store(min(s.framesOut.Load()+framesOut, frames))
		s.bytesOut.Store(min(s.bytesOut.Load()+bytesOut, bytes))
		s.dueBy(now.Add(s.delay()))
	} else {
		s.framesOut.Store(frames)
		s.bytesOut.Store(bytes)
		s.due = time.Time{}
	}
}

// anyUndrained reports whether a feed was not drained.
func (s *sender) anyUndrained() bool {
	for _, d := range s.deliveries {
		if !d.drained && !d.detached.Load() {
			return true
		}
	}
	return false
}

// starved returns the delivery that was passed over most often, if that is too often.
func (s *sender) starved() *Delivery {
	var worst *Delivery
	for _, d := range s.deliveries {
		if d.passedOver >= starvedAfter && !d.detached.Load() && (worst == nil || d.passedOver > worst.passedOver) {
			worst = d
		}
	}
	return worst
}

// build makes a batch of what is pending. It waits for memory and for a builder. It returns nil when the
// uploader gives up.
func (s *sender) build(now time.Time) *batch {
	plain := s.u.plain || s.plainNext || s.svc.endpoint.gzip.plain(now)
	b := s.u.reserve(plain)
	if b == nil {
		return nil
	}
	bl := s.u.pool.Get().(*builder)
	bl.begin(s.target, s.sizer.now, b)
	s.built++
	b.seq = s.built
	s.fillBatch(bl, now)
	switch {
	case len(b.records) == 0:
	case plain:
		bl.finish(nil)
	default:
		z := s.u.zippers.Get().(*compressor)
		bl.finish(z)
		s.u.zippers.Put(z)
	}
	s.u.pool.Put(bl)
	s.u.built(b)
	if !s.full() || len(s.deliveries) > maxOpenFeeds {
		for _, d := range s.deliveries {
			d.release()
		}
	}
	return b
}
