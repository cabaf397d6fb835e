package driver

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// easyRate is what the followers of one container get a second, in entries, without a question asked, and easyEntries what
	// they get at once. An entry costs dockerd and the docker command ten to twenty microseconds, so this is one processor,
	// and a quarter of a second of it.
	easyRate    = 65536
	easyEntries = 16384

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

	// headStart is how many entries, and then how many bytes of the stream, are given before it is found out whether a follower
	// keeps up: dockerd keeps 4,096 messages for one that does not (moby, daemon/logger/logger.go, logWatcherBufferSize),
	// and the socket 208 KiB. paceWindow is over how many bytes, written and read, it is found out then.
	headStart      = 4096
	headStartBytes = 256 << 10
	paceWindow     = 512 << 10

	// trialTime is how long a follower is tried. One that was at the end meanwhile keeps up, as far as one can see;
	// one that does not take one answer in that time leaves its place to another.
	trialTime = time.Second

	// After a trial that failed the next follower is tried after firstPause, then after twice as long, and so on, up to
	// longestPause; and the same follower after twice as long as that. When the container writes half as much as when it
	// failed, that is forgotten.
	firstPause   = time.Second
	longestPause = 32 * time.Second
)

func newSlowRate() *rate.Limiter { return rate.NewLimiter(slowRate, slowEntries) }

// outrun slows the followers of a container down that writes more than they can read. If that goes on, such a follower
// loses entries at any speed, for a history is bounded and the container waits for nobody; but dockerd works hard for each
// entry that it is given, and twenty followers at full speed take nine tenths of its throughput from the container on
// two processors. The price is that one that is slowed down loses more of a burst that is a little larger than the history.
//
// Who keeps up can only be found out at full speed, which is what is to be spared. So in a flood all share slowRate but
// for those that have been found to keep up, and as many more that are tried, at least one. Who does not keep up, tried or
// not, is slowed down again. The methods may be called from any goroutine.
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

	free  map[*pace]bool // in a flood, who is not slowed down: whether it has been found to keep up
	after failure        // of anyone, the next one may be tried
}

// failure is when a trial has failed, and what it means for the next one.
type failure struct {
	until time.Time // there is no next one,
	pause time.Duration
	rate  float64 // unless the container writes half of what it wrote
}

func (f *failure) holds(now time.Time, rate float64) bool {
	return now.Before(f.until) && rate >= f.rate/2
}

// add counts one more; first is how long to wait after the first one.
func (f *failure) add(now time.Time, rate float64, first time.Duration) {
	if f.pause == 0 || now.Sub(f.until) > longestPause { // of another flood
		f.pause = first
	}
	f.until, f.rate = now.Add(f.pause), rate
	f.pause = min(2*f.pause, longestPause)
}

func newOutrun(end func() uint64, limiter *rate.Limiter) *outrun {
	return &outrun{
		end: end, limiter: limiter, easy: rate.NewLimiter(easyRate, easyEntries),
		since: time.Now(), from: end(), free: map[*pace]bool{},
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
	if !o.flood {
		clear(o.free)
	}
}

// verdict is whether a follower keeps up with what its container writes.
type verdict int

const (
	unknown verdict = iota // not enough has been written and read yet
	keepsUp
	tooSlow
)

// slow reports whether follower p, which wants more, is to be slowed down. v is what has been found out about it.
func (o *outrun) slow(p *pace, v verdict) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	p.asked = now
	o.lookLocked(now, false)
	if !o.flood {
		return false
	}
	proven, free := o.free[p]
	switch {
	case free && v == tooSlow:
		delete(o.free, p)
		p.failed.add(now, o.rate, 2*firstPause)
		if !o.after.holds(now, o.rate) { // several may fail at once
			o.after.add(now, o.rate, firstPause)
		}
		return true
	case free && !proven && (v == keepsUp || p.atEnd && now.Sub(p.tried) >= trialTime):
		o.free[p] = true
		o.after, p.failed = failure{}, failure{}
	case !free && (p.failed.holds(now, o.rate) || o.after.holds(now, o.rate) || !o.roomLocked(now)):
		return true
	case !free:
		o.free[p] = false
		p.tried = now
	}
	return false
}

// roomLocked reports whether one more may be tried.
func (o *outrun) roomLocked(now time.Time) bool {
	proven, tried := 0, 0
	for p, keeps := range o.free {
		switch {
		case keeps:
			proven++
		case now.Sub(p.asked) >= trialTime:
			delete(o.free, p)
		default:
			tried++
		}
	}
	return tried < max(1, proven)
}

// gave takes note of so many entries, and reports whether there is a flood.
func (o *outrun) gave(entries int) (flood bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.lookLocked(now, !o.easy.AllowN(now, min(entries, easyEntries)))
	return o.flood
}

// forget is called when follower p follows no more.
func (o *outrun) forget(p *pace) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.free, p)
}

// given is what a follower was given at once.
type given struct {
	entries int
	bytes   int  // of the answer
	read    int  // bytes of the stream, also of what was passed over
	all     bool // that was all there is
}

// pace is one follower's account of whether it keeps up.
type pace struct {
	of *outrun

	// Guarded by of.mu.
	asked  time.Time // when it last wanted more,
	tried  time.Time // and began to be tried
	failed failure

	// Its own.
	slowed  bool // when it last wanted more
	owed    int  // of what the slow ones share
	atEnd   bool // it has been given all there is since it was last slowed down
	ahead   bool // it has had its head start
	found   verdict
	entries int    // given to it,
	read    int    // and bytes of the stream,
	reached bool   // and whether that was all there was at some time,
	from    uint64 // since the end was there
}

func newPace(o *outrun) *pace {
	p := &pace{of: o, asked: time.Now()}
	p.restart()
	return p
}

// turn returns how many entries the follower may be given now. It waits if it is to be slowed down; not once ctx is done.
func (p *pace) turn(ctx context.Context) (most int) {
	before := p.slowed
	p.slowed = p.of.slow(p, p.found)
	p.found = unknown
	if p.slowed {
		p.await(ctx)
	}
	if p.slowed && ctx.Err() == nil {
		return slowEntries
	}
	if before {
		p.restart() // it is judged by what it does now
	}
	return answerEntries
}

// await waits until the follower has paid for what it got, or is slowed down no more.
func (p *pace) await(ctx context.Context) {
	r := p.of.limiter.ReserveN(time.Now(), p.owed)
	p.owed = 0
	for left := r.Delay(); left > 0 && p.slowed; left = r.Delay() {
		t := time.NewTimer(min(left, floodTime))
		select {
		case <-t.C:
			p.slowed = p.of.slow(p, unknown)
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

// gave says what the follower has been given. Now and then that tells whether it keeps up.
func (p *pace) gave(g given) {
	p.owed = min(g.entries+g.bytes/entryBytes, slowEntries)
	p.entries, p.read, p.reached = p.entries+g.entries, p.read+g.read, p.reached || g.all
	p.atEnd = p.atEnd || g.all
	flood := p.of.gave(g.entries)
	written := int(p.of.end() - p.from)
	switch {
	case !flood && g.all:
		p.restart()
		return
	case !p.ahead && p.entries > headStart && p.read/p.entries*(p.entries-headStart) >= headStartBytes:
		p.ahead = true
	case !p.ahead || written+p.read < paceWindow:
		return
	case p.reached || written <= p.read:
		p.found = keepsUp
	default:
		p.found = tooSlow
	}
	p.reset()
}

// close is called when the follower goes.
func (p *pace) close() { p.of.forget(p) }

// restart begins the account anew, and reset with the head start as it is.
func (p *pace) restart() {
	p.ahead, p.atEnd = false, false
	p.reset()
}

func (p *pace) reset() { p.entries, p.read, p.reached, p.from = 0, 0, false, p.of.end() }
