package driver

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: a follower that keeps up is never made to wait, one that is outrun by a flood gets its share, and all there
// is when the flood is over or has become one that it can follow.
func TestPace(t *testing.T) {
	for _, test := range []struct {
		name          string
		written, read int     // bytes a second that the container writes and the follower can take
		later         int     // what it writes after 5 s
		least, most   float64 // what the follower gets in 20 s, of what it could take
	}{
		{"it keeps up", 8 << 20, 16 << 20, 8 << 20, 0.99, 1},
		{"no flood", 900 << 10, 500 << 10, 900 << 10, 0.99, 1},
		{"outrun", 30 << 20, 10 << 20, 30 << 20, 0.05, 0.1},
		{"outrun, and then nothing", 30 << 20, 10 << 20, 0, 0.74, 0.8},
		{"outrun, and then less", 30 << 20, 10 << 20, 3 << 20, 0.6, 0.65},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				end := func() uint64 {
					passed := time.Since(begun).Seconds()
					return uint64(float64(test.written)*min(passed, 5) + float64(test.later)*max(passed-5, 0))
				}
				p := newPace(newOutrun(end, newSlowRate()))
				got := 0
				for time.Since(begun) < 20*time.Second {
					time.Sleep(time.Duration(float64(answerSize) / float64(test.read) * float64(time.Second)))
					got += answerSize
					p.wait(t.Context(), answerSize)
				}
				if part := float64(got) / float64(20*test.read); part < test.least || part > test.most+0.01 {
					t.Errorf("got %.2f of what it could take, want %.2f to %.2f", part, test.least, test.most)
				}
			})
		})
	}
}

// TestPaceIsShared: followers that are outrun have one rate together, and what each is tried with.
func TestPaceIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		end := func() uint64 { return uint64(30 << 20 * time.Since(begun).Seconds()) }
		o, got := newOutrun(end, newSlowRate()), make(chan int)
		for range 20 {
			go func() {
				n := 0
				for p := newPace(o); time.Since(begun) < 20*time.Second; n += answerSize {
					time.Sleep(100 * time.Millisecond)
					p.wait(t.Context(), answerSize)
				}
				got <- n
			}()
		}
		total := 0
		for range 20 {
			total += <-got
		}
		if most := 20*slowRate + 20*8*answerSize; total > most {
			t.Errorf("together %d bytes in 20 s, want %d at most", total, most)
		}
	})
}
