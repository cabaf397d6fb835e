// Package backoff computes how long to wait before something that failed is tried again.
//
// The package must not know what failed. It keeps no state: the caller counts the failures,
// or knows the last wait.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Bound returns the longest wait after the n-th failure in a row, counted from 1. It is
// first after the first failure, doubles with each further one, and is never longer than
// most.
func Bound(n int, first, most time.Duration) time.Duration {
	for d := first; ; d *= 2 {
		if n--; n <= 0 || d >= most {
			return min(d, most)
		}
	}
}

// Next returns the wait that follows a wait of last: twice as long, but at least first and at
// most most.
func Next(last, first, most time.Duration) time.Duration {
	return min(max(2*last, first), most)
}

// Jitter returns a random duration from least up to bound. Processes that failed together
// then do not try again together (AWS Architecture Blog, "Exponential Backoff And Jitter").
// It returns least if bound is not longer.
func Jitter(least, bound time.Duration) time.Duration {
	if bound <= least {
		return least
	}
	return least + rand.N(bound-least)
}
