package driver

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/faultlog"
)

// A waiter has lines that are spooled and cannot be sent yet.
type waiter interface {
	name() string
	backlog() (bytes int64, oldest time.Time)
}

// unsent logs which containers' lines are spooled and not sent because nobody knows where they go, or as whom: once for
// all containers of one reason, at once and every ten minutes.
type unsent struct {
	log *slog.Logger

	mu      sync.Mutex
	reasons map[string]*unsentReason
}

type unsentReason struct {
	fault   *faultlog.Fault
	waiters map[waiter]struct{}
}

// The reasons that are not a setting or an option.
const (
	noGroup  = "group"
	noRegion = "region"
)

func newUnsent(log *slog.Logger) *unsent {
	return &unsent{log: log, reasons: map[string]*unsentReason{}}
}

// waits reports that the lines of w still wait for the reason, of which err has the details.
func (u *unsent) waits(w waiter, reason string, err any) {
	u.mu.Lock()
	r := u.reasons[reason]
	if r == nil {
		r = &unsentReason{waiters: map[waiter]struct{}{}}
		failed, ended := "lines are spooled, and not sent", ""
		if reason == noRegion {
			failed, ended = "no AWS region found; logs are spooled until one is known", "AWS region found"
		}
		r.fault = faultlog.NewFault(u.log, failed, ended, func() []any { return u.describe(r) })
		u.reasons[reason] = r
	}
	r.waiters[w] = struct{}{}
	u.mu.Unlock()
	r.fault.Failed("", "err", err)
}

// over reports that the lines of w do not wait for the reason any more: because it is gone, or because w ends.
func (u *unsent) over(w waiter, reason string, gone bool) {
	u.mu.Lock()
	r := u.reasons[reason]
	if r != nil {
		delete(r.waiters, w)
	}
	last := r != nil && len(r.waiters) == 0
	u.mu.Unlock()
	if last && gone {
		r.fault.Succeeded()
	}
}

// describe returns what waits for a reason.
func (u *unsent) describe(r *unsentReason) []any {
	u.mu.Lock()
	var waiters []waiter
	for w := range r.waiters {
		waiters = append(waiters, w)
	}
	u.mu.Unlock()
	var all []faultlog.Backlog
	for _, w := range waiters {
		n, at := w.backlog()
		all = append(all, faultlog.Backlog{Name: w.name(), Bytes: n, Oldest: at})
	}
	return faultlog.Describe(all)
}

// backlog returns how much is not delivered and the time of the first line of that. It blocks for the local disk.
func (s *session) backlog() (bytes int64, oldest time.Time) {
	r := s.spool.NewReader()
	defer r.Close()
	var frame events.Frame
	if item, ok := r.Next(); ok && item.Gap == nil && events.Decode(item.Frame, &frame) == nil {
		oldest = time.Unix(0, frame.Time)
	}
	return s.spool.Undelivered(), oldest
}

// notHeld waits until the run's lines may be sent; false when ctx is done before.
func (s *session) notHeld(ctx context.Context, run *containerRun) bool {
	reason := s.holdReason(run)
	for reason != "" {
		s.d.unsent.waits(s, reason, reason)
		if !s.again(ctx, faultlog.Repeat+time.Second) {
			s.d.unsent.over(s, reason, false)
			return false
		}
		if now := s.holdReason(run); now != reason {
			s.d.unsent.over(s, reason, true)
			reason = now
		}
	}
	return ctx.Err() == nil
}

// again waits until something has changed, or for d at most; false when ctx is done.
func (s *session) again(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-s.changed:
	case <-timer.C:
	}
	return true
}

// holdReason returns why the run's lines must not be sent; empty: they may.
func (s *session) holdReason(run *containerRun) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return run.conf.Hold
}
