package driver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/logspool/logspool/internal/container"
)

// TestStartsOpenEachSpoolOnce: a start never races with the end of its own session. Each of
// 200 archived logs is opened once when their containers are started again, 64 at a time.
func TestStartsOpenEachSpoolOnce(t *testing.T) {
	h := newHost(t)
	h.start()
	const n = 200
	var fifos [n]*fakeFIFO
	round := func(name string) {
		for i := range fifos {
			fifos[i] = h.fifo(fmt.Sprint(name, i))
		}
		inParallel(n, 64, func(i int) { h.startContainer(fmt.Sprint("c", i), fifos[i], nil) })
	}
	round("first")
	for _, f := range fifos {
		f.write("stdout", "a line")
		h.stopContainer(f)
	}
	h.gone()
	opens := countOpens(t)
	round("second")
	if got := opens.Load(); got != n {
		t.Errorf("%d spools were opened for %d starts", got, n)
	}
	for _, f := range fifos {
		h.stopContainer(f)
	}
	h.gone()
}

// TestConcurrentStartsOfOneContainerSucceed: simultaneous starts and stops of one
// container all succeed, and no line is lost.
func TestConcurrentStartsOfOneContainerSucceed(t *testing.T) {
	h := newHost(t)
	h.start()
	const n = 200
	var fifos [n]*fakeFIFO
	for i := range fifos {
		fifos[i] = h.fifo(fmt.Sprint("f", i))
	}
	opens := countOpens(t)
	inParallel(n, 16, func(i int) {
		h.startContainer("web", fifos[i], nil)
		fifos[i].write("stdout", fmt.Sprint("line ", i))
		h.stopContainer(fifos[i])
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

// TestHangingStartsDelayNoOtherContainer: while the disk hangs in 40 starts, at each of their
// steps, other containers start and stop.
func TestHangingStartsDelayNoOtherContainer(t *testing.T) {
	for _, step := range []struct{ op, suffix string }{
		{"MkdirAll", "spool"}, {"OpenFile", "cursor"}, {"Sync", ""}, {"Rename", "attachments.json"},
	} {
		t.Run(step.op+" "+step.suffix, func(t *testing.T) {
			h := newHost(t, "SPOOL_SYNC=1h")
			disk := h.onHangingDisk()
			h.start()
			running := h.fifo("running")
			h.startContainer("running", running, nil)
			running.write("stdout", lines(1, 10)...)
			disk.hang(func(op, name string) bool {
				return op == step.op && strings.Contains(name, "/slow") && strings.Contains(filepath.Base(name), step.suffix)
			})
			const n = 40
			var wg sync.WaitGroup
			for i := range n {
				f := h.fifo(fmt.Sprint("slow", i))
				wg.Go(func() { h.startContainer(fmt.Sprint("slow", i), f, nil) })
			}
			until(t, "all starts hang", func() bool { return disk.hung.Load() >= n })
			h.stopContainer(running)
			other := h.fifo("other")
			h.startContainer("other", other, nil)
			other.write("stdout", "a line")
			h.shipper.wait(t, "g/running", 10)
			h.shipper.wait(t, "g/other", 1)
			h.stopContainer(other)
			disk.release()
			wg.Wait()
		})
	}
}

// TestRefusedStartLeavesNothing: when the disk refuses any step of a start, no directory,
// record or FIFO remains.
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
				h.stopContainer(f)
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

// TestRepeatedStartsAndStops: repeated StartLoggings and StopLoggings, a StopLogging of an
// unknown FIFO, and one of a container that wrote nothing all succeed.
func TestRepeatedStartsAndStops(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("fifo")
	h.startContainer("web", f, nil)
	h.startContainer("web", f, nil)
	f.write("stdout", "one")
	for range 3 {
		h.stopLogging(t.Context(), f.path)
	}
	f.write("stdout", "two") // as a writer that is late
	h.stopContainer(f)
	h.stopContainer(f)
	if got := h.shipper.wait(t, "g/web", 2); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("got %q", got)
	}
	h.stopLogging(t.Context(), "/unknown")
	dead := h.fifo("dead") // its dockerd dies
	h.startContainer("dead", dead, nil)
	dead.write("stdout", "last words")
	dead.close()
	h.shipper.wait(t, "g/dead", 1)
	quiet := h.fifo("quiet")
	h.startContainer("quiet", quiet, nil)
	h.stopContainer(quiet)
	h.gone()
	if len(h.shipper.delivered) != 2 {
		t.Errorf("delivered %v", h.shipper.delivered)
	}
	if _, err := os.Lstat(dead.path); !notExist(err) {
		t.Errorf("a FIFO that nobody will use again: %v", err)
	}
}
