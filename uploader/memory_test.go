package uploader

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

// TestSendersDoNotDeadlockOnMemory sends more backlogs than there is memory for,
// uncompressed, to a slow service. Each sender waits for memory that another holds.
func TestSendersDoNotDeadlockOnMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.latency = 5 * time.Second
		u := start(t, f, Options{Plain: true})
		random := rand.NewChaCha8([32]byte{1})
		text := make([]byte, 8<<10)
		at := time.Now()
		var deliveries []*Delivery
		var feeds []*fakeFeed
		const senders = 8
		for i := range senders {
			to := testTarget
			to.Stream = fmt.Sprint("s", i)
			f.has(to.Group, to.Stream)
			feed := newFeed(t)
			for j := range 384 {
				_, _ = random.Read(text)
				for k := range text {
					text[k] = 32 + text[k]%95
				}
				feed.add(at.Add(time.Duration(j)*time.Millisecond), string(text))
			}
			feeds = append(feeds, feed)
			deliveries = append(deliveries, u.Attach(to, feed, time.Second))
		}
		for _, d := range deliveries {
			d.Finish()
		}
		for i, d := range deliveries {
			<-d.Done()
			if !feeds[i].ackedAll() {
				t.Error("not everything is acknowledged")
			}
		}
		stop(t, u)
	})
}

// TestManyFeedsOfOneStreamAreReleased: between two batches of a backlog, a few feeds keep
// their buffers and files, and many do not.
func TestManyFeedsOfOneStreamAreReleased(t *testing.T) {
	for n, keep := range map[int]bool{2: true, maxOpenFeeds + 1: false} {
		u := New(Options{Log: discard, connector: newFake(t)})
		s := newSender(u, newService(u, target.Access{}, newEndpoint()), target.Target{}, testTarget)
		var feeds []*fakeFeed
		for range n {
			feed := newFeed(t)
			d := newDelivery(s, testTarget, feed, 0)
			for range 10 {
				d.Notify(feed.add(time.Now(), string(make([]byte, 500_000))))
			}
			feeds = append(feeds, feed)
			s.deliveries = append(s.deliveries, d)
		}
		s.u.pool.finish(s.build(time.Now(), true))
		for _, feed := range feeds {
			if feed.open != keep {
				t.Errorf("%d feeds: open is %v", n, feed.open)
			}
		}
		stop(t, u)
	}
}

// TestOutageCostsNoMemory has a thousand streams with 200 KB each while CloudWatch is down.
func TestOutageCostsNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.latency = 100 * time.Millisecond
		f.faults = func(string, string, string) *fault { return &fault{err: errors.New("refused")} }
		u := start(t, f, Options{Log: discard})
		text := []byte(strings.Repeat("x", 2_000))
		heap := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc + m.StackInuse)
		}
		var deliveries []*Delivery
		for i := range 1000 {
			feed := newFeed(t)
			for j := range 100 { // all events share the text, so that the feeds cost little memory
				feed.events = append(feed.events, events.Event{
					Time: int64(j), Message: text, Ranges: []stream.Range{{From: uint64(j), To: uint64(j + 1)}},
				})
			}
			tg := testTarget
			tg.Stream = fmt.Sprint(i)
			deliveries = append(deliveries, u.Attach(tg, feed, time.Second))
		}
		before := heap()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		grown := heap() - before
		t.Logf("%d tries, %.1f MiB more", f.count("put"), float64(grown)/(1<<20))
		if grown > 24<<20 {
			t.Errorf("%d bytes more", grown)
		}
		for _, d := range deliveries {
			<-d.Detach()
		}
		stop(t, u)
	})
}

// TestSmallBatchWaitsForNoBacklog: a small batch is built while batches of backlogs hold all the
// memory that they may have, and while as many of them are being built as may be.
func TestSmallBatchWaitsForNoBacklog(t *testing.T) {
	for _, plain := range []bool{false, true} {
		p := newPool()
		ctx, cancel := context.WithCancel(t.Context())
		for range cap(p.backlog.building) {
			p.reserve(ctx, true, plain)
		}
		for p.backlog.retained.TryAcquire(1 << 10) { // the rest
		}
		b := p.reserve(ctx, false, plain)
		if b.budget.most != littleSize {
			t.Errorf("the batch may have %v", b.budget.most)
		}
		p.finish(b)
		p.free(b)
		cancel()
		if p.reserve(ctx, true, plain) != nil {
			t.Error("a batch of a backlog has memory that there is not")
		}
	}
}
