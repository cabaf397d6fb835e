package driver

import (
	"sync"
	"sync/atomic"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/spool"
)

// fullness notices when a spool is nearly full. It warns when the undelivered lines reach four
// fifths of the limit, until they are less than three fifths.
type fullness struct {
	limit int64 // limit is the maximum of undelivered data, in bytes; 0 means no limit.

	// The intake's goroutine owns this field.
	appended int64 // appended counts the bytes since the last check.

	nearly atomic.Bool // nearly says that the spool is nearly full. It is written with mu held.

	mu      sync.Mutex // mu is held while nearly changes.
	warning *faultlog.Fault
}

// hintSpoolFull says what to do about a spool that is full, or nearly so.
const hintSpoolFull = "find out why the lines are not delivered, or raise spool-max-size or SPOOL_TOTAL_SIZE"

func newFullnessWarning(e *environment) *faultlog.Fault {
	return faultlog.NewWarning(e.log, "a container's spool is four fifths full; when it is full, lines are lost",
		"a container's spool is no longer nearly full", nil)
}

// checkFullness is called after each append. It asks the spool each time a 64th of the limit
// was appended.
func (s *session) checkFullness(appended int) {
	f := &s.fullness
	f.appended += int64(appended)
	if f.limit == 0 || f.appended < max(f.limit, spool.MinSize)/64 {
		return
	}
	f.appended = 0
	if !f.nearly.Load() {
		s.updateFullness()
	}
}

// updateFullness warns, or reports that there is space again. The driver also calls it every
// few seconds, because the lines may be delivered while nothing is appended.
func (s *session) updateFullness() {
	f := &s.fullness
	limit := max(f.limit, spool.MinSize)
	if f.limit == 0 || !f.nearly.Load() && s.spool.Undelivered() < limit/5*4 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting := s.spool.Undelivered()
	switch {
	case waiting >= limit/5*4 || f.nearly.Load() && waiting >= limit/5*3:
		f.nearly.Store(true)
		f.warning.Failed("", "container", s.name(), "undelivered_bytes", waiting, "limit", limit, "hint", hintSpoolFull)
	case f.nearly.Load():
		f.nearly.Store(false)
		f.warning.Succeeded("container", s.name())
	}
}
