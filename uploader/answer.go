package uploader

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/target"
)

// answer is what came of a request.
type answer struct {
	batch   *batch // nil: of creating the stream
	verdict verdict
	err     error
	until   time.Time // of creating: when to try again, if that is decided for the whole group
}

// groupRetrySpread is the time over which the senders of one group try again when the group may have been fixed.
const groupRetrySpread = 500 * time.Millisecond

// maxPoisonAtFullSpeed is how many events in a row may be given up before the sender takes its time with each: a service
// that refuses everything means something else than a poison event.
const maxPoisonAtFullSpeed = 8

// maxFutileCreations is how many times in a row a stream is made that is not there afterwards until that is a failure. A new
// stream may take a moment to be known everywhere.
const maxFutileCreations = 3

// answered takes what came of a request.
func (s *sender) answered(a answer) {
	b := a.batch
	if b == nil {
		s.creating = false
		s.created(a)
		return
	}
	s.inFlight = slices.DeleteFunc(s.inFlight, func(o *batch) bool { return o == b })
	s.plainNext = b.gzip && a.verdict == badTarget
	known := a.verdict == invalid && s.learnMessageLimit(a) // what to change at the next try
	if !known && (a.verdict == invalid || a.verdict == badTarget) && s.dropEntity(a.err) {
		a.verdict, known = invalid, true
	}
	switch {
	case a.verdict == accepted:
		s.delivered(b)
	case a.verdict == invalid && !known && len(b.records) == 1:
		s.dropPoison(a)
	default:
		s.u.counters.retries.Add(1)
		if a.verdict == throttled {
			s.u.counters.throttles.Add(1)
		}
		if s.firstFailure.verdict == accepted {
			s.firstFailure = answer{verdict: a.verdict, err: a.err}
		}
		if a.verdict == invalid && !known {
			s.sizer.refused(len(b.records))
		}
		s.discard(b)
		return
	}
	for _, part := range b.parts {
		part.delivery.inFlight--
	}
	s.u.free(b)
}

// learnMessageLimit looks for a smaller limit of an event in the refusal of a batch, and returns whether there is one that an event
// of the batch is beyond. A limit that the service speaks of is the endpoint's; a guess is this stream's alone, since
// the event may have been refused for another reason.
func (s *sender) learnMessageLimit(a answer) bool {
	var longest int
	for _, r := range a.batch.records {
		longest = max(longest, int(r.bytes))
	}
	n, stated, ok := eventLimitOf(a.err, len(a.batch.records))
	if !ok || n >= longest || n >= s.maxMessage {
		return false
	}
	if !stated {
		s.guessedMax = n
	} else if s.svc.endpoint.lowerMaxMessage(n) {
		s.svc.log.Warn("the endpoint takes smaller log events than CloudWatch Logs does; longer ones are divided",
			"bytes", n+eventOverhead, "err", brief(a.err))
	}
	return true
}

// dropEntity sends the next batches without the entity if the error is about it, and returns whether it is: an invalid
// entity must not cost events.
func (s *sender) dropEntity(err error) bool {
	if s.target.Entity == (target.Entity{}) || !aboutEntity.MatchString(httpEntity.ReplaceAllString(errorMessage(err), "")) {
		return false
	}
	s.log.Warn("CloudWatch refuses the entity; the events are sent without it", "err", brief(err), "entity", s.target.Entity)
	s.target.Entity = target.Entity{}
	return true
}

// entityRejected logs that the events were accepted, but not their entity. The same is not logged again.
func (s *sender) entityRejected(errorType string) {
	if errorType == "" || s.loggedRejections[errorType] {
		return
	}
	if s.loggedRejections == nil {
		s.loggedRejections = map[string]bool{}
	}
	s.loggedRejections[errorType] = true
	s.log.Warn("CloudWatch rejected the entity; the events themselves are delivered", "reason", errorType, "entity", s.target.Entity)
}

// discard forgets a batch that was not delivered.
func (s *sender) discard(b *batch) {
	for _, part := range b.parts {
		part.delivery.inFlight--
		part.delivery.needsRewind = true
		s.takeOwed(part.delivery, b) // their lines come again
	}
	s.u.free(b)
}

// delivered acknowledges an accepted batch, and accounts for what the service dropped of it.
func (s *sender) delivered(b *batch) {
	n, c := len(b.records), &s.u.counters
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
	if b.cutBytes > 0 && expired < future { // else all of it is lost already
		s.recordCutEnd(b)
	}
	for _, r := range b.records[expired:future] {
		c.bytes.Add(int64(r.bytes))
	}
	c.events.Add(int64(future - expired))
	c.batches.Add(1)
	c.bodyBytes.Add(int64(b.body))
	c.sentBytes.Add(int64(len(b.out)))
	s.ack(b)
	if s.firstFailure.verdict != invalid { // else these events are not the next ones, among which one is to blame
		s.noteSettled(b)
	}
	s.entityRejected(b.rejected.entity)
	s.failures, s.creations, s.poisonDropped, s.retryAt = 0, 0, 0, time.Time{}
	s.lastAccepted.Store(time.Now().UnixNano())
	s.group.health.Succeeded(s)
}

// noteSettled tells the sizer that a batch's events will not come again. Those of a batch that acknowledges nothing will,
// if the feed is rewound once more, so they are none of those among which one is to blame.
func (s *sender) noteSettled(b *batch) {
	if s.sizer.suspect == 0 || slices.ContainsFunc(b.parts, func(p part) bool { return len(p.ranges) > 0 }) {
		s.sizer.accepted(len(b.records))
	}
}

// dropPoison accounts for the one event of a batch that CloudWatch rejects permanently.
func (s *sender) dropPoison(a answer) {
	s.recordLoss(a.batch, events.Refused, a.batch.records, a.err)
	s.ack(a.batch)
	s.guessWrong = s.guessedMax < maxMessageBytes
	s.noteSettled(a.batch)
	if s.poisonDropped++; s.poisonDropped > maxPoisonAtFullSpeed {
		s.retryAt = time.Now().Add(retryDelay(s.poisonDropped-maxPoisonAtFullSpeed, maxSlowBackoff))
	}
}

// ack tells the feeds what need not be sent again.
func (s *sender) ack(b *batch) {
	for _, part := range b.parts {
		if len(part.ranges) == 0 {
			continue
		}
		for _, o := range s.takeOwed(part.delivery, b) {
			s.reportLoss(part.delivery, o)
		}
		if err := part.delivery.feed.Ack(part.ranges); err != nil {
			s.ackFault.Failed(err.Error(), "err", brief(err))
		} else {
			s.ackFault.Succeeded()
		}
	}
}

// planRetry decides when and how to try again after trouble.
func (s *sender) planRetry(a answer, now time.Time) {
	most := maxBackoff
	switch a.verdict {
	case badEncoding, invalid: // the next try is another one
		s.retryAt = now
		return
	case notFound:
		t, ok := s.creationTarget()
		switch {
		case ok && !s.stopping:
			s.failures++
			if s.creations >= maxFutileCreations {
				s.reportGroupFailure(answer{verdict: badTarget, err: a.err})
			}
			s.create(t)
			return
		case !ok:
			s.reportGroupFailure(a)
		} // else there is no time to create it: that follows after the next start
		most = maxSlowBackoff
	case denied, badTarget:
		s.reportGroupFailure(a)
		s.sizer.probe()
		most = maxSlowBackoff
	case throttled: // smaller batches would only be more of them
	default:
		s.sizer.probe()
	}
	s.failures++
	s.retryAt = now.Add(retryDelay(s.failures, most))
}

// creationTarget returns the target with the deliveries' leave to create: one who allows it is enough. Of those who
// allow a group, the first who wants something of it has it.
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

// reportGroupFailure logs a failure that is about the target.
func (s *sender) reportGroupFailure(a answer) {
	s.reportFailure(s.group.health, a.verdict, a.err, "stream", s.target.Stream)
}

// create makes the stream, from a goroutine of its own: the quotas may make it wait.
func (s *sender) create(t target.Target) {
	s.creating = true
	s.u.wg.Go(func() {
		v, until, err := s.svc.creator.create(t)
		s.answers <- answer{verdict: v, err: err, until: until}
	})
}

// created takes what came of creating the stream.
func (s *sender) created(a answer) {
	now := time.Now()
	switch {
	case a.verdict == accepted:
		s.u.counters.created.Add(1)
		s.retryAt = now
		if s.creations++; s.creations > 1 { // it was made just before, and is still not there
			s.retryAt = now.Add(retryDelay(s.creations, maxBackoff))
		}
	case a.verdict == cancelled:
		s.retryAt = now.Add(retryDelay(s.failures, maxBackoff))
	case a.verdict.shared():
		s.reportFailure(s.svc.health, a.verdict, a.err)
		s.retryAt = now.Add(retryDelay(s.failures, maxBackoff))
	default:
		s.creations = 0
		s.reportGroupFailure(a)
		s.retryAt = now.Add(retryDelay(s.failures, maxSlowBackoff))
		if a.until.After(now) {
			s.retryAt = a.until.Add(rand.N(groupRetrySpread))
		}
	}
}
