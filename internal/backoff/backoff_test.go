package backoff

import (
	"testing"
	"time"
)

func TestBoundDoublesUpToMost(t *testing.T) {
	for _, c := range []struct {
		n           int
		first, most time.Duration
		want        time.Duration
	}{
		{1, time.Second, time.Minute, time.Second},
		{2, time.Second, time.Minute, 2 * time.Second},
		{6, time.Second, time.Minute, 32 * time.Second},
		{7, time.Second, time.Minute, time.Minute},
		{1 << 40, time.Second, time.Minute, time.Minute},
		{0, time.Second, time.Minute, time.Second},
		{1, time.Hour, time.Minute, time.Minute},
	} {
		if got := Bound(c.n, c.first, c.most); got != c.want {
			t.Errorf("Bound(%d, %v, %v) = %v, want %v", c.n, c.first, c.most, got, c.want)
		}
	}
}

func TestNextDoublesBetweenItsBounds(t *testing.T) {
	wait := time.Duration(0)
	for _, want := range []time.Duration{1, 2, 4, 5, 5} {
		if wait = Next(wait, time.Second, 5*time.Second); wait != want*time.Second {
			t.Errorf("got %v, want %v", wait, want*time.Second)
		}
	}
}

func TestJitterStaysWithinItsBounds(t *testing.T) {
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		d := Jitter(time.Second, 2*time.Second)
		least, most = min(least, d), max(most, d)
	}
	if least < time.Second || most >= 2*time.Second || most-least < 900*time.Millisecond {
		t.Errorf("from %v to %v", least, most)
	}
	if d := Jitter(time.Second, time.Second); d != time.Second {
		t.Errorf("an empty range gave %v", d)
	}
}
