package readlogs

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const entrySize = 126 // bytes of the stream that a line of 100 bytes takes

// writer is a container that writes rate bytes a second, until it stops after the time stop
// (0: never).
type writer struct {
	begun time.Time
	rate  float64
	stop  time.Duration
}

func (w *writer) end() uint64 {
	t := time.Since(w.begun)
	if w.stop > 0 {
		t = min(t, w.stop)
	}
	return uint64(w.rate * t.Seconds())
}

// client follows a container in a synctest bubble, as Reader does.
type client struct {
	at      uint64 // position
	entries int
	lag     uint64 // the most bytes that it was behind after its first window
}

// follow follows until ctx is done. An entry takes cost to pass on, with nobody else on the
// machine.
func (c *client) follow(ctx context.Context, f *follower, end func() uint64, cost time.Duration) {
	defer f.close()
	begun := time.Now()
	for ctx.Err() == nil {
		most := f.wait(ctx)
		if ctx.Err() != nil {
			return
		}
		n := min(most, int(end()-c.at)/entrySize)
		c.at += uint64(n * entrySize)
		c.entries += n
		f.read(n, n*entrySize)
		time.Sleep(time.Duration(n) * cost)
		if time.Since(begun) > floodWindow {
			c.lag = max(c.lag, end()-c.at)
		}
		if n < most {
			f.caughtUp()
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

// run lets n clients follow the writer for a time, from its beginning.
func run(t *testing.T, throttle *Throttle, w *writer, n int, d time.Duration) []client {
	ctx, cancel := context.WithCancel(t.Context()) // without a deadline, as a request's
	time.AfterFunc(d, cancel)
	clients := make([]client, n)
	var group sync.WaitGroup
	for i := range clients {
		f := throttle.follow(w.end)
		group.Go(func() { clients[i].follow(ctx, f, w.end, 10*time.Microsecond) })
	}
	group.Wait()
	return clients
}

func TestFollowerThatKeepsUpIsNotSlowed(t *testing.T) {
	for lines, history := range map[float64]time.Duration{10: time.Hour, 2000: time.Minute, 20_000: 2 * time.Second, 60_000: 0} {
		synctest.Test(t, func(t *testing.T) {
			w := &writer{begun: time.Now(), rate: lines * entrySize}
			throttle := NewThrottle()
			time.Sleep(history) // which it reads first
			c := run(t, throttle, w, 1, 40*time.Second)[0]
			if behind := w.end() - c.at; behind > uint64(0.05*lines*entrySize)+entrySize {
				t.Errorf("%v lines a second: %d bytes behind at the end", lines, behind)
			}
			if n := throttle.slowed.Load(); n != 0 {
				t.Errorf("%d followers are still slowed", n)
			}
		})
	}
}

func TestFollowersOfAFloodShareTheRate(t *testing.T) {
	for _, n := range []int{1, 2, 20, 100} {
		synctest.Test(t, func(t *testing.T) {
			w := &writer{begun: time.Now(), rate: 200_000 * entrySize}
			const seconds = 20
			time.Sleep(time.Second)
			total, least := 0, 1<<40
			for _, c := range run(t, NewThrottle(), w, n, seconds*time.Second) {
				total += c.entries
				least = min(least, c.entries)
			}
			share := min(n, maxShare)
			// Each takes up to slowedEntries before its first wait.
			most := (followRate*seconds+followBurst)/share + n*slowedEntries
			if total > most || total < followRate*seconds/share*9/10 {
				t.Errorf("%d followers read %d entries, want %d at most and little less", n, total, most)
			}
			if least < total/n*8/10 {
				t.Errorf("one of %d followers read %d entries of %d", n, least, total)
			}
		})
	}
}

func TestFollowersCatchUpAfterAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writer{begun: time.Now(), rate: 200_000 * entrySize, stop: time.Second}
		for _, c := range run(t, NewThrottle(), w, 20, 7*time.Second) {
			if c.at+entrySize <= w.end() {
				t.Errorf("a follower is %d bytes behind, 6 s after the flood", w.end()-c.at)
			}
		}
	})
}

func TestFloodDoesNotSlowFollowersOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := NewThrottle()
		flood := &writer{begun: time.Now(), rate: 200_000 * entrySize}
		quiet := &writer{begun: time.Now(), rate: 1000 * entrySize}
		var group sync.WaitGroup
		group.Go(func() { run(t, throttle, flood, 20, 10*time.Second) })
		c := run(t, throttle, quiet, 1, 10*time.Second)[0]
		group.Wait()
		if c.lag > 20*entrySize {
			t.Errorf("the follower of a quiet container was %d bytes behind", c.lag)
		}
	})
}

func TestThrottleWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := NewThrottle()
		throttle.Limiter.SetLimit(1e-9)
		f := throttle.follow(func() uint64 { return 0 })
		f.read(followBurst, 0)
		if n := f.wait(t.Context()); n != slowedEntries {
			t.Errorf("the first wait allows %d entries, want %d", n, slowedEntries)
		}
		f.read(followBurst, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if n := f.wait(ctx); n != answerEntries {
			t.Errorf("a wait whose context is done allows %d entries, want %d", n, answerEntries)
		}
		f.close()
		if n := throttle.slowed.Load(); n != 0 {
			t.Errorf("%d followers are slowed, want 0", n)
		}
	})
}
