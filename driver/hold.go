package driver

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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

// holdLog logs which containers' lines are spooled and not sent, because it is not known
// where they go, or as whom. It logs all containers with the same reason together, at once
// and every ten minutes.
type holdLog struct {
	log *slog.Logger

	mu      sync.Mutex
	reasons map[string]*holdReason
}

type holdReason struct {
	fault      *faultlog.Fault
	containers map[held]struct{} // holdLog.mu guards it.
}

// The reasons that are not a setting or an option.
const (
	noGroup  = "group"
	noRegion = "region"
)

func newHoldLog(log *slog.Logger) *holdLog {
	return &holdLog{log: log, reasons: map[string]*holdReason{}}
}

// add reports that c's lines are held, or still held, for a reason. err has the details.
func (l *holdLog) add(c held, reason string, err any) {
	l.mu.Lock()
	r := l.reasons[reason]
	if r == nil {
		r = &holdReason{containers: map[held]struct{}{}}
		failed, ended := "lines are spooled, and not sent", ""
		if reason == noRegion {
			failed, ended = "no AWS region found; logs are spooled until one is known", "AWS region found"
		}
		r.fault = faultlog.NewFault(l.log, failed, ended, func() []any { return l.describe(r) })
		l.reasons[reason] = r
	}
	r.containers[c] = struct{}{}
	l.mu.Unlock()
	r.fault.Failed("", "err", err)
}

// remove reports that c's lines are no longer held for a reason. resolved says that the
// reason is gone; otherwise the session ends.
func (l *holdLog) remove(c held, reason string, resolved bool) {
	l.mu.Lock()
	r := l.reasons[reason]
	if r != nil {
		delete(r.containers, c)
	}
	last := r != nil && len(r.containers) == 0
	l.mu.Unlock()
	if last && resolved {
		r.fault.Succeeded()
	}
}

// describe returns the attributes that describe what is held for a reason.
func (l *holdLog) describe(r *holdReason) []any {
	l.mu.Lock()
	var containers []held
	for c := range r.containers {
		containers = append(containers, c)
	}
	l.mu.Unlock()
	var all []backlog
	var oldest time.Time
	for _, c := range containers {
		n, at := c.backlog()
		if n > 0 {
			all = append(all, backlog{c.name(), n})
		}
		if !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	sum, list := sumUp(all)
	attrs := []any{"containers", list, "waiting_bytes", sum}
	if !oldest.IsZero() {
		attrs = append(attrs, "oldest", oldest.UTC().Format(time.RFC3339))
	}
	return attrs
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
	return s.spool.Undelivered(), oldest
}

// waitWhileHeld waits until the lines of a container run may be sent, which may take a restart
// of the plugin with other settings. It returns false if ctx is done.
func (s *session) waitWhileHeld(ctx context.Context, run *containerRun) bool {
	reason := s.holdReason(run)
	for reason != "" {
		s.env.holds.add(s, reason, reason)
		if !s.waitForChange(ctx, faultlog.Repeat+time.Second) {
			s.env.holds.remove(s, reason, false)
			return false
		}
		if now := s.holdReason(run); now != reason {
			s.env.holds.remove(s, reason, true)
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

// maxNamed is the largest number of containers that a log line names.
const maxNamed = 5

// backlog is the size of what one container has that is undelivered.
type backlog struct {
	container string
	bytes     int64
}

// sumUp returns the sum of all backlogs, and a list of the containers with the largest ones.
func sumUp(all []backlog) (bytes int64, list string) {
	slices.SortFunc(all, func(a, b backlog) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), strings.Compare(a.container, b.container))
	})
	var names []string
	for _, b := range all {
		bytes += b.bytes
		if len(names) < maxNamed {
			names = append(names, b.container)
		}
	}
	list = strings.Join(names, ", ")
	if more := len(all) - len(names); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return bytes, list
}

// logBacklog logs what is undelivered when the plugin stops.
func (d *Driver) logBacklog() {
	var all []backlog
	for _, s := range d.all() {
		if n := s.spool.Undelivered(); n > 0 && !s.currentRun().conf.Ignore {
			all = append(all, backlog{s.name(), n})
		}
	}
	if len(all) == 0 {
		return
	}
	bytes, list := sumUp(all)
	d.log.Warn("the plugin stops with undelivered lines; they are delivered after its next start", "undelivered_bytes", bytes, "containers", list)
}
