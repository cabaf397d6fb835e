package uploader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// TestMendedByHand has somebody mend, after minutes, what the driver may not or cannot: delivery goes on after the
// longest wait and no other one, which is within 30 s.
func TestMendedByHand(t *testing.T) {
	const outage = 10 * time.Minute
	for _, k := range []struct {
		name  string
		tries int // the waits are random
		to    target.Target
		bad   error // of all puts until it is mended; nil: the group is missing
	}{
		{"group is made", 40, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s", Create: target.Create{Stream: true}}, nil},
		{"group and stream are made", 10, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s"}, nil},
		{"leave is given", 10, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s"}, apiErr("AccessDeniedException")},
		{"keys are good again", 10, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s"}, apiErr("UnrecognizedClientException")},
		{"no answer that anyone knows", 10, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s"}, apiErr("Nobody")},
	} {
		t.Run(k.name, func(t *testing.T) {
			worst := time.Duration(0)
			for range k.tries {
				synctest.Test(t, func(t *testing.T) {
					f := newFake(t)
					begin := time.Now()
					f.faults = func(op, _, _ string) *fault {
						if k.bad != nil && op == "put" && time.Since(begin) < outage {
							return &fault{err: k.bad}
						}
						return nil
					}
					u := start(t, f, Options{Log: discard})
					feed := newFeed(t)
					feed.add(time.Now(), "x")
					d := u.Attach(k.to, feed, time.Second)
					d.Finish()
					time.Sleep(outage)
					if k.to.Create.Stream {
						f.has("g", "")
					} else {
						f.has("g", "s")
					}
					<-d.Done()
					worst = max(worst, time.Since(begin)-outage)
					stop(t, u)
				})
			}
			if worst > maxSlowBackoff+time.Second {
				t.Errorf("delivered %v after it was mended", worst)
			}
		})
	}
}

// TestWaitingSendersReleaseTheirFeeds: a sender that waits for its turn or for the next try keeps neither buffers nor files of
// its feeds, however long its backlog is.
func TestWaitingSendersReleaseTheirFeeds(t *testing.T) {
	for name, k := range map[string]struct {
		fault   fault
		latency time.Duration
	}{
		"down":      {fault{err: errors.New("refused")}, 0},
		"throttled": {fault{err: apiErr("ThrottlingException")}, 0},
		"denied":    {fault{err: apiErr("AccessDeniedException")}, 0},
		"recovery":  {fault{}, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.latency = k.latency
				f.faults = func(string, string, string) *fault {
					if k.fault.err == nil {
						return nil
					}
					return &k.fault
				}
				u := start(t, f, Options{Log: discard, Plain: true})
				text := strings.Repeat("x", 100_000)
				var feeds []*fakeFeed
				var deliveries []*Delivery
				for i := range 30 {
					feed := newFeed(t)
					to := testTarget
					to.Stream = fmt.Sprint(i)
					f.has("g", to.Stream)
					d := u.Attach(to, feed, time.Second)
					for j := range 25 { // more than two batches
						d.Notify(feed.add(time.Now().Add(time.Duration(j)*time.Millisecond), text))
					}
					feeds, deliveries = append(feeds, feed), append(deliveries, d)
				}
				for range 40 {
					time.Sleep(501 * time.Millisecond)
					synctest.Wait()
					open := 0
					for _, feed := range feeds {
						feed.mu.Lock()
						if feed.open {
							open++
						}
						feed.mu.Unlock()
					}
					f.mu.Lock()
					if open > f.busy {
						t.Errorf("%d feeds are open with %d requests in flight", open, f.busy)
					}
					f.mu.Unlock()
				}
				for _, d := range deliveries {
					d.Detach()
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				_ = u.Stop(ctx)
			})
		})
	}
}

// TestGroupFailureIsAskedForOnce: the senders of a group that cannot be created or is missing do not each ask for it, and all
// deliver soon after somebody has fixed it.
func TestGroupFailureIsAskedForOnce(t *testing.T) {
	for name, create := range map[string]bool{"denied": true, "missing": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.options = func(target.NewGroup) error { return apiErr("AccessDeniedException") }
				var log logged
				u := start(t, f, Options{Log: log.log(), Plain: true})
				var feeds []*fakeFeed
				for i := range 60 {
					feed := newFeed(t)
					feed.add(time.Now(), "x")
					to := target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: fmt.Sprint(i), Create: target.Create{Group: create, Stream: true}}
					u.Attach(to, feed, time.Second)
					feeds = append(feeds, feed)
				}
				const outage = 11 * time.Minute
				time.Sleep(outage)
				synctest.Wait()
				// One try every maxSlowBackoff/2 on the average, and a few more at first.
				if n, most := f.count("stream"), int(3*outage/maxSlowBackoff); n > most {
					t.Errorf("%d calls to create a stream, at most %d expected", n, most)
				}
				if n := f.count("group"); n > f.count("stream") || n > 0 != create {
					t.Errorf("%d calls to create the group", n)
				}
				if n := len(log.with("ERROR", groupFails)); n != 2 || len(log.with("ERROR")) != 2 {
					t.Errorf("logged %q", log.lines)
				}
				f.has("g", "")
				time.Sleep(maxSlowBackoff + 60*time.Second/createStreamsPerSecond + time.Second)
				synctest.Wait()
				for i, feed := range feeds {
					if !feed.ackedAll() {
						t.Fatalf("stream %d is not delivered", i)
					}
				}
				stop(t, u)
				if len(log.with("INFO", groupWorks)) != 1 {
					t.Errorf("logged %q", log.lines)
				}
			})
		})
	}
}
