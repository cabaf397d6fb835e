package uploader

import (
	"slices"
	"time"

	"github.com/logspool/logspool/internal/backoff"
)

// notePending sets when to send if something new is pending.
func (s *sender) notePending(now time.Time) {
	if !s.next.due.IsZero() || len(s.deliveries) == 0 {
		return
	}
	s.pending.idle.Store(true)
	if slices.ContainsFunc(s.deliveries, func(d *Delivery) bool { return d.notified.Load() }) {
		s.pending.idle.Store(false)
		s.next.due = s.flushAt(now)
	}
}

// flushAt returns when to send what is pending since now. A sender that always has something
// sends once per delay. One that had nothing for that long takes a random time, because many
// hosts may write at the same second. Both are within the delay.
func (s *sender) flushAt(now time.Time) time.Time {
	delay := s.delay()
	if next := s.next.flushed.Add(delay); now.Before(next) {
		return next
	}
	return now.Add(backoff.Jitter(delay/2, delay))
}

// dueBy makes pending events due at t or earlier.
func (s *sender) dueBy(t time.Time) {
	if s.next.due.IsZero() || t.Before(s.next.due) {
		s.next.due = t
	}
}

// delay returns the shortest delay of the deliveries.
func (s *sender) delay() time.Duration {
	delay := s.deliveries[0].delay
	for _, d := range s.deliveries[1:] {
		delay = min(delay, d.delay)
	}
	return delay
}
