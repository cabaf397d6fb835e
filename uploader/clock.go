package uploader

import (
	"net/http"
	"sync/atomic"
	"time"
)

// maxClockError is how wrong the host's clock may be before that is a failure. AWS accepts a
// signature that is five minutes old.
const maxClockError = 5 * time.Minute

// clock compares the host's clock with AWS's, which is in each answer. Any goroutine may use it.
type clock struct{ ahead atomic.Int64 }

// observe reads the header of an answer. An answer without a request ID is not AWS's.
func (c *clock) observe(h http.Header) {
	if h.Get("X-Amzn-Requestid") == "" {
		return
	}
	if at, err := http.ParseTime(h.Get("Date")); err == nil {
		c.ahead.Store(int64(time.Since(at)))
	}
}

// noteClock logs when the host's clock is wrong, and when it is right again. ahead is how far
// it is ahead of AWS's. The SDK corrects the time of its signatures, so requests do not fail.
func (svc *service) noteClock(ahead time.Duration) {
	svc.ahead.Store(int64(ahead))
	switch wrong := ahead.Abs() > maxClockError; {
	case wrong:
		svc.wrongClock.Store(true)
		text := "behind"
		if ahead > 0 {
			text = "ahead"
		}
		svc.u.clock.Failed(svc, text, "err", "the host's clock is "+aheadText(ahead),
			"hint", "set the host's clock, and run an NTP client such as chrony")
	case svc.wrongClock.CompareAndSwap(true, false):
		svc.u.clock.Succeeded(svc)
	}
}
