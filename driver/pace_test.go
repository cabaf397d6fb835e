package driver

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// entrySize is what an entry of 100 bytes takes in the stream.
const entrySize = 126

// flooding is a container, and dockerd with the clients of those who follow it, in a synctest bubble.
type flooding struct {
	begun   time.Time
	phases  []phase
	outrun  *outrun
	dockerd *rate.Limiter // entries a second that it has time for, of all followers together
}

// phase is how much the container writes, and for how long.
type phase struct {
	time time.Duration
	rate float64 // bytes a second
}

// entryBatch is how many entries the model moves at once.
const entryBatch = 64

func newFlooding(dockerd float64, phases ...phase) *flooding {
	m := &flooding{begun: time.Now(), phases: phases, dockerd: rate.NewLimiter(rate.Limit(dockerd), entryBatch)}
	m.outrun = newOutrun(m.end, newSlowRate())
	return m
}

func (m *flooding) end() uint64 {
	n, left := 0.0, time.Since(m.begun)
	for _, p := range m.phases {
		n += p.rate * min(left, p.time).Seconds()
		left = max(0, left-p.time)
	}
	return uint64(n)
}

// followed is what became of a follower.
type followed struct {
	entries int
	behind  time.Duration // for how long there was always more than it was given
	lag     int           // bytes that it was behind at last
}

// follow follows until ctx is done.
func (m *flooding) follow(ctx context.Context) (f followed) {
	buffered := make(chan struct{}, (headStart+headStartBytes/entrySize)/entryBatch)
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		for {
			select {
			case <-buffered:
			case <-ctx.Done():
				return
			}
			if m.dockerd.WaitN(ctx, entryBatch) != nil { // ctx would be done before
				<-ctx.Done()
			}
		}
	})
	p := newPace(m.outrun)
	defer p.close()
	at, late := m.end(), time.Time{}
	for ctx.Err() == nil {
		most := p.turn(ctx)
		full := min(most, answerSize/entrySize)
		n := min(full, int(m.end()-at)/entrySize)
		for range n / entryBatch {
			select {
			case buffered <- struct{}{}:
			case <-ctx.Done():
			}
		}
		at += uint64(n * entrySize)
		p.gave(n, n*entrySize, n < full)
		f.entries += n
		f.lag = int(m.end() - at)
		if n < full {
			if !late.IsZero() {
				f.behind, late = f.behind+time.Since(late), time.Time{}
			}
			time.Sleep(10 * time.Millisecond)
		} else if late.IsZero() {
			late = time.Now()
		}
	}
	if !late.IsZero() {
		f.behind += time.Since(late)
	}
	return f
}

// run lets so many follow at once, and returns what became of each.
func (m *flooding) run(ctx context.Context, followers int) []followed {
	all := make([]followed, followers)
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() { all[i] = m.follow(ctx) })
	}
	group.Wait()
	return all
}

// TestPace: followers that keep up are hardly made to wait; those that a flood outruns get their share, and all there is when
// it is over or has become one that they can follow; and who takes little costs the others nothing.
func TestPace(t *testing.T) {
	const (
		mb = 1e6
		// trial is what a follower gets in which it turns out to be outrun, while dockerd has time for 100,000 entries
		// a second and the container writes 30 MB.
		trial = headStart + (headStartBytes+paceWindow)/entrySize
	)
	flood := func(seconds int, rate float64) phase { return phase{time.Duration(seconds) * time.Second, rate} }
	for _, test := range []struct {
		name      string
		followers int
		dockerd   float64 // entries a second
		time      time.Duration
		phases    []phase

		least, most float64       // entries that all get together
		outrun      bool          // of each one nothing is asked
		behind      time.Duration // for so long each is more than a chunk behind, at most
		lag         int           // and so many bytes at last
	}{{
		name: "one keeps up", followers: 1, dockerd: 100e3, time: 20 * time.Second, phases: []phase{flood(20, 8*mb)},
		lag: mb / 10,
	}, {
		name: "twenty of a flood that they can follow", followers: 20, dockerd: 400e3, time: 30 * time.Second, phases: []phase{flood(30, 2*mb)},
		behind: 3 * time.Second, lag: mb / 10,
	}, {
		name: "twenty of something that is no flood", followers: 20, dockerd: 100e3, time: 20 * time.Second, phases: []phase{flood(20, mb/5)},
		lag: mb / 100,
	}, {
		name: "twenty outrun", followers: 20, dockerd: 100e3, time: 30 * time.Second, phases: []phase{flood(30, 30*mb)},
		least: 30 * slowRate, most: easyRate + 20*answerSize/entrySize + 30*slowRate + 5*trial, outrun: true,
	}, {
		name: "outrun, and then nothing", followers: 20, dockerd: 100e3, time: 20 * time.Second, phases: []phase{flood(3, 30*mb)},
		least: (20 - 3 - 1) * 100e3, outrun: true,
	}, {
		name: "outrun, and then less", followers: 1, dockerd: 100e3, time: 20 * time.Second, phases: []phase{flood(3, 30*mb), flood(17, 3*mb)},
		behind: 15 * time.Second, lag: mb / 10,
	}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.time)
				defer cancel()
				total := 0.0
				for i, f := range newFlooding(test.dockerd, test.phases...).run(ctx, test.followers) {
					total += float64(f.entries)
					if !test.outrun && (f.behind > test.behind || f.lag > test.lag) {
						t.Errorf("follower %d got %d entries, was behind for %v and is by %d bytes", i, f.entries, f.behind, f.lag)
					}
				}
				if total < test.least || test.most > 0 && total > test.most {
					t.Errorf("all together got %.0f entries, want %.0f to %.0f", total, test.least, test.most)
				}
			})
		})
	}
}

// TestPaceTried: the one that is tried stands in nobody's way when it goes, or its client takes nothing or little.
func TestPaceTried(t *testing.T) {
	for _, test := range []struct {
		name   string
		become func(ctx context.Context, p *pace)
		within time.Duration // another one is free then
	}{
		{"it goes", func(_ context.Context, p *pace) { p.close() }, 0},
		{"its client takes nothing", func(context.Context, *pace) {}, stuckTime},
		{"its client takes little", func(ctx context.Context, p *pace) {
			for range 100 {
				p.turn(ctx)
				p.gave(8, 8*entrySize, false)
				time.Sleep(10 * time.Millisecond)
			}
		}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newFlooding(0, phase{time.Hour, 2e6})
				tried, other := newPace(m.outrun), newPace(m.outrun)
				for !m.outrun.flood || !tried.ahead {
					time.Sleep(10 * time.Millisecond)
					tried.gave(answerEntries, answerEntries*entrySize, false)
					tried.turn(t.Context())
				}
				if other.gave(slowEntries, slowEntries*entrySize, false); other.turn(t.Context()) != slowEntries {
					t.Error("both are free")
				}
				test.become(t.Context(), tried)
				time.Sleep(test.within)
				if other.turn(t.Context()) != answerEntries {
					t.Errorf("another one is not free within %v", test.within)
				}
			})
		})
	}
}
