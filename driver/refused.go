package driver

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/logspool/logspool/internal/faultlog"
)

// refusedTime is how long the status shows that a container was refused.
const refusedTime = 10 * time.Minute

// refusals counts the starts of containers that the plugin has refused, and reports those for
// which there was no descriptor.
type refusals struct {
	starts atomic.Int64

	mu    sync.Mutex
	last  time.Time // last is when a descriptor was last missing, or zero if that is over.
	fault *faultlog.Fault
}

func newRefusals(log *slog.Logger) *refusals {
	return &refusals{fault: faultlog.NewFault(log, "containers are refused because too many files are open",
		"no container was refused for ten minutes", nil)}
}

// add counts a start of the container name that failed.
func (r *refusals) add(name string, err error) {
	r.starts.Add(1)
	if _, ok := errors.AsType[limitError](err); !ok && !noDescriptor(err) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
	r.fault.Failed("", "container", name, "err", err, "hint", hintFiles)
}

// check ends the failure when none was added for refusedTime.
func (r *refusals) check(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() && now.Sub(r.last) >= refusedTime {
		r.last = time.Time{}
		r.fault.Succeeded()
	}
}

// noDescriptor reports whether err says that the process, or the host, has no descriptor left.
func noDescriptor(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
