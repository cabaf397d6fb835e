package faultlog

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Shared is a Fault of several members, such as the streams of one log group. It lasts
// until no member fails any more, so that a member that succeeds does not end the failure
// of another. Make one with NewShared.
type Shared[M comparable] struct {
	fault *Fault

	mu      sync.Mutex
	failing map[M]struct{} // failing has the members whose last try failed.
}

// NewShared returns a Shared. failed is the message while a member fails, ended the
// message when no member fails any more. detail returns attributes that describe what is
// affected now, given the failing members in no particular order. It is called without a
// lock and must not wait.
func NewShared[M comparable](log *slog.Logger, failed, ended string, detail func(failing []M) []any) *Shared[M] {
	s := &Shared[M]{failing: map[M]struct{}{}}
	s.fault = NewFault(log, failed, ended, func() []any {
		s.mu.Lock()
		failing := slices.Collect(maps.Keys(s.failing))
		s.mu.Unlock()
		return detail(failing)
	})
	return s
}

// Failed reports one more failure of a member. kind and attrs are those of Fault.Failed.
func (s *Shared[M]) Failed(m M, kind string, attrs ...any) {
	s.mu.Lock()
	s.failing[m] = struct{}{}
	s.mu.Unlock()
	s.fault.Failed(kind, attrs...)
}

// Succeeded reports that a member works. It logs the end of the failure if no other member
// fails.
func (s *Shared[M]) Succeeded(m M) {
	if s.Forget(m) {
		s.fault.Succeeded()
	}
}

// Forget removes a member that has ended, and reports whether no other one fails. It does not
// log the end of the failure.
func (s *Shared[M]) Forget(m M) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.failing, m)
	if last = len(s.failing) == 0; last {
		s.fault.Forget()
	}
	return last
}

// Since is Fault.Since.
func (s *Shared[M]) Since() time.Time { return s.fault.Since() }
