package cwlocal

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

var errClosed = errors.New("the stand-in was closed")

// A broadcast wakes everything that waits for a change.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{} // ch is closed and replaced by notify, and nil if nothing waits.
}

// next returns a channel that the next notify closes.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// Wait blocks until done returns true. It calls done immediately, and again whenever a
// request has ended or begins to hang. done may call the Server. The error is the
// context's, or reports that the Server was closed.
func (s *Server) Wait(ctx context.Context, done func() bool) error {
	for {
		changed := s.changed.next()
		if done() {
			return nil
		}
		select {
		case <-changed:
		case <-s.closing:
			return errClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WaitEvents blocks until a stream has accepted n events. An empty region, group or stream
// matches all. The error says how many events there are.
func (s *Server) WaitEvents(ctx context.Context, region, group, stream string, n int64) error {
	var have int64
	err := s.Wait(ctx, func() bool {
		have = s.store.EventCount(region, group, stream)
		return have >= n
	})
	if err != nil {
		return fmt.Errorf("waited for %d events in %q %q %q, got %d: %w", n, region, group, stream, have, err)
	}
	return nil
}
