package uploader

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/target"
)

// answer is the result of a request: to send a batch, or to create the stream.
type answer struct {
	batch   *batch // batch is nil if the request was to create the stream.
	verdict verdict
	err     error
	until   time.Time // until is when to create the stream again, if the whole group waits.
}

// groupRetrySpread is the time over which the senders of one group spread their next try.
const groupRetrySpread = 500 * time.Millisecond

// maxPoisonAtFullSpeed is how many poison events the sender drops in a row before it waits
// after each. If CloudWatch refuses everything, the events are not the reason.
const maxPoisonAtFullSpeed = 8

// maxUnseenCreations is how many times in a row the stream may be created and still not
// exist before that is logged as a failure. It takes a moment until all of CloudWatch knows
// a new stream.
const maxUnseenCreations = 3

// maxFirstTries is how many times in a row a request that CloudWatch has throttled goes before
// the others of its kind. Otherwise an unlucky sender would wait for all others of the host each
// time. After that, CloudWatch may throttle only this stream, and the others go on.
const maxFirstTries = 3

// advance continues after answers have arrived. It sends the held batch when no batch in
// flight shares a millisecond with it. After a failure, once nothing is in
// flight, it rewinds the feeds and plans the next try.
func (s *sender) advance(now time.Time) {
	if b := s.flight.held; b != nil {
		switch {
		case s.recovery.failed():
			b.permit.cancel()
			s.flight.held = nil
			s.discard(b)
		case !slices.ContainsFunc(s.flight.batches, b.overlaps):
			s.flight.held = nil
			s.launch(b)
		}
	}
	if !s.recovery.failed() || len(s.flight.batches) > 0 {
		return
	}
	a := s.recovery.first
	s.recovery.first = answer{}
	for _, d := range s.deliveries {
		if d.needsRewind {
			d.rewind()
		}
	}
	s.next.due = now
	s.planRetry(a, now)
}

// answered handles the result of a request.
func (s *sender) answered(a answer) {
	b := a.batch
	if b == nil {
		s.recovery.creating = false
		s.created(a)
		return
	}
	s.flight.batches = slices.DeleteFunc(s.flight.batches, func(o *batch) bool { return o == b })
	s.next.plain = b.gzip && a.verdict == badTarget
	adapted := a.verdict == invalid && s.learnMessageLimit(a) // the next try is a different request
	if !adapted && (a.verdict == invalid || a.verdict == badTarget) && s.dropEntity(a.err) {
		a.verdict, adapted = invalid, true
	}
	switch {
	case a.verdict == accepted:
		s.delivered(b)
	case a.verdict == invalid && !adapted && len(b.records) == 1:
		s.dropPoison(a)
	default:
		s.svc.stats.retried(a.verdict)
		if a.verdict.shared() || a.verdict == denied || a.verdict == badTarget {
			s.noteFailure(a)
		}
		if !s.recovery.failed() {
			s.recovery.first = answer{verdict: a.verdict, err: a.err}
		}
		if a.verdict == invalid && !adapted {
			s.next.sizer.refused(len(b.records))
		}
		s.discard(b)
		return
	}
	for _, part := range b.parts {
		part.delivery.inFlight--
	}
	s.u.pool.free(b)
}

// discard drops a batch that was not delivered. Its events are sent again after a rewind.
func (s *sender) discard(b *batch) {
	for _, part := range b.parts {
		part.delivery.inFlight--
		part.delivery.needsRewind = true
		s.takeDeferred(part.delivery, b) // the lines are sent again, and their losses found again
	}
	s.u.pool.free(b)
}

// delivered acknowledges an accepted batch, and accounts for the events of it that
// CloudWatch dropped.
func (s *sender) delivered(b *batch) {
	n := len(b.records)
	at := func(i int) int { return min(max(i, 0), n) }
	old := at(b.rejected.tooOldEnd)
	expired := max(old, at(b.rejected.expiredEnd))
	future := n
	if b.rejected.tooNew {
		future = max(expired, at(b.rejected.tooNewStart))
	}
	s.recordLoss(b, events.TooOld, b.records[:old], nil)
	s.recordLoss(b, events.Expired, b.records[old:expired], nil)
	s.recordLoss(b, events.TooNew, b.records[future:], nil)
	if b.cutBytes > 0 && expired < future { // otherwise the whole event is lost already
		s.recordCutEnd(b)
	}
	s.countAccepted(b, b.records[expired:future])
	s.ack(b)
	if s.recovery.first.verdict != invalid { // otherwise the poison event comes before this batch
		s.noteCompleted(b)
	}
	s.entityRejected(b.rejected.entity)
	r := &s.recovery
	r.failures, r.creations, r.poisonDropped, r.retryAt = 0, 0, 0, time.Time{}
	s.lastAccepted.Store(time.Now().UnixNano())
	s.group.health.Succeeded(s)
	if !r.failed() { // otherwise another batch in flight has failed, and nothing is sent until it is tried again
		s.failure.Store(nil)
	}
}

// countAccepted counts an accepted batch. kept are the events of it that CloudWatch did not
// drop.
func (s *sender) countAccepted(b *batch, kept []record) {
	var total int64
	for _, r := range kept {
		size := int64(r.bytes) + eventOverhead
		total += size
		b.parts[r.part].keptEvents++
		b.parts[r.part].keptBytes += size
	}
	s.svc.stats.delivered(b, int64(len(kept)), total)
	for _, p := range b.parts {
		if p.keptEvents > 0 {
			p.delivery.feed.Accepted(p.keptEvents, p.keptBytes)
		}
	}
}

// noteCompleted tells the sizer that a batch's events are not sent again. While the sizer
// looks for a poison event, a batch that acknowledges nothing does not count: after a
// rewind, its events are sent again.
func (s *sender) noteCompleted(b *batch) {
	if s.next.sizer.suspect == 0 || slices.ContainsFunc(b.parts, func(p part) bool { return len(p.ranges) > 0 }) {
		s.next.sizer.completed(len(b.records))
	}
}

// dropPoison accounts for the only event of a batch, which CloudWatch refuses permanently.
func (s *sender) dropPoison(a answer) {
	s.recordLoss(a.batch, events.Refused, a.batch.records, a.err)
	s.ack(a.batch)
	s.limit.wrong = s.limit.guess < maxMessageBytes
	s.noteCompleted(a.batch)
	r := &s.recovery
	if r.poisonDropped++; r.poisonDropped > maxPoisonAtFullSpeed {
		r.retryAt = time.Now().Add(retryDelay(r.poisonDropped-maxPoisonAtFullSpeed, maxSlowBackoff))
	}
}

// ack acknowledges the batch's ranges to the feeds.
func (s *sender) ack(b *batch) {
	for _, part := range b.parts {
		if len(part.ranges) == 0 {
			continue
		}
		for _, o := range s.takeDeferred(part.delivery, b) {
			s.reportLoss(part.delivery, o)
		}
		if err := part.delivery.feed.Ack(part.ranges); err != nil {
			s.ackFault.Failed(err.Error(), "err", ErrorText(err))
		} else {
			s.ackFault.Succeeded()
		}
	}
}

// planRetry decides when to try again after the failure a, and what to do before.
func (s *sender) planRetry(a answer, now time.Time) {
	r, maxDelay := &s.recovery, maxBackoff
	switch a.verdict {
	case badEncoding, invalid: // the next try is a different request
		r.retryAt = now
		return
	case notFound:
		t, ok := s.creationTarget()
		switch {
		case ok && !s.stop.requested:
			r.failures++
			if r.creations >= maxUnseenCreations {
				s.reportGroupFailure(answer{verdict: badTarget, err: a.err})
			}
			s.create(t)
			return
		case !ok:
			s.reportGroupFailure(a)
		} // while stopping, there is no time to create: that is done after the next start
		maxDelay = maxSlowBackoff
	case denied, badTarget:
		s.reportGroupFailure(a)
		s.next.sizer.probe()
		maxDelay = maxSlowBackoff
	case throttled: // smaller batches would only be more requests
		if r.failures < maxFirstTries { // the limiter waits already
			r.failures++
			r.retryAt, r.goesFirst = now, true
			return
		}
	default:
		s.next.sizer.probe()
	}
	r.failures++
	r.retryAt = now.Add(retryDelay(r.failures, maxDelay))
}

// creationTarget returns the target with what may be created, and whether the stream may.
// One delivery that allows it is enough. A new group gets what the first delivery asks for
// that may create groups and asks for anything.
func (s *sender) creationTarget() (t target.Target, ok bool) {
	t = s.target
	t.Create = target.Create{}
	for _, d := range s.deliveries {
		t.Create.Group = t.Create.Group || d.create.Group
		t.Create.Stream = t.Create.Stream || d.create.Stream
		if t.Create.NewGroup == nil && d.create.Group && !d.create.NewGroup.IsZero() {
			t.Create.NewGroup = d.create.NewGroup
		}
	}
	return t, t.Create.Stream
}

// noteFailure records what stops the sender, for Delivery.Failure. Only the sender's goroutine
// calls it.
func (s *sender) noteFailure(a answer) *status.Failure {
	f := describeFailure(a.verdict, a.err, s.svc.access)
	if old := s.failure.Load(); old != nil {
		f.Since = old.Since
	}
	s.failure.Store(f)
	return f
}

// reportGroupFailure logs a failure of this target only, and notes it for the status.
func (s *sender) reportGroupFailure(a answer) {
	f := s.noteFailure(a)
	s.svc.condition.targetFailed(s, stateOf(a.verdict, a.err), f)
	reportFailure(s.group.health, s, f, "stream", s.target.Stream)
}

// create creates the stream from another goroutine, because the quotas may make it wait.
func (s *sender) create(t target.Target) {
	s.recovery.creating = true
	s.u.wg.Go(func() {
		v, until, err := s.svc.creator.create(t)
		s.answers <- answer{verdict: v, err: err, until: until}
	})
}

// created handles the result of creating the stream.
func (s *sender) created(a answer) {
	now, r := time.Now(), &s.recovery
	switch {
	case a.verdict == accepted:
		s.svc.stats.created.Add(1)
		r.retryAt = now
		// The stream was created just before, and CloudWatch still does not know it.
		if r.creations++; r.creations > 1 {
			r.retryAt = now.Add(retryDelay(r.creations, maxBackoff))
		}
	case a.verdict == cancelled:
		r.retryAt = now.Add(retryDelay(r.failures, maxBackoff))
	case a.verdict.shared():
		s.svc.reportFailure(s, a.verdict, s.noteFailure(a), a.err)
		r.retryAt = now.Add(retryDelay(r.failures, maxBackoff))
	default:
		r.creations = 0
		s.reportGroupFailure(a)
		r.retryAt = now.Add(retryDelay(r.failures, maxSlowBackoff))
		if a.until.After(now) {
			r.retryAt = a.until.Add(rand.N(groupRetrySpread))
		}
	}
}
