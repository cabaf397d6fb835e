package driver

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/container"
)

// TestStopDuringStart: a StopLogging that comes while the start waits for the disk leaves the FIFO to the start, whose
// record must be on disk before anything is taken. What was written arrives, and nothing is left behind.
func TestStopDuringStart(t *testing.T) {
	for _, name := range []string{"cursor", "attachments.json"} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			disk := h.onHangingDisk()
			h.start()
			disk.hang(func(op, path string) bool { return op == "Rename" && strings.HasSuffix(path, name) })
			f := h.fifo("f")
			f.write("stdout", lines(1, 10)...)
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := h.startLogging(f.path, &container.Info{ID: "web"}); err != nil {
					t.Error(err)
				}
			})
			until(t, "the start hangs", func() bool { return disk.hung.Load() > 0 })
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			h.stopLogging(ctx, f.path)
			cancel()
			if f.left() == 0 {
				t.Error("the FIFO was read before the start was recorded")
			}
			disk.release()
			wg.Wait()
			f.close()
			if got := h.shipper.wait(t, "g/web", 10); !slices.Equal(got, lines(1, 10)) {
				t.Errorf("got %q", got)
			}
			h.gone()
			until(t, "the slot is left", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.slots) == 0 })
			h.mu.Lock()
			defer h.mu.Unlock()
			if n := len(h.fifos.attached) + len(h.sessions) + len(h.slots); n > 0 {
				t.Errorf("%d files, %d sessions, %d slots are left", len(h.fifos.attached), len(h.sessions), len(h.slots))
			}
		})
	}
}
