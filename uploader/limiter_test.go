package uploader

import (
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
			for p := l.enqueue(); ; p = l.enqueue() {
				if !isReady(p) {
					p.cancel()
					break
				}
				running = append(running, p)
			}
			running[0].release(accepted)
			running = running[1:]
		}
		if n := len(running); n != 23 {
			t.Fatalf("%d in flight", n)
		}
		// If all requests in flight fail together, the window is halved once.
		for _, p := range running {
			p.release(unavailable)
		}
		if l.failures != 1 || l.window < 11 || l.window > 12 {
			t.Errorf("%d failures, window %v", l.failures, l.window)
		}
		// No request starts before the wait is over. Then as many start as the window
		// allows, in order.
		var queue []*permit
		for range 100 {
			queue = append(queue, l.enqueue())
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
			queue[at].release(throttled)
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
		p, q := l.enqueue(), l.enqueue()
		if !isReady(p) || isReady(q) {
			t.Error("not one at a time")
		}
		p.release(denied) // CloudWatch answered
		if !isReady(q) || l.failures != 0 {
			t.Error("an answer does not open the limiter")
		}
		// While the uploader stops, nobody waits for CloudWatch while it fails.
		q.release(unavailable)
		w := l.enqueue()
		l.close()
		if !isReady(w) || !w.refused {
			t.Error("a waiting permit is not refused")
		}
		if w = l.enqueue(); !w.refused {
			t.Error("a new permit is not refused")
		}
		l.stop()
	})
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
