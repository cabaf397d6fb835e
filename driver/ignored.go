package driver

import (
	"context"

	"github.com/logspool/logspool/internal/stream"
)

// ignoredStep is after how many bytes it is noted that a container that asked not to be shipped needs no delivery; where
// its history is small, after an eighth of that.
const ignoredStep = 1 << 20

// ignore is the session's goroutine in the place of deliver: what the container writes is kept for docker logs, and
// counts as delivered.
func (s *session) ignore(ctx context.Context) {
	step := uint64(min(ignoredStep, max(s.history/8, 16<<10)))
	due := func() bool {
		return s.spool.End()-s.spool.Acked() >= step || s.ended.Load() && s.hasWork()
	}
	for {
		if !s.waitFor(ctx, func() bool { return due() || s.idle() }) {
			return
		}
		if !due() {
			if s.retire() {
				return
			}
			continue
		}
		acked := s.spool.Acked()
		if err := s.spool.Ack([]stream.Range{{From: acked, To: s.spool.End()}}); err != nil && !pause(ctx, retryDelay) {
			return
		}
	}
}
