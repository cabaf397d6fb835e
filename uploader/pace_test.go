package uploader

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// quota is an account that accepts so many requests a second, and what it has saved in a second.
type quota struct {
	rate float64

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

// answer returns the verdict on a request.
func (q *quota) answer() verdict {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.tokens, q.last = min(q.rate, q.tokens+q.rate*now.Sub(q.last).Seconds()), now
	if q.tokens < 1 {
		return throttled
	}
	q.tokens--
	return accepted
}

// host is one limiter whose sender always has a request.
type host struct {
	limiter             *limiter
	accepted, throttled int
	longest             time.Duration // longest is the longest time between two accepted requests.
}

// run sends requests until the time, and counts those after from. Between two accepted requests
// it waits for every on average.
func (h *host) run(q *quota, every time.Duration, from, to time.Time) {
	last := time.Now()
	for time.Now().Before(to) {
		p := h.limiter.enqueue(false, false)
		<-p.ready
		latency := 10*time.Millisecond + rand.N(30*time.Millisecond)
		time.Sleep(latency)
		v := q.answer()
		time.Sleep(latency)
		p.release(v, 0)
		now := time.Now()
		switch {
		case now.Before(from):
		case v == throttled:
			h.throttled++
		default:
			h.accepted++
			h.longest = max(h.longest, now.Sub(last))
		}
		if v == accepted {
			last = now
			time.Sleep(time.Duration(2 * rand.Float64() * float64(every)))
		}
	}
	h.limiter.stop()
}

// TestThrottledHostsShareTheQuota: if the hosts of an account want more than its quota, each gets
// about the same, few requests are throttled, and the quota is used. It does not matter whether
// a host begins when all others have found their shares.
func TestThrottledHostsShareTheQuota(t *testing.T) {
	for name, c := range map[string]struct {
		hosts int
		rate  float64
		every time.Duration // every is how often a host wants to send.
	}{
		"twice the quota":        {hosts: 40, rate: 20, every: time.Second},
		"a request in 4 seconds": {hosts: 40, rate: 10, every: 0},
		"many requests a second": {hosts: 10, rate: 100, every: 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := &quota{rate: c.rate}
				var hosts []*host
				var running sync.WaitGroup
				from, to := time.Now().Add(5*time.Minute), time.Now().Add(25*time.Minute)
				for i := range c.hosts {
					h := &host{limiter: newLimiter(maxRequests)}
					hosts = append(hosts, h)
					running.Go(func() {
						if i%4 == 0 {
							time.Sleep(time.Minute)
						}
						h.run(q, c.every, from, to)
					})
				}
				running.Wait()
				var all, refused, least, most int
				var longest []time.Duration
				for _, h := range hosts {
					all, refused = all+h.accepted, refused+h.throttled
					longest = append(longest, h.longest)
				}
				slices.SortFunc(hosts, func(x, y *host) int { return x.accepted - y.accepted })
				least, most = hosts[0].accepted, hosts[len(hosts)-1].accepted
				used := float64(all) / (c.rate * to.Sub(from).Seconds())
				t.Logf("%d to %d accepted, %d throttled, %.0f %% of the quota used, longest wait %v", least, most, refused, used*100, slices.Max(longest))
				if most > 2*least {
					t.Errorf("one host gets %d, another %d", least, most)
				}
				if refused > all*2/3 {
					t.Errorf("%d throttled for %d accepted", refused, all)
				}
				if used < 0.9 {
					t.Errorf("%.0f %% of the quota is used", used*100)
				}
			})
		})
	}
}

// TestHostIsFastAgainAfterThrottling: a host that has found a share of one request in three
// seconds is at full speed within a minute when nothing is throttled any more.
func TestHostIsFastAgainAfterThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(maxRequests)
		defer l.stop()
		l.little.pause = 3 * time.Second
		for begun := time.Now(); l.little.pause > 0; {
			p := l.enqueue(false, false)
			<-p.ready
			p.release(accepted, 0)
			if d := time.Since(begun); d > time.Minute {
				t.Fatalf("a pause of %v after %v", l.little.pause, d)
			}
		}
	})
}

// TestHostComesBackGentlyAfterOutage: after an outage, the first requests of a host make pauses,
// and the host is at full speed within two seconds. A single failure is no outage.
func TestHostComesBackGentlyAfterOutage(t *testing.T) {
	for failures, soon := range map[int]int{1: 15, 20: 8} {
		t.Run(fmt.Sprint(failures, " failures"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const latency = 20 * time.Millisecond
				l := newLimiter(maxRequests)
				defer l.stop()
				for range failures {
					p := l.enqueue(true, false)
					<-p.ready
					p.release(unavailable, 0)
				}
				begun := time.Time{} // begun is when the first request is answered.
				var starts []time.Duration
				var running sync.WaitGroup
				for range maxRequests {
					running.Go(func() {
						for begun.IsZero() || time.Since(begun) < 2*time.Second {
							p := l.enqueue(true, false)
							<-p.ready
							l.mu.Lock()
							if !begun.IsZero() {
								starts = append(starts, time.Since(begun))
							}
							l.mu.Unlock()
							time.Sleep(latency)
							l.mu.Lock()
							if begun.IsZero() {
								begun = time.Now()
							}
							l.mu.Unlock()
							p.release(accepted, 0)
						}
					})
				}
				running.Wait()
				first, last := 0, 0
				for _, d := range starts {
					if d < 10*latency {
						first++
					}
					if d > 2*time.Second-10*latency && d < 2*time.Second {
						last++
					}
				}
				if first > soon && failures > 1 || first < soon && failures == 1 {
					t.Errorf("%d requests in the first %v", first, 10*latency)
				}
				if last < 9*firstWindow {
					t.Errorf("%d requests in the last %v", last, 10*latency)
				}
				t.Log(first, last)
			})
		})
	}
}

// TestFailureOfThrottledHostIsNoOutage: a host that is throttled keeps its share of the quota after
// a single failure.
func TestFailureOfThrottledHostIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(maxRequests)
		defer l.stop()
		for _, v := range []verdict{throttled, throttled, throttled, throttled, throttled, throttled, unavailable} {
			p := l.enqueue(false, false)
			<-p.ready
			p.release(v, 0)
		}
		if l.little.pause < 2*time.Second {
			t.Errorf("a pause of %v", l.little.pause)
		}
	})
}

// TestThrottledRequestGoesFirst: a request that CloudWatch has throttled does not go behind all
// others of the host again. But a stream that is always throttled does not stop the others.
func TestThrottledRequestGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		u := start(t, f, Options{Log: discard})
		var order []string
		unlucky := ""
		f.faults = func(_, _, stream string) *fault {
			if len(order) == 0 {
				unlucky = stream
			}
			order = append(order, stream)
			if stream == unlucky {
				return &fault{err: apiErr("ThrottlingException")}
			}
			return nil
		}
		var deliveries []*Delivery
		const senders = 10
		for i := range senders {
			name := fmt.Sprint(i)
			f.has("g", name)
			feed := newFeed(t)
			feed.add(time.Now(), line(0))
			deliveries = append(deliveries, u.Attach(streamTarget(name), feed, time.Second))
		}
		l := deliveries[0].sender.svc.limiter
		l.mu.Lock()
		l.little.pause = time.Second // so that there is one request at a time from the beginning
		l.mu.Unlock()
		for _, d := range deliveries {
			d.Finish() // all have something to send now
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		f.mu.Lock()
		for i, name := range order[:maxFirstTries+2] {
			if first := name == unlucky; first != (i <= maxFirstTries) {
				t.Errorf("request %d is that of stream %s in %v", i, name, order)
			}
		}
		unlucky = "none"
		f.mu.Unlock()
		delivered := 0
		for _, d := range deliveries {
			select {
			case <-d.Done():
				delivered++
			default:
			}
		}
		if delivered != senders-1 {
			t.Errorf("%d of %d streams are delivered", delivered, senders-1)
		}
		for _, d := range deliveries {
			<-d.Done()
		}
		stop(t, u)
	})
}

// TestThrottlingLeavesOneRequestInFlight: after a throttled request, one request at a time is in
// flight, and soon half as many as before. There is no pause unless one was already too many.
func TestThrottlingLeavesOneRequestInFlight(t *testing.T) {
	l := newLimiter(maxRequests)
	defer l.stop()
	l.window = 20
	var inFlight []*permit
	for range 8 {
		inFlight = append(inFlight, l.enqueue(false, false))
	}
	inFlight[0].release(throttled, 0)
	if l.window != 1 || l.threshold != 4 || l.little.pause != 0 {
		t.Errorf("window %v, later %v, pause %v", l.window, l.threshold, l.little.pause)
	}
	for _, p := range inFlight[1:] {
		p.release(throttled, 0) // these requests are older
	}
	if l.threshold != 4 || l.little.pause != 0 {
		t.Errorf("older answers count: later %v, pause %v", l.threshold, l.little.pause)
	}
	l.little.until = time.Time{}
	l.enqueue(false, false).release(throttled, 0)
	if l.little.pause != firstBackoff {
		t.Errorf("a pause of %v", l.little.pause)
	}
}
