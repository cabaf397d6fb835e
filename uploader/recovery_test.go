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

// TestDeliveryResumesAfterOperatorFix: after minutes, somebody fixes what the plugin may
// not or cannot fix. Delivery resumes within one longest wait, which is shorter than 30 s.
func TestDeliveryResumesAfterOperatorFix(t *testing.T) {
	const outage = 10 * time.Minute
	for _, k := range []struct {
		name  string
		tries int // several, because the waits are random
		to    target.Target
		bad   error // the error of all puts until the fix; with nil, the group is missing
	}{
		{"group is created", 40, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s", Create: target.Create{Stream: true}}, nil},
		{"group and stream are created", 10, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s"}, nil},
		{"access is granted", 10, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s"}, apiErr("AccessDeniedException")},
		{"keys are valid again", 10, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s"}, apiErr("UnrecognizedClientException")},
		{"unknown error code", 10, target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: "s"}, apiErr("Nobody")},
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
				t.Errorf("delivered %v after it was fixed", worst)
			}
		})
	}
}

// TestWaitingSendersReleaseTheirFeeds: while a sender waits for a permit or for the next
// try, its feeds keep neither buffers nor files, however long the backlog is.
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

// TestSendersOfAGroupShareItsFailure: if a group is missing and cannot be created, its
// senders do not each try to create it. All of them deliver soon after somebody has fixed
// it.
func TestSendersOfAGroupShareItsFailure(t *testing.T) {
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
				// There is one try each maxSlowBackoff/2 on average, and a few more at
				// first.
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
