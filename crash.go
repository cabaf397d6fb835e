package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
)

// crashTime is how long the status says that the last process was killed.
const crashTime = 10 * time.Minute

// crashWatch notices at the start that the last process did not stop in order. The spools lose
// nothing by that, unless the host lost its power, but an operator must know, because it may
// happen again.
type crashWatch struct {
	mark   string
	fault  *faultlog.Fault
	cancel context.CancelFunc
	ended  chan struct{}
}

// startCrashWatch looks for the mark of the last process in the state directory, and makes its
// own. It works in the background, because the disk may hang.
func startCrashWatch(stateDir string, log *slog.Logger) *crashWatch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &crashWatch{
		mark:   filepath.Join(stateDir, status.RunningMark),
		fault:  faultlog.NewWarning(log, "the plugin's last process was killed or crashed; the lines in its spools are kept", "", nil),
		cancel: cancel, ended: make(chan struct{}),
	}
	go func() {
		defer close(w.ended)
		w.watch(ctx)
	}()
	return w
}

func (w *crashWatch) watch(ctx context.Context) {
	if info, err := os.Stat(w.mark); err == nil {
		w.fault.Failed("", "started", info.ModTime().UTC().Format(time.RFC3339),
			"hint", "if nobody killed it and the host did not restart, look for an out-of-memory kill (journalctl -k) and for a panic in dockerd's log")
		defer w.fault.Forget()
	}
	w.write()
	if w.fault.Since().IsZero() {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(crashTime):
	}
}

// write makes the mark. Without it, the next start does not notice a crash.
func (w *crashWatch) write() {
	if os.MkdirAll(filepath.Dir(w.mark), 0o700) == nil {
		_ = os.WriteFile(w.mark, nil, 0o600)
	}
}

// stop removes the mark: the process stops in order. It does not wait for a disk that hangs.
func (w *crashWatch) stop() {
	w.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-w.ended
		_ = os.Remove(w.mark)
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}
