package awsenv

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// tryTimeout bounds one try at a look-up. The metadata service answers within milliseconds where
// there is one.
const tryTimeout = time.Second

// A lookup is a value that somebody else knows: fetched when first asked for, kept once known, and
// fetched again some time after a failure. It has no goroutine: one caller at a time does the
// fetching, and the others wait for what it finds.
type lookup struct {
	fetch func(context.Context) (string, error)

	known atomic.Pointer[string] // set once

	turn chan struct{} // holds one token while somebody fetches; the fields below belong to the holder
	err  error         // of the last try
	rest rest
}

func newLookup(fetch func(context.Context) (string, error), restMin, restMax time.Duration) *lookup {
	return &lookup{fetch: fetch, rest: rest{min: restMin, max: restMax}, turn: make(chan struct{}, 1)}
}

// get returns the value. It waits for one try at most, its own or another caller's, and no longer
// than ctx. A try that ends because of its caller's ctx says nothing about the value, so it is not
// remembered, and the next caller makes its own.
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
	if !l.rest.due() {
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
	l.rest.begin()
	return "", err
}

// A rest is how long to leave somebody alone who failed: longer after each failure in a row.
type rest struct {
	min, max time.Duration
	length   time.Duration // of the last one, at most
	until    time.Time
}

func (r *rest) due() bool { return !time.Now().Before(r.until) }

func (r *rest) begin() {
	r.length = min(max(2*r.length, r.min), r.max)
	// Half of it is jitter, so that a rack of hosts that boots together does not ask together.
	r.until = time.Now().Add(r.length/2 + rand.N(r.length/2+1))
}

func (r *rest) end() { r.length, r.until = 0, time.Time{} }
