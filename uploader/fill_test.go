package uploader

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/target"
)

// slowFeed takes long for each event.
type slowFeed struct {
	*fakeFeed
	each time.Duration
}

func (f slowFeed) Next(now time.Time) (*events.Event, bool) {
	time.Sleep(f.each)
	return f.fakeFeed.Next(now)
}

// TestSlowFeedEndsItsBatchEarly: if the events of a batch take long, the batch is sent with
// those that have come.
func TestSlowFeedEndsItsBatchEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		for i := range 20 {
			feed.add(time.Now().Add(time.Duration(i)*time.Millisecond), line(i))
		}
		feed.add(time.Now().Add(time.Second), "last")
		u := start(t, f, Options{})
		d := u.Attach(testTarget, slowFeed{feed, maxFillTime / 7}, time.Second)
		d.Finish()
		<-d.Done()
		stop(t, u)
		if n := f.count("put"); n != 3 {
			t.Errorf("%d requests", n)
		}
		checkShown(t, f.shown("g", "s"), feed, false, nil)

		// If each event takes longer than a batch may, each batch has one event.
		feed = newFeed(t)
		feed.add(time.Now(), "slow 1")
		feed.add(time.Now(), "slow 2")
		u = start(t, f, Options{})
		d = u.Attach(testTarget, slowFeed{feed, 2 * maxFillTime}, time.Second)
		d.Finish()
		<-d.Done()
		stop(t, u)
		if n := f.count("put"); n != 5 {
			t.Errorf("%d requests", n)
		}
	})
}

// TestRestOfSmallBatchIsDueAtOnce: if more comes while a sender with little to send waits for its
// turn, what does not fit into its batch does not wait for the delay again.
func TestRestOfSmallBatchIsDueAtOnce(t *testing.T) {
	for _, backlog := range []bool{false, true} {
		u := New(Options{Log: discard, connector: newFake(t)})
		s := newSender(u, newService(u, target.Access{}, newEndpoint()), target.Target{}, testTarget)
		feed, now := newFeed(t), time.Now()
		d := newDelivery(s, testTarget, feed, time.Hour)
		s.deliveries = []*Delivery{d}
		size := littleSize
		if backlog {
			size = fullSize
		}
		for counted := 0; counted <= size.bytes; counted += 10_000 {
			d.Notify(feed.add(now, string(make([]byte, 10_000))))
		}
		s.u.pool.finish(s.build(now, backlog))
		want := now
		if backlog {
			want = now.Add(time.Hour)
		}
		if d.drained || !s.next.due.Equal(want) {
			t.Errorf("backlog %v: the rest is due after %v", backlog, s.next.due.Sub(now))
		}
		stop(t, u)
	}
}

// TestClockIsReadOftenOnlyWhileEventsAreSlow: a batch whose events have come quickly ends soon
// after it has taken too long, and while events are slow, it ends with the next one.
func TestClockIsReadOftenOnlyWhileEventsAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStopwatch()
		for range 1000 {
			if w.over() {
				t.Fatal("no time has passed")
			}
		}
		if w.step != maxUnwatched {
			t.Errorf("the clock is read for each %d quick events, want %d", w.step, maxUnwatched)
		}
		for range maxUnwatched {
			time.Sleep(2 * quickEvents)
			w.over()
		}
		time.Sleep(maxFillTime)
		if !w.over() {
			t.Error("a slow event was added after the batch had taken too long")
		}

		w = newStopwatch()
		for range 1000 {
			w.over()
		}
		time.Sleep(maxFillTime)
		for n := 1; !w.over(); n++ {
			if n == maxUnwatched {
				t.Fatal("the batch does not end")
			}
		}
	})
}
