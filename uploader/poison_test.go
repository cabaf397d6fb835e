package uploader

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/events"
)

// TestPoisonEventIsFoundAmongBatchesInFlight has a poison event in a full batch. The batch
// is refused before the others in flight are accepted. The event must be found soon
// nevertheless, and not after everything behind it.
func TestPoisonEventIsFoundAmongBatchesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		before := 0 // requests until the event was found
		f.has("g", "s")
		f.refuse = func(m string) bool { return strings.HasPrefix(m, "poison") }
		f.latency = 100 * time.Millisecond
		u := start(t, f, Options{})
		feed := newFeed(t)
		feed.onLost = func() { before = f.count("put") }
		at := time.Now().Add(-time.Hour)
		const n = 15 * maxBatchEvents
		for i := range n {
			text := line(i)
			if i == maxBatchEvents+5 {
				text = "poison"
			}
			feed.add(at.Add(time.Duration(i)*time.Millisecond), text)
		}
		d := u.Attach(testTarget, feed, time.Second)
		d.Finish()
		<-d.Done()
		stop(t, u)
		checkShown(t, f.shown("g", "s"), feed, false, f.refuse)
		if most := 30; before > most {
			t.Errorf("found after %d requests, want at most %d", before, most)
		}
	})
}

// TestPoisonEventsAreFoundAndDropped: all other events are delivered once.
func TestPoisonEventsAreFoundAndDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		poison := func(m string) bool { return strings.HasPrefix(m, "bad") }
		f.refuse = poison
		u := start(t, f, Options{})
		at := time.Now()
		bad := 0
		for i := range 3000 {
			s := line(i)
			if i == 0 || i == 1500 || i == 1501 || i == 2999 {
				s, bad = "bad"+s, bad+1
			}
			feed.add(at.Add(time.Duration(i)*time.Millisecond), s)
		}
		d := u.Attach(testTarget, feed, time.Second)
		d.Finish()
		<-d.Done()
		stop(t, u)
		checkShown(t, f.shown("g", "s"), feed, false, poison)
		if len(feed.dropped) != bad {
			t.Errorf("%d reports: %v", len(feed.dropped), feed.dropped)
		}
		if want := slices.Repeat([]string{"refused 1"}, bad); !slices.Equal(feed.lost, want) {
			t.Errorf("Lost was called with %v, want %v", feed.lost, want)
		}
		if got := u.Metrics().DroppedEvents[events.Refused]; got != int64(bad) {
			t.Errorf("counted %d", got)
		}
		if n := f.count("put"); n > 120 {
			t.Errorf("%d requests", n)
		}
	})
}

// TestFewEventsAreDroppedIfAllAreRefused: if CloudWatch refuses everything, the events are
// not the reason.
func TestFewEventsAreDroppedIfAllAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		f.refuse = func(string) bool { return true }
		u := start(t, f, Options{Log: discard})
		for i := range 5000 {
			feed.add(time.Now(), line(i))
		}
		d := u.Attach(testTarget, feed, 0)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := u.Metrics().DroppedEvents[events.Refused]; n < maxPoisonAtFullSpeed || n > 200 {
			t.Errorf("%d events dropped in 10 minutes", n)
		}
		<-d.Detach()
		stop(t, u)
	})
}
