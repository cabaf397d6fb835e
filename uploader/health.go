package uploader

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/target"
)

// health is the log of one thing that senders share and that can fail: an access, or a log group. It fails while one
// sender failed at its last try, so that a sender that succeeds does not end the failure of another.
type health struct {
	fault  *faultlog.Fault
	access target.Access

	mu      sync.Mutex
	failing map[*sender]struct{}
}

// newHealth returns a health that logs these messages. affected returns the senders that the failure keeps from
// delivering; nil: those that failed.
func newHealth(log *slog.Logger, a target.Access, failed, ended string, affected func(h *health) []*sender) *health {
	h := &health{access: a, failing: map[*sender]struct{}{}}
	if affected == nil {
		affected = (*health).senders
	}
	h.fault = faultlog.NewFault(log, failed, ended, func() []any { return backlog(affected(h)) })
	return h
}

func (h *health) failed(l *sender, v verdict, err error, attrs ...any) {
	h.mu.Lock()
	h.failing[l] = struct{}{}
	h.mu.Unlock()
	attrs = append(attrs, "err", brief(err))
	if hint := remedy(v, err, h.access); hint != "" {
		attrs = append(attrs, "hint", hint)
	}
	h.fault.Failed(kind(err), attrs...)
}

func (h *health) succeeded(l *sender) {
	if h.forget(l) {
		h.fault.Succeeded()
	}
}

// forget removes a sender that has succeeded or ended, and returns whether no other one is failing.
func (h *health) forget(l *sender) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.failing, l)
	return len(h.failing) == 0
}

func (h *health) senders() (all []*sender) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.failing {
		all = append(all, l)
	}
	return all
}

// mostNames is how many containers a line of the log names.
const mostNames = 5

// backlog describes what waits in the feeds of the senders: whose it is, how much, and how old.
func backlog(senders []*sender) (attrs []any) {
	waiting := map[string]int64{} // bytes by name
	var (
		total  int64
		oldest time.Time
	)
	for _, l := range senders {
		l.mu.Lock()
		for _, m := range l.attached {
			name, n, at := m.feed.Backlog()
			if n <= 0 {
				continue
			}
			total += n
			if name != "" {
				waiting[name] += n
			}
			if !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
				oldest = at
			}
		}
		l.mu.Unlock()
	}
	if len(waiting) > 0 {
		attrs = append(attrs, "containers", names(waiting))
	}
	attrs = append(attrs, "waiting_bytes", total)
	if !oldest.IsZero() {
		attrs = append(attrs, "oldest", oldest.UTC().Format(time.RFC3339))
	}
	return attrs
}

// names lists those with the most bytes.
func names(waiting map[string]int64) string {
	var all []string
	for name := range waiting {
		all = append(all, name)
	}
	slices.SortFunc(all, func(a, b string) int {
		if waiting[a] != waiting[b] {
			return int(min(max(waiting[b]-waiting[a], -1), 1))
		}
		return strings.Compare(a, b)
	})
	text := strings.Join(all[:min(len(all), mostNames)], ", ")
	if more := len(all) - mostNames; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}
