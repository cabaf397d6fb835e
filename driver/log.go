package driver

import (
	"log/slog"
	"sync"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/spool"
)

// maxShown is how much of a value from a request is shown, in bytes.
const maxShown = 128

// shorten quotes a value from a request in one short line.
func shorten(s string) string { return oneline.Quote(s, maxShown) }

// losses logs the losses of one container, by reason.
type losses struct {
	log       *slog.Logger
	container func() string // container returns what the log calls the container.

	// mu guards the fields below. The spool's lock may be held when it is locked.
	mu       sync.Mutex
	byReason map[string]*faultlog.Loss
	closed   bool
}

// lost reports lost lines. If their number is not known, lines is 0. It does not block.
func (l *losses) lost(reason string, lines int, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	loss := l.byReason[reason]
	if loss == nil {
		loss = faultlog.NewLoss(l.log, "a container's lines are lost; a marker in its stream says where",
			"container", l.container(), "reason", reason)
		if l.byReason == nil {
			l.byReason = map[string]*faultlog.Loss{}
		}
		l.byReason[reason] = loss
	}
	loss.Lost(lines, bytes)
}

// close logs what was lost since the last message.
func (l *losses) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, loss := range l.byReason {
		loss.Close()
	}
}

// fullness notices when a spool is nearly full. The intake's goroutine owns it.
type fullness struct {
	limit    int64 // limit is the maximum of undelivered data, in bytes; 0 means no limit.
	appended int64 // appended counts the bytes since the last check.
	warned   bool
}

// checkFullness warns once when the undelivered lines reach four fifths of the limit, and
// again only after they were less than three fifths. It asks the spool each time a 64th of
// the limit was appended.
func (s *session) checkFullness(appended int) {
	f := &s.fullness
	limit := max(f.limit, spool.MinSize)
	f.appended += int64(appended)
	if f.limit == 0 || f.appended < limit/64 {
		return
	}
	f.appended = 0
	switch waiting := s.spool.Undelivered(); {
	case !f.warned && waiting >= limit/5*4:
		f.warned = true
		s.env.log.Warn("a container's spool is four fifths full; when it is full, lines are lost",
			"container", s.name(), "undelivered_bytes", waiting, "limit", limit)
	case waiting < limit/5*3:
		f.warned = false
	}
}
