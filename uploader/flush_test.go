package uploader

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestIdleSendersSpreadTheirRequests: if the containers of many hosts write at the same second
// after a pause, the requests are spread over half of the delay, and none is late. That holds
// also if they write more often than the delay.
func TestIdleSendersSpreadTheirRequests(t *testing.T) {
	for _, every := range []time.Duration{time.Minute, time.Second} {
		t.Run(every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const senders, delay = 100, 4 * time.Second
				f := newFake(t)
				var feeds []*fakeFeed
				var deliveries []*Delivery
				for i := range senders {
					name := fmt.Sprint(i)
					f.has("g", name)
					u := start(t, f, Options{Log: discard}) // a host
					defer stop(t, u)
					feeds = append(feeds, newFeed(t))
					deliveries = append(deliveries, u.Attach(streamTarget(name), feeds[i], delay))
				}
				for n := range 6 {
					time.Sleep(every)
					for i, d := range deliveries {
						d.Notify(feeds[i].add(time.Now(), line(n)))
					}
				}
				last := time.Now()
				time.Sleep(delay)
				synctest.Wait()
				f.mu.Lock()
				from, to := last, last.Add(delay)
				if every == time.Minute {
					from = last.Add(delay / 2)
				}
				times := slices.DeleteFunc(slices.Clone(f.times), func(at time.Time) bool { return at.Before(from) })
				f.mu.Unlock()
				for i, feed := range feeds {
					if !feed.ackedAll() {
						t.Fatalf("sender %d is late", i)
					}
				}
				if len(times) < senders {
					t.Fatalf("%d requests in time", len(times))
				}
				slots := map[int64]int{}
				for _, at := range times {
					slots[int64(at.Sub(from)/(to.Sub(from)/10))]++
				}
				for slot, n := range slots {
					if n > senders*2/5 {
						t.Errorf("%d requests in tenth %d of the time", n, slot)
					}
				}
			})
		})
	}
}

// TestBusySenderSendsOncePerDelay: a sender that always has something makes one request per delay.
func TestBusySenderSendsOncePerDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 4 * time.Second
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		u := start(t, f, Options{Log: discard})
		d := u.Attach(testTarget, feed, delay)
		for i := range 1000 {
			d.Notify(feed.add(time.Now(), line(i)))
			time.Sleep(100 * time.Millisecond)
		}
		f.mu.Lock()
		for i := 1; i < len(f.times); i++ {
			if period := f.times[i].Sub(f.times[i-1]); period != delay {
				t.Errorf("request %d follows after %v", i, period)
			}
		}
		f.mu.Unlock()
		d.Finish()
		<-d.Done()
		stop(t, u)
	})
}

// TestSendersOfAHostFlushTogether: busy senders whose lines come at different times send at
// common times, and none sends late or much too early.
func TestSendersOfAHostFlushTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const senders, delay = 50, 4 * time.Second
		f := newFake(t)
		u := start(t, f, Options{Log: discard})
		defer stop(t, u)
		var feeds []*fakeFeed
		var deliveries []*Delivery
		for i := range senders {
			name := fmt.Sprint(i)
			f.has("g", name)
			feeds = append(feeds, newFeed(t))
			deliveries = append(deliveries, u.Attach(streamTarget(name), feeds[i], delay))
		}
		for n := range 100 {
			for i, d := range deliveries {
				d.Notify(feeds[i].add(time.Now(), line(n)))
				time.Sleep(2900 * time.Microsecond)
			}
		}
		f.mu.Lock()
		times := map[time.Time]int{}
		for _, at := range f.times {
			times[at]++
		}
		requests := len(f.times)
		f.mu.Unlock()
		if most := int(time.Second * 145 / 10 / maxCommon); len(times) > most || requests < 3*senders {
			t.Errorf("%d requests at %d times, want at most %d", requests, len(times), most)
		}
		time.Sleep(delay)
		synctest.Wait()
		for i, feed := range feeds {
			if !feed.ackedAll() {
				t.Errorf("sender %d is late", i)
			}
		}
	})
}

// TestCommonTimesAreLittleEarlier: a common time is not after the time that it takes the place
// of, and not much before it, for any delay.
func TestCommonTimesAreLittleEarlier(t *testing.T) {
	u := New(Options{Log: discard})
	defer stop(t, u)
	for _, delay := range []time.Duration{0, 1, 500 * time.Millisecond, time.Second, 4 * time.Second, time.Hour} {
		for i := range time.Duration(100) {
			at := u.created.Add(i * 12_345_678)
			if early := at.Sub(u.commonTime(at, delay)); early < 0 || early > min(maxCommon, delay/commonPart) {
				t.Errorf("delay %v: %v early", delay, early)
			}
		}
	}
}
