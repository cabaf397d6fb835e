package uploader

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/target"
)

// deliveryOf returns a delivery of a sender that does not run, so that a test can build batches
// itself.
func deliveryOf(t *testing.T, o Options, feed Feed, delay time.Duration) *Delivery {
	u := start(t, newFake(t), o)
	t.Cleanup(func() { stop(t, u) })
	s := newSender(u, newService(u, target.Access{}, newEndpoint()), target.Target{}, testTarget)
	d := newDelivery(s, testTarget, feed, delay)
	s.deliveries = []*Delivery{d}
	return d
}

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

// TestSlowFeedsAreFilledInTurns: if the feeds of one stream need long for their first events, a
// batch does not wait for all of them, and the others come later.
func TestSlowFeedsAreFilledInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.has("g", "s")
		u := start(t, f, Options{})
		begun := time.Now()
		var all []*Delivery
		for range 20 {
			feed := newFeed(t)
			d := u.Attach(testTarget, slowFeed{feed, maxFillTime / 2}, 0)
			d.Notify(feed.add(time.Now(), "slow"))
			all = append(all, d)
		}
		for _, d := range all {
			d.Finish()
			<-d.Done()
		}
		stop(t, u)
		if n := len(f.shown("g", "s")); n != len(all) {
			t.Errorf("%d of %d events", n, len(all))
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if first := f.first[0].Sub(begun); first > 3*maxFillTime || f.calls["put"] < 5 {
			t.Errorf("the first of %d requests came after %v", f.calls["put"], first)
		}
	})
}

// searchingFeed looks for an event for long, and finds none.
type searchingFeed struct {
	*fakeFeed
	each time.Duration
	now  time.Time
}

func (f *searchingFeed) Next(now time.Time) (*events.Event, bool) {
	time.Sleep(f.each)
	f.now = now
	return nil, false
}

func (f *searchingFeed) Due() time.Time                      { return f.now }
func (f *searchingFeed) Backlog() (string, int64, time.Time) { return "", 1 << 30, time.Time{} }

// TestSearchesDelayNoOthers: if some feeds of a stream look for an event for long, again and again,
// the events of the others come first. The sender is one with a backlog meanwhile.
func TestSearchesDelayNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		u := start(t, f, Options{})
		var searching []*Delivery
		for range 3 {
			searching = append(searching, u.Attach(testTarget, &searchingFeed{fakeFeed: newFeed(t), each: maxFillTime / 2}, 0))
		}
		d := u.Attach(testTarget, feed, 0)
		for i := range 5 {
			begun := time.Now()
			d.Notify(feed.add(begun, line(i)))
			for len(f.shown("g", "s")) == i {
				if time.Since(begun) > 3*maxFillTime {
					t.Fatalf("line %d is not delivered after %v", i, time.Since(begun))
				}
				time.Sleep(maxFillTime / 20)
			}
		}
		for _, d := range searching {
			d.Detach()
		}
		d.Finish()
		<-d.Done()
		stop(t, u)
	})

	s := deliveryOf(t, Options{}, &searchingFeed{fakeFeed: newFeed(t)}, 0).sender
	b := s.build(time.Now(), true)
	if s.hasLittle() {
		t.Error("a feed that has not searched its backlog yet has little")
	}
	s.u.pool.finish(b)
	s.u.pool.free(b)
}

// TestRestOfSmallBatchIsDueAtOnce: if more comes while a sender with little to send waits for its
// turn, what does not fit into its batch does not wait for the delay again.
func TestRestOfSmallBatchIsDueAtOnce(t *testing.T) {
	for _, backlog := range []bool{false, true} {
		feed, now := newFeed(t), time.Now()
		d := deliveryOf(t, Options{}, feed, time.Hour)
		s := d.sender
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
	}
}

// TestBatchEndsWhenItsBodyGrows: control characters take six bytes each in the body. A batch that
// may be half as large has half as long a body, because less memory is reserved for it.
func TestBatchEndsWhenItsBodyGrows(t *testing.T) {
	feed, now := newFeed(t), time.Now()
	d := deliveryOf(t, Options{Plain: true}, feed, 0)
	s := d.sender
	for range 3000 {
		d.Notify(feed.add(now, string(make([]byte, 1000))))
	}
	for backlog, most := range map[bool]int{false: littlePlain, true: retainedPlain} {
		b := s.build(now, backlog)
		s.u.pool.finish(b)
		if b.plainSize > most || b.plainSize < most*3/4 {
			t.Errorf("backlog %v: a body of %d bytes, for which %d are reserved", backlog, b.plainSize, most)
		}
		if b.large() != backlog {
			t.Errorf("backlog %v: large is %v", backlog, b.large())
		}
		s.u.pool.unreserve(b)
		s.u.pool.free(b)
	}
}

// TestBatchOfShortLinesIsLarge: the response times of full batches of short lines count as those
// of others do.
func TestBatchOfShortLinesIsLarge(t *testing.T) {
	feed, now := newFeed(t), time.Now()
	d := deliveryOf(t, Options{}, feed, 0)
	s := d.sender
	for range maxBatchEvents + 100 {
		d.Notify(feed.add(now, "x"))
	}
	for _, want := range []bool{true, false} {
		b := s.build(now, true)
		s.u.pool.finish(b)
		if b.large() != want {
			t.Errorf("a batch of %d events and %d bytes: large is %v", len(b.records), b.counted, b.large())
		}
		s.u.pool.unreserve(b)
		s.u.pool.free(b)
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
