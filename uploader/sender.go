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
	svc    *service
	key    target.Target // as in Uploader.senders
	target target.Target // whether to create is decided by the deliveries of the moment

	wakeup  chan struct{} // of capacity 1: something has changed
	answers chan answer   // of capacity for all that can be in flight: a send never waits

	// Counted by Notify, and by the sender when it has pulled. What is appended and not out is pending. These are
	// estimates where frames and events are not the same, and right again whenever all feeds are drained.
	frames, bytes       atomic.Int64
	framesOut, bytesOut atomic.Int64
	empty               atomic.Bool // nothing was pending when the sender last looked: wake it at once

	lastAccepted atomic.Int64 // when CloudWatch last accepted a batch, in nanoseconds since the epoch

	mu       sync.Mutex
	joining  []*Delivery
	attached []*Delivery // deliveries and joining, for the log

	// The goroutine's own.
	deliveries    []*Delivery
	heads         heads
	sizer         sizer
	due           time.Time // when what is pending must go; zero: nothing is pending
	permit        *permit   // a place in the limiter's queue
	held          *batch    // built, and not to be sent before those in flight are answered
	inFlight      []*batch
	built         uint64 // batches so far
	creating      bool
	firstFailure  answer // the first failure among those in flight; verdict accepted: none
	failures      int    // in a row
	creations     int    // times in a row that the stream was made, and nothing accepted since
	poisonDropped int    // events rejected permanently since one was accepted
	retryAt       time.Time
	stopping      bool
	flushed       bool // the last batch before the end is built, or there is no hope for one

	maxMessage       int  // what the deliveries' feeds were told
	guessedMax       int  // a limit of an event that CloudWatch did not state
	guessWrong       bool // an event within guessedMax was refused as well
	plainNext        bool // an odd answer may be about the encoding: the next batch is not compressed
	loggedRejections map[string]bool
	log              *slog.Logger
	group            *group
	ackFault         *faultlog.Fault
}

func newSender(u *Uploader, svc *service, key target.Target, t target.Target) *sender {
	log := svc.log.With("group", t.Group, "stream", t.Stream)
	s := &sender{
		u: u, svc: svc, key: key, target: t,
		wakeup:     make(chan struct{}, 1),
		answers:    make(chan answer, maxInFlight+1),
		sizer:      sizer{now: fullSize},
		maxMessage: maxMessageBytes, guessedMax: maxMessageBytes,
		log:   log,
		group: svc.creator.group(t.Group),
	}
	s.ackFault = faultlog.NewFault(log, "cannot save delivery progress; events may be sent again after a restart",
		"delivery progress is saved again", func() []any { return describeBacklog([]*sender{s}) })
	return s
}

// wake wakes the sender if it sleeps.
func (s *sender) wake() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// notify counts what was appended. The caller has set the delivery's written before: the sender sets empty first and
// looks at written then, so one of the two sees the other.
func (s *sender) notify(frames, bytes int64) {
	pendingBytes := s.bytes.Add(bytes) - s.bytesOut.Load()
	pendingFrames := s.frames.Add(frames) - s.framesOut.Load()
	if pendingBytes >= maxBatchBytes && pendingBytes-bytes < maxBatchBytes ||
		pendingFrames >= maxBatchEvents && pendingFrames-frames < maxBatchEvents ||
		s.empty.Load() && s.empty.Swap(false) {
		s.wake()
	}
}

// join adds a delivery. It is called with the uploader's lock held, so that it cannot miss retire.
func (s *sender) join(d *Delivery) {
	s.mu.Lock()
	s.joining = append(s.joining, d)
	s.attached = append(s.attached, d)
	s.mu.Unlock()
	s.wake()
}

func (s *sender) expectsDeliveries() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.joining) > 0
}

// run is the sender's goroutine. It returns when the last delivery has left or the uploader stops.
func (s *sender) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	stopping, trying := s.u.stopping, s.u.trying.Done()
	for {
		now := time.Now()
		s.advance(now)
		s.admitDeliveries(now)
		s.removeFinished()
		if s.idle() && (s.stopping && s.nothingToTry() || len(s.deliveries) == 0 && s.u.retire(s)) {
			break
		}
		s.applyMessageLimit()
		s.notePending(now)
		wanted, next := s.nextAction(now)
		switch {
		case wanted && s.permit == nil:
			s.permit = s.svc.limiter.enqueue()
		case !wanted:
			s.dropPermit()
		}
		var ready <-chan struct{}
		if s.permit != nil {
			ready = s.permit.ready
		}
		wait := time.Hour
		if !next.IsZero() {
			wait = next.Sub(now)
		}
		timer.Reset(wait)
		s.releaseIfWaiting()

		select {
		case <-s.wakeup:
		case <-timer.C:
		case a := <-s.answers:
			s.answered(a)
		case <-ready:
			p := s.permit
			s.permit = nil
			if p.refused { // only at the end, when the service fails
				s.flushed = true
			} else {
				s.buildAndSend(p, time.Now())
			}
		case <-stopping:
			stopping, s.stopping = nil, true
		case <-trying:
			trying, s.stopping, s.flushed = nil, true, true
		}
	}
	s.dropPermit()
	s.svc.health.Forget(s)
	s.group.health.Forget(s)
	for _, d := range s.deliveries {
		s.removeDelivery(d, false)
	}
}

// removeDelivery lets go of a delivery. Its feed is not called any more when done or left is closed.
func (s *sender) removeDelivery(d *Delivery, done bool) {
	d.feed.Release()
	s.mu.Lock()
	s.attached = slices.DeleteFunc(s.attached, func(a *Delivery) bool { return a == d })
	s.mu.Unlock()
	d.closeLossLogs()
	if done {
		close(d.done)
	}
	close(d.released)
}

// releaseIfWaiting gives back the buffers and files of the feeds before a wait for a permit, for the next try or for
// something to send: after an outage many senders wait. Between two batches of a backlog the feeds keep them.
func (s *sender) releaseIfWaiting() {
	if s.permit != nil {
		select {
		case <-s.permit.ready:
			return
		default:
		}
	} else if len(s.inFlight) > 0 {
		return
	}
	for _, d := range s.deliveries {
		d.release()
	}
}

// messageLimit is how long a message may be.
func (s *sender) messageLimit() int { return min(s.guessedMax, int(s.svc.endpoint.maxMessage.Load())) }

// applyMessageLimit has the feeds divide longer events where the limit has changed. Nothing may be in flight, because
// the feeds start again from what is acknowledged.
func (s *sender) applyMessageLimit() {
	if s.guessWrong && s.idle() && !s.hasPending() { // now no part of the event that is to blame is left
		s.guessedMax, s.guessWrong = maxMessageBytes, false
	}
	n := s.messageLimit()
	if n == s.maxMessage || !s.idle() {
		return
	}
	s.maxMessage = n
	for _, d := range s.deliveries {
		d.setMaxMessage(n)
	}
}

// idle reports whether nothing is in flight or waits for what is.
func (s *sender) idle() bool { return len(s.inFlight) == 0 && s.held == nil && !s.creating }

// nothingToTry reports whether a sender that is to stop has nothing more to try.
func (s *sender) nothingToTry() bool { return s.flushed || s.failures > 0 || !s.hasPending() }

// hasPending reports whether a feed may have something to send.
func (s *sender) hasPending() bool {
	return slices.ContainsFunc(s.deliveries, func(d *Delivery) bool {
		return !d.detached.Load() && (!d.drained || d.notified.Load())
	})
}

// admitDeliveries takes in those who have joined. What their feeds have already waits for the delay as well.
func (s *sender) admitDeliveries(now time.Time) {
	s.mu.Lock()
	joined := s.joining
	s.joining = nil
	s.mu.Unlock()
	if len(joined) > 0 {
		if s.maxMessage != maxMessageBytes {
			for _, d := range joined {
				d.setMaxMessage(s.maxMessage)
			}
		}
		s.deliveries = append(s.deliveries, joined...)
		s.dueBy(now.Add(s.delay()))
	}
}

// removeFinished lets go of deliveries who are done or detached and have nothing in flight.
func (s *sender) removeFinished() {
	kept := s.deliveries[:0]
	for _, d := range s.deliveries {
		finished := d.finished.Load() && d.exhausted() && d.due.IsZero()
		if d.inFlight > 0 || d.needsRewind || !finished && !d.detached.Load() {
			kept = append(kept, d)
			continue
		}
		s.removeDelivery(d, finished)
	}
	clear(s.deliveries[len(kept):])
	s.deliveries = kept
}

// notePending finds out whether anything new is pending.
func (s *sender) notePending(now time.Time) {
	if !s.due.IsZero() || len(s.deliveries) == 0 {
		return
	}
	s.empty.Store(true)
	if slices.ContainsFunc(s.deliveries, func(d *Delivery) bool { return d.notified.Load() }) {
		s.empty.Store(false)
		s.due = now.Add(s.delay())
	}
}

// dueBy makes what is pending due at t at the latest.
func (s *sender) dueBy(t time.Time) {
	if s.due.IsZero() || t.Before(s.due) {
		s.due = t
	}
}

// nextAction reports whether a batch should be built now, and if not, when to look again (the zero time: when woken).
func (s *sender) nextAction(now time.Time) (wanted bool, next time.Time) {
	switch {
	case s.held != nil, s.creating, s.firstFailure.verdict != accepted, len(s.inFlight) >= maxInFlight,
		s.stopping && s.flushed, len(s.deliveries) == 0, s.messageLimit() != s.maxMessage:
		return false, time.Time{}
	case now.Before(s.retryAt):
		return false, s.retryAt
	case len(s.inFlight) > 0:
		// Company only where there is a backlog, and while all is well.
		return s.sizer.now == fullSize && s.full(), time.Time{}
	case s.full(), s.stopping && s.hasPending():
		return true, time.Time{}
	}
	next = s.due
	for _, d := range s.deliveries {
		switch {
		case d.detached.Load():
		case d.finished.Load() && !d.exhausted():
			return true, time.Time{}
		case !d.due.IsZero() && (next.IsZero() || d.due.Before(next)):
			next = d.due
		}
	}
	if !next.IsZero() && !now.Before(next) {
		return true, time.Time{}
	}
	return false, next
}

// full reports whether there is a batch's worth, or more than fitted the last batch where nobody knows how much.
func (s *sender) full() bool {
	if s.bytes.Load()-s.bytesOut.Load() >= maxBatchBytes || s.frames.Load()-s.framesOut.Load() >= maxBatchEvents {
		return true
	}
	return slices.ContainsFunc(s.deliveries, func(d *Delivery) bool {
		return d.mayHaveMore && d.passedOver > 0 && !d.detached.Load()
	})
}

// delay is the shortest of the deliveries' delays.
func (s *sender) delay() time.Duration {
	x := s.deliveries[0].delay
	for _, d := range s.deliveries[1:] {
		x = min(x, d.delay)
	}
	return x
}

func (s *sender) dropPermit() {
	if s.permit != nil {
		s.permit.cancel()
		s.permit = nil
	}
}

// buildAndSend builds a batch with the permit and sends it, or gives the permit back.
func (s *sender) buildAndSend(p *permit, now time.Time) {
	b := s.build(now)
	if s.stopping {
		s.flushed = true
	}
	if b == nil {
		p.cancel()
		return
	}
	if len(b.records) == 0 {
		p.cancel()
		s.ack(b)
		s.u.free(b)
		return
	}
	b.permit = p
	for _, part := range b.parts {
		part.delivery.inFlight++
	}
	s.held = b
	s.advance(now)
}

// launch sends the held batch from a goroutine of its own.
func (s *sender) launch() {
	b, t := s.held, s.target
	s.held = nil
	s.inFlight = append(s.inFlight, b)
	s.u.counters.inFlight.Add(1)
	s.u.wg.Go(func() {
		v, err := s.svc.put(s, t, b)
		s.u.counters.inFlight.Add(-1)
		s.u.unreserve(b) // here: the sender may itself be waiting for memory, and could not take the answer
		b.permit.release(v)
		s.answers <- answer{batch: b, verdict: v, err: err}
	})
}

// advance does what could not be done while something was in flight: it sends the held batch when no batch under
// way shares a millisecond with it, and after trouble it rewinds the feeds and decides how to go on.
func (s *sender) advance(now time.Time) {
	if b := s.held; b != nil {
		switch {
		case s.firstFailure.verdict != accepted:
			b.permit.cancel()
			s.held = nil
			s.discard(b)
		case !s.overlapsInFlight(b):
			s.launch()
		}
	}
	if s.firstFailure.verdict == accepted || len(s.inFlight) > 0 {
		return
	}
	a := s.firstFailure
	s.firstFailure = answer{}
	for _, d := range s.deliveries {
		if d.needsRewind {
			d.rewind()
		}
	}
	s.due = now
	s.planRetry(a, now)
}

// overlapsInFlight reports whether the order of arrival of b and a batch in flight would matter.
func (s *sender) overlapsInFlight(b *batch) bool {
	return slices.ContainsFunc(s.inFlight, b.overlaps)
}

// reportFailure logs a failure of the sender that it may share with others, with what the operator can do about it.
func (s *sender) reportFailure(f *faultlog.Shared[*sender], v verdict, err error, attrs ...any) {
	attrs = append(attrs, "err", brief(err))
	if hint := hintFor(v, err, s.svc.access); hint != "" {
		attrs = append(attrs, "hint", hint)
	}
	f.Failed(s, kind(err), attrs...)
}

// describeBacklog returns attributes for a log line about what waits in the feeds of the senders.
func describeBacklog(senders []*sender) []any {
	var all []faultlog.Backlog
	for _, s := range senders {
		s.mu.Lock()
		for _, d := range s.attached {
			name, n, at := d.feed.Backlog()
			if n > 0 {
				all = append(all, faultlog.Backlog{Name: name, Bytes: n, Oldest: at})
			}
		}
		s.mu.Unlock()
	}
	return faultlog.Describe(all)
}
