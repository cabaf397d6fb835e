package uploader

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func isReady(p *permit) bool {
	select {
	case <-p.ready:
		return true
	default:
		return false
	}
}

func TestLimiterHalvesAndGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(24)
		// While CloudWatch answers, the window grows by one with each answer, up to the
		// limit.
		var running []*permit
		for range 200 {
			for p := l.enqueue(false, false); ; p = l.enqueue(false, false) {
				if !isReady(p) {
					p.cancel()
					break
				}
				running = append(running, p)
			}
			running[0].release(accepted, 0)
			running = running[1:]
		}
		if n := len(running); n != 23 {
			t.Fatalf("%d in flight", n)
		}
		// If all requests in flight fail together, the window is halved once.
		for _, p := range running {
			p.release(unavailable, 0)
		}
		if l.little.failures != 1 || l.window < 11 || l.window > 12 {
			t.Errorf("%d failures, window %v", l.little.failures, l.window)
		}
		// No request starts before the wait is over. Then as many start as the window
		// allows, in order.
		var queue []*permit
		for range 100 {
			queue = append(queue, l.enqueue(false, false))
		}
		if isReady(queue[0]) {
			t.Error("no wait after a failure")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for i, p := range queue {
			if isReady(p) != (i < int(l.window)) {
				t.Errorf("place %d: ready %v", i, isReady(p))
			}
		}
		// If CloudWatch still fails, there is one request at a time.
		at := 0
		for range 60 {
			for at < len(queue) && !isReady(queue[at]) {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
			}
			if at == len(queue) {
				break
			}
			queue[at].release(unavailable, 0)
			at++
		}
		if l.window != 1 {
			t.Errorf("window %v", l.window)
		}
		// A cancelled permit takes no place, in the queue or in flight.
		for _, p := range queue[at:] {
			p.cancel()
		}
		time.Sleep(maxBackoff)
		synctest.Wait()
		p, q := l.enqueue(false, false), l.enqueue(false, false)
		if !isReady(p) || isReady(q) {
			t.Error("not one at a time")
		}
		p.release(denied, 0) // CloudWatch answered
		time.Sleep(firstBackoff)
		synctest.Wait()
		if !isReady(q) || l.little.failures != 0 {
			t.Error("an answer does not open the limiter")
		}
		// While the uploader stops, nobody waits for CloudWatch while it fails.
		q.release(unavailable, 0)
		w := l.enqueue(false, false)
		l.close()
		if !isReady(w) || !w.refused {
			t.Error("a waiting permit is not refused")
		}
		if w = l.enqueue(false, false); !w.refused {
			t.Error("a new permit is not refused")
		}
		l.stop()
	})
}

// TestRequestsWithLittleGoFirst: requests of senders with little to send go before those of
// backlogs, which get one place in four.
func TestRequestsWithLittleGoFirst(t *testing.T) {
	l := newLimiter(24)
	running := []*permit{l.enqueue(true, false), l.enqueue(true, false), l.enqueue(true, false)}
	if !isReady(running[2]) {
		t.Fatal("backlogs do not get three of four places")
	}
	blocked := l.enqueue(true, false)
	running = append(running, l.enqueue(false, false))
	if isReady(blocked) || !isReady(running[3]) {
		t.Error("the last place is not kept free")
	}
	var little, backlog []*permit
	for range 6 {
		backlog = append(backlog, l.enqueue(true, false))
		little = append(little, l.enqueue(false, false))
	}
	for range 4 { // the answers say nothing, so the window stays
		running[0].release(cancelled, 0)
		running = running[1:]
	}
	if !isReady(blocked) || !isReady(little[2]) || isReady(little[3]) || isReady(backlog[0]) {
		t.Error("of four places, one is not the backlog's")
	}
}

// TestFailureOfBacklogDelaysBacklogsOnly: a failure of a backlog's request delays backlogs, and a
// failure of a small request delays all. A failure halves the window, and throttling leaves one
// request in flight.
func TestFailureOfBacklogDelaysBacklogsOnly(t *testing.T) {
	for v, window := range map[verdict]float64{unavailable: 2, throttled: 1} {
		for range 20 { // the waits are random
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(24)
				defer l.stop()
				l.enqueue(true, false).release(v, 0)
				backlog, little := l.enqueue(true, false), l.enqueue(false, false)
				if isReady(backlog) || !isReady(little) || l.window != window {
					t.Errorf("%v: backlog goes on %v, little goes on %v, window %v", v, isReady(backlog), isReady(little), l.window)
				}
				little.release(v, 0)
				next := l.enqueue(false, false)
				if isReady(next) || l.window != 1 {
					t.Errorf("%v: a small request goes on %v, window %v", v, isReady(next), l.window)
				}
				time.Sleep(maxBackoff)
				synctest.Wait()
				if isReady(backlog) || !isReady(next) {
					t.Errorf("%v: a small request does not try first", v)
				}
			})
		}
	}
}

// TestBacklogsKeepTheQueueShort: the limit of backlogs grows while CloudWatch answers all soon,
// and stops growing when requests only wait for each other.
func TestBacklogsKeepTheQueueShort(t *testing.T) {
	for name, c := range map[string]struct {
		latency, service time.Duration // service is how long CloudWatch works on each batch.
		least, most      int
	}{
		"far, and never busy": {latency: 300 * time.Millisecond, least: 18, most: 18},
		"near, and busy":      {latency: time.Millisecond, service: 100 * time.Millisecond, least: 2, most: 4},
		"far, and busy":       {latency: 300 * time.Millisecond, service: 100 * time.Millisecond, least: 5, most: 7},
		"slow":                {latency: time.Millisecond, service: time.Second, least: 1, most: 2},
		"at 30 ms":            {latency: 30 * time.Millisecond, service: 25 * time.Millisecond, least: 5, most: 18},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(maxRequests)
				var senders sync.WaitGroup
				var mu sync.Mutex
				var free time.Time // free is when CloudWatch has done all its work, and guarded by mu.
				least, most, begun := maxRequests, 0, time.Now()
				for range 40 { // more senders than there are places
					senders.Go(func() {
						for time.Since(begun) < 2*time.Minute {
							p := l.enqueue(true, false)
							<-p.ready
							start := time.Now()
							l.mu.Lock()
							if at := start.Sub(begun); at > time.Minute && at < 2*time.Minute && !l.share.measuring {
								least, most = min(least, l.backlog.inFlight), max(most, l.backlog.inFlight)
							}
							l.mu.Unlock()
							mu.Lock()
							if free.Before(start) {
								free = start
							}
							free = free.Add(c.service)
							wait := free.Sub(start) + c.latency
							mu.Unlock()
							time.Sleep(wait)
							p.release(accepted, time.Since(start))
						}
					})
				}
				senders.Wait()
				if least < c.least || most > c.most {
					t.Errorf("%d to %d in flight", least, most)
				}
				t.Logf("%d to %d in flight", least, most)
			})
		})
	}
}

func TestRetryDelayStaysWithinItsBounds(t *testing.T) {
	longest := time.Duration(0)
	for n := 1; n < 1000; n++ {
		d := retryDelay(n, maxBackoff)
		if d < minBackoff || d > maxBackoff || n == 1 && d > firstBackoff {
			t.Fatalf("retryDelay(%d) = %v", n, d)
		}
		longest = max(longest, d)
	}
	if longest < maxBackoff*9/10 {
		t.Errorf("longest %v", longest)
	}
	if callTimeout+maxBackoff >= 30*time.Second {
		t.Error("a call that hangs and the wait after it take 30 s")
	}
}
