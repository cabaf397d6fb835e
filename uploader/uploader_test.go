package uploader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

func TestDelayBatchesAndCreates(t *testing.T) {
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
		time.Sleep(2900 * time.Millisecond)
		synctest.Wait()
		if n := f.count("put"); n != 0 {
			t.Fatalf("a request after %v", time.Since(begin))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := len(f.shown("g", "s")); got != 2 {
			t.Fatalf("%d events after %v", got, time.Since(begin))
		}
		// Put says missing, stream says the group is missing, group, stream, put.
		if p, s, g := f.count("put"), f.count("stream"), f.count("group"); p != 2 || s != 2 || g != 1 {
			t.Errorf("%d puts, %d streams, %d groups", p, s, g)
		}
		d.Notify(feed.add(time.Now(), line(2)))
		d.Finish()
		<-d.Done()
		stop(t, u)
		checkShown(t, f.shown("g", "s"), feed, false, nil)
		if !feed.ackedAll() {
			t.Error("not all is acknowledged")
		}
		if u.Metrics().Senders != 0 {
			t.Error("the sender has not ended")
		}
	})
}

func TestFinishFlushesAtOnce(t *testing.T) {
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
		// A feed with nothing is done at once, and no stream is made for it.
		e := u.Attach(target.Target{Access: target.Access{Region: "r"}, Group: "none", Stream: "none", Create: target.Create{Group: true, Stream: true}}, newFeed(t), time.Hour)
		e.Finish()
		<-e.Done()
		if f.count("stream") != 0 {
			t.Error("a stream was made for nothing")
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

// An unfinished event is asked for at the time that the feed names.
func TestUnfinishedEvent(t *testing.T) {
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

// Feeds of one target share batches, merged by time, and the shortest delay counts.
func TestSharedStream(t *testing.T) {
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

// A delivery with a long backlog of earlier events does not starve another.
func TestNoMemberStarves(t *testing.T) {
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
		if n := len(f.shown("g", "s")); n > 70 {
			t.Errorf("the live event came after %d others", n)
		}
		<-a.Done()
		stop(t, u)
		checkShown(t, f.shown("g", "s"), old, false, nil)
	})
}

// An outage of any kind ends within 30 s of the service's return, costs few requests, and loses nothing.
func TestOutage(t *testing.T) {
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

// Trouble of one target does not hold the others up.
func TestTroubleOfOneTarget(t *testing.T) {
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
					t.Errorf("%d creations though they are not allowed", n)
				}
				stop(t, u)
			})
		})
	}
}

// The service fails now and then, with and without effect; parallel batches; every event arrives, in order.
func TestBacklogUnderFaults(t *testing.T) {
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

// The events that the service will never take are found, accounted for, and the others delivered once each.
func TestGuiltyEvents(t *testing.T) {
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
			t.Errorf("the feed was told %v, want %v", feed.lost, want)
		}
		if got := u.Metrics().DroppedEvents[events.Refused]; got != int64(bad) {
			t.Errorf("counted %d", got)
		}
		if n := f.count("put"); n > 120 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestRejectedEventsAreAccounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		f.rejects = rejected{tooOldEnd: 2, expiredEnd: 5, tooNewStart: 9, tooNew: true}
		u := start(t, f, Options{})
		at := time.Now()
		for i := range 10 {
			feed.add(at.Add(time.Duration(i)*time.Second), fmt.Sprint(i))
		}
		d := u.Attach(testTarget, feed, 0)
		d.Finish()
		<-d.Done()
		stop(t, u)
		sec := func(i int) time.Time { return time.Unix(0, at.Add(time.Duration(i)*time.Second).UnixNano()) }
		want := []dropped{
			{events.TooOld, 2, 2, sec(0), sec(1)}, {events.Expired, 3, 3, sec(2), sec(4)}, {events.TooNew, 1, 1, sec(9), sec(9)},
		}
		if !slices.Equal(feed.dropped, want) {
			t.Errorf("got %v\nwant %v", feed.dropped, want)
		}
		if want := []string{"too_old 2", "expired 3", "too_new 1"}; !slices.Equal(feed.lost, want) {
			t.Errorf("the feed was told %v, want %v", feed.lost, want)
		}
		if got := u.Metrics().Events; got != 4 {
			t.Errorf("%d delivered", got)
		}
	})
}

// A group or a stream that is deleted in mid-run is made again.
func TestDeletedInMidRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		u := start(t, f, Options{})
		var feeds []*fakeFeed
		var deliveries []*Delivery
		for i := range 30 {
			feeds = append(feeds, newFeed(t))
			deliveries = append(deliveries, u.Attach(target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: fmt.Sprint(i), Create: target.Create{Group: true, Stream: true}}, feeds[i], time.Second))
		}
		say := func(s string) {
			for i, d := range deliveries {
				d.Notify(feeds[i].add(time.Now(), s))
			}
			time.Sleep(20 * time.Second)
			synctest.Wait()
		}
		say("one")
		if n := f.count("group"); n != 1 {
			t.Errorf("%d calls to make one group", n)
		}
		f.mu.Lock()
		f.groups = map[string]bool{}
		clear(f.streams)
		f.mu.Unlock()
		say("two")
		if n := f.count("group"); n != 2 {
			t.Errorf("%d calls to make one group twice", n)
		}
		if n := f.count("stream"); n > 100 {
			t.Errorf("%d calls to make 60 streams", n)
		}
		for i := range deliveries {
			if s := f.shown("g", fmt.Sprint(i)); len(s) != 1 || s[0].message != "two" {
				t.Errorf("stream %d: %v", i, s)
			}
		}
		stop(t, u)
	})
}

// A hundred containers that start at once stay below the quotas of the creating calls.
func TestCreationIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.latency = 20 * time.Millisecond
		var streams []time.Time
		f.faults = func(op, _, _ string) *fault {
			if op == "stream" {
				streams = append(streams, time.Now())
			}
			return nil
		}
		u := start(t, f, Options{})
		var deliveries []*Delivery
		for i := range 200 {
			feed := newFeed(t)
			feed.add(time.Now(), "x")
			deliveries = append(deliveries, u.Attach(target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: fmt.Sprint(i), Create: target.Create{Group: true, Stream: true}}, feed, time.Second))
		}
		for _, d := range deliveries {
			d.Finish()
		}
		for _, d := range deliveries {
			<-d.Done()
		}
		stop(t, u)
		for i := range streams {
			if i+40 < len(streams) && streams[i+40].Sub(streams[i]) < time.Second {
				t.Fatalf("40 in %v", streams[i+40].Sub(streams[i]))
			}
		}
	})
}

// A compressed request that is not understood makes the session plain; nothing is lost.
func TestUngzip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		first := true
		f.faults = func(op, _, _ string) *fault {
			if first {
				first = false
				return &fault{err: apiErr("SerializationException")}
			}
			return nil
		}
		u := start(t, f, Options{})
		d := u.Attach(testTarget, feed, 0)
		d.Notify(feed.add(time.Now(), line(0)))
		d.Finish()
		<-d.Done()
		stop(t, u)
		if m := u.Metrics(); m.SentBytes != m.BodyBytes || m.Retries != 1 {
			t.Errorf("%+v", m)
		}
		checkShown(t, f.shown("g", "s"), feed, false, nil)
	})
}

func TestStop(t *testing.T) {
	t.Run("flushes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f, feed := newFake(t), newFeed(t)
			f.has("g", "s")
			f.latency = time.Second
			u := start(t, f, Options{})
			d := u.Attach(testTarget, feed, time.Hour)
			d.Notify(feed.add(time.Now(), line(0)))
			synctest.Wait()
			stop(t, u)
			checkShown(t, f.shown("g", "s"), feed, false, nil)
			if !feed.ackedAll() {
				t.Error("delivered and not acknowledged")
			}
			select {
			case <-d.Done():
				t.Error("done without Finish")
			default:
			}
			<-d.Detach()
			late := u.Attach(testTarget, feed, 0)
			late.Notify(1, 1)
			late.Finish()
			<-late.Detach()
		})
	})
	t.Run("hang", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f, feed := newFake(t), newFeed(t)
			f.has("g", "s")
			f.faults = func(string, string, string) *fault { return &fault{hang: true} }
			var log bytes.Buffer
			u := start(t, f, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			d := u.Attach(testTarget, feed, 0)
			d.Notify(feed.add(time.Now(), line(0)))
			synctest.Wait()
			begin := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			if err := u.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Stop: %v", err)
			}
			if d := time.Since(begin); d != 3*time.Second {
				t.Errorf("took %v", d)
			}
			feed.left = true
			if log.Len() > 0 {
				t.Errorf("what was stopped is logged as trouble: %s", &log)
			}
			if feed.ackedAll() {
				t.Error("acknowledged what was never delivered")
			}
		})
	})
	t.Run("outage", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			f.faults = func(string, string, string) *fault { return &fault{err: errors.New("refused")} }
			u := start(t, f, Options{})
			for i := range 50 {
				feed := newFeed(t)
				tg := testTarget
				tg.Stream = fmt.Sprint(i)
				d := u.Attach(tg, feed, 0)
				d.Notify(feed.add(time.Now(), line(0)))
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			begin := time.Now()
			stop(t, u)
			if d := time.Since(begin); d > time.Second {
				t.Errorf("took %v", d)
			}
		})
	})
}

// The configuration cannot be had at first.
func TestConfigFails(t *testing.T) {
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

// More events of one millisecond than a batch takes, answers in any order, failures among them: the order in which they
// were written is the order in which they arrive.
func TestOrderWithinOneMillisecond(t *testing.T) {
	for seed := range uint64(2) {
		synctest.Test(t, func(t *testing.T) {
			f, feed := newFake(t), newFeed(t)
			f.has("g", "s")
			r := rand.New(rand.NewPCG(seed, 1))
			f.faults = func(string, string, string) *fault {
				f.latency = time.Duration(r.IntN(1000)) * time.Millisecond
				if r.IntN(4) == 0 {
					return &fault{err: errors.New("reset")}
				}
				return nil
			}
			at := time.Now()
			for i := range 30_000 {
				feed.add(at.Add(time.Duration(i/22_000)*time.Millisecond), line(i))
			}
			u := start(t, f, Options{Log: discard, Plain: true})
			d := u.Attach(testTarget, feed, 0)
			d.Finish()
			<-d.Done()
			stop(t, u)
			checkShown(t, f.shown("g", "s"), feed, false, nil)
		})
	}
}

// No append is forgotten, whatever the sender is doing when Notify is called.
func TestNotifyIsNeverLost(t *testing.T) {
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
		time.Sleep(time.Second) // no other wake-up comes in that time
		synctest.Wait()
		for w, feed := range feeds {
			if !feed.ackedAll() {
				t.Errorf("feed %d: something was forgotten", w)
			}
		}
		for _, d := range deliveries {
			d.Finish()
			<-d.Done()
		}
		stop(t, u)
	})
}

// A thousand streams with 200 KB each cost next to no memory while the service is down.
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
			for j := range 100 { // all share the text, so that the feeds themselves cost little
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

// An append at the very moment at which the feed says that it has nothing is not forgotten.
func TestNotifyWhileDrained(t *testing.T) {
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

// Feeds with a backlog that share a stream are merged by time: no batch reaches into the time of another.
func TestBacklogsAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.has("g", "s")
		u := start(t, f, Options{})
		at := time.Now()
		var deliveries []*Delivery
		for w := range 3 {
			feed := newFeed(t)
			for i := range 10_000 {
				feed.add(at.Add(time.Duration(i*3+w)*time.Millisecond), fmt.Sprint(w, " ", i))
			}
			deliveries = append(deliveries, u.Attach(testTarget, feed, time.Second))
		}
		for _, d := range deliveries {
			d.Finish()
			<-d.Done()
		}
		stop(t, u)
		raw := f.streams["g|s"]
		type span struct{ from, to int64 }
		var spans []span
		for _, n := range f.batches {
			spans = append(spans, span{raw[0].ms, raw[n-1].ms})
			raw = raw[n:]
		}
		slices.SortFunc(spans, func(a, b span) int { return int(a.from - b.from) })
		for i := 1; i < len(spans); i++ {
			if spans[i].from <= spans[i-1].to {
				t.Errorf("batches %v and %v", spans[i-1], spans[i])
			}
		}
	})
}

// After trouble the first try is a small one, unless it was the number of requests that was the trouble; and trouble that is over
// does not count when there is new trouble.
func TestSizeAndPaceAfterTrouble(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		small bool
	}{
		"denied":    {apiErr("AccessDeniedException"), true},
		"failing":   {errors.New("reset"), true},
		"throttled": {apiErr("ThrottlingException"), false},
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
				// Each failure is the first one: its wait is a quarter of a second at most.
				if d := time.Since(begin); d > rounds*3*firstBackoff {
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

// A service that refuses everything means something else than poison events: few are given up.
func TestEverythingIsRefused(t *testing.T) {
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
			t.Errorf("%d events given up in 10 minutes", n)
		}
		<-d.Detach()
		stop(t, u)
	})
}
