package driver

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/faultlog"
)

// A heldContainer has lines that are spooled and cannot be sent yet.
type heldContainer interface {
	name() string
	backlog() (bytes int64, oldest time.Time)
}

// holdLog logs which containers' lines are spooled and not sent because nobody knows where they go, or as whom: once for
// all containers of one reason, at once and every ten minutes.
type holdLog struct {
	log *slog.Logger

	mu      sync.Mutex
	reasons map[string]*holdGroup
}

type holdGroup struct {
	fault   *faultlog.Fault
	waiters map[heldContainer]struct{}
}

// The reasons that are not a setting or an option.
const (
	noGroup  = "group"
	noRegion = "region"
)

func newHoldLog(log *slog.Logger) *holdLog {
	return &holdLog{log: log, reasons: map[string]*holdGroup{}}
}

// waits reports that the lines of w still wait for the reason, of which err has the details.
func (l *holdLog) waits(w heldContainer, reason string, err any) {
	l.mu.Lock()
	r := l.reasons[reason]
	if r == nil {
		r = &holdGroup{waiters: map[heldContainer]struct{}{}}
		failed, ended := "lines are spooled, and not sent", ""
		if reason == noRegion {
			failed, ended = "no AWS region found; logs are spooled until one is known", "AWS region found"
		}
		r.fault = faultlog.NewFault(l.log, failed, ended, func() []any { return l.describe(r) })
		l.reasons[reason] = r
	}
	r.waiters[w] = struct{}{}
	l.mu.Unlock()
	r.fault.Failed("", "err", err)
}

// over reports that the lines of w do not wait for the reason any more: because it is gone, or because w ends.
func (l *holdLog) over(w heldContainer, reason string, gone bool) {
	l.mu.Lock()
	r := l.reasons[reason]
	if r != nil {
		delete(r.waiters, w)
	}
	last := r != nil && len(r.waiters) == 0
	l.mu.Unlock()
	if last && gone {
		r.fault.Succeeded()
	}
}

// describe returns what waits for a reason.
func (l *holdLog) describe(r *holdGroup) []any {
	l.mu.Lock()
	var waiters []heldContainer
	for w := range r.waiters {
		waiters = append(waiters, w)
	}
	l.mu.Unlock()
	var all []waiting
	var oldest time.Time
	for _, w := range waiters {
		n, at := w.backlog()
		if n > 0 {
			all = append(all, waiting{w.name(), n})
		}
		if !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	sum, list := nameWaiting(all)
	attrs := []any{"containers", list, "waiting_bytes", sum}
	if !oldest.IsZero() {
		attrs = append(attrs, "oldest", oldest.UTC().Format(time.RFC3339))
	}
	return attrs
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

// awaitRelease waits until the run's lines may be sent; false when ctx is done before.
func (s *session) awaitRelease(ctx context.Context, run *containerRun) bool {
	reason := s.holdReason(run)
	for reason != "" {
		s.d.holds.waits(s, reason, reason)
		if !s.again(ctx, faultlog.Repeat+time.Second) {
			s.d.holds.over(s, reason, false)
			return false
		}
		if now := s.holdReason(run); now != reason {
			s.d.holds.over(s, reason, true)
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
