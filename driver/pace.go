package driver

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

const (
	// outrunRate is what all followers together get a second, in bytes, of containers that outrun them. An entry costs
	// dockerd and the docker command some ten microseconds, so with lines of 100 bytes this is a twentieth of one processor.
	outrunRate = 512 << 10

	// floodRate is what a container writes at least, in bytes a second, for its followers to be slowed down.
	floodRate = 1 << 20

	// paceWindow is over how many bytes, written and read, it is found out whether a follower keeps up.
	paceWindow = 1 << 20

	// paceTrial is after what time a follower that is slowed down may show that it would keep up by now.
	paceTrial = 10 * time.Second
)

func newOutrun() *rate.Limiter { return rate.NewLimiter(outrunRate, answerSize) }

// pace slows a follower down that the container outruns, while it does. Such a follower loses entries in any case, for
// a history is bounded and the container waits for nobody; but dockerd works hard for each entry that it is given, and
// twenty followers at full speed take nine tenths of its throughput from the container on two processors.
type pace struct {
	end     func() uint64 // of the stream
	limiter *rate.Limiter // what all that are outrun share

	outrun bool
	until  time.Time // when it is tried again whether it is

	read  int       // bytes since
	from  uint64    // the end was there,
	since time.Time // and it was then
}

func newPace(end func() uint64, limiter *rate.Limiter) pace {
	return pace{end: end, limiter: limiter, from: end(), since: time.Now()}
}

// wait is called when n bytes have been given to the follower and there is more. It waits if the container outruns it.
func (p *pace) wait(ctx context.Context, n int) {
	p.read += n
	now := time.Now()
	written := int(p.end() - p.from)
	flood := float64(written) >= floodRate*now.Sub(p.since).Seconds()
	switch {
	case p.outrun && (!flood || now.After(p.until)):
		p.outrun = false
		p.begin(now)
	case p.outrun:
		p.begin(now)
	case written+p.read >= paceWindow:
		if flood && written > p.read {
			p.outrun, p.until = true, now.Add(paceTrial)
		}
		p.begin(now)
	}
	if p.outrun {
		_ = p.limiter.WaitN(ctx, min(n, answerSize))
	}
}

// begin begins a window.
func (p *pace) begin(now time.Time) { p.read, p.from, p.since = 0, p.end(), now }

// caughtUp is called when there is nothing more to give.
func (p *pace) caughtUp() {
	p.outrun = false
	p.begin(time.Now())
}
