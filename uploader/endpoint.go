package uploader

import (
	"sync/atomic"

	"golang.org/x/time/rate"

	"github.com/logspool/logspool/internal/target"
)

// endpoint is what all accesses of one region and endpoint share: what is known about
// CloudWatch there, and the rates of the calls that create. Any goroutine may use it.
//
// The rates stay below the quotas of an account and region. Two roles may belong to one
// account, so they share the rates. If they do not, the lower rate costs little. A sender
// does not hold a permit while it waits for a rate, so a failing role does not delay
// another.
type endpoint struct {
	streams    *rate.Limiter // streams limits the calls of CreateLogStream.
	groups     *rate.Limiter // groups limits the calls of CreateLogGroup.
	retentions *rate.Limiter // retentions limits the calls of PutRetentionPolicy.

	gzip       gzipSupport
	maxMessage atomic.Int64 // maxMessage is the message limit in bytes, as CloudWatch counts them.
}

func newEndpoint() *endpoint {
	e := &endpoint{
		streams:    rate.NewLimiter(createStreamsPerSecond, createStreamsBurst),
		groups:     rate.NewLimiter(createGroupsPerSecond, createGroupsBurst),
		retentions: rate.NewLimiter(putRetentionsPerSecond, putRetentionsBurst),
	}
	e.maxMessage.Store(maxMessageBytes)
	return e
}

// lowerMaxMessage sets a smaller limit, and reports whether it is smaller than the one
// before.
func (e *endpoint) lowerMaxMessage(n int) bool {
	for {
		old := e.maxMessage.Load()
		if int64(n) >= old {
			return false
		}
		if e.maxMessage.CompareAndSwap(old, int64(n)) {
			return true
		}
	}
}

// messageLimit is how long a message of one sender may be. It does not apply to other
// senders.
type messageLimit struct {
	applied int  // applied is the limit that the feeds were given.
	guess   int  // guess is the limit that a refusal without a reason suggests.
	wrong   bool // wrong says that an event within guess was refused too.
}

// maxMessage returns how long a message may be.
func (s *sender) maxMessage() int { return min(s.limit.guess, int(s.svc.endpoint.maxMessage.Load())) }

// applyMessageLimit makes the feeds divide longer events after the limit has changed. It
// does nothing while a batch is in flight, because the feeds start again from what is
// acknowledged.
func (s *sender) applyMessageLimit() {
	if s.limit.wrong && s.idle() && !s.hasPending() { // no part of the refused event is left
		s.limit.guess, s.limit.wrong = maxMessageBytes, false
	}
	n := s.maxMessage()
	if n == s.limit.applied || !s.idle() {
		return
	}
	s.limit.applied = n
	for _, d := range s.deliveries {
		d.setMaxMessage(n)
	}
}

// learnMessageLimit looks for a smaller limit in the error that refused a batch. It reports
// whether it found one that an event of the batch exceeds. A limit that CloudWatch states
// holds for the endpoint. A guess holds for this stream only, because the event may have
// been refused for another reason.
func (s *sender) learnMessageLimit(a answer) bool {
	var longest int
	for _, r := range a.batch.records {
		longest = max(longest, int(r.bytes))
	}
	n, stated, ok := eventLimitOf(a.err, len(a.batch.records))
	if !ok || n >= longest || n >= s.limit.applied {
		return false
	}
	if !stated {
		s.limit.guess = n
	} else if s.svc.endpoint.lowerMaxMessage(n) {
		s.svc.log.Warn("the endpoint's limit for a log event is smaller than CloudWatch's; longer events are divided",
			"bytes", n+eventOverhead, "err", ErrorText(a.err))
	}
	return true
}

// dropEntity makes the sender send without the entity if the error is about it, and reports
// whether it is. An invalid entity must not cost events.
func (s *sender) dropEntity(err error) bool {
	if s.target.Entity == (target.Entity{}) || !isAboutEntity(err) {
		return false
	}
	s.log.Warn("CloudWatch refuses the entity; the events are sent without it", "err", ErrorText(err), "entity", s.target.Entity)
	s.target.Entity = target.Entity{}
	return true
}

// entityRejected logs that CloudWatch accepted events without their entity. It logs each
// error once.
func (s *sender) entityRejected(errorType string) {
	if errorType == "" || s.loggedRejections[errorType] {
		return
	}
	if s.loggedRejections == nil {
		s.loggedRejections = map[string]bool{}
	}
	s.loggedRejections[errorType] = true
	s.log.Warn("CloudWatch rejected the entity; the events themselves are delivered", "reason", errorType, "entity", s.target.Entity)
}
