package driver

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/faultlog"
)

// held is a container whose lines are spooled and cannot be sent yet.
type held interface {
	name() string
	// backlog may block for the local disk.
	backlog() (bytes int64, oldest time.Time)
}

// holdLog logs which containers' lines are spooled but not sent, because it is not known
// where they go, or as whom. It logs all containers with the same reason together, at once
// and every ten minutes.
type holdLog struct {
	log *slog.Logger

	mu      sync.Mutex
	reasons map[string]*faultlog.Shared[held]
}

// The reasons that are not a setting or an option.
const (
	noGroup  = "group"
	noRegion = "region"
)

func newHoldLog(log *slog.Logger) *holdLog {
	return &holdLog{log: log, reasons: map[string]*faultlog.Shared[held]{}}
}

// add reports that c's lines are held, or still held, for a reason. err has the details.
func (l *holdLog) add(c held, reason string, err any) {
	l.mu.Lock()
	r := l.reasons[reason]
	if r == nil {
		failed, ended := "lines are spooled but not sent", ""
		if reason == noRegion {
			failed, ended = "no AWS region found; logs are spooled until one is known", "AWS region found"
		}
		r = faultlog.NewShared(l.log, failed, ended, describeHeld)
		l.reasons[reason] = r
	}
	l.mu.Unlock()
	r.Failed(c, "", "err", err, "hint", holdHint(reason))
}

// holdHint says what the operator can do about a reason.
func holdHint(reason string) string {
	switch reason {
	case noRegion:
		return "set AWS_REGION: docker plugin set logspool AWS_REGION=REGION, while the plugin is disabled; or give the container the log option region"
	case noGroup:
		return "set LOGSPOUT_GROUP to a group that ALLOW_GROUPS matches, or change ALLOW_GROUPS"
	}
	return "correct the setting or the option that the error names"
}

// hold is why a container's lines are held, for the status.
type hold struct{ why, remedy string }

// addHold reports that the container's lines are held, or still held. text has the reason for
// the status. err has the details for the log.
func (s *session) addHold(reason, text string, err any) {
	h := hold{why: text}
	if reason == noRegion || reason == noGroup { // otherwise it is a setting, whose fault says what to do
		h.remedy = holdHint(reason)
	}
	s.held.Store(&h)
	s.env.holds.add(s, reason, err)
}

// removeHold is holdLog.remove.
func (s *session) removeHold(reason string, resolved bool) {
	s.held.Store(nil)
	s.env.holds.remove(s, reason, resolved)
}

// remove reports that c's lines are no longer held for a reason. resolved says that the
// reason is gone; otherwise the session ends.
func (l *holdLog) remove(c held, reason string, resolved bool) {
	l.mu.Lock()
	r := l.reasons[reason]
	l.mu.Unlock()
	switch {
	case r == nil:
	case resolved:
		r.Succeeded(c)
	default:
		r.Forget(c)
	}
}

// describeHeld returns attributes for a log line about what is held.
func describeHeld(containers []held) []any {
	var all []faultlog.Backlog
	for _, c := range containers {
		n, at := c.backlog()
		all = append(all, faultlog.Backlog{Name: c.name(), Bytes: n, Oldest: at})
	}
	return faultlog.Describe(all)
}

// backlog returns the size of what is undelivered, and the time of its first line. It blocks
// for the local disk.
func (s *session) backlog() (bytes int64, oldest time.Time) {
	r := s.spool.NewReader()
	defer r.Close()
	var frame events.Frame
	if item, ok := r.Next(); ok && item.Gap == nil && events.Decode(item.Frame, &frame) == nil {
		oldest = time.Unix(0, frame.Time)
	}
	return s.spool.Backlog().Bytes, oldest
}

// waitWhileHeld waits until the lines of a container run may be sent, which may take a restart
// of the plugin with other settings. It returns false if ctx is done.
func (s *session) waitWhileHeld(ctx context.Context, run *containerRun) bool {
	reason := s.holdReason(run)
	for reason != "" {
		s.addHold(reason, reason, reason)
		if !s.waitForChange(ctx, faultlog.Repeat+time.Second) {
			s.removeHold(reason, false)
			return false
		}
		if now := s.holdReason(run); now != reason {
			s.removeHold(reason, true)
			reason = now
		}
	}
	return ctx.Err() == nil
}

// waitForChange waits for a change, but no longer than d. It returns false if ctx is done.
func (s *session) waitForChange(ctx context.Context, d time.Duration) bool {
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

// holdReason returns why the run's lines must not be sent, or an empty string if they may.
func (s *session) holdReason(run *containerRun) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return run.conf.Hold
}

// logBacklog logs what is undelivered when the plugin stops.
func (d *Driver) logBacklog() {
	var all []faultlog.Backlog
	for _, s := range d.all() {
		if n := s.spool.Backlog().Bytes; n > 0 && !s.currentRun().conf.Ignore {
			all = append(all, faultlog.Backlog{Name: s.name(), Bytes: n})
		}
	}
	if len(all) == 0 {
		return
	}
	list, bytes := faultlog.Largest(all)
	d.log.Warn("the plugin is stopping with undelivered lines; it delivers them after its next start", "undelivered_bytes", bytes, "containers", list)
}
