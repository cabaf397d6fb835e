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
	fetch            func(context.Context) (string, error)
	restMin, restMax time.Duration

	known atomic.Pointer[string] // set once

	turn chan struct{} // holds one token while somebody fetches; the fields below belong to the holder
	err  error         // of the last try
	rest time.Duration // how long the last failure's rest was, before jitter
	next time.Time     // when the next try is due
}

func newLookup(fetch func(context.Context) (string, error), restMin, restMax time.Duration) *lookup {
	return &lookup{fetch: fetch, restMin: restMin, restMax: restMax, turn: make(chan struct{}, 1)}
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
	if l.err != nil && time.Now().Before(l.next) {
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
	l.rest = min(max(2*l.rest, l.restMin), l.restMax)
	// Half of it is jitter, so that a rack of hosts that boots together does not ask together.
	l.next = time.Now().Add(l.rest/2 + rand.N(l.rest/2+1))
	return "", err
}
