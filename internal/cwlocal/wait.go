package cwlocal

import (
	"context"
	"errors"
	"fmt"
)

// errClosed is why a wait ended that nothing else ended.
var errClosed = errors.New("the stand-in was closed")

// touch wakes those who wait.
func (s *Server) touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Wait blocks until done says so. It asks at once and whenever a request has ended; done may call
// the Server.
func (s *Server) Wait(ctx context.Context, done func() bool) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
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

// WaitEvents blocks until a stream has taken n events. An empty region, group or stream stands for
// all of them together. The error says how many there are.
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
