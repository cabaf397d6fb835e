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

// groupSpread is the time over which the senders of one group try again when the group may have been fixed.
const groupSpread = 500 * time.Millisecond

// patience is how many events in a row may be given up before the sender takes its time with each: a service
// that refuses everything means something else than a poison event.
const patience = 8

// madeInVain is how many times in a row a stream is made that is not there afterwards until that is a failure. A new
// stream may take a moment to be known everywhere.
const madeInVain = 3

// answered takes what came of a request.
func (l *sender) answered(a answer) {
	b := a.batch
	if b == nil {
		l.creating = false
		l.created(a)
		return
	}
	l.inFlight = slices.DeleteFunc(l.inFlight, func(o *batch) bool { return o == b })
	l.plainNext = b.gzip && a.verdict == badTarget
	known := a.verdict == invalid && l.learnLimit(a) // what to change at the next try
	if !known && (a.verdict == invalid || a.verdict == badTarget) && l.dropEntity(a.err) {
		a.verdict, known = invalid, true
	}
	switch {
	case a.verdict == accepted:
		l.delivered(b)
	case a.verdict == invalid && !known && len(b.records) == 1:
		l.giveUp(a)
	default:
		l.u.counters.retries.Add(1)
		if a.verdict == throttled {
			l.u.counters.throttles.Add(1)
		}
		if l.trouble.verdict == accepted {
			l.trouble = answer{verdict: a.verdict, err: a.err}
		}
		if a.verdict == invalid && !known {
			l.sizer.refused(len(b.records))
		}
		l.undo(b)
		return
	}
	for _, part := range b.parts {
		part.delivery.inFlight--
	}
	l.u.free(b)
}

// learnLimit looks for a smaller limit of an event in the refusal of a batch, and returns whether there is one that an event
// of the batch is beyond. A limit that the service speaks of is the endpoint's; a guess is this stream's alone, since
// the event may have been refused for another reason.
func (l *sender) learnLimit(a answer) bool {
	var longest int
	for _, r := range a.batch.records {
		longest = max(longest, int(r.bytes))
	}
	n, stated, ok := messageLimit(a.err, len(a.batch.records))
	if !ok || n >= longest || n >= l.maxMessage {
		return false
	}
	if !stated {
		l.guessedMax = n
	} else if l.s.endpoint.lowerMaxMessage(n) {
		l.s.log.Warn("the endpoint takes smaller log events than CloudWatch Logs does; longer ones are divided",
			"bytes", n+eventOverhead, "err", brief(a.err))
	}
	return true
}

// dropEntity sends the next batches without the entity if the error is about it, and returns whether it is: an invalid
// entity must not cost events.
func (l *sender) dropEntity(err error) bool {
	if l.target.Entity == (target.Entity{}) || !aboutEntity.MatchString(httpEntity.ReplaceAllString(errorMessage(err), "")) {
		return false
	}
	l.log.Warn("CloudWatch refuses the entity; the events are sent without it", "err", brief(err), "entity", l.target.Entity)
	l.target.Entity = target.Entity{}
	return true
}

// entityRejected logs that the events were accepted, but not their entity. The same is not logged again.
func (l *sender) entityRejected(errorType string) {
	if errorType == "" || l.rejectedAs[errorType] {
		return
	}
	if l.rejectedAs == nil {
		l.rejectedAs = map[string]bool{}
	}
	l.rejectedAs[errorType] = true
	l.log.Warn("CloudWatch rejected the entity; the events themselves are delivered", "reason", errorType, "entity", l.target.Entity)
}

// undo forgets a batch that was not delivered.
func (l *sender) undo(b *batch) {
	for _, part := range b.parts {
		part.delivery.inFlight--
		part.delivery.rewind = true
		l.owing(part.delivery, b) // their lines come again
	}
	l.u.free(b)
}

// delivered acknowledges an accepted batch, and accounts for what the service dropped of it.
func (l *sender) delivered(b *batch) {
	n, c := len(b.records), &l.u.counters
	at := func(i int) int { return min(max(i, 0), n) }
	old := at(b.rejected.tooOldEnd)
	expired := max(old, at(b.rejected.expiredEnd))
	future := n
	if b.rejected.tooNew {
		future = max(expired, at(b.rejected.tooNewStart))
	}
	l.lose(b, events.TooOld, b.records[:old], nil)
	l.lose(b, events.Expired, b.records[old:expired], nil)
	l.lose(b, events.TooNew, b.records[future:], nil)
	if b.cut > 0 && expired < future { // else all of it is lost already
		l.loseEnd(b)
	}
	for _, r := range b.records[expired:future] {
		c.bytes.Add(int64(r.bytes))
	}
	c.events.Add(int64(future - expired))
	c.batches.Add(1)
	c.bodyBytes.Add(int64(b.body))
	c.sentBytes.Add(int64(len(b.out)))
	l.ack(b)
	if l.trouble.verdict != invalid { // else these events are not the next ones, among which one is to blame
		l.through(b)
	}
	l.entityRejected(b.rejected.entity)
	l.failures, l.made, l.givenUp, l.retryAt = 0, 0, 0, time.Time{}
	l.accepted.Store(time.Now().UnixNano())
	l.group.health.Succeeded(l)
}

// through tells the sizer that a batch's events will not come again. Those of a batch that acknowledges nothing will,
// if the feed is rewound once more, so they are none of those among which one is to blame.
func (l *sender) through(b *batch) {
	if l.sizer.suspect == 0 || slices.ContainsFunc(b.parts, func(p part) bool { return len(p.ranges) > 0 }) {
		l.sizer.accepted(len(b.records))
	}
}

// giveUp accounts for the one event of a batch that CloudWatch rejects permanently.
func (l *sender) giveUp(a answer) {
	l.lose(a.batch, events.Refused, a.batch.records, a.err)
	l.ack(a.batch)
	l.guessWrong = l.guessedMax < maxMessageBytes
	l.through(a.batch)
	if l.givenUp++; l.givenUp > patience {
		l.retryAt = time.Now().Add(retryDelay(l.givenUp-patience, maxSlowBackoff))
	}
}

// ack tells the feeds what need not be sent again.
func (l *sender) ack(b *batch) {
	for _, part := range b.parts {
		if len(part.ranges) == 0 {
			continue
		}
		for _, o := range l.owing(part.delivery, b) {
			l.tell(part.delivery, o)
		}
		if err := part.delivery.feed.Ack(part.ranges); err != nil {
			l.acks.Failed(err.Error(), "err", brief(err))
		} else {
			l.acks.Succeeded()
		}
	}
}

// retry decides when and how to try again after trouble.
func (l *sender) retry(a answer, now time.Time) {
	most := maxBackoff
	switch a.verdict {
	case badEncoding, invalid: // the next try is another one
		l.retryAt = now
		return
	case notFound:
		t, ok := l.creatable()
		switch {
		case ok && !l.stopping:
			l.failures++
			if l.made >= madeInVain {
				l.fail(answer{verdict: badTarget, err: a.err})
			}
			l.create(t)
			return
		case !ok:
			l.fail(a)
		} // else there is no time to create it: that follows after the next start
		most = maxSlowBackoff
	case denied, badTarget:
		l.fail(a)
		l.sizer.probe()
		most = maxSlowBackoff
	case throttled: // smaller batches would only be more of them
	default:
		l.sizer.probe()
	}
	l.failures++
	l.retryAt = now.Add(retryDelay(l.failures, most))
}

// creatable returns the target with the deliveries' leave to create: one who allows it is enough. Of those who
// allow a group, the first who wants something of it has it.
func (l *sender) creatable() (t target.Target, ok bool) {
	t = l.target
	t.Create = target.Create{}
	for _, m := range l.deliveries {
		t.Create.Group = t.Create.Group || m.create.Group
		t.Create.Stream = t.Create.Stream || m.create.Stream
		if t.Create.NewGroup == nil && m.create.Group && !m.create.NewGroup.IsZero() {
			t.Create.NewGroup = m.create.NewGroup
		}
	}
	return t, t.Create.Stream
}

// fail logs a failure that is about the target.
func (l *sender) fail(a answer) {
	l.reportFailure(l.group.health, a.verdict, a.err, "stream", l.target.Stream)
}

// create makes the stream, from a goroutine of its own: the quotas may make it wait.
func (l *sender) create(t target.Target) {
	l.creating = true
	l.u.wg.Go(func() {
		v, until, err := l.s.creator.create(t)
		l.answers <- answer{verdict: v, err: err, until: until}
	})
}

// created takes what came of creating the stream.
func (l *sender) created(a answer) {
	now := time.Now()
	switch {
	case a.verdict == accepted:
		l.u.counters.created.Add(1)
		l.retryAt = now
		if l.made++; l.made > 1 { // it was made just before, and is still not there
			l.retryAt = now.Add(retryDelay(l.made, maxBackoff))
		}
	case a.verdict == cancelled:
		l.retryAt = now.Add(retryDelay(l.failures, maxBackoff))
	case a.verdict.shared():
		l.reportFailure(l.s.health, a.verdict, a.err)
		l.retryAt = now.Add(retryDelay(l.failures, maxBackoff))
	default:
		l.made = 0
		l.fail(a)
		l.retryAt = now.Add(retryDelay(l.failures, maxSlowBackoff))
		if a.until.After(now) {
			l.retryAt = a.until.Add(rand.N(groupSpread))
		}
	}
}
