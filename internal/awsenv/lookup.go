package awsenv

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// tryTimeout bounds one try at a look-up. A metadata service that exists answers within
// milliseconds.
const tryTimeout = time.Second

// A lookup fetches a value from another machine when the value is first needed, and keeps it. It
// fetches again some time after a failure. It has no goroutine: one caller at a time fetches, and
// the others wait for the result.
type lookup struct {
	fetch func(context.Context) (string, error)

	known atomic.Pointer[string] // known is set once.

	// turn holds one token while a caller fetches. That caller owns the fields below.
	turn    chan struct{}
	err     error // err is the error of the last try.
	backoff backoff
}

func newLookup(fetch func(context.Context) (string, error)) *lookup {
	return &lookup{fetch: fetch, backoff: newBackoff(), turn: make(chan struct{}, 1)}
}

// get returns the value. It waits for one try at most, its own or another caller's, and no longer
// than ctx allows. A try that ends because of its caller's ctx does not count as a failure, and the
// next caller makes its own.
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

// A backoff says when something that failed may be tried again. The pause doubles with each
// failure in a row.
type backoff struct {
	min, max time.Duration
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

func newBackoff() backoff { return backoff{min: backoffMin, max: backoffMax} }

func (b *backoff) due() bool { return !time.Now().Before(b.until) }

func (b *backoff) failed() {
	b.length = min(max(2*b.length, b.min), b.max)
	// Half of it is random, so that hosts that boot together do not ask together.
	b.until = time.Now().Add(b.length/2 + rand.N(b.length/2+1))
}

func (b *backoff) succeeded() { b.length, b.until = 0, time.Time{} }
