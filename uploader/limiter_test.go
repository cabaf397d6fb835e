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

func TestBrakeHalvesAndOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(24)
		// All goes well: it opens, one more with each answer, up to the limit.
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
		// All that are in flight fail together: that is one piece of news, and halves the number once.
		for _, p := range running {
			p.release(unavailable)
		}
		if l.failures != 1 || l.window < 11 || l.window > 12 {
			t.Errorf("%d failures, window %v", l.failures, l.window)
		}
		// Nobody starts before the wait is over, then as many as may, in the order in which they came.
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
		// It goes on: one probe at a time.
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
		// What is given up in the queue or in flight takes no place.
		for _, p := range queue[at:] {
			p.cancel()
		}
		time.Sleep(maxBackoff)
		synctest.Wait()
		p, q := l.enqueue(), l.enqueue()
		if !isReady(p) || isReady(q) {
			t.Error("not one at a time")
		}
		p.release(denied) // it answered
		if !isReady(q) || l.failures != 0 {
			t.Error("an answer does not open the limiter")
		}
		// At the end nobody waits for a service that fails.
		q.release(unavailable)
		w := l.enqueue()
		l.close()
		if !isReady(w) || !w.refused {
			t.Error("not sent away")
		}
		if w = l.enqueue(); !w.refused {
			t.Error("let in")
		}
		l.stop()
	})
}

func TestBackoffBounds(t *testing.T) {
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
