package readlogs

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// followRate is how many entries a second a slowed follower may read if it is the only
	// one, and followBurst how many at once. dockerd and the docker command take 10 to 20
	// µs for an entry.
	followRate  = 32768
	followBurst = 65536

	// maxShare bounds the cost of an entry: this many slowed followers, or more, get
	// followRate/maxShare entries a second together.
	maxShare = 8

	// slowedEntries is how many entries a slowed follower reads at a time. An entry of more
	// than entryBytes counts as several.
	slowedEntries = 64
	entryBytes    = 4096

	// A container floods if it wrote more than floodRate bytes a second during the last
	// floodWindow.
	floodRate   = 256 << 10
	floodWindow = 100 * time.Millisecond
)

// Throttle is a rate limit that followers (docker logs -f) share while they lag behind
// containers that flood. dockerd works hard for each entry that it passes on: twenty
// followers at full speed would leave such a container a tenth of its throughput on two
// processors. An entry costs as many tokens as there are slowed followers, so the more
// there are, the less they get in total. A follower that is too slow misses what leaves the
// history, because a container never waits for it.
//
// Its methods may be called from any goroutine.
type Throttle struct {
	// Limiter is the shared limit in tokens, with a burst of at least slowedEntries times
	// maxShare.
	Limiter *rate.Limiter

	// slowed is how many followers are slowed.
	slowed atomic.Int32
}

// NewThrottle returns the throttle for all containers of a plugin.
func NewThrottle() *Throttle {
	return &Throttle{Limiter: rate.NewLimiter(followRate, followBurst)}
}

// follower is one docker logs -f. One goroutine calls its methods.
type follower struct {
	throttle *Throttle
	end      func() uint64 // end returns the end of the container's stream.
	cost     int           // cost is what the follower read since the last wait, in tokens of a lone follower.

	slowed bool
	since  time.Time // since is when the current window began.
	from   uint64    // from is the end of the stream at since.
}

// follow adds a follower. It is slowed until it has caught up or its first window is over.
func (t *Throttle) follow(end func() uint64) *follower {
	f := &follower{throttle: t, end: end}
	f.setSlowed(true)
	return f
}

// setSlowed begins a window.
func (f *follower) setSlowed(slowed bool) {
	switch {
	case slowed && !f.slowed:
		f.throttle.slowed.Add(1)
	case !slowed && f.slowed:
		f.throttle.slowed.Add(-1)
	}
	f.slowed, f.since, f.from = slowed, time.Now(), f.end()
}

// wait waits until the follower may read on, or until ctx is done. It returns how many
// entries it may read then.
func (f *follower) wait(ctx context.Context) (entries int) {
	if passed := time.Since(f.since); passed >= floodWindow {
		f.setSlowed(float64(f.end()-f.from) > floodRate*passed.Seconds())
	}
	tokens := f.cost * min(int(f.throttle.slowed.Load()), maxShare)
	f.cost = 0
	if !f.slowed || f.throttle.Limiter.WaitN(ctx, min(tokens, f.throttle.Limiter.Burst())) != nil {
		return answerEntries
	}
	return slowedEntries
}

// read counts entries that the follower has read, and their size in the stream.
func (f *follower) read(entries, bytes int) { f.cost += entries + bytes/entryBytes }

// caughtUp says that the follower has read everything there is now.
func (f *follower) caughtUp() { f.setSlowed(false) }

// close removes the follower.
func (f *follower) close() { f.setSlowed(false) }
