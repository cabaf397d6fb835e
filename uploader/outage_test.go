package uploader

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// TestDeliveryResumesAfterOutage: after an outage of any kind, delivery resumes within 30
// s. The outage costs few requests and loses nothing.
func TestDeliveryResumesAfterOutage(t *testing.T) {
	for name, ft := range map[string]fault{
		"refused":     {err: errors.New("connection refused")},
		"reset after": {err: errors.New("connection reset"), after: true},
		"500":         {err: &fakeErr{status: 500}},
		"503":         {err: apiErr("ServiceUnavailableException")},
		"nonsense":    {err: &fakeErr{status: 200}},
		"throttled":   {err: apiErr("ThrottlingException")},
		"credentials": {err: apiErr("ExpiredTokenException")},
		"hang":        {hang: true},
		"hang after":  {hang: true, after: true},
		"denied":      {err: apiErr("AccessDeniedException")},
		"404 page":    {err: &fakeErr{status: 404}},
		"bad names":   {err: &codeErr{fakeErr{code: "InvalidParameterException", message: "Value 'x' at 'logStreamName' failed", status: 400}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				u := start(t, f, Options{Plain: true})
				const senders = 20
				down := true
				shared := classify(ft.err, false).shared() || ft.hang
				f.faults = func(op, group, stream string) *fault {
					if down {
						return &ft
					}
					return nil
				}
				begin := time.Now()
				var feeds []*fakeFeed
				var deliveries []*Delivery
				for i := range senders {
					g := target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: fmt.Sprint(i), Create: target.Create{Group: true, Stream: true}}
					f.has("g", g.Stream)
					feed := newFeed(t)
					feeds = append(feeds, feed)
					deliveries = append(deliveries, u.Attach(g, feed, time.Second))
				}
				n := 0
				for time.Since(begin) < 10*time.Minute {
					for i, d := range deliveries {
						d.Notify(feeds[i].add(time.Now(), line(n)))
					}
					n++
					time.Sleep(3 * time.Second)
				}
				f.mu.Lock()
				down = false
				tries := f.calls["put"]
				f.mu.Unlock()
				back := time.Now()
				time.Sleep(30 * time.Second)
				synctest.Wait()
				f.mu.Lock()
				f.first = slices.DeleteFunc(f.first, func(t time.Time) bool { return t.Before(back) })
				if len(f.first) == 0 {
					t.Error("nothing delivered within 30 s")
				} else {
					t.Logf("%d tries in 10 min, first delivery %v after", tries, f.first[0].Sub(back))
				}
				f.mu.Unlock()
				if most := 300; shared && tries > most {
					t.Errorf("%d tries in 10 minutes of outage", tries)
				}
				for _, d := range deliveries {
					d.Finish()
				}
				for i, d := range deliveries {
					<-d.Done()
					checkShown(t, f.shown("g", fmt.Sprint(i)), feeds[i], ft.after, nil)
				}
				if f.busiest > maxRequests {
					t.Errorf("%d requests at once", f.busiest)
				}
				stop(t, u)
			})
		})
	}
}

func TestFailureOfOneTargetDelaysNoOther(t *testing.T) {
	for name, err := range map[string]error{
		"denied": apiErr("AccessDeniedException"), "missing": apiErr("ResourceNotFoundException"), "names": &fakeErr{status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.has("g", "s")
				f.faults = func(op, group, stream string) *fault {
					if stream == "bad" {
						return &fault{err: err}
					}
					return nil
				}
				u := start(t, f, Options{Plain: true})
				bad, good := newFeed(t), newFeed(t)
				b := u.Attach(target.Target{Access: target.Access{Region: "eu-central-1"}, Group: "g", Stream: "bad"}, bad, time.Second)
				b.Notify(bad.add(time.Now(), line(0)))
				g := u.Attach(testTarget, good, time.Second)
				for i := range 100 {
					g.Notify(good.add(time.Now(), line(i)))
					time.Sleep(2 * time.Second)
					synctest.Wait()
					if n := len(f.shown("g", "s")); n != i+1 {
						t.Fatalf("%d of %d after 2 s", n, i+1)
					}
				}
				if n := f.count("put") - 100; n < 8 || n > 60 {
					t.Errorf("%d tries in 200 s", n)
				}
				if n := f.count("stream") + f.count("group"); n != 0 {
					t.Errorf("%d calls to create, which is not allowed", n)
				}
				stop(t, u)
			})
		})
	}
}

// TestBacklogArrivesInOrderUnderFaults: some requests fail, with and without effect, while
// batches are in flight together.
func TestBacklogArrivesInOrderUnderFaults(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprint("after=", after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, feed := newFake(t), newFeed(t)
				f.has("g", "s")
				f.latency = 100 * time.Millisecond
				i := 0
				f.faults = func(op, _, _ string) *fault {
					if i++; i%5 == 0 {
						return &fault{err: errors.New("reset"), after: after}
					}
					return nil
				}
				at := time.Now().Add(-time.Hour)
				for i := range 45_000 {
					feed.add(at.Add(time.Duration(i)*50*time.Microsecond), line(i))
				}
				u := start(t, f, Options{})
				d := u.Attach(testTarget, feed, time.Second)
				d.Finish()
				<-d.Done()
				if f.busiest < 2 {
					t.Error("no two batches at once")
				}
				t.Log("at once:", f.busiest, "batches:", f.batches)
				stop(t, u)
				checkShown(t, f.shown("g", "s"), feed, after, nil)
			})
		})
	}
}

// TestConfigurationIsReadAgain: the configuration cannot be read at first.
func TestConfigurationIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		f.connErr = errors.New("no such profile")
		u := start(t, f, Options{})
		d := u.Attach(testTarget, feed, 0)
		d.Notify(feed.add(time.Now(), line(0)))
		d.Finish()
		time.Sleep(time.Minute)
		synctest.Wait()
		f.mu.Lock()
		f.connErr = nil
		f.mu.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		<-d.Done()
		stop(t, u)
	})
}

// TestFirstTryAfterFailureIsSmall: the first batch after a failure is small, unless
// CloudWatch throttled. A failure that has ended does not lengthen the wait after the next
// one. Throttling does, because the host sends too many requests.
func TestFirstTryAfterFailureIsSmall(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		small bool
		wait  time.Duration // wait is the longest one after a failure.
	}{
		"denied":    {apiErr("AccessDeniedException"), true, firstBackoff},
		"failing":   {errors.New("reset"), true, firstBackoff},
		"throttled": {apiErr("ThrottlingException"), false, maxBackoff},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, feed := newFake(t), newFeed(t)
				f.has("g", "s")
				fail := false
				f.faults = func(string, string, string) *fault {
					if fail = !fail; fail {
						return &fault{err: c.err}
					}
					return nil
				}
				u := start(t, f, Options{Log: discard})
				d := u.Attach(testTarget, feed, 0)
				begin := time.Now()
				const rounds = 8
				for i := range rounds {
					for j := range 1000 {
						feed.add(time.Now(), line(i*1000+j))
					}
					d.Notify(1000, 50_000)
					for !feed.ackedAll() {
						time.Sleep(10 * time.Millisecond)
						synctest.Wait()
					}
				}
				if d := time.Since(begin); d > rounds*3*c.wait {
					t.Errorf("took %v", d)
				}
				if small := f.batches[0] <= probeSize.events; small != c.small {
					t.Errorf("batches of %d", f.batches)
				}
				<-d.Detach()
				stop(t, u)
			})
		})
	}
}
