package driver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/naming"
	"github.com/logspool/logspool/spool"
)

// countOpens counts the spools that are opened until the test ends.
func countOpens(t *testing.T) *atomic.Int64 {
	var n atomic.Int64
	openSpool = func(o spool.Options) (*spool.Spool, spool.Repair, error) {
		n.Add(1)
		return spool.Open(o)
	}
	t.Cleanup(func() { openSpool = spool.Open })
	return &n
}

// inParallel calls f for each of n, so many at a time.
func inParallel(n, atATime int, f func(int)) {
	var wg sync.WaitGroup
	next := atomic.Int64{}
	for range atATime {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				f(i - 1)
			}
		})
	}
	wg.Wait()
}

// TestEachStartOpensOnce: a start never races with its own session. Each of 200 archived logs is opened once when their
// containers are started again, 64 at a time.
func TestEachStartOpensOnce(t *testing.T) {
	h := newHost(t)
	h.start()
	const n = 200
	var fifos [n]*fakeFIFO
	round := func(name string) {
		for i := range fifos {
			fifos[i] = h.fifo(fmt.Sprint(name, i))
		}
		inParallel(n, 64, func(i int) { h.run(fmt.Sprint("c", i), fifos[i], nil) })
	}
	round("first")
	for _, f := range fifos {
		f.write("stdout", "a line")
		h.end(f)
	}
	h.gone()
	opens := countOpens(t)
	round("second")
	if got := opens.Load(); got != n {
		t.Errorf("%d spools were opened for %d starts", got, n)
	}
	for _, f := range fifos {
		h.end(f)
	}
	h.gone()
}

// TestStartsOfOneContainer: starts and stops of one container at the same time all succeed, and no line is lost.
func TestStartsOfOneContainer(t *testing.T) {
	h := newHost(t)
	h.start()
	const n = 200
	var fifos [n]*fakeFIFO
	for i := range fifos {
		fifos[i] = h.fifo(fmt.Sprint("f", i))
	}
	opens := countOpens(t)
	inParallel(n, 16, func(i int) {
		h.run("web", fifos[i], nil)
		fifos[i].write("stdout", fmt.Sprint("line ", i))
		h.end(fifos[i])
	})
	got := h.shipper.wait(t, "g/web", n)
	slices.Sort(got)
	if len(slices.Compact(got)) != n {
		t.Errorf("%d of %d lines", len(got), n)
	}
	if opens.Load() > n {
		t.Errorf("%d openings for %d starts", opens.Load(), n)
	}
	h.gone()
}

// hangingDisk blocks the operations that a test chooses, until it is released.
type hangingDisk struct {
	*durabletest.Hooked
	hung    atomic.Int64  // operations that were blocked
	until   chan struct{} // closed by release
	release func()
}

func (h *host) onHangingDisk() *hangingDisk {
	d := &hangingDisk{Hooked: h.onHookedDisk(), until: make(chan struct{})}
	d.release = sync.OnceFunc(func() {
		d.Before(nil)
		close(d.until)
	})
	h.t.Cleanup(d.release)
	return d
}

// hang blocks the operations that hangs chooses from now on.
func (d *hangingDisk) hang(hangs func(op, name string) bool) {
	d.Before(func(op, name string) error {
		if hangs(op, name) {
			d.hung.Add(1)
			<-d.until
		}
		return nil
	})
}

// TestSlowStartsDelayNobody: while the disk hangs in 40 starts, at each step of them, other containers start and stop.
func TestSlowStartsDelayNobody(t *testing.T) {
	for _, step := range []struct{ op, suffix string }{
		{"MkdirAll", "spool"}, {"OpenFile", "cursor"}, {"Sync", ""}, {"Rename", "attachments.json"},
	} {
		t.Run(step.op+" "+step.suffix, func(t *testing.T) {
			h := newHost(t, "SPOOL_SYNC=1h")
			disk := h.onHangingDisk()
			h.start()
			running := h.fifo("running")
			h.run("running", running, nil)
			running.write("stdout", lines(1, 10)...)
			disk.hang(func(op, name string) bool {
				return op == step.op && strings.Contains(name, "/slow") && strings.Contains(filepath.Base(name), step.suffix)
			})
			const n = 40
			var wg sync.WaitGroup
			for i := range n {
				f := h.fifo(fmt.Sprint("slow", i))
				wg.Go(func() { h.run(fmt.Sprint("slow", i), f, nil) })
			}
			until(t, "all starts hang", func() bool { return disk.hung.Load() >= n })
			h.end(running)
			other := h.fifo("other")
			h.run("other", other, nil)
			other.write("stdout", "a line")
			h.shipper.wait(t, "g/running", 10)
			h.shipper.wait(t, "g/other", 1)
			h.end(other)
			disk.release()
			wg.Wait()
		})
	}
}

// TestStopLoggingAnswersWhileDiskHangs: StopLogging succeeds while the disk hangs. What is left is read on, and a follower's
// run ends only when all of it is there.
func TestStopLoggingAnswersWhileDiskHangs(t *testing.T) {
	h := newHost(t)
	disk := h.onHangingDisk()
	h.start()
	f := h.fifo("f")
	h.run("web", f, nil)
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

// TestStopLoggingWhileStopping: a StopLogging that comes after the intake has stopped takes the rest, and succeeds.
func TestStopLoggingWhileStopping(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	post := serve(t, h.Driver)
	f := h.fifo("f")
	h.run("web", f, nil)
	f.write("stdout", lines(1, 10)...)
	f.empty()
	h.StopIntake()
	f.write("stdout", lines(11, 20)...)
	status, answer, err := post(t.Context(), "POST", "/LogDriver.StopLogging", strings.NewReader(`{"File":"`+f.path+`"}`))
	if err != nil || status != http.StatusOK || !strings.Contains(answer, `{"Err":""}`) || f.left() > 0 {
		t.Errorf("status %d, %q, %v, %d bytes left", status, answer, err, f.left())
	}
	f.close()
	h.stop()
	if want := `msg="the plugin stops with undelivered lines; they are delivered after its next start"`; !strings.Contains(h.logged(), want) ||
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

// TestRefusedStartLeavesNothing: when the disk refuses any step of a start, no directory, record or FIFO is left.
func TestRefusedStartLeavesNothing(t *testing.T) {
	for _, step := range []struct{ op, suffix string }{
		{"Rename", "attachments.json"}, {"OpenFile", "cursor"}, {"Rename", "cursor"}, {"ReadFile", "cursor"}, {"OpenFile", "attachments.json.tmp"},
	} {
		t.Run(step.op+" "+step.suffix, func(t *testing.T) {
			h := newHost(t)
			disk := h.onHookedDisk()
			h.start()
			disk.Before(func(op, name string) error {
				if op == step.op && strings.HasPrefix(filepath.Base(name), step.suffix) {
					return syscall.ENOSPC
				}
				return nil
			})
			f := h.fifo("f")
			err := h.startLogging(f.path, &container.Info{ID: "web"})
			disk.Before(nil)
			if err == nil { // the start needs no such step
				h.end(f)
				return
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Error(err)
			}
			h.gone()
			if _, err := h.disk.ReadFile(f.path); !notExist(err) {
				t.Errorf("the FIFO: %v", err)
			}
		})
	}
}

// TestOwnerSurvivesPanics: a panic of the owner is logged, and its work begins again. A template that panics costs the name.
func TestOwnerSurvivesPanics(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("f")
	h.run("web", f, nil)
	s := h.all()[0]
	calls := 0
	s.own(t.Context(), func(context.Context) {
		if calls++; calls < 3 {
			panic("a bug")
		}
	})
	if n := strings.Count(h.logged(), "the plugin panicked while delivering a container's lines"); n != 2 || calls != 3 {
		t.Errorf("%d calls, logged %d times", calls, n)
	}
	name := s.render("log group", func(t *naming.Template, c *naming.Container) naming.Name {
		if t != nil {
			panic("another bug")
		}
		return naming.Group(t, c)
	}, &naming.Template{}, &naming.Container{LoggerHost: "host"})
	if name.Name != "host" || !strings.Contains(h.logged(), "rendering the name of a log group panicked") {
		t.Errorf("the name is %q", name.Name)
	}
	h.end(f)
}
