package uploader

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/target"
)

// sender sends to one stream. Its goroutine alone calls the deliveries' feeds: it waits until something is due, pulls a
// batch from them (fill.go), hands it to a goroutine that sends it, and acknowledges or rewinds when the answer is
// there (answer.go). After a failure it waits for the answers of all that is in flight, rewinds, waits, and builds again.
type sender struct {
	u      *Uploader
	s      *service
	key    target.Target // as in Uploader.senders
	target target.Target // whether to create is decided by the deliveries of the moment

	wakeup  chan struct{} // of capacity 1: something has changed
	answers chan answer   // of capacity for all that can be in flight: a send never waits

	// Counted by Notify, and by the sender when it has pulled. What is appended and not out is pending. These are
	// estimates where frames and events are not the same, and right again whenever all feeds are drained.
	frames, bytes       atomic.Int64
	framesOut, bytesOut atomic.Int64
	empty               atomic.Bool // nothing was pending when the sender last looked: wake it at once

	accepted atomic.Int64 // when CloudWatch last accepted a batch, in nanoseconds since the epoch

	mu       sync.Mutex
	joining  []*Delivery
	attached []*Delivery // deliveries and joining, for the log

	// The goroutine's own.
	deliveries []*Delivery
	heads      heads
	sizer      sizer
	due        time.Time // when what is pending must go; zero: nothing is pending
	permit     *permit   // a place in the limiter's queue
	held       *batch    // built, and not to be sent before those in flight are answered
	inFlight   []*batch
	built      uint64 // batches so far
	creating   bool
	trouble    answer // the first failure among those in flight; verdict accepted: none
	failures   int    // in a row
	made       int    // times in a row that the stream was made, and nothing accepted since
	givenUp    int    // events rejected permanently since one was accepted
	retryAt    time.Time
	stopping   bool
	flushed    bool // the last batch before the end is built, or there is no hope for one

	maxMessage int  // what the deliveries' feeds were told
	guessedMax int  // a limit of an event that CloudWatch did not state
	guessWrong bool // an event within guessedMax was refused as well
	plainNext  bool // an odd answer may be about the encoding: the next batch is not compressed
	rejectedAs map[string]bool
	log        *slog.Logger
	group      *group
	acks       *faultlog.Fault
}

func newSender(u *Uploader, s *service, key target.Target, t target.Target) *sender {
	log := s.log.With("group", t.Group, "stream", t.Stream)
	l := &sender{
		u: u, s: s, key: key, target: t,
		wakeup:     make(chan struct{}, 1),
		answers:    make(chan answer, maxInFlight+1),
		sizer:      sizer{now: fullSize},
		maxMessage: maxMessageBytes, guessedMax: maxMessageBytes,
		log:   log,
		group: s.creator.group(t.Group),
	}
	l.acks = faultlog.NewFault(log, "cannot save delivery progress; events may be sent again after a restart",
		"delivery progress is saved again", func() []any { return describeBacklog([]*sender{l}) })
	return l
}

// wake wakes the sender if it sleeps.
func (l *sender) wake() {
	select {
	case l.wakeup <- struct{}{}:
	default:
	}
}

// notify counts what was appended. The caller has set the delivery's written before: the sender sets empty first and
// looks at written then, so one of the two sees the other.
func (l *sender) notify(frames, bytes int64) {
	pendingBytes := l.bytes.Add(bytes) - l.bytesOut.Load()
	pendingFrames := l.frames.Add(frames) - l.framesOut.Load()
	if pendingBytes >= maxBatchBytes && pendingBytes-bytes < maxBatchBytes ||
		pendingFrames >= maxBatchEvents && pendingFrames-frames < maxBatchEvents ||
		l.empty.Load() && l.empty.Swap(false) {
		l.wake()
	}
}

// join adds a delivery. It is called with the uploader's lock held, so that it cannot miss retire.
func (l *sender) join(m *Delivery) {
	l.mu.Lock()
	l.joining = append(l.joining, m)
	l.attached = append(l.attached, m)
	l.mu.Unlock()
	l.wake()
}

func (l *sender) expectsDeliveries() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.joining) > 0
}

// run is the sender's goroutine. It returns when the last delivery has left or the uploader stops.
func (l *sender) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	stopping, trying := l.u.stopping, l.u.trying.Done()
	for {
		now := time.Now()
		l.settle(now)
		l.admit(now)
		l.dismiss()
		if l.idle() && (l.stopping && l.spent() || len(l.deliveries) == 0 && l.u.retire(l)) {
			break
		}
		l.applyLimit()
		l.notePending(now)
		wanted, next := l.nextAction(now)
		switch {
		case wanted && l.permit == nil:
			l.permit = l.s.limiter.enqueue()
		case !wanted:
			l.dropPermit()
		}
		var ready <-chan struct{}
		if l.permit != nil {
			ready = l.permit.ready
		}
		wait := time.Hour
		if !next.IsZero() {
			wait = next.Sub(now)
		}
		timer.Reset(wait)
		l.releaseIfWaiting()

		select {
		case <-l.wakeup:
		case <-timer.C:
		case a := <-l.answers:
			l.answered(a)
		case <-ready:
			p := l.permit
			l.permit = nil
			if p.refused { // only at the end, when the service fails
				l.flushed = true
			} else {
				l.send(p, time.Now())
			}
		case <-stopping:
			stopping, l.stopping = nil, true
		case <-trying:
			trying, l.stopping, l.flushed = nil, true, true
		}
	}
	l.dropPermit()
	l.s.health.Forget(l)
	l.group.health.Forget(l)
	for _, m := range l.deliveries {
		l.leave(m, false)
	}
}

// leave lets go of a delivery. Its feed is not called any more when done or left is closed.
func (l *sender) leave(m *Delivery, done bool) {
	m.feed.Release()
	l.mu.Lock()
	l.attached = slices.DeleteFunc(l.attached, func(a *Delivery) bool { return a == m })
	l.mu.Unlock()
	m.closeLossLogs()
	if done {
		close(m.done)
	}
	close(m.left)
}

// releaseIfWaiting gives back the buffers and files of the feeds before a wait for a permit, for the next try or for
// something to send: after an outage many senders wait. Between two batches of a backlog the feeds keep them.
func (l *sender) releaseIfWaiting() {
	if l.permit != nil {
		select {
		case <-l.permit.ready:
			return
		default:
		}
	} else if len(l.inFlight) > 0 {
		return
	}
	for _, m := range l.deliveries {
		m.release()
	}
}

// limit is how long a message may be.
func (l *sender) limit() int { return min(l.guessedMax, int(l.s.endpoint.maxMessage.Load())) }

// applyLimit has the feeds divide longer events where the limit has changed. Nothing may be in flight, because
// the feeds start again from what is acknowledged.
func (l *sender) applyLimit() {
	if l.guessWrong && l.idle() && !l.pending() { // now no part of the event that is to blame is left
		l.guessedMax, l.guessWrong = maxMessageBytes, false
	}
	n := l.limit()
	if n == l.maxMessage || !l.idle() {
		return
	}
	l.maxMessage = n
	for _, m := range l.deliveries {
		m.setMaxMessage(n)
	}
}

// idle reports whether nothing is in flight or waits for what is.
func (l *sender) idle() bool { return len(l.inFlight) == 0 && l.held == nil && !l.creating }

// spent reports whether a sender that is to stop has nothing more to try.
func (l *sender) spent() bool { return l.flushed || l.failures > 0 || !l.pending() }

// pending reports whether a feed may have something to send.
func (l *sender) pending() bool {
	return slices.ContainsFunc(l.deliveries, func(m *Delivery) bool {
		return !m.detached.Load() && (!m.drained || m.written.Load())
	})
}

// admit takes in those who have joined. What their feeds have already waits for the delay as well.
func (l *sender) admit(now time.Time) {
	l.mu.Lock()
	joined := l.joining
	l.joining = nil
	l.mu.Unlock()
	if len(joined) > 0 {
		if l.maxMessage != maxMessageBytes {
			for _, m := range joined {
				m.setMaxMessage(l.maxMessage)
			}
		}
		l.deliveries = append(l.deliveries, joined...)
		l.dueBy(now.Add(l.delay()))
	}
}

// dismiss lets go of deliveries who are done or detached and have nothing in flight.
func (l *sender) dismiss() {
	kept := l.deliveries[:0]
	for _, m := range l.deliveries {
		finished := m.finished.Load() && m.exhausted() && m.due.IsZero()
		if m.inFlight > 0 || m.rewind || !finished && !m.detached.Load() {
			kept = append(kept, m)
			continue
		}
		l.leave(m, finished)
	}
	clear(l.deliveries[len(kept):])
	l.deliveries = kept
}

// notePending finds out whether anything new is pending.
func (l *sender) notePending(now time.Time) {
	if !l.due.IsZero() || len(l.deliveries) == 0 {
		return
	}
	l.empty.Store(true)
	if slices.ContainsFunc(l.deliveries, func(m *Delivery) bool { return m.written.Load() }) {
		l.empty.Store(false)
		l.due = now.Add(l.delay())
	}
}

// dueBy makes what is pending due at t at the latest.
func (l *sender) dueBy(t time.Time) {
	if l.due.IsZero() || t.Before(l.due) {
		l.due = t
	}
}

// nextAction reports whether a batch should be built now, and if not, when to look again (the zero time: when woken).
func (l *sender) nextAction(now time.Time) (wanted bool, next time.Time) {
	switch {
	case l.held != nil, l.creating, l.trouble.verdict != accepted, len(l.inFlight) >= maxInFlight,
		l.stopping && l.flushed, len(l.deliveries) == 0, l.limit() != l.maxMessage:
		return false, time.Time{}
	case now.Before(l.retryAt):
		return false, l.retryAt
	case len(l.inFlight) > 0:
		// Company only where there is a backlog, and while all is well.
		return l.sizer.now == fullSize && l.full(), time.Time{}
	case l.full(), l.stopping && l.pending():
		return true, time.Time{}
	}
	next = l.due
	for _, m := range l.deliveries {
		switch {
		case m.detached.Load():
		case m.finished.Load() && !m.exhausted():
			return true, time.Time{}
		case !m.due.IsZero() && (next.IsZero() || m.due.Before(next)):
			next = m.due
		}
	}
	if !next.IsZero() && !now.Before(next) {
		return true, time.Time{}
	}
	return false, next
}

// full reports whether there is a batch's worth, or more than fitted the last batch where nobody knows how much.
func (l *sender) full() bool {
	if l.bytes.Load()-l.bytesOut.Load() >= maxBatchBytes || l.frames.Load()-l.framesOut.Load() >= maxBatchEvents {
		return true
	}
	return slices.ContainsFunc(l.deliveries, func(m *Delivery) bool {
		return m.unknown && m.passed > 0 && !m.detached.Load()
	})
}

// delay is the shortest of the deliveries' delays.
func (l *sender) delay() time.Duration {
	d := l.deliveries[0].delay
	for _, m := range l.deliveries[1:] {
		d = min(d, m.delay)
	}
	return d
}

func (l *sender) dropPermit() {
	if l.permit != nil {
		l.permit.cancel()
		l.permit = nil
	}
}

// send builds a batch with the permit and sends it, or gives the permit back.
func (l *sender) send(p *permit, now time.Time) {
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
		part.delivery.inFlight++
	}
	l.held = b
	l.settle(now)
}

// launch sends the held batch from a goroutine of its own.
func (l *sender) launch() {
	b, t := l.held, l.target
	l.held = nil
	l.inFlight = append(l.inFlight, b)
	l.u.counters.inFlight.Add(1)
	l.u.wg.Go(func() {
		v, err := l.s.put(l, t, b)
		l.u.counters.inFlight.Add(-1)
		l.u.unreserve(b) // here: the sender may itself be waiting for memory, and could not take the answer
		b.permit.release(v)
		l.answers <- answer{batch: b, verdict: v, err: err}
	})
}

// settle does what could not be done while something was in flight: it sends the held batch when no batch under
// way shares a millisecond with it, and after trouble it rewinds the feeds and decides how to go on.
func (l *sender) settle(now time.Time) {
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
	if l.trouble.verdict == accepted || len(l.inFlight) > 0 {
		return
	}
	a := l.trouble
	l.trouble = answer{}
	for _, m := range l.deliveries {
		if m.rewind {
			m.startOver()
		}
	}
	l.due = now
	l.retry(a, now)
}

// mustWait reports whether the order of arrival of b and a batch in flight would matter.
func (l *sender) mustWait(b *batch) bool {
	return slices.ContainsFunc(l.inFlight, b.overlaps)
}

// reportFailure logs a failure of the sender that it may share with others, with what the operator can do about it.
func (l *sender) reportFailure(f *faultlog.Shared[*sender], v verdict, err error, attrs ...any) {
	attrs = append(attrs, "err", brief(err))
	if hint := remedy(v, err, l.s.access); hint != "" {
		attrs = append(attrs, "hint", hint)
	}
	f.Failed(l, kind(err), attrs...)
}

// describeBacklog returns attributes for a log line about what waits in the feeds of the senders.
func describeBacklog(senders []*sender) []any {
	var all []faultlog.Backlog
	for _, l := range senders {
		l.mu.Lock()
		for _, m := range l.attached {
			name, n, at := m.feed.Backlog()
			if n > 0 {
				all = append(all, faultlog.Backlog{Name: name, Bytes: n, Oldest: at})
			}
		}
		l.mu.Unlock()
	}
	return faultlog.Describe(all)
}
