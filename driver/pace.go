package driver

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// easyRate is what the followers of one container get a second, in entries, without a question asked, and as much
	// at once. An entry costs dockerd and the docker command ten to twenty microseconds, so this is a quarter of one
	// processor.
	easyRate = 16384

	// slowRate is what all followers together get a second, in entries, of containers that outrun them, slowEntries
	// at a time. An entry of more than entryBytes counts as several.
	slowRate    = 2048
	slowEntries = 64
	entryBytes  = 4096

	// floodRate is what a container writes at least, in bytes a second, for its followers to be slowed down. That is
	// looked at over floodTime, and whether it is over, over calmTime: where all processors are busy a flood has gusts.
	floodRate = 256 << 10
	floodTime = 100 * time.Millisecond
	calmTime  = 500 * time.Millisecond

	// headStart is how many entries, and then how many bytes, are given before it is found out whether a follower keeps up:
	// dockerd keeps 4,096 messages for one that does not (moby, daemon/logger/logger.go, logWatcherBufferSize), and the
	// socket 208 KiB. paceWindow is over how many bytes, written and read, it is found out then.
	headStart      = 4096
	headStartBytes = 256 << 10
	paceWindow     = 512 << 10

	// When a follower turns out to be outrun, the next one is tried after firstPause; then after twice as long, and so on, up
	// to longestPause; but at once when the container writes half as much as it did.
	firstPause   = 2 * time.Second
	longestPause = 32 * time.Second

	// stuckTime is how long a follower may take for one answer before another is tried in its place.
	stuckTime = time.Second
)

func newSlowRate() *rate.Limiter { return rate.NewLimiter(slowRate, slowEntries) }

// outrun slows the followers of a container down that writes more than they can read. If that goes on, such a follower
// loses entries at any speed, for a history is bounded and the container waits for nobody; but dockerd works hard for each
// entry that it is given, and twenty followers at full speed take nine tenths of its throughput from the container on
// two processors. The price is that one that is slowed down loses more of a burst that is a little larger than the history.
//
// Who keeps up can only be found out at full speed, which is what is to be spared. So in a flood one follower is free, and
// the others share slowRate; when the newest free one has kept up, as many again become free; and when one is outrun,
// none is for a while. The methods may be called from any goroutine.
type outrun struct {
	end     func() uint64 // of the stream
	limiter *rate.Limiter // what all followers that are slowed down share, of all containers

	// mu guards what follows.
	mu    sync.Mutex
	easy  *rate.Limiter // what may be given without a question asked
	flood bool          // the container writes much, and much was given
	since time.Time     // what is written is counted,
	from  uint64        // and the end was there
	rate  float64       // bytes a second that the container writes in a flood

	// Of a flood.
	free   map[*pace]bool // the followers that are not slowed down,
	newest *pace          // the last one of them, of which nothing has been found out,
	room   int            // and how many there may be

	until   time.Time // none is free
	pause   time.Duration
	outrate float64 // what the container wrote when a follower was outrun
}

func newOutrun(end func() uint64, limiter *rate.Limiter) *outrun {
	return &outrun{
		end: end, limiter: limiter, easy: rate.NewLimiter(easyRate, easyRate),
		since: time.Now(), from: end(), free: map[*pace]bool{}, room: 1,
	}
}

// lookLocked finds out whether there is a flood; much says that more is being given than without a question asked.
func (o *outrun) lookLocked(now time.Time, much bool) {
	span := floodTime
	if o.flood {
		span = calmTime
	}
	end, passed := o.end(), now.Sub(o.since)
	written := float64(end - o.from)
	switch floods := written >= floodRate*max(passed, floodTime).Seconds(); {
	case floods && !o.flood && much:
		o.flood, o.rate = true, written/max(passed, floodTime).Seconds()
	case passed < span:
		return
	case o.flood:
		o.flood, o.rate = floods, written/passed.Seconds()
	}
	if passed >= span {
		o.since, o.from = now, end
	}
	switch {
	case !o.flood:
		o.freeNoneLocked()
	case o.rate < o.outrate/2:
		o.until, o.pause, o.outrate = now, firstPause, o.rate
	}
}

// freeNoneLocked lets one follower be the first.
func (o *outrun) freeNoneLocked() {
	clear(o.free)
	o.newest, o.room = nil, 1
}

// verdict is whether a follower keeps up with what its container writes.
type verdict int

const (
	unknown    verdict = iota // not enough has been written and read yet
	keepsUp                   // it reads as fast as the container writes, or faster
	tooSlow                   // it does not, although dockerd works hard for it
	slowClient                // it does not, for its client takes less than it would get if it were slowed down
)

// slow reports whether follower p, which wants more, is to be slowed down. v is what has been found out about it.
func (o *outrun) slow(p *pace, v verdict) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	p.asked = now
	o.lookLocked(now, false)
	switch {
	case !o.flood:
		return false
	case now.Before(o.until):
		return true
	case !o.free[p]:
		return !o.joinLocked(p, now)
	case v == keepsUp:
		if o.newest == p {
			o.newest, o.room = nil, 2*len(o.free)
		}
	case v == slowClient:
		delete(o.free, p)
		p.notBefore = now.Add(longestPause)
		return true
	case v == tooSlow:
		o.freeNoneLocked()
		if now.Sub(o.until) > longestPause { // of another flood
			o.pause = firstPause
		}
		o.until, o.outrate = now.Add(o.pause), o.rate
		o.pause = min(2*o.pause, longestPause)
		return true
	}
	return false
}

// joinLocked makes p free if there is room. Those whose clients take nothing do not count: they cost nothing.
func (o *outrun) joinLocked(p *pace, now time.Time) bool {
	if now.Before(p.notBefore) {
		return false
	}
	if len(o.free) >= o.room {
		for other := range o.free {
			if now.Sub(other.asked) >= stuckTime {
				delete(o.free, other)
			}
		}
	}
	if len(o.free) >= o.room {
		return false
	}
	o.free[p], o.newest = true, p
	return true
}

// gave takes note of so many entries, and reports whether there is a flood.
func (o *outrun) gave(entries int) (flood bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.lookLocked(now, !o.easy.AllowN(now, min(entries, easyRate)))
	return o.flood
}

// gone is called when follower p follows no more.
func (o *outrun) gone(p *pace) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.free, p)
}

// pace is one follower's account of whether it keeps up.
type pace struct {
	*outrun

	// Guarded by the mutex of outrun.
	asked     time.Time // when it last wanted more
	notBefore time.Time // it becomes free

	// Its own.
	slowed  bool      // when it last wanted more
	owed    int       // of what the slow ones share
	entries int       // given to it,
	bytes   int       // and how many bytes they have,
	reached bool      // and whether that was all there was at some time,
	began   time.Time // since then,
	from    uint64    // when the end was there
	ahead   bool      // it has had its head start
	found   verdict   // and not been told yet
}

func newPace(o *outrun) *pace {
	p := &pace{outrun: o, asked: time.Now()}
	p.restart()
	return p
}

// turn returns how many entries the follower may be given now. It waits if it is to be slowed down; not once ctx is done.
func (p *pace) turn(ctx context.Context) (most int) {
	p.slowed = p.slow(p, p.found)
	p.found = unknown
	if p.slowed {
		p.await(ctx)
	}
	if !p.slowed || ctx.Err() != nil {
		return answerEntries
	}
	p.restart() // when it is free, by what it does then
	return slowEntries
}

// await waits until the follower has paid for what it got, or is slowed down no more.
func (p *pace) await(ctx context.Context) {
	r := p.limiter.ReserveN(time.Now(), p.owed)
	p.owed = 0
	for left := r.Delay(); left > 0 && p.slowed; left = r.Delay() {
		t := time.NewTimer(min(left, floodTime))
		select {
		case <-t.C:
			p.slowed = p.slow(p, unknown)
		case <-ctx.Done():
			t.Stop()
			r.Cancel()
			return
		}
	}
	if !p.slowed {
		r.Cancel()
	}
}

// gave says what the follower has been given, and whether that was all there is. Now and then that tells whether it keeps up.
func (p *pace) gave(entries, bytes int, all bool) {
	p.owed = min(entries+bytes/entryBytes, slowEntries)
	p.entries, p.bytes, p.reached = p.entries+entries, p.bytes+bytes, p.reached || all
	flood := p.outrun.gave(entries)
	written := int(p.end() - p.from)
	switch {
	case !flood && all:
		p.restart()
		return
	case !p.ahead && p.entries > headStart && p.bytes/p.entries*(p.entries-headStart) >= headStartBytes:
		p.ahead = true
		p.reset()
		return
	case !p.ahead || written+p.bytes < paceWindow:
		return
	case p.reached || written <= p.bytes:
		p.found = keepsUp
	case float64(p.entries) < slowRate*time.Since(p.began).Seconds():
		p.found = slowClient
	default:
		p.found = tooSlow
	}
	p.reset()
}

// close is called when the follower goes.
func (p *pace) close() { p.gone(p) }

// restart begins the account anew, and reset with the head start as it is.
func (p *pace) restart() {
	p.ahead = false
	p.reset()
}

func (p *pace) reset() {
	p.entries, p.bytes, p.reached, p.began, p.from = 0, 0, false, time.Now(), p.end()
}
