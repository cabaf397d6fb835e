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
	due := s.next.flushed.Add(delay)
	if !now.Before(due) {
		due = now.Add(backoff.Jitter(delay/2, delay))
	}
	if common := s.u.commonTime(due, delay); !common.Before(now) {
		return common
	}
	return due
}

const (
	// maxCommon is the most by which a flush may be early so that it comes together with others.
	maxCommon = 100 * time.Millisecond
	// commonPart is the part of the delay by which a flush may be early, so that a sender with a
	// short delay does not make many more requests.
	commonPart = 40
)

// commonTime returns the last time, up to t, at which senders with this delay flush. If the
// senders of a host wake up together, a request costs half as much as one for which an idle
// processor must be woken up several times. The times differ from host to host.
func (u *Uploader) commonTime(t time.Time, delay time.Duration) time.Time {
	since := t.Sub(u.created) // by the monotonic clock, which Time.Truncate would give up
	return u.created.Add(since.Truncate(min(maxCommon, delay/commonPart)))
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
