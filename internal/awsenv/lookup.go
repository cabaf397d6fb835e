package awsenv

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/backoff"
)

// tryTimeout bounds one try at a look-up. A metadata service that exists answers within
// milliseconds.
const tryTimeout = time.Second

// A lookup fetches a value from another machine when the value is first needed, and keeps
// it. It fetches again some time after a failure. It has no goroutine: one caller at a
// time fetches, and the others wait for the result.
type lookup struct {
	fetch func(context.Context) (string, error)

	// known is set once.
	known atomic.Pointer[string]

	// turn holds one token while a caller fetches, and that caller owns err and backoff.
	turn chan struct{}
	// err is the error of the last try.
	err     error
	backoff retryPause
}

func newLookup(fetch func(context.Context) (string, error)) *lookup {
	return &lookup{fetch: fetch, backoff: newRetryPause(), turn: make(chan struct{}, 1)}
}

// get returns the value. It waits for one try at most, its own or another caller's, and
// no longer than ctx allows. A try that ends because of its caller's ctx does not count
// as a failure, and the next caller makes its own.
func (l *lookup) get(ctx context.Context) (string, error) {
	if v := l.known.Load(); v != nil {
		return *v, nil
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-l.turn }()
	if v := l.known.Load(); v != nil {
		return *v, nil
	}
	if !l.backoff.due() {
		return "", l.err
	}

	try, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	v, err := l.fetch(try)
	switch {
	case err == nil:
		l.known.Store(&v)
		return v, nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	l.err = err
	l.backoff.failed()
	return "", err
}

// A retryPause says when something that failed may be tried again. The pause doubles with each
// failure in a row.
type retryPause struct {
	min, max time.Duration
	failures int           // failures counts the failures in a row.
	length   time.Duration // length is the upper limit of the last pause.
	until    time.Time
}

// backoffMin and backoffMax bound the pause. It is long enough not to disturb STS, which
// throttles an account as a whole. It is short enough to send waiting lines within half a
// minute of the start of a metadata service.
const (
	backoffMin = time.Second
	backoffMax = 15 * time.Second
)

func newRetryPause() retryPause { return retryPause{min: backoffMin, max: backoffMax} }

func (p *retryPause) due() bool { return !time.Now().Before(p.until) }

func (p *retryPause) failed() {
	p.failures++
	p.length = backoff.Bound(p.failures, p.min, p.max)
	p.until = time.Now().Add(backoff.Jitter(p.length/2, p.length))
}

func (p *retryPause) succeeded() { p.failures, p.length, p.until = 0, 0, time.Time{} }
