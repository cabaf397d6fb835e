package uploader

import (
	"math/rand/v2"
	"time"
)

const (
	backoffBase  = 250 * time.Millisecond
	backoffFloor = 50 * time.Millisecond
)

// backoff returns how long to wait after the n-th failure in a row (n from 1): full jitter, that is any
// time up to a bound that doubles, so that those who failed together do not come back together
// (AWS Architecture Blog, "Exponential Backoff And Jitter").
func backoff(n int, most time.Duration) time.Duration {
	bound := most
	if shift := n - 1; shift < 16 {
		bound = min(most, backoffBase<<max(shift, 0))
	}
	return backoffFloor + rand.N(bound-backoffFloor)
}
