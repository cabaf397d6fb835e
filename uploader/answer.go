package uploader

import (
	"slices"
	"time"
)

// answer is what came of a request.
type answer struct {
	batch   *batch // nil: of creating the stream
	verdict verdict
	err     error
}

// patience is how many events in a row may be given up before the lane takes its time with each: a service
// that refuses everything means something else than a guilty event.
const patience = 8

// send builds a batch with the permit and sends it, or gives the permit back.
func (l *lane) send(p *permit, now time.Time) {
	b := l.build(now)
	if l.stopping {
		l.flushed = true
	}
	if b == nil {
		p.cancel()
		return
	}
	if len(b.records) == 0 {
		p.cancel()
		l.ack(b)
		l.u.free(b)
		return
	}
	b.permit = p
	for _, part := range b.parts {
		part.member.underWay++
	}
	l.held = b
	l.settle(now)
}

// build makes a batch of what is pending. It waits for memory and for a builder. It returns nil when the
// uploader gives up.
func (l *lane) build(now time.Time) *batch {
	plain := l.u.plain || l.s.plain.Load()
	b := l.u.reserve(plain)
	if b == nil {
		return nil
	}
	bl := l.u.pool.Get().(*builder)
	bl.begin(l.target, l.sizer.now, b)
	l.built++
	b.seq = l.built
	l.pull(bl, now)
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
	if !l.full() {
		for _, m := range l.members {
			m.feed.Release()
		}
	}
	return b
}

// launch sends the held batch from a goroutine of its own.
func (l *lane) launch() {
	b, t := l.held, l.target
	l.held = nil
	l.underWay = append(l.underWay, b)
	l.u.counters.underWay.Add(1)
	l.u.wg.Go(func() {
		v, err := l.s.put(t, b)
		l.u.counters.underWay.Add(-1)
		l.u.unreserve(b) // here: the lane may itself be waiting for memory, and could not take the answer
		b.permit.release(v)
		l.answers <- answer{b, v, err}
	})
}

// answered takes what came of a request.
func (l *lane) answered(a answer) {
	b := a.batch
	if b == nil {
		l.creating = false
		l.created(a)
		return
	}
	for i, o := range l.underWay {
		if o == b {
			l.underWay = append(l.underWay[:i], l.underWay[i+1:]...)
			break
		}
	}
	switch {
	case a.verdict == accepted:
		l.delivered(b)
	case a.verdict == refused && len(b.records) == 1:
		l.giveUp(a)
	default:
		l.u.counters.retries.Add(1)
		if a.verdict == throttled {
			l.u.counters.throttles.Add(1)
		}
		if l.trouble.verdict == accepted {
			l.trouble = answer{verdict: a.verdict, err: a.err}
		}
		if a.verdict == refused {
			l.sizer.refused(len(b.records))
		}
		l.undo(b)
		return
	}
	for _, part := range b.parts {
		part.member.underWay--
	}
	l.u.free(b)
}

// undo forgets a batch that was not delivered.
func (l *lane) undo(b *batch) {
	for _, part := range b.parts {
		part.member.underWay--
		part.member.rewind = true
		l.owing(part.member, b) // their lines come again
	}
	l.u.free(b)
}

// delivered acknowledges an accepted batch, and accounts for what the service dropped of it.
func (l *lane) delivered(b *batch) {
	n, c := len(b.records), &l.u.counters
	at := func(i int) int { return min(max(i, 0), n) }
	old := at(b.rejected.tooOldEnd)
	expired := max(old, at(b.rejected.expiredEnd))
	future := n
	if b.rejected.tooNew {
		future = max(expired, at(b.rejected.tooNewStart))
	}
	l.lose(b, TooOld, b.records[:old])
	l.lose(b, Expired, b.records[old:expired])
	l.lose(b, TooNew, b.records[future:])
	if b.lost > 0 && expired < future { // else all of it is lost already
		t := time.Unix(0, b.records[0].time)
		l.drop(b, Dropped{Target: l.target, Reason: TooLarge, Events: 1, Bytes: int64(b.lost), From: t, To: t})
	}
	for _, r := range b.records[expired:future] {
		c.bytes.Add(int64(r.bytes))
	}
	c.events.Add(int64(future - expired))
	c.batches.Add(1)
	c.bodyBytes.Add(int64(b.body))
	c.sentBytes.Add(int64(len(b.out)))
	l.ack(b)
	if l.trouble.verdict != refused { // else these events are not the next ones, among which one is to blame
		l.through(b)
	}
	l.failures, l.made, l.givenUp, l.retryAt = 0, 0, 0, time.Time{}
	l.report.succeeded()
}

// through tells the sizer that a batch's events will not come again. Those of a batch that acknowledges nothing will,
// if the feed is rewound once more, so they are none of those among which one is to blame.
func (l *lane) through(b *batch) {
	if l.sizer.suspect == 0 || slices.ContainsFunc(b.parts, func(p part) bool { return len(p.ranges) > 0 }) {
		l.sizer.accepted(len(b.records))
	}
}

// giveUp accounts for the one event of a batch that the service will never take.
func (l *lane) giveUp(a answer) {
	l.u.log.Warn("the service refuses an event for good; it is given up and told of in its stream",
		"region", l.target.Region, "group", l.target.Group, "stream", l.target.Stream, "err", brief(a.err))
	l.lose(a.batch, Refused, a.batch.records)
	l.ack(a.batch)
	l.through(a.batch)
	if l.givenUp++; l.givenUp > patience {
		l.retryAt = time.Now().Add(backoff(l.givenUp-patience, maxSlowBackoff))
	}
}

// ack tells the feeds what need not be sent again.
func (l *lane) ack(b *batch) {
	for _, part := range b.parts {
		if len(part.ranges) == 0 {
			continue
		}
		for _, o := range l.owing(part.member, b) {
			l.tell(part.member, o.Dropped, nil)
		}
		if err := part.member.feed.Ack(part.ranges); err != nil {
			l.acks.failed(failing, err)
		} else {
			l.acks.succeeded()
		}
	}
}

// settle does what could not be done while something was under way: it sends the held batch when no batch under
// way shares a millisecond with it, and after trouble it rewinds the feeds and decides how to go on.
func (l *lane) settle(now time.Time) {
	if b := l.held; b != nil {
		switch {
		case l.trouble.verdict != accepted:
			b.permit.cancel()
			l.held = nil
			l.undo(b)
		case !l.mustWait(b):
			l.launch()
		}
	}
	if l.trouble.verdict == accepted || len(l.underWay) > 0 {
		return
	}
	a := l.trouble
	l.trouble = answer{}
	for _, m := range l.members {
		if m.rewind {
			m.feed.Rewind()
			m.feed.Release()
			m.rewind, m.drained, m.unknown, m.seen = false, false, true, false
			m.owed = nil
		}
	}
	l.due = now
	l.retry(a, now)
}

// mustWait reports whether the order of arrival of b and a batch under way would matter.
func (l *lane) mustWait(b *batch) bool {
	for _, o := range l.underWay {
		if b.overlaps(o) {
			return true
		}
	}
	return false
}

// retry decides when and how to try again after trouble.
func (l *lane) retry(a answer, now time.Time) {
	most := maxBackoff
	switch a.verdict {
	case ungzip, refused: // the next try is another one
		l.retryAt = now
		return
	case missing:
		if t, ok := l.creatable(); ok && !l.stopping {
			l.failures++
			l.create(t)
			return
		}
		l.report.failed(a.verdict, a.err)
		most = maxSlowBackoff
	case denied, misnamed:
		l.report.failed(a.verdict, a.err)
		l.sizer.probe()
		most = maxSlowBackoff
	case throttled: // smaller batches would only be more of them
	default:
		l.sizer.probe()
	}
	l.failures++
	l.retryAt = now.Add(backoff(l.failures, most))
}

// creatable returns the target with the members' leave to create: one who allows it is enough. Of those who
// allow a group, the first who wants something of it has it.
func (l *lane) creatable() (t Target, ok bool) {
	t = l.target
	t.CreateGroup, t.CreateStream, t.NewGroup = false, false, nil
	for _, m := range l.members {
		t.CreateGroup = t.CreateGroup || m.createGroup
		t.CreateStream = t.CreateStream || m.createStream
		if t.NewGroup == nil && m.createGroup && m.newGroup.asks() {
			t.NewGroup = m.newGroup
		}
	}
	return t, t.CreateStream
}

// create makes the stream, from a goroutine of its own: the quotas may make it wait.
func (l *lane) create(t Target) {
	l.creating = true
	l.u.wg.Go(func() {
		v, err := l.s.creator.create(t)
		l.answers <- answer{nil, v, err}
	})
}

// created takes what came of creating the stream.
func (l *lane) created(a answer) {
	now := time.Now()
	switch {
	case a.verdict == accepted:
		l.u.counters.created.Add(1)
		l.retryAt = now
		if l.made++; l.made > 1 { // it was made just before, and is still not there
			l.retryAt = now.Add(backoff(l.made, maxBackoff))
		}
	case a.verdict.shared():
		l.report.failed(a.verdict, a.err)
		l.retryAt = now.Add(backoff(l.failures, maxBackoff))
	default:
		l.made = 0
		l.report.failed(a.verdict, a.err)
		l.retryAt = now.Add(backoff(l.failures, maxSlowBackoff))
	}
}
