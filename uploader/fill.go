package uploader

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/events"
)

// pending counts what was appended to the feeds and what the sender has taken from them. If
// a frame is not one event, the counts are estimates. They are exact whenever all feeds are
// drained.
type pending struct {
	frames, bytes           atomic.Int64 // frames and bytes count what was appended to the feeds.
	takenFrames, takenBytes atomic.Int64 // takenFrames and takenBytes count what the sender took.
	idle                    atomic.Bool  // idle says that the sender last found nothing pending.
}

// notify counts what was appended, and wakes the sender if a batch is now due earlier. The
// caller has set the delivery's notified before. The sender sets idle first and then reads
// notified, so one of the two sees the other's change.
func (s *sender) notify(frames, bytes int64) {
	p := &s.pending
	pendingBytes := p.bytes.Add(bytes) - p.takenBytes.Load()
	pendingFrames := p.frames.Add(frames) - p.takenFrames.Load()
	if pendingBytes >= maxBatchBytes && pendingBytes-bytes < maxBatchBytes ||
		pendingFrames >= maxBatchEvents && pendingFrames-frames < maxBatchEvents ||
		p.idle.Load() && p.idle.Swap(false) {
		s.wake()
	}
}

// full reports whether enough is pending for a whole batch. If the amount is unknown, it
// reports whether an event did not fit in the last batch.
func (s *sender) full() bool {
	p := &s.pending
	if p.bytes.Load()-p.takenBytes.Load() >= maxBatchBytes || p.frames.Load()-p.takenFrames.Load() >= maxBatchEvents {
		return true
	}
	return slices.ContainsFunc(s.deliveries, func(d *Delivery) bool {
		return d.mayHaveMore && d.passedOver > 0 && !d.detached.Load()
	})
}

// head is the next event of one delivery. It was taken from the feed and is not in the
// batch yet.
type head struct {
	event    *events.Event
	delivery *Delivery
	part     int
}

// heads is a heap with one head for each delivery. The event of the earliest millisecond is
// first. Among events of one millisecond, the delivery that was added first is. Since a
// delivery has only one head, its events are always taken in the order in which they were
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

// buildAndSend builds a batch and sends it with the permit. It gives the permit back if
// there is nothing to send.
func (s *sender) buildAndSend(p *permit, now time.Time) {
	b := s.build(now, p.backlog)
	if s.stop.requested {
		s.stop.flushed = true
	}
	if b == nil {
		p.cancel()
		return
	}
	if len(b.records) == 0 {
		s.u.pool.finish(b)
		p.cancel()
		s.ack(b)
		s.u.pool.free(b)
		return
	}
	b.permit = p
	for _, part := range b.parts {
		part.delivery.inFlight++
	}
	s.sendOrHold(b)
}

// build fills a batch with what is pending. backlog says that it may be as large as any. build
// blocks until there is memory and a builder. It returns nil when the uploader stops trying. The
// caller must call finish.
func (s *sender) build(now time.Time, backlog bool) *batch {
	plain := s.u.plain || s.next.plain || s.svc.endpoint.gzip.plain(now)
	b := s.u.pool.reserve(s.u.trying, backlog, plain)
	if b == nil {
		return nil
	}
	b.builder.begin(s.target, s.next.sizer.now.atMost(b.budget.most), b)
	b.gzip = !plain
	s.flight.built++
	b.seq = s.flight.built
	s.fillBatch(b.builder, now)
	if !s.full() || len(s.deliveries) > maxOpenFeeds {
		for _, d := range s.deliveries {
			d.release()
		}
	}
	return b
}

// fillBatch fills the builder's batch from the deliveries' feeds, merged by time. The batch
// ends when it is full, when the feeds are drained, or when filling it takes too long. A
// delivery that was passed over too often, because the others have a long backlog of
// earlier events, gets a batch of its own.
func (s *sender) fillBatch(bl *builder, now time.Time) {
	frames, bytes := s.pending.frames.Load(), s.pending.bytes.Load()
	watch := newStopwatch()
	s.takeHeads(bl, now, &watch)
	h := s.next.heads
	var takenFrames, takenBytes int64
	for len(h) > 0 {
		first := &h[0]
		d := first.delivery
		fits := noRoom
		if len(bl.b.records) == 0 || !watch.over() {
			fits = bl.add(first.part, first.event)
		}
		switch fits {
		case taken, skipped:
			d.passedOver = 0
			takenFrames++
			for _, r := range first.event.Ranges {
				takenBytes += int64(r.To - r.From)
			}
			if ev, ok := d.next(now); ok {
				first.event = ev
				h.siftDown()
			} else {
				h.pop()
				watch.left = 1 // the feed may have searched for long
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
	s.next.heads = h
	if takenFrames > 0 {
		s.next.flushed = now
	}

	p := &s.pending
	if s.anyUndrained() {
		p.takenFrames.Store(min(p.takenFrames.Load()+takenFrames, frames))
		p.takenBytes.Store(min(p.takenBytes.Load()+takenBytes, bytes))
		delay := s.delay()
		if bl.size != s.next.sizer.now {
			delay = 0 // what did not fit into a small batch may have waited already
		}
		s.dueBy(now.Add(delay))
	} else {
		p.takenFrames.Store(frames)
		p.takenBytes.Store(bytes)
		s.next.due = time.Time{}
	}
}

// stopwatch says when filling a batch has taken too long. To read the clock costs about as much
// as to add an event that its feed has ready. So while events come quickly, the clock is read
// once in maxUnwatched events.
type stopwatch struct {
	begun  time.Time // begun is later than the sender's now if the sender waited for a builder.
	looked time.Time // looked is when the clock was read last.
	step   int       // step is how many events are added between two looks.
	left   int       // left is how many calls of over are left until the next look.
}

const (
	maxUnwatched = 16
	// quickEvents is how long the events between two looks take at most if they come quickly.
	quickEvents = time.Millisecond
)

func newStopwatch() stopwatch {
	now := time.Now()
	return stopwatch{begun: now, looked: now, step: 1, left: 1}
}

// over reports whether filling the batch has taken too long. It is called for each event.
func (w *stopwatch) over() bool {
	if w.left--; w.left > 0 {
		return false
	}
	now := time.Now()
	if now.Sub(w.looked) < quickEvents {
		w.step = min(2*w.step, maxUnwatched)
	} else {
		w.step = 1
	}
	w.looked, w.left = now, w.step
	return now.Sub(w.begun) >= maxFillTime
}

// takeHeads takes the first event of each delivery that may go into the batch. Those that have to
// search for it come last. If that takes too long, the others are passed over.
func (s *sender) takeHeads(bl *builder, now time.Time, watch *stopwatch) {
	starved := s.starved()
	s.next.heads = s.next.heads[:0]
	for _, search := range []bool{false, true} {
		for _, d := range s.deliveries {
			if d.searches() != search || d.detached.Load() || starved != nil && d != starved || !d.mayHaveEvent(now) {
				continue
			}
			if time.Since(watch.begun) >= maxFillTime {
				d.drained = false
				d.passedOver++
				continue
			}
			if ev, ok := d.next(now); ok {
				s.next.heads.push(head{ev, d, bl.b.addPart(d)})
			}
		}
	}
}

// anyUndrained reports whether a feed was not drained.
func (s *sender) anyUndrained() bool {
	return slices.ContainsFunc(s.deliveries, func(d *Delivery) bool { return !d.drained && !d.detached.Load() })
}

// starved returns the delivery that was passed over most often, or nil if none was too
// often.
func (s *sender) starved() *Delivery {
	var worst *Delivery
	for _, d := range s.deliveries {
		if d.passedOver >= maxPassedOver && !d.detached.Load() && (worst == nil || d.passedOver > worst.passedOver) {
			worst = d
		}
	}
	return worst
}
