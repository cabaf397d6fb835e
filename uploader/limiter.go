package uploader

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// limiter limits how many requests of one access are in flight. A sender with little to send
// goes before those with a backlog. Among equals, the first to come is the first served.
//
// The window bounds all requests. It grows with each answer. When CloudWatch fails, the window
// is halved, down to one request, and the senders wait a random time. During an outage there is
// therefore one request at a time, whatever the number of senders, and they do not all come
// back at once. When CloudWatch throttles a request, the window is one request, and grows
// quickly to half of what was in flight. If that was one, the next requests make a pause (pace).
//
// CloudWatch does not say whether it throttles a stream or the account. So if a backlog's
// request fails, only backlogs wait, and small requests go on as long as CloudWatch answers
// them. If a small request fails, all senders wait.
//
// Backlogs leave a quarter of the window free, and their own limit (backlogWindow) keeps them
// from filling a queue in front of CloudWatch in which every other request waits.
type limiter struct {
	max int // max is the most that window can be.

	limit atomic.Int64 // limit is the whole part of window, for the status.

	mu        sync.Mutex // mu guards the fields below.
	window    float64    // window is how many requests may be in flight.
	threshold float64    // threshold is the window above which growth is slow.
	little    waiters    // little are the requests of senders with little to send.
	backlog   waiters    // backlog are the requests of senders with a backlog.
	passed    int        // passed counts in a row the requests that were granted while a backlog waited.
	share     backlogWindow
	epoch     int // epoch counts failures, so that answers to earlier requests are ignored.
	timer     *time.Timer
	closing   bool
}

// waiters are the requests of one kind.
type waiters struct {
	queue    []*permit
	inFlight int
	pace
}

// permit is a place in the limiter's queue, and then the right to send one request.
type permit struct {
	// ready is closed when the request may be sent or is refused.
	ready chan struct{}

	limiter *limiter
	// backlog says that the request is one of a sender with a backlog.
	backlog bool
	// epoch is the limiter's epoch when the request was granted, and guarded by the
	// limiter's lock.
	epoch int
	// round is backlogWindow's round when the request was granted, and guarded by the
	// limiter's lock.
	round int
	// state is guarded by the limiter's lock.
	state permitState
	// refused says that the request is not worth waiting for, and is guarded by the
	// limiter's lock until ready is closed.
	refused bool
}

type permitState int

const (
	waiting permitState = iota
	granted
	ended
)

// firstWindow is how many requests may be in flight before the first answer.
const firstWindow = 4

// maxPassed is how many requests in a row may be granted before one of a backlog that waits.
const maxPassed = 3

func newLimiter(most int) *limiter {
	l := &limiter{max: most, window: float64(min(firstWindow, most)), threshold: float64(most)}
	l.share.limit = firstWindow
	l.limit.Store(int64(l.window))
	return l
}

// enqueue returns a place in the queue. backlog says that the sender has a backlog, and first
// that it goes before the others of its kind. The caller must give the permit back with release
// or cancel.
func (l *limiter) enqueue(backlog, first bool) *permit {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &permit{ready: make(chan struct{}), limiter: l, backlog: backlog}
	w := l.waitersOf(p)
	if l.closing && w.failures > 0 {
		l.refuseLocked(p)
		return p
	}
	if first {
		w.queue = slices.Insert(w.queue, 0, p)
	} else {
		w.queue = append(w.queue, p)
	}
	l.grantLocked()
	return p
}

func (l *limiter) waitersOf(p *permit) *waiters {
	if p.backlog {
		return &l.backlog
	}
	return &l.little
}

// cancel gives the permit back unused, or leaves the queue.
func (p *permit) cancel() {
	l := p.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked(p)
	l.grantLocked()
}

// endLocked takes back the permit, or its place in the queue.
func (l *limiter) endLocked(p *permit) {
	if p.state == granted {
		l.waitersOf(p).inFlight--
	}
	p.state = ended
}

// release returns the permit after its request, with the verdict on the answer. took is the
// response time if the batch was large, and zero otherwise: only the times of batches of about
// the same size can be compared.
func (p *permit) release(v verdict, took time.Duration) {
	l := p.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	w, backlogs, all := l.waitersOf(p), l.backlog.inFlight, l.little.inFlight+l.backlog.inFlight
	l.endLocked(p)
	switch {
	case v == cancelled, v == badEncoding, p.epoch != l.epoch:
		// These answers say nothing about CloudWatch now: the uploader stops, the request is
		// sent again in another encoding, or it began before the last failure.
	case v == throttled:
		l.epoch++
		l.threshold = max(1, min(l.window, float64(all))/2)
		l.window = 1
		w.throttled(all == 1)
		if !p.backlog {
			l.backlog.notBefore(l.little.until) // a small request tries first
		}
	case v.shared():
		l.epoch++
		l.threshold = max(1, l.window/2)
		l.window = l.threshold
		w.failed()
		if !p.backlog {
			l.backlog.failed()
			l.backlog.notBefore(l.little.until)
		}
	default: // CloudWatch has answered, even if it refused the request
		w.faster()
		l.backlog.answered()
		l.little.answered()
		l.growLocked()
		if p.backlog && took > 0 {
			l.share.answered(p.round, took, backlogs, time.Now())
		}
	}
	l.limit.Store(int64(l.window))
	l.refuseWaitingLocked()
	l.grantLocked()
}

// growLocked grows the window after an answer.
func (l *limiter) growLocked() {
	if l.window < l.threshold {
		l.window++
	} else {
		l.window += 1 / l.window
	}
	l.window = min(l.window, float64(l.max))
	if l.window >= float64(l.max) {
		l.threshold = l.window
	}
}

// close says that the uploader stops, so that nobody waits for CloudWatch while it fails.
func (l *limiter) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	l.refuseWaitingLocked()
}

// refuseWaitingLocked refuses all permits that wait because CloudWatch fails, if the uploader
// stops.
func (l *limiter) refuseWaitingLocked() {
	for _, w := range []*waiters{&l.little, &l.backlog} {
		if !l.closing || w.failures == 0 {
			continue
		}
		for _, p := range w.queue {
			if p.state == waiting {
				l.refuseLocked(p)
			}
		}
		w.queue = nil
	}
}

// stop ends the timer.
func (l *limiter) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}

func (l *limiter) refuseLocked(p *permit) {
	p.state, p.refused = ended, true
	close(p.ready)
}

// grantLocked grants as many waiting permits as the window allows.
func (l *limiter) grantLocked() {
	l.little.skipEnded()
	l.backlog.skipEnded()
	if len(l.little.queue)+len(l.backlog.queue) == 0 {
		return
	}
	now := time.Now()
	for l.little.inFlight+l.backlog.inFlight < int(l.window) {
		little := len(l.little.queue) > 0 && !now.Before(l.little.until)
		backlog := len(l.backlog.queue) > 0 && !now.Before(l.backlog.until) && l.backlog.inFlight < l.backlogLimitLocked()
		switch {
		case backlog && (!little || l.passed >= maxPassed):
			l.passed = 0
			l.backlog.queue[0].round = l.share.round
			l.grantFirstLocked(&l.backlog)
		case little:
			l.passed++
			l.grantFirstLocked(&l.little)
		default:
			l.setTimerLocked(now)
			return
		}
	}
}

// backlogLimitLocked returns how many requests of backlogs may be in flight.
func (l *limiter) backlogLimitLocked() int {
	w := int(l.window)
	return max(1, min(w-(w+3)/4, l.share.most()))
}

// grantFirstLocked grants the first permit of the queue.
func (l *limiter) grantFirstLocked(w *waiters) {
	p := w.queue[0]
	p.state, p.epoch = granted, l.epoch
	w.inFlight++
	w.begun()
	close(p.ready)
	w.skipEnded()
}

// skipEnded removes the permits at the head of the queue that do not wait any more.
func (w *waiters) skipEnded() {
	for len(w.queue) > 0 && w.queue[0].state != waiting {
		w.queue[0] = nil
		w.queue = w.queue[1:]
	}
	if len(w.queue) == 0 {
		w.queue = nil
	}
}

// setTimerLocked sets the timer to the end of the first wait after a failure.
func (l *limiter) setTimerLocked(now time.Time) {
	var wait time.Duration
	for _, w := range []*waiters{&l.little, &l.backlog} {
		if d := w.until.Sub(now); len(w.queue) > 0 && d > 0 && (wait == 0 || d < wait) {
			wait = d
		}
	}
	switch {
	case wait == 0:
	case l.timer == nil:
		l.timer = time.AfterFunc(wait, l.grant)
	default:
		l.timer.Reset(wait)
	}
}

func (l *limiter) grant() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grantLocked()
}
