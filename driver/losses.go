package driver

import (
	"sync"

	"github.com/logspool/logspool/internal/faultlog"
)

// losses log what is lost of one container, by reason.
type losses struct {
	s *session

	mu       sync.Mutex // the spool's lock may be held
	byReason map[string]*faultlog.Loss
	closed   bool
}

// lost says that so many lines (0: nobody knows) of so many bytes are lost. It waits for nothing.
func (l *losses) lost(reason string, lines int, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	loss := l.byReason[reason]
	if loss == nil {
		loss = faultlog.NewLoss(l.s.d.log, "a container's lines are lost; a marker in its stream says where",
			"container", l.s.name(), "reason", reason)
		if l.byReason == nil {
			l.byReason = map[string]*faultlog.Loss{}
		}
		l.byReason[reason] = loss
	}
	loss.Lost(lines, bytes)
}

// close logs what was lost since the last line.
func (l *losses) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, loss := range l.byReason {
		loss.Close()
	}
}

// fullness notices when a spool is nearly full. It is the intake's.
type fullness struct {
	bytes  int64 // appended since the last look
	warned bool
}

// smallestSpool is the least size of a spool: a smaller limit is rounded up.
const smallestSpool = 1 << 20

// checkFullness warns once when the undelivered lines reach four fifths of their limit, and again only after they were fewer than
// three fifths. It asks the spool each time a sixty-fourth of the limit was appended.
func (s *session) checkFullness(appended int) {
	limit := max(s.maxSize, smallestSpool)
	f := &s.fullness
	f.bytes += int64(appended)
	if s.maxSize == 0 || f.bytes < limit/64 {
		return
	}
	f.bytes = 0
	switch waiting := s.spool.Undelivered(); {
	case !f.warned && waiting >= limit/5*4:
		f.warned = true
		s.d.log.Warn("a container's spool is four fifths full; when it is full, lines are lost",
			"container", s.name(), "undelivered_bytes", waiting, "limit", limit)
	case waiting < limit/5*3:
		f.warned = false
	}
}
