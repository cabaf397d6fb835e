package uploader

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/target"
)

// sender sends to one log stream. Only its goroutine calls the feeds of the stream's
// deliveries. It waits until something is due, fills a batch from the feeds (fill.go),
// compresses and sends the batch from another goroutine (send.go), and acknowledges or rewinds
// when the answer arrives (answer.go). After a failure it waits for all requests in flight,
// rewinds the feeds, waits, and fills a new batch.
type sender struct {
	u     *Uploader
	svc   *service
	group *group
	log   *slog.Logger
	// key is the sender's key in Uploader.senders.
	key target.Target

	// wakeup holds one token, so that wake never blocks.
	wakeup chan struct{}
	// answers has room for every request in flight, so that a reply never blocks.
	answers chan answer

	// pending may be used by any goroutine.
	pending pending
	// members is guarded by its own mutex.
	members members
	// lastAccepted is when CloudWatch last accepted a batch, in nanoseconds since 1970.
	lastAccepted atomic.Int64
	// failure is what stops the sender, and nil if nothing does. It is immutable, and only the
	// sender's goroutine replaces it.
	failure atomic.Pointer[status.Failure]
	// loop belongs to the sender's goroutine.
	loop
}

// loop is the part of a sender that only its goroutine uses.
type loop struct {
	target     target.Target // target has an unused Create: creationTarget asks the deliveries.
	deliveries []*Delivery
	next       nextBatch
	flight     flight
	recovery   recovery
	limit      messageLimit
	stop       senderStop

	ackFault         *faultlog.Fault
	loggedRejections map[string]bool // loggedRejections has the entity errors that were logged.
}

// nextBatch is what the sender knows about the batch that it builds next.
type nextBatch struct {
	due     time.Time // due is when pending events must be sent, and zero if nothing is pending.
	flushed time.Time // flushed is when the last batch was filled.
	sizer   sizer
	plain   bool  // plain says not to compress, because the last answer may be about the encoding.
	heads   heads // heads is empty between batches, and kept for its memory.
}

// flight is what is being sent.
type flight struct {
	built   uint64   // built counts the batches that were built.
	permit  *permit  // permit is a place in the limiter's queue for the next batch.
	held    *batch   // held must not be sent before the batches in flight are answered.
	batches []*batch // batches are the batches in flight.
}

// recovery is what the sender knows about failures.
type recovery struct {
	// first is the first failure since the last rewind; accepted means none.
	first answer
	// failures counts the failures in a row.
	failures int
	// creating says that a call to create the stream is in flight.
	creating bool
	// creations counts the stream's creations since a batch was accepted.
	creations int
	// poisonDropped counts poison events dropped since a batch was accepted.
	poisonDropped int
	// goesFirst says that the next request goes before others, because the last was throttled.
	goesFirst bool
	// retryAt is the time before which no batch is built.
	retryAt time.Time
}

func (r *recovery) failed() bool { return r.first.verdict != accepted }

// senderStop is how far the sender has got with stopping.
type senderStop struct {
	signal    <-chan struct{} // signal is Uploader.stopping, and nil once it was received.
	abort     <-chan struct{} // abort ends all waits, and is nil once it was received.
	requested bool
	flushed   bool // flushed says that the last batch was built, or that none can be delivered.
}

// members are the deliveries that belong to a sender.
type members struct {
	mu       sync.Mutex
	joining  []*Delivery // joining has the deliveries that the sender's goroutine has not yet seen.
	attached []*Delivery // attached has all deliveries, for the log.
}

func newSender(u *Uploader, svc *service, key target.Target, t target.Target) *sender {
	s := &sender{
		u: u, svc: svc, key: key,
		group:   svc.creator.group(t.Group),
		log:     svc.log.With("group", t.Group, "stream", t.Stream),
		wakeup:  make(chan struct{}, 1),
		answers: make(chan answer, maxInFlight+1),
		loop: loop{
			target: t,
			next:   nextBatch{sizer: sizer{now: fullSize}},
			limit:  messageLimit{applied: maxMessageBytes, guess: maxMessageBytes},
			stop:   senderStop{signal: u.stopping, abort: u.trying.Done()},
		},
	}
	s.ackFault = faultlog.NewFault(s.log, "cannot save delivery progress; events may be sent again after a restart",
		"delivery progress can be saved again", func() []any { return describeBacklog([]*sender{s}) })
	return s
}

// wake makes the sender's goroutine look for work.
func (s *sender) wake() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// join adds a delivery. The uploader's lock is held, so that retire cannot miss the
// delivery.
func (s *sender) join(d *Delivery) {
	s.members.mu.Lock()
	s.members.joining = append(s.members.joining, d)
	s.members.attached = append(s.members.attached, d)
	s.members.mu.Unlock()
	s.wake()
}

func (s *sender) expectsDeliveries() bool {
	s.members.mu.Lock()
	defer s.members.mu.Unlock()
	return len(s.members.joining) > 0
}

// run is the sender's goroutine. It returns when the last delivery was removed or the
// uploader stops.
func (s *sender) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		s.advance(now)
		s.admitDeliveries(now)
		s.removeFinished()
		if s.idle() && (s.stop.requested && s.nothingToTry() || len(s.deliveries) == 0 && s.u.retire(s)) {
			break
		}
		s.applyMessageLimit()
		s.notePending(now)
		wanted, next := s.nextAction(now)
		ready := s.updatePermit(wanted)
		wait := time.Hour
		if !next.IsZero() {
			wait = next.Sub(now)
		}
		timer.Reset(wait)
		s.releaseIfWaiting()
		s.await(timer.C, ready)
	}
	s.updatePermit(false)
	s.svc.health.Forget(s)
	s.group.health.Forget(s)
	s.ackFault.Forget()
	s.svc.condition.forget(s)
	for _, d := range s.deliveries {
		s.removeDelivery(d, false)
	}
}

// await waits for the next thing that concerns the sender, and handles it.
func (s *sender) await(timer <-chan time.Time, ready <-chan struct{}) {
	select {
	case <-s.wakeup:
	case <-timer:
	case a := <-s.answers:
		s.answered(a)
	case <-ready:
		p := s.flight.permit
		s.flight.permit = nil
		if p.refused { // the uploader stops while CloudWatch fails
			s.stop.flushed = true
		} else {
			s.buildAndSend(p, time.Now())
		}
	case <-s.stop.signal:
		s.stop.signal, s.stop.requested = nil, true
	case <-s.stop.abort:
		s.stop.abort, s.stop.requested, s.stop.flushed = nil, true, true
	}
}

// updatePermit enters the limiter's queue if a batch is wanted, or leaves it. It returns
// the channel that is closed when the batch may be built, or nil.
func (s *sender) updatePermit(wanted bool) <-chan struct{} {
	switch p := s.flight.permit; {
	case wanted && p == nil:
		s.flight.permit = s.svc.limiter.enqueue(!s.hasLittle(), s.recovery.goesFirst)
		s.recovery.goesFirst = false
	case !wanted && p != nil:
		p.cancel()
		s.flight.permit = nil
	}
	if s.flight.permit == nil {
		return nil
	}
	return s.flight.permit.ready
}

// admitDeliveries takes in the deliveries that have joined. What their feeds already have
// waits for the delay too.
func (s *sender) admitDeliveries(now time.Time) {
	s.members.mu.Lock()
	joined := s.members.joining
	s.members.joining = nil
	s.members.mu.Unlock()
	if len(joined) == 0 {
		return
	}
	if s.limit.applied != maxMessageBytes {
		for _, d := range joined {
			d.setMaxMessage(s.limit.applied)
		}
	}
	s.deliveries = append(s.deliveries, joined...)
	s.dueBy(s.flushAt(now))
}

// removeFinished removes the deliveries that are done or detached and have nothing in
// flight.
func (s *sender) removeFinished() {
	kept := s.deliveries[:0]
	for _, d := range s.deliveries {
		done := d.finished.Load() && d.exhausted() && d.due.IsZero()
		if d.inFlight > 0 || d.needsRewind || !done && !d.detached.Load() {
			kept = append(kept, d)
			continue
		}
		s.removeDelivery(d, done)
	}
	clear(s.deliveries[len(kept):])
	s.deliveries = kept
}

// removeDelivery ends a delivery. Its feed is not called after done or released is closed.
func (s *sender) removeDelivery(d *Delivery, done bool) {
	d.feed.Release()
	s.members.mu.Lock()
	s.members.attached = slices.DeleteFunc(s.members.attached, func(a *Delivery) bool { return a == d })
	s.members.mu.Unlock()
	d.closeLossLogs()
	if done {
		close(d.done)
	}
	close(d.released)
}

// releaseIfWaiting releases the feeds' buffers and files before the sender waits for a
// permit, for the next try or for something to send, because after an outage many senders
// wait. Between two batches of a backlog the feeds keep them.
func (s *sender) releaseIfWaiting() {
	if s.flight.permit != nil {
		select {
		case <-s.flight.permit.ready:
			return
		default:
		}
	} else if len(s.flight.batches) > 0 {
		return
	}
	for _, d := range s.deliveries {
		d.release()
	}
}

// idle reports whether no request is in flight and no batch waits for one.
func (s *sender) idle() bool {
	return len(s.flight.batches) == 0 && s.flight.held == nil && !s.recovery.creating
}

// nothingToTry reports whether a sender that is to stop has nothing more to send.
func (s *sender) nothingToTry() bool {
	return s.stop.flushed || s.recovery.failures > 0 || !s.hasPending()
}

// hasPending reports whether a feed may have something to send.
func (s *sender) hasPending() bool {
	return slices.ContainsFunc(s.deliveries, func(d *Delivery) bool {
		return !d.detached.Load() && (!d.drained || d.notified.Load())
	})
}

// nextAction reports whether a batch should be built now. If not, it returns when to look
// again; the zero time means when the sender is woken.
func (s *sender) nextAction(now time.Time) (wanted bool, next time.Time) {
	switch {
	case s.flight.held != nil, s.recovery.creating, s.recovery.failed(), len(s.flight.batches) >= maxInFlight,
		s.stop.requested && s.stop.flushed, len(s.deliveries) == 0, s.maxMessage() != s.limit.applied:
		return false, time.Time{}
	case now.Before(s.recovery.retryAt):
		return false, s.recovery.retryAt
	case len(s.flight.batches) > 0:
		// A second batch goes in flight only if there is a backlog and nothing fails.
		return s.next.sizer.now == fullSize && s.full(), time.Time{}
	case s.full(), s.stop.requested && s.hasPending():
		return true, time.Time{}
	}
	next = s.next.due
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

// describeFailure describes a failure that begins now for the operator.
func describeFailure(v verdict, err error, a target.Access) *status.Failure {
	return &status.Failure{Kind: kind(err), Err: ErrorText(err), Remedy: hintFor(v, err, a), Since: time.Now()}
}

// reportFailure logs a failure that the sender may share with others, and what the operator
// can do.
func reportFailure(log *faultlog.Shared[*sender], s *sender, f *status.Failure, attrs ...any) {
	attrs = append(attrs, "err", f.Err)
	if f.Remedy != "" {
		attrs = append(attrs, "hint", f.Remedy)
	}
	log.Failed(s, f.Kind, attrs...)
}

// describeBacklog returns attributes for a log line about what waits in the feeds of the
// senders.
func describeBacklog(senders []*sender) []any {
	var all []faultlog.Backlog
	for _, s := range senders {
		s.members.mu.Lock()
		for _, d := range s.members.attached {
			if name, n, at := d.feed.Backlog(); n > 0 {
				all = append(all, faultlog.Backlog{Name: name, Bytes: n, Oldest: at})
			}
		}
		s.members.mu.Unlock()
	}
	return faultlog.Describe(all)
}
