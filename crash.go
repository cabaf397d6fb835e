package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
)

const (
	// bootIDFile has an ID that is new with each boot (random(4)).
	bootIDFile = "/proc/sys/kernel/random/boot_id"

	// crashTime is how long the status says that the last process was killed.
	crashTime = 10 * time.Minute
)

// crashWatch notices at the start that the last process did not stop in order. If only the
// process ended, the spools lose nothing, but an operator must know, because it may happen
// again. If the host lost power, the spools lack what the kernel had not written to the disk.
type crashWatch struct {
	mark   string
	boot   string // boot is the ID of this boot, or empty if it is not known.
	killed *faultlog.Fault
	down   *faultlog.Fault
	cancel context.CancelFunc
	ended  chan struct{}
}

// startCrashWatch looks for the mark of the last process in the state directory, and makes its
// own. It works in the background, because the disk may hang.
func startCrashWatch(stateDir string, log *slog.Logger) *crashWatch {
	ctx, cancel := context.WithCancel(context.Background())
	boot, _ := os.ReadFile(bootIDFile)
	w := &crashWatch{
		mark:   filepath.Join(stateDir, status.RunningMark),
		boot:   strings.TrimSpace(string(boot)),
		killed: faultlog.NewWarning(log, "the plugin's last process was killed or crashed; no line is lost", "", nil),
		down:   faultlog.NewWarning(log, "the host went down without stopping the plugin; without SPOOL_SYNC, its last lines may be lost", "", nil),
		cancel: cancel, ended: make(chan struct{}),
	}
	go func() {
		defer close(w.ended)
		w.watch(ctx)
	}()
	return w
}

func (w *crashWatch) watch(ctx context.Context) {
	info, err := os.Stat(w.mark)
	if err != nil {
		w.write()
		return
	}
	started := info.ModTime().UTC().Format(time.RFC3339)
	if w.sameBoot() {
		w.killed.Failed("", "started", started,
			"hint", "if nobody killed it, look for an out-of-memory kill (journalctl -k) and for a panic in dockerd's log")
		defer w.killed.Forget()
	} else {
		w.down.Failed("", "started", started, "hint", "if the host lost power, set SPOOL_SYNC, such as SPOOL_SYNC=1s, to keep more the next time")
		defer w.down.Forget()
	}
	w.write()
	select {
	case <-ctx.Done():
	case <-time.After(crashTime):
	}
}

// sameBoot reports whether the host has not restarted since the mark was made. After a power
// cut, the mark may be empty, because nothing syncs it.
func (w *crashWatch) sameBoot() bool {
	last, _ := os.ReadFile(w.mark)
	return string(last) == w.boot
}

// write makes the mark. Without it, the next start does not notice a crash.
func (w *crashWatch) write() {
	if os.MkdirAll(filepath.Dir(w.mark), 0o700) == nil {
		_ = os.WriteFile(w.mark, []byte(w.boot), 0o600)
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
