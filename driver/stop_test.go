package driver

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/container"
)

// TestStopLoggingAnswersWhileDiskHangs: StopLogging succeeds while the disk hangs. The rest
// is read afterwards, and a follower's run ends only when all of it is spooled.
func TestStopLoggingAnswersWhileDiskHangs(t *testing.T) {
	h := newHost(t)
	disk := h.onHangingDisk()
	h.start()
	f := h.fifo("f")
	h.startContainer("web", f, nil)
	s := h.all()[0]
	disk.hang(func(op, name string) bool { return op == "WriteAt" && strings.HasSuffix(name, ".seg") })
	f.write("stdout", lines(1, 100)...)
	until(t, "the disk hangs", func() bool { return disk.hung.Load() > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	h.stopLogging(ctx, f.path)
	run := s.logging()
	if run.Err() != nil || s.currentRun().ended.Load() {
		t.Error("the run has ended although lines are left")
	}
	f.write("stdout", lines(101, 200)...) // that were in dockerd's copier
	f.close()
	disk.release()
	if got := h.shipper.wait(t, "g/web", 200); !slices.Equal(got, lines(1, 200)) {
		t.Errorf("%d lines", len(got))
	}
	<-run.Done()
	h.gone()
	if run.end != s.spool.End() {
		t.Errorf("the run ended at %d of %d", run.end, s.spool.End())
	}
}

// TestStopLoggingAfterIntakeDrains: a StopLogging that comes after the intake has stopped
// reads the rest, and succeeds.
func TestStopLoggingAfterIntakeDrains(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	post := serve(t, h.Driver)
	f := h.fifo("f")
	h.startContainer("web", f, nil)
	f.write("stdout", lines(1, 10)...)
	f.waitUntilEmpty()
	h.StopIntake()
	f.write("stdout", lines(11, 20)...)
	status, answer, err := post(t.Context(), "POST", "/LogDriver.StopLogging", strings.NewReader(`{"File":"`+f.path+`"}`))
	if err != nil || status != http.StatusOK || !strings.Contains(answer, `{"Err":""}`) || f.unread() > 0 {
		t.Errorf("status %d, %q, %v, %d bytes left", status, answer, err, f.unread())
	}
	f.close()
	h.stop()
	if want := `msg="the plugin is stopping with undelivered lines; it delivers them after its next start"`; !strings.Contains(h.logged(), want) ||
		!strings.Contains(h.logged(), `containers="web (web)"`) {
		t.Errorf("not logged: %s", want)
	}
	h.shipper.setDown(false)
	h.start()
	if got := h.shipper.wait(t, "g/web", 20); !slices.Equal(got, lines(1, 20)) {
		t.Errorf("got %q", got)
	}
	h.gone()
}

// TestStopLoggingDuringStart: a StopLogging that comes while the start waits for the disk
// leaves the FIFO to the start, whose record must be on disk before anything is read. All
// lines arrive, and nothing remains.
func TestStopLoggingDuringStart(t *testing.T) {
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
			if f.unread() == 0 {
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

// TestStopLoggingDuringStopDrains: the plugin stops while a StopLogging waits. The FIFO is
// read to its end, because dockerd removes it after the answer.
func TestStopLoggingDuringStopDrains(t *testing.T) {
	for i := range 20 {
		h := newHost(t)
		h.shipper.setDown(i%2 == 0)
		h.start()
		f := h.fifo("fifo")
		h.startContainer("web", f, nil)
		f.write("stdout", lines(1, 1000)...)
		answered := make(chan struct{})
		go func() { defer close(answered); h.stopLogging(t.Context(), f.path) }()
		h.StopIntake()
		<-answered
		if f.unread() > 0 {
			t.Errorf("StopLogging succeeded with %d bytes in the FIFO", f.unread())
		}
		h.stop()
	}
}
