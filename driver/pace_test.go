package driver

import (
	"cmp"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/logspool/logspool/internal/longtest"
)

// flooding is a container, and dockerd with the clients of those who follow it, in a synctest bubble.
type flooding struct {
	begun   time.Time
	entry   int // bytes of an entry in the stream,
	answer  int // and in the answer
	phases  []phase
	outrun  *outrun
	batch   int           // entries that the model moves at once
	dockerd *rate.Limiter // entries a second that it has time for, of all followers together
}

// phase is how much the container writes, and for how long.
type phase struct {
	time time.Duration
	rate float64 // bytes a second
}

func newFlooding(entry, answer int, dockerd float64, phases ...phase) *flooding {
	m := &flooding{begun: time.Now(), entry: entry, answer: answer, phases: phases, batch: max(1, 8192/entry)}
	m.dockerd = rate.NewLimiter(rate.Limit(dockerd), m.batch)
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

// client is who follows.
type client struct {
	takes   rate.Limit    // entries a second; 0: any, negative: none
	comes   time.Duration // after the container's start,
	behind  int           // with so many entries of its history to read
	nothing bool          // it asks for nothing of what there is, as with a later --since
}

// followed is what became of a follower.
type followed struct {
	entries int
	late    time.Duration // when it was last behind by more than a little, after the container's start
	worst   int           // bytes that it was behind by, at most
	lag     int           // and at last
}

// behind is how many bytes are more than a little.
const behind = 500e3

// follow follows until ctx is done.
func (m *flooding) follow(ctx context.Context, c client) (f followed) {
	time.Sleep(c.comes)
	own := rate.NewLimiter(rate.Inf, 0)
	if c.takes > 0 {
		own = rate.NewLimiter(c.takes, m.batch)
	}
	buffered := make(chan struct{}, (headStart+headStartBytes/m.entry)/m.batch)
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		for {
			select {
			case <-buffered:
			case <-ctx.Done():
				return
			}
			// An error says that ctx will be done before.
			if c.takes < 0 || m.dockerd.WaitN(ctx, m.batch) != nil || own.WaitN(ctx, m.batch) != nil {
				<-ctx.Done()
			}
		}
	})
	p := newPace(m.outrun)
	defer p.close()
	at := int(m.end()) - c.behind*m.entry
	for part := 0; ctx.Err() == nil; {
		full := min(p.turn(ctx), max(1, answerSize/m.answer))
		n := min(full, (int(m.end())-at)/m.entry)
		g := given{entries: n, bytes: n * m.answer, read: n * m.entry, all: n < full}
		if c.nothing {
			n = (int(m.end()) - at) / m.entry
			g = given{read: n * m.entry, all: true}
		}
		at += n * m.entry
		for part += g.entries; part >= m.batch && ctx.Err() == nil; part -= m.batch {
			select {
			case buffered <- struct{}{}:
			case <-ctx.Done():
			}
		}
		p.gave(g)
		f.entries += g.entries
		f.lag = int(m.end()) - at
		f.worst = max(f.worst, f.lag)
		if f.lag > behind {
			f.late = time.Since(m.begun)
		}
		if g.all {
			time.Sleep(10 * time.Millisecond)
		}
	}
	return f
}

// run lets these clients follow at once, and returns what became of each.
func (m *flooding) run(ctx context.Context, clients []client) []followed {
	all := make([]followed, len(clients))
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() { all[i] = m.follow(ctx, clients[i]) })
	}
	group.Wait()
	return all
}

// TestPace: followers that keep up have all there is soon; those that a flood outruns get their share, and all there is when
// it is over or has become one that they can follow; and no client is another one's trouble.
func TestPace(t *testing.T) { testPace(t, false) }

func TestLong_Pace(t *testing.T) {
	longtest.Skip(t)
	testPace(t, true)
}

func testPace(t *testing.T, long bool) {
	const (
		kb, mb = 1e3, 1e6
		line   = 126          // bytes in the stream of a line of 100
		piece  = 16<<10 + 100 // and of a piece of a long one
		// trial is what a follower gets in which it turns out to be outrun, while dockerd has time for 100,000 entries
		// a second and the container writes 30 MB.
		trial = headStart + (headStartBytes+paceWindow)/line
	)
	one, many := make([]client, 1), make([]client, 20)
	and := func(c client, more ...client) []client { return append([]client{c}, more...) }
	flood := func(seconds int, rate float64) phase { return phase{time.Duration(seconds) * time.Second, rate} }
	for _, test := range []struct {
		name    string
		clients []client
		entry   int     // bytes in the stream
		answer  int     // and in the answer, if not as many
		dockerd float64 // entries a second
		phases  []phase

		odd         int           // so many of the clients are not looked at one by one
		calm        time.Duration // after so long the others are behind no more
		worst       int           // and by so many bytes before, at most
		least, most float64       // entries that all get together
		long        bool          // takes seconds
	}{{
		name: "one keeps up", clients: one, entry: line, dockerd: 100e3, phases: []phase{flood(20, 8*mb)},
		worst: 100 * kb,
	}, {
		name: "twenty of a flood that they can follow", clients: many, entry: line, dockerd: 400e3, phases: []phase{flood(30, 2*mb)},
		calm: 3 * time.Second, worst: 3 * mb, long: true,
	}, {
		name: "six that take as much as one may", clients: many[:6], entry: line, dockerd: 100e3, phases: []phase{flood(20, 1300*kb)},
		worst: 100 * kb,
	}, {
		name: "twenty of a small flood", clients: many, entry: line, dockerd: 200e3, phases: []phase{flood(30, 600*kb)},
		calm: 8 * time.Second, worst: 5 * mb,
	}, {
		name: "twenty of something that is no flood", clients: many, entry: line, dockerd: 100e3, phases: []phase{flood(20, 200*kb)},
		worst: 10 * kb,
	}, {
		name: "twenty of long lines, and one that has much to read", clients: and(client{comes: 2 * time.Second, behind: 160e3}, many...), entry: piece,
		dockerd: 50e3, phases: []phase{flood(30, 4*mb)}, odd: 1, calm: 12 * time.Second, worst: 18 * mb, long: true,
	}, {
		name: "one outrun", clients: one, entry: line, dockerd: 100e3, phases: []phase{flood(30, 30*mb)},
		odd: 1, least: 30 * slowRate, most: easyEntries + answerSize/line + 30*slowRate + 5*trial,
	}, {
		name: "twenty outrun", clients: many, entry: line, dockerd: 100e3, phases: []phase{flood(30, 30*mb)},
		odd: 20, least: 30 * slowRate, most: easyEntries + 20*answerSize/line + 30*slowRate + 5*trial,
	}, {
		name: "twenty outrun after they were not", clients: many, entry: line, dockerd: 100e3, phases: []phase{flood(5, 200*kb), flood(30, 30*mb)},
		odd: 20, least: 30 * slowRate, most: 20*5*200*kb/line + easyEntries + 20*answerSize/line + 30*slowRate + 5*trial,
	}, {
		name: "twenty outrun by long lines", clients: many, entry: piece, dockerd: 10e3, phases: []phase{flood(30, 400*mb)},
		odd: 20, most: easyEntries + 20*answerSize/piece + 30*slowRate/(1+piece/entryBytes) + 7*(headStart+(headStartBytes+paceWindow)/piece),
	}, {
		name: "twenty outrun by what is no text", clients: many, entry: line, answer: 3 * line, dockerd: 100e3, phases: []phase{flood(30, 30*mb)},
		odd: 20, least: 30 * slowRate, most: easyEntries + 20*answerSize/line + 30*slowRate + 5*trial,
	}, {
		name: "outrun, and then nothing", clients: many, entry: line, dockerd: 100e3, phases: []phase{flood(3, 30*mb), flood(17, 0)},
		odd: 20, least: (20 - 3 - 1) * 100e3,
	}, {
		name: "outrun, and then less", clients: one, entry: line, dockerd: 100e3, phases: []phase{flood(3, 30*mb), flood(17, 3*mb)},
		calm: 13 * time.Second, worst: 90 * mb,
	}, {
		name: "outrun twice", clients: one, entry: line, dockerd: 100e3, phases: []phase{flood(20, 30*mb), flood(60, 0), flood(3, 30*mb), flood(17, 3*mb)},
		calm: 93 * time.Second, worst: 600 * mb,
	}, {
		name: "a client takes nothing", clients: and(client{takes: -1}, many[:5]...), entry: line, dockerd: 400e3, phases: []phase{flood(30, 2*mb)},
		odd: 1, calm: 6 * time.Second, worst: 10 * mb,
	}, {
		name: "a client takes less", clients: and(client{takes: 5000}, many[:4]...), entry: line, dockerd: 400e3, phases: []phase{flood(60, 2*mb)},
		odd: 1, calm: 6 * time.Second, worst: 10 * mb,
	}, {
		name: "of two clients one takes less", clients: and(client{takes: 5000}, one...), entry: line, dockerd: 400e3, phases: []phase{flood(60, 3*mb)},
		odd: 1, calm: 6 * time.Second, worst: 10 * mb,
	}, {
		name: "a client wants nothing of it", clients: and(client{nothing: true}, client{nothing: true}, client{comes: time.Second}, client{comes: time.Second}), entry: line,
		dockerd: 400e3, phases: []phase{flood(30, 4*mb)}, odd: 2, calm: 6 * time.Second, worst: 20 * mb,
	}} {
		if test.long && !long {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				whole := time.Duration(0)
				for _, p := range test.phases {
					whole += p.time
				}
				ctx, cancel := context.WithTimeout(t.Context(), whole)
				defer cancel()
				total := 0.0
				for i, f := range newFlooding(test.entry, cmp.Or(test.answer, test.entry), test.dockerd, test.phases...).run(ctx, test.clients) {
					total += float64(f.entries)
					if i >= test.odd && (f.late > test.calm || f.worst > test.worst) {
						t.Errorf("follower %d is behind until %v, and by %d bytes; want %v and %d at most", i, f.late, f.worst, test.calm, test.worst)
					}
				}
				if total < test.least || test.most > 0 && total > test.most {
					t.Errorf("all together got %.0f entries, want %.0f to %.0f", total, test.least, test.most)
				}
			})
		})
	}
}

// TestPaceTried: the one that is tried is in nobody's way for long, whatever it does.
func TestPaceTried(t *testing.T) {
	const line = 126
	for _, test := range []struct {
		name   string
		become func(p *pace)
		again  bool          // it asks for more, before
		after  time.Duration // the other one is free
	}{
		{"it goes", func(p *pace) { p.close() }, false, 0},
		{"its client takes nothing", func(*pace) {}, false, trialTime},
		{"it wants nothing", func(p *pace) {
			for range 101 {
				time.Sleep(trialTime / 100)
				p.gave(given{all: true})
				p.turn(t.Context())
			}
		}, true, 0},
		{"it is outrun", func(p *pace) {
			for !p.slowed {
				time.Sleep(100 * time.Millisecond)
				p.gave(given{entries: 1000, bytes: 1000 * line, read: 1000 * line})
				p.turn(t.Context())
			}
		}, true, firstPause},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newFlooding(line, line, 0, phase{time.Hour, 3e6})
				tried, other := m.begin(), newPace(m.outrun)
				if other.turn(t.Context()); !other.slowed {
					t.Fatal("both are free")
				}
				test.become(tried)
				time.Sleep(test.after)
				if test.again {
					tried.turn(t.Context())
				}
				if other.turn(t.Context()); other.slowed {
					t.Errorf("the other one is not free after %v", test.after)
				}
			})
		})
	}
}

// begin waits for the flood to begin, and returns a new follower that is tried.
func (m *flooding) begin() *pace {
	p := newPace(m.outrun)
	for p.turn(context.Background()); !m.outrun.flood; p.turn(context.Background()) {
		time.Sleep(10 * time.Millisecond)
		p.gave(given{entries: 1000, bytes: 1000 * m.entry, read: 1000 * m.entry})
	}
	p.close()
	p = newPace(m.outrun)
	p.turn(context.Background())
	return p
}

// TestPaceOfAnotherFlood: who kept up is tried again in the next flood, after the others if there is one that asks first.
func TestPaceOfAnotherFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFlooding(126, 126, 0, phase{10 * time.Second, 3e6}, phase{10 * time.Second, 0}, phase{10 * time.Second, 3e6})
		first, second := m.begin(), newPace(m.outrun)
		time.Sleep(9*time.Second - time.Since(m.begun))
		first.found = keepsUp
		first.turn(t.Context())
		if second.turn(t.Context()); second.slowed {
			t.Error("none is tried beside one that keeps up")
		}
		time.Sleep(12*time.Second - time.Since(m.begun))
		first.turn(t.Context())
		time.Sleep(15*time.Second - time.Since(m.begun))
		if first.turn(t.Context()); m.outrun.flood {
			t.Error("the flood has not ended")
		}
		time.Sleep(21*time.Second - time.Since(m.begun))
		m.begin()
		if first.turn(t.Context()); !first.slowed {
			t.Error("what was found out in the flood before still counts")
		}
	})
}

// TestPaceWaits: one that waits for its turn does so no longer than the flood lasts, or ctx.
func TestPaceWaits(t *testing.T) {
	for _, test := range []struct {
		name       string
		flood, ctx time.Duration
		most       time.Duration
	}{
		{"until the flood is over", 5 * time.Second, time.Hour, 5*time.Second + 2*calmTime + floodTime},
		{"until ctx is done", time.Hour, 4 * time.Second, 4 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newFlooding(126, 126, 0, phase{test.flood, 3e6})
				m.outrun.limiter = rate.NewLimiter(1e-3, slowEntries)
				ctx, cancel := context.WithTimeout(t.Context(), test.ctx)
				defer cancel()
				m.begin()
				m.outrun.after.add(time.Now().Add(time.Hour), 0, 0) // nobody else is tried
				other := newPace(m.outrun)
				for other.turn(ctx) == slowEntries {
					other.gave(given{entries: slowEntries, bytes: slowEntries * 126, read: slowEntries * 126})
				}
				if took := time.Since(m.begun); took > test.most {
					t.Errorf("it waited until %v, want %v at most", took, test.most)
				}
			})
		})
	}
}

func TestFailure(t *testing.T) {
	now := time.Now()
	var f failure
	if f.holds(now, 1) {
		t.Error("it holds without any failure")
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 32} {
		f.add(now, 100, firstPause)
		if got := f.until.Sub(now); got != want*time.Second {
			t.Errorf("%d: the next trial comes after %v, want %v", i, got, want*time.Second)
		}
		if !f.holds(f.until.Add(-1), 50) || f.holds(f.until, 50) || f.holds(now, 49) {
			t.Errorf("%d: it does not hold until then, or not only while the container writes as much", i)
		}
		now = f.until
	}
	now = now.Add(longestPause + 1)
	if f.add(now, 100, firstPause); f.until.Sub(now) != firstPause {
		t.Errorf("in another flood the next trial comes after %v, want %v", f.until.Sub(now), firstPause)
	}
}
