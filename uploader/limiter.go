package uploader

import (
	"sync"
	"sync/atomic"
	"time"
)

// limiter limits how many requests of one access are in flight, first come, first served.
// The limit grows with each answer. When CloudWatch fails or throttles, the limit is
// halved, down to one request, and all senders wait a random time. During an outage there
// is therefore one request at a time, whatever the number of senders, and they do not all
// come back at once.
type limiter struct {
	max int // max is the most that window can be.

	limit atomic.Int64 // limit is the whole part of window, for the status.

	mu        sync.Mutex // mu guards the fields below.
	window    float64    // window is how many requests may be in flight.
	threshold float64    // threshold is the window above which growth is slow.
	inFlight  int
	queue     []*permit
	failures  int       // failures counts the failures in a row.
	epoch     int       // epoch counts failures, so that answers to earlier requests are ignored.
	until     time.Time // until is the time before which no request begins.
	timer     *time.Timer
	closing   bool
}

// permit is a place in the limiter's queue, and then the right to send one request.
type permit struct {
	// ready is closed when the request may be sent or is refused.
	ready chan struct{}

	limiter *limiter
	// epoch is the limiter's epoch when the request was granted, and guarded by the
	// limiter's lock.
	epoch int
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

func newLimiter(most int) *limiter {
	l := &limiter{max: most, window: float64(min(firstWindow, most)), threshold: float64(most)}
	l.limit.Store(int64(l.window))
	return l
}

// enqueue returns a place in the queue. The caller must give the permit back with release
// or cancel.
func (l *limiter) enqueue() *permit {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &permit{ready: make(chan struct{}), limiter: l}
	if l.closing && l.failures > 0 {
		l.refuseLocked(p)
		return p
	}
	l.queue = append(l.queue, p)
	l.grantLocked()
	return p
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
		l.inFlight--
	}
	p.state = ended
}

// release returns the permit after its request, with the verdict on the answer.
func (p *permit) release(v verdict) {
	l := p.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked(p)
	switch {
	case v == cancelled, v == badEncoding, p.epoch != l.epoch:
		// These answers say nothing about CloudWatch now: the uploader stops, the request is
		// sent again in another encoding, or it began before the last failure.
	case v.shared():
		l.epoch++
		l.failures++
		l.threshold = max(1, l.window/2)
		l.window = l.threshold
		l.until = time.Now().Add(retryDelay(l.failures, maxBackoff))
	default: // CloudWatch has answered, even if it refused the request
		l.failures, l.until = 0, time.Time{}
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
	l.limit.Store(int64(l.window))
	l.refuseWaitingLocked()
	l.grantLocked()
}

// close says that the uploader stops, so that nobody waits for CloudWatch while it fails.
func (l *limiter) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	l.refuseWaitingLocked()
}

// refuseWaitingLocked refuses all waiting permits if the uploader stops while CloudWatch
// fails.
func (l *limiter) refuseWaitingLocked() {
	if !l.closing || l.failures == 0 {
		return
	}
	for _, p := range l.queue {
		if p.state == waiting {
			l.refuseLocked(p)
		}
	}
	l.queue = nil
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
	for ; len(l.queue) > 0; l.queue = l.queue[1:] {
		p := l.queue[0]
		if p.state == waiting {
			if wait := time.Until(l.until); wait > 0 {
				if l.timer == nil {
					l.timer = time.AfterFunc(wait, l.grant)
				} else {
					l.timer.Reset(wait)
				}
				return
			}
			if l.inFlight >= int(l.window) {
				return
			}
			p.state, p.epoch = granted, l.epoch
			l.inFlight++
			close(p.ready)
		}
		l.queue[0] = nil
	}
	l.queue = nil
}

func (l *limiter) grant() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grantLocked()
}
