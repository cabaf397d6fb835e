package uploader

import (
	"sync"
	"time"
)

// limiter lets requests of one access through, first come first served. While all goes well
// the number in flight grows with each answer up to a limit; when the service fails or throttles, the
// number is halved, down to one probe at a time, and all wait a jittered while. Every sender
// asks it, so an outage costs one request at a time whatever the number of senders, and its end is no stampede.
type limiter struct {
	max int

	mu        sync.Mutex
	window    float64 // requests that may be in flight
	threshold float64 // above it the window grows slowly: there it was when trouble began
	inFlight  int
	queue     []*permit
	failures  int       // in a row
	epoch     int       // grows with each failure; answers to requests from before it are no news
	until     time.Time // nothing starts before
	timer     *time.Timer
	closing   bool
}

// permit is a place in the queue and then the right to make one request.
type permit struct {
	// ready is closed when the request may be made, or, with refused set, when it is not worth waiting for.
	ready chan struct{}

	// Guarded by the limiter's lock until ready is closed.
	limiter *limiter
	epoch   int
	state   permitState
	refused bool
}

type permitState int

const (
	waiting permitState = iota
	granted
	ended
)

// firstWindow is how many requests may be in flight before any was answered.
const firstWindow = 4

func newLimiter(most int) *limiter {
	return &limiter{max: most, window: float64(min(firstWindow, most)), threshold: float64(most)}
}

// enqueue takes a place in the queue. The permit must be given back, by release or cancel.
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

// endLocked takes the permit, or its place in the queue, back.
func (l *limiter) endLocked(p *permit) {
	if p.state == granted {
		l.inFlight--
	}
	p.state = ended
}

// release gives the permit back after the service answered, or did not.
func (p *permit) release(v verdict) {
	l := p.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked(p)
	switch {
	case v == cancelled, v == badEncoding, p.epoch != l.epoch:
		// No news: ours to stop, to be made again in another encoding, or begun before the failure that is known
		// already.
	case v.shared():
		l.epoch++
		l.failures++
		l.threshold = max(1, l.window/2)
		l.window = l.threshold
		l.until = time.Now().Add(retryDelay(l.failures, maxBackoff))
	default: // it answered, whatever it said
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
	l.refuseWaitingLocked()
	l.grantLocked()
}

// close says that the end is near: what waits for a service that fails is sent away.
func (l *limiter) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	l.refuseWaitingLocked()
}

// refuseWaitingLocked refuses all who wait, if the end is near and the service fails.
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

// grantLocked lets as many go as may.
func (l *limiter) grantLocked() {
	for len(l.queue) > 0 && l.queue[0].state == ended {
		l.queue = l.queue[1:]
	}
	if len(l.queue) == 0 {
		l.queue = nil
		return
	}
	if wait := time.Until(l.until); wait > 0 {
		if l.timer == nil {
			l.timer = time.AfterFunc(wait, l.grant)
		} else {
			l.timer.Reset(wait)
		}
		return
	}
	for len(l.queue) > 0 && l.inFlight < int(l.window) {
		p := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		if p.state == ended {
			continue
		}
		p.state, p.epoch = granted, l.epoch
		l.inFlight++
		close(p.ready)
	}
}

func (l *limiter) grant() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grantLocked()
}
