package driver

import (
	"log/slog"
	"sync"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/oneline"
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
		attrs := []any{"container", l.container(), "reason", reason}
		if hint := lossHint(reason); hint != "" {
			attrs = append(attrs, "hint", hint)
		}
		loss = faultlog.NewLoss(l.log, "a container's lines are lost; a marker in its stream says where", attrs...)
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
