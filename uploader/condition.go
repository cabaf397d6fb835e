package uploader

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/status"
)

// throttledPeriod is how long a service counts as throttled after CloudWatch has throttled a
// request, although it accepts others. Without it, a service whose every second request is
// throttled would change its state with each answer.
const throttledPeriod = 30 * time.Second

// condition is the state of a service for the status: what the last answers prove.
//
//   - A failure of the access (throttled, unauthenticated, unreachable, failing) begins with an
//     answer that says so. It ends with the next answer that proves that the access works, even
//     if that answer refuses the request. The log follows the same rule (service.put).
//   - Throttling lasts at least throttledPeriod after the last throttled request.
//   - A failure of a target (denied, failing) is the state of the service only if nothing has been
//     accepted since that failure began. Otherwise only that log group fails, and the status
//     of its containers says so. It ends when something is accepted, or when its sender ends.
//
// Readers take no lock.
type condition struct {
	now     atomic.Pointer[standing] // now is never nil.
	proved  atomic.Int64             // proved is when an answer last proved the access, in nanoseconds since 1970.
	success atomic.Int64             // success is when a batch was last accepted, in the same unit.

	mu sync.Mutex // mu is held while now is replaced.
}

// standing is an immutable state of a service.
type standing struct {
	state  string
	since  time.Time
	reason *status.Failure // reason is the last failure, and nil if the state is idle or ok.
	last   time.Time       // last is when the last failure was reported.
	target *sender         // target is the sender whose target fails, and nil for a failure of the access.
}

func (c *condition) init() { c.now.Store(&standing{state: status.ServiceIdle}) }

// stateOf returns the state that a failure means.
func stateOf(v verdict, err error) string {
	switch {
	case v == throttled:
		return status.ServiceThrottled
	case v == unauthenticated:
		return status.ServiceUnauthenticated
	case v == denied:
		return status.ServiceDenied
	case v == unavailable && !hasAnswer(err):
		return status.ServiceUnreachable
	default:
		return status.ServiceFailing
	}
}

// failed records a failure of the access.
func (c *condition) failed(state string, why *status.Failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replaceLocked(standing{state: state, reason: why, last: time.Now()})
}

// targetFailed records a failure of the sender's target, which began at why.Since.
func (c *condition) targetFailed(s *sender, state string, why *status.Failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.proved.Store(now.UnixNano())
	if c.throttledLocked(now) {
		return
	}
	if c.success.Load() < why.Since.UnixNano() {
		c.replaceLocked(standing{state: state, reason: why, last: now, target: s})
	} else if cur := c.now.Load(); cur.target == nil {
		c.replaceLocked(standing{state: status.ServiceOK})
	}
}

// answered records an answer that proves that the access works. accepted says that CloudWatch
// accepted a batch.
func (c *condition) answered(accepted bool) {
	now := time.Now()
	c.proved.Store(now.UnixNano())
	if accepted {
		c.success.Store(now.UnixNano())
	}
	if c.now.Load().state == status.ServiceOK {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.throttledLocked(now) || c.now.Load().target != nil && !accepted {
		return
	}
	c.replaceLocked(standing{state: status.ServiceOK})
}

// forget ends a failure of the target of a sender that has ended.
func (c *condition) forget(s *sender) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now.Load().target == s {
		c.replaceLocked(standing{state: status.ServiceOK})
	}
}

// throttledLocked reports whether CloudWatch has throttled a request in the last
// throttledPeriod, and nothing worse has happened since.
func (c *condition) throttledLocked(now time.Time) bool {
	cur := c.now.Load()
	return cur.state == status.ServiceThrottled && now.Sub(cur.last) < throttledPeriod
}

// replaceLocked replaces the state. A state that lasts keeps its beginning.
func (c *condition) replaceLocked(next standing) {
	if cur := c.now.Load(); cur.state == next.state {
		next.since = cur.since
	} else {
		next.since = time.Now()
	}
	c.now.Store(&next)
}

// get returns the state at now. Throttling ends without another request if an answer has
// proved that the access works.
func (c *condition) get(now time.Time) standing {
	cur := *c.now.Load()
	if cur.state == status.ServiceThrottled && c.proved.Load() > cur.last.UnixNano() && now.Sub(cur.last) >= throttledPeriod {
		return standing{state: status.ServiceOK, since: cur.last.Add(throttledPeriod)}
	}
	return cur
}

// accessFailure returns the failure of the access that lasts now, or nil. It does not return
// throttling while some requests succeed.
func (c *condition) accessFailure() (why *status.Failure, since time.Time) {
	cur := c.now.Load()
	if cur.reason == nil || cur.target != nil || cur.state == status.ServiceThrottled && c.proved.Load() > cur.last.UnixNano() {
		return nil, time.Time{}
	}
	return cur.reason, cur.since
}
