package uploader

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// TestEventsWaitForTheDelay also checks which requests create the group and the stream.
func TestEventsWaitForTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		u := start(t, f, Options{})
		d := u.Attach(testTarget, feed, 4*time.Second)
		time.Sleep(10 * time.Second)
		if n := f.count("put"); n != 0 {
			t.Fatalf("%d requests with nothing to send", n)
		}
		begin := time.Now()
		d.Notify(feed.add(begin, line(0)))
		time.Sleep(time.Second)
		d.Notify(feed.add(time.Now(), line(1)))
		synctest.Wait()
		time.Sleep(900 * time.Millisecond) // a sender that had nothing waits for half of the delay or longer
		synctest.Wait()
		if n := f.count("put"); n != 0 {
			t.Fatalf("a request after %v", time.Since(begin))
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := len(f.shown("g", "s")); got != 2 {
			t.Fatalf("%d events after %v", got, time.Since(begin))
		}
		// put finds no stream, stream finds no group, then group, stream, put.
		if p, s, g := f.count("put"), f.count("stream"), f.count("group"); p != 2 || s != 2 || g != 1 {
			t.Errorf("%d puts, %d streams, %d groups", p, s, g)
		}
		d.Notify(feed.add(time.Now(), line(2)))
		d.Finish()
		<-d.Done()
		stop(t, u)
		checkShown(t, f.shown("g", "s"), feed, false, nil)
		if !feed.ackedAll() {
			t.Error("not everything is acknowledged")
		}
		if u.Metrics().Senders != 0 {
			t.Error("the sender has not ended")
		}
	})
}

func TestFinishSendsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		u := start(t, f, Options{})
		d := u.Attach(testTarget, feed, time.Hour)
		d.Notify(feed.add(time.Now(), line(0)))
		synctest.Wait() // the sender waits for the delay
		begin := time.Now()
		d.Finish()
		<-d.Done()
		if d := time.Since(begin); d > 0 {
			t.Errorf("took %v", d)
		}
		// A feed without events is done at once, and no stream is created for it.
		e := u.Attach(target.Target{Access: target.Access{Region: "r"}, Group: "none", Stream: "none", Create: target.Create{Group: true, Stream: true}}, newFeed(t), time.Hour)
		e.Finish()
		<-e.Done()
		if f.count("stream") != 0 {
			t.Error("a stream was created without need")
		}
		stop(t, u)
	})
}

func TestFullBatchDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		u := start(t, f, Options{})
		d := u.Attach(testTarget, feed, time.Hour)
		synctest.Wait()
		at := time.Now()
		for i := range 10_000 {
			d.Notify(feed.add(at.Add(time.Duration(i)*100*time.Microsecond), line(i)))
		}
		synctest.Wait()
		if got := len(f.shown("g", "s")); got < 9000 {
			t.Errorf("%d events sent", got)
		}
		d.Finish()
		<-d.Done()
		stop(t, u)
		checkShown(t, f.shown("g", "s"), feed, false, nil)
	})
}

// TestUnfinishedEventIsSentWhenDue: the sender asks for an unfinished event at the time
// that the feed names.
func TestUnfinishedEventIsSentWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		u := start(t, f, Options{})
		d := u.Attach(testTarget, feed, time.Second)
		feed.due, feed.hold = time.Now().Add(5*time.Second), 1
		d.Notify(feed.add(time.Now(), line(0)))
		d.Finish()
		time.Sleep(4900 * time.Millisecond)
		synctest.Wait()
		if len(f.shown("g", "s")) != 0 {
			t.Error("sent too early")
		}
		<-d.Done()
		stop(t, u)
		checkShown(t, f.shown("g", "s"), feed, false, nil)
	})
}

// TestFeedsOfOneStreamShareBatches: their events are merged by time, and the shortest delay
// applies.
func TestFeedsOfOneStreamShareBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.has("g", "s")
		u := start(t, f, Options{})
		at := time.Now()
		var feeds []*fakeFeed
		var deliveries []*Delivery
		for i := range 3 {
			feed := newFeed(t)
			feeds = append(feeds, feed)
			deliveries = append(deliveries, u.Attach(testTarget, feed, time.Duration(10-4*i)*time.Second))
		}
		for i := range 30 {
			deliveries[i%3].Notify(feeds[i%3].add(at.Add(time.Duration(i)*time.Millisecond), line(i)))
		}
		time.Sleep(2*time.Second + time.Millisecond)
		synctest.Wait()
		shown := f.shown("g", "s")
		for i, s := range shown {
			if s.message != line(i) {
				t.Errorf("%d: %s", i, s.message)
			}
		}
		if len(shown) != 30 || len(f.batches) != 1 {
			t.Errorf("%d events in %d batches", len(shown), len(f.batches))
		}
		deliveries[0].Finish()
		<-deliveries[0].Done()
		<-deliveries[1].Detach()
		deliveries[2].Notify(feeds[2].add(at, "last"))
		time.Sleep(3 * time.Second)
		stop(t, u)
		if n := len(f.shown("g", "s")); n != 31 {
			t.Errorf("%d events", n)
		}
	})
}

// TestBacklogStarvesNoOtherFeed has a delivery with a long backlog of earlier events share
// a stream with a live one.
func TestBacklogStarvesNoOtherFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.has("g", "s")
		f.latency = 50 * time.Millisecond
		u := start(t, f, Options{})
		old, live := newFeed(t), newFeed(t)
		at := time.Now().Add(-48 * time.Hour)
		text := strings.Repeat("x", 100_000)
		for i := range 120 {
			old.add(at.Add(time.Duration(i)*time.Second), line(i)+text)
		}
		live.add(time.Now(), "live")
		a, b := u.Attach(testTarget, old, time.Second), u.Attach(testTarget, live, time.Second)
		a.Finish()
		b.Finish()
		<-b.Done()
		f.mu.Lock() // other batches may arrive at the same moment, so that only the order counts
		n := slices.IndexFunc(f.streams["g|s"], func(e stored) bool { return e.message == "live" })
		f.mu.Unlock()
		if n < 0 || n > 70 {
			t.Errorf("the live event came after %d others", n)
		}
		<-a.Done()
		stop(t, u)
		checkShown(t, f.shown("g", "s"), old, false, nil)
	})
}

func TestNotifyDoesNotAllocate(t *testing.T) {
	f := newFake(t)
	u := start(t, f, Options{})
	d := u.Attach(testTarget, newFeed(t), time.Hour)
	if n := testing.AllocsPerRun(1000, func() { d.Notify(3, 300) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	<-d.Detach()
	stop(t, u)
}

// TestNotifyIsNeverMissed calls Notify while the sender does all kinds of things.
func TestNotifyIsNeverMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.has("g", "s")
		u := start(t, f, Options{Plain: true})
		var feeds []*fakeFeed
		var wg sync.WaitGroup
		var deliveries []*Delivery
		for w := range 4 {
			feed := newFeed(t)
			feeds = append(feeds, feed)
			d := u.Attach(testTarget, feed, time.Nanosecond)
			deliveries = append(deliveries, d)
			wg.Go(func() {
				for i := range 3000 {
					d.Notify(feed.add(time.Now(), fmt.Sprint(w, " ", i)))
					if i%3 == 0 {
						time.Sleep(time.Duration(i%7) * time.Nanosecond)
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Second) // nothing else wakes the sender in that time
		synctest.Wait()
		for w, feed := range feeds {
			if !feed.ackedAll() {
				t.Errorf("feed %d: not all is acknowledged", w)
			}
		}
		for _, d := range deliveries {
			d.Finish()
			<-d.Done()
		}
		stop(t, u)
	})
}

// TestNotifyDuringNextIsNotMissed appends at the moment at which the feed says that it has
// nothing.
func TestNotifyDuringNextIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		u := start(t, f, Options{})
		d := u.Attach(testTarget, feed, time.Second)
		synctest.Wait()
		more := 3
		feed.onEmpty = func() {
			if more--; more >= 0 {
				d.Notify(feed.append(time.Now(), line(more)))
			}
		}
		d.Notify(feed.add(time.Now(), "first"))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(f.shown("g", "s")); n != 4 {
			t.Errorf("%d of 4 events", n)
		}
		<-d.Detach()
		stop(t, u)
	})
}
