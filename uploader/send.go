package uploader

import (
	"slices"
	"time"
)

// hasLittle reports whether the sender has so little to send that its request goes before those
// of senders with a backlog.
func (s *sender) hasLittle() bool {
	if s.full() {
		return false
	}
	p := &s.pending
	bytes := p.bytes.Load() - p.takenBytes.Load()
	if p.frames.Load()-p.takenFrames.Load() >= littleEvents {
		return false
	}
	for _, d := range s.deliveries {
		if d.mayHaveMore && !d.detached.Load() {
			_, n, _ := d.feed.Backlog()
			bytes += n
		}
	}
	return bytes < littleBytes
}

// sendOrHold sends the batch, or holds it while a batch in flight shares a millisecond with it.
// A held batch is finished at once, so that others can be built.
func (s *sender) sendOrHold(b *batch) {
	if slices.ContainsFunc(s.flight.batches, b.overlaps) {
		s.u.pool.finish(b)
		s.flight.held = b
		return
	}
	s.launch(b)
}

// launch sends the batch from another goroutine, and compresses it there first, so that the
// sender can fill the next one.
func (s *sender) launch(b *batch) {
	t := s.target
	s.flight.batches = append(s.flight.batches, b)
	s.svc.stats.inFlight.Add(1)
	s.u.runRequest(func() {
		if b.builder != nil {
			s.u.pool.finish(b)
		}
		large, begun := b.large(), time.Now()
		v, err := s.svc.put(s, t, b)
		var took time.Duration
		if large {
			took = time.Since(begun)
		}
		s.svc.stats.inFlight.Add(-1)
		s.u.pool.unreserve(b) // the sender may be waiting for memory, and would not read the answer
		b.permit.release(v, took)
		s.answers <- answer{batch: b, verdict: v, err: err}
	})
}

// idleWorker is how long a goroutine waits for another request.
const idleWorker = 10 * time.Second

// runRequest calls f from another goroutine. The goroutine then waits for the next request: the
// SDK needs a deep stack, and growing it for each request costs more than a small batch.
func (u *Uploader) runRequest(f func()) {
	select {
	case u.requests <- f:
	default:
		u.wg.Go(func() {
			f()
			u.runRequests()
		})
	}
}

// runRequests runs requests until there has been none for a while, or the uploader stops.
func (u *Uploader) runRequests() {
	idle := time.NewTimer(idleWorker)
	defer idle.Stop()
	for {
		select {
		case f := <-u.requests:
			f()
			idle.Reset(idleWorker)
		case <-idle.C:
			return
		case <-u.stopping:
			return
		}
	}
}
