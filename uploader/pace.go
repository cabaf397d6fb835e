package uploader

import (
	"time"

	"github.com/logspool/logspool/internal/backoff"
)

// pace is how fast the requests of one kind follow each other. The limiter's lock guards it.
//
// After a failure, the requests wait a random time, which grows with each failure in a row.
//
// Throttling is not an outage: all hosts of an account share a quota, and each host must find
// its share. So a host that was throttled makes a pause between its requests. Each throttled
// request makes the pause longer, and each answer raises the rate. Because the steps are about
// the same on all hosts, a host with a higher rate loses more than it wins, and the rates
// become equal (docs/decisions/0011-shares-of-a-quota.md). Many answers in a row mean that the
// quota is free. Then the rate rises quickly.
//
// The first requests after an outage make a short pause, because all hosts come back then.
type pace struct {
	failures int       // failures counts the failures in a row. A throttled request counts as the first one.
	until    time.Time // until is the time before which no request of the kind begins.
	// pause is the longest time from the beginning of a request to that of the next one.
	pause time.Duration
	// streak counts the answers in a row while there is a pause.
	streak int
}

const (
	// maxPauseStep is the most that a throttled request adds to the pause. A shorter pause
	// doubles.
	maxPauseStep = time.Second
	// rateStep is what an answer adds to the rate, in requests per second: once for each second
	// of the pause, but at least once.
	rateStep = 0.01
	// longStreak is how many answers in a row make the steps larger.
	longStreak = 8
	// outageFailures is how many failures in a row are an outage.
	outageFailures = 4
	// outageStreak is the streak after an outage. With it, the pause ends after a few answers.
	outageStreak = 200
)

// failed makes the requests wait after a failure.
func (p *pace) failed() {
	p.failures++
	if p.failures >= outageFailures {
		p.pause, p.streak = firstBackoff, outageStreak
	}
	p.until = time.Now().Add(retryDelay(p.failures, maxBackoff))
}

// throttled makes the requests wait after CloudWatch has throttled one. alone says that no
// other was in flight, so that only a pause makes the rate lower.
func (p *pace) throttled(alone bool) {
	p.failures, p.streak = 1, 0
	if alone || p.pause > 0 {
		p.pause = min(p.pause+min(max(p.pause, firstBackoff), maxPauseStep), maxBackoff)
	}
	p.until = time.Now().Add(retryDelay(1, maxBackoff))
	p.begun()
}

// notBefore makes the requests wait until another kind has tried.
func (p *pace) notBefore(t time.Time) {
	p.failures = max(p.failures, 1)
	if p.until.Before(t) {
		p.until = t
	}
}

// begun makes the next request wait for the pause, because one has begun.
func (p *pace) begun() {
	if p.pause > 0 {
		p.until = time.Now().Add(backoff.Jitter(p.pause/2, p.pause))
	}
}

// answered ends the wait after a failure.
func (p *pace) answered() {
	p.failures = 0
	if most := time.Now().Add(p.pause); p.until.After(most) {
		p.until = most
	}
}

// faster makes the pause shorter after the answer to a request of this kind.
func (p *pace) faster() {
	if p.pause == 0 {
		return
	}
	p.streak++
	steps := max(1, p.pause.Seconds())
	if n := float64(p.streak) / longStreak; n > 1 {
		steps *= n * n
	}
	p.pause = time.Duration(float64(time.Second) / (1/p.pause.Seconds() + steps*rateStep))
	if p.pause < minBackoff {
		p.pause = 0
	}
}
