package driver

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// slowRate is what all followers together get a second, in bytes, of containers that outrun them. An entry costs
	// dockerd and the docker command some ten microseconds, so with lines of 100 bytes this is a twentieth of one processor.
	slowRate = 512 << 10

	// floodRate is what a container writes at least, in bytes a second, for its followers to be slowed down. It is looked
	// at over floodTime.
	floodRate = 1 << 20
	floodTime = 100 * time.Millisecond

	// paceWindow is over how many bytes, written and read, it is found out whether a follower keeps up.
	paceWindow = 1 << 20

	// Followers are slowed down for firstPause, then tried at full speed, and slowed down for twice as long if they still
	// do not keep up, for longestPause at most.
	firstPause   = 500 * time.Millisecond
	longestPause = 10 * time.Second
)

func newSlowRate() *rate.Limiter { return rate.NewLimiter(slowRate, answerSize) }

// outrun slows the followers of a container down, while it writes more than one of them can read. If that goes on,
// such a follower loses entries at any speed, for a history is bounded and the container waits for nobody; but dockerd
// works hard for each entry that it is given, and twenty followers at full speed take nine tenths of its throughput from
// the container on two processors. The price is that one that is slowed down loses more of a burst that is a little larger
// than the history. Its methods may be called from any goroutine.
type outrun struct {
	end     func() uint64 // of the stream
	limiter *rate.Limiter // what all followers that are slowed down share, of all containers

	// mu guards what follows.
	mu    sync.Mutex
	flood bool      // whether the container wrote much before
	since time.Time // that time,
	from  uint64    // when the end was there
	until time.Time // followers are slowed down,
	pause time.Duration
}

func newOutrun(end func() uint64, limiter *rate.Limiter) *outrun {
	return &outrun{end: end, limiter: limiter, since: time.Now(), from: end()}
}

// slow reports whether a follower is to be slowed down; lost says that it did not keep up.
func (o *outrun) slow(lost bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if passed := now.Sub(o.since); passed >= floodTime {
		end := o.end()
		o.flood = float64(end-o.from) >= floodRate*passed.Seconds()
		o.since, o.from = now, end
	}
	switch {
	case !o.flood:
		return false
	case now.Before(o.until):
		return true
	case !lost:
		return false
	}
	if now.Sub(o.until) > longestPause { // of another flood
		o.pause = firstPause
	}
	o.until = now.Add(o.pause)
	o.pause = min(2*o.pause, longestPause)
	return true
}

// pace is one follower's account of whether it keeps up.
type pace struct {
	*outrun
	read int    // bytes since
	from uint64 // the end was there
}

func newPace(o *outrun) pace { return pace{outrun: o, from: o.end()} }

// wait is called when n bytes have been given to the follower and there is more. It waits if the follower is to be
// slowed down.
func (p *pace) wait(ctx context.Context, n int) {
	p.read += n
	written := int(p.end() - p.from)
	lost := false
	if written+p.read >= paceWindow {
		lost = written > p.read
		p.caughtUp() // with what was looked at
	}
	if p.slow(lost) {
		_ = p.limiter.WaitN(ctx, min(n, answerSize))
		p.caughtUp() // when it is tried again, by what it does then
	}
}

// caughtUp is called when there is nothing more to give.
func (p *pace) caughtUp() { p.read, p.from = 0, p.end() }
