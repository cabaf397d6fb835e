package uploader

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// TestMemoryIsNotWaitedForInACircle sends more backlogs than there is memory for, of bodies that are not compressed,
// to a service that is slow: the memory that one sender waits for is another's, and that one waits as well.
func TestMemoryIsNotWaitedForInACircle(t *testing.T) {
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
				t.Error("not all is acknowledged")
			}
		}
		stop(t, u)
	})
}

// TestManyFeedsOfOneStream: between two batches of a backlog a few feeds keep their buffers and files, and many do not.
func TestManyFeedsOfOneStream(t *testing.T) {
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
		s.build(time.Now())
		for _, feed := range feeds {
			if feed.open != keep {
				t.Errorf("%d feeds: open is %v", n, feed.open)
			}
		}
		stop(t, u)
	}
}
