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
	most int

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
	over
)

// firstWindow is how many requests may be in flight before any was answered.
const firstWindow = 4

func newLimiter(most int) *limiter {
	return &limiter{most: most, window: float64(min(firstWindow, most)), threshold: float64(most)}
}

// enqueue takes a place in the queue. The permit must be given back, by release or cancel.
func (b *limiter) enqueue() *permit {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &permit{ready: make(chan struct{}), limiter: b}
	if b.closing && b.failures > 0 {
		b.refuseLocked(p)
		return p
	}
	b.queue = append(b.queue, p)
	b.grantLocked()
	return p
}

// cancel gives the permit back unused, or leaves the queue.
func (p *permit) cancel() {
	b := p.limiter
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endLocked(p)
	b.grantLocked()
}

// endLocked takes the permit, or its place in the queue, back.
func (b *limiter) endLocked(p *permit) {
	if p.state == granted {
		b.inFlight--
	}
	p.state = over
}

// release gives the permit back after the service answered, or did not.
func (p *permit) release(v verdict) {
	b := p.limiter
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endLocked(p)
	switch {
	case v == cancelled, v == badEncoding, p.epoch != b.epoch:
		// No news: ours to stop, to be made again in another encoding, or begun before the failure that is known
		// already.
	case v.shared():
		b.epoch++
		b.failures++
		b.threshold = max(1, b.window/2)
		b.window = b.threshold
		b.until = time.Now().Add(retryDelay(b.failures, maxBackoff))
	default: // it answered, whatever it said
		b.failures, b.until = 0, time.Time{}
		if b.window < b.threshold {
			b.window++
		} else {
			b.window += 1 / b.window
		}
		b.window = min(b.window, float64(b.most))
		if b.window >= float64(b.most) {
			b.threshold = b.window
		}
	}
	b.sendAwayLocked()
	b.grantLocked()
}

// close says that the end is near: what waits for a service that fails is sent away.
func (b *limiter) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closing = true
	b.sendAwayLocked()
}

// sendAwayLocked refuses all who wait, if the end is near and the service fails.
func (b *limiter) sendAwayLocked() {
	if !b.closing || b.failures == 0 {
		return
	}
	for _, p := range b.queue {
		if p.state == waiting {
			b.refuseLocked(p)
		}
	}
	b.queue = nil
}

// stop ends the timer.
func (b *limiter) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
	}
}

func (b *limiter) refuseLocked(p *permit) {
	p.state, p.refused = over, true
	close(p.ready)
}

// grantLocked lets as many go as may.
func (b *limiter) grantLocked() {
	for len(b.queue) > 0 && b.queue[0].state == over {
		b.queue = b.queue[1:]
	}
	if len(b.queue) == 0 {
		b.queue = nil
		return
	}
	if wait := time.Until(b.until); wait > 0 {
		if b.timer == nil {
			b.timer = time.AfterFunc(wait, b.grant)
		} else {
			b.timer.Reset(wait)
		}
		return
	}
	for len(b.queue) > 0 && b.inFlight < int(b.window) {
		p := b.queue[0]
		b.queue[0] = nil
		b.queue = b.queue[1:]
		if p.state == over {
			continue
		}
		p.state, p.epoch = granted, b.epoch
		b.inFlight++
		close(p.ready)
	}
}

func (b *limiter) grant() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.grantLocked()
}
