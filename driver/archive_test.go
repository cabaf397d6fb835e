package driver

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/spool"
)

// TestHistoryExpires: a history is removed at its age, neither before nor long after. This
// includes a history that an earlier run of the plugin left, and one that it was removing.
func TestHistoryExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		live := filepath.Join(dir, "containers")
		budget := spool.NewBudget(1 << 30)
		x := archive.New(dir, live, durable.OS, 10*time.Hour, budget, slog.New(slog.DiscardHandler))
		begin := func(id string, stoppedAt time.Time) {
			must(t, os.MkdirAll(filepath.Join(live, id, archive.SpoolName), durable.DirPerm))
			r := archive.Record{Stopped: &archive.StoppedRecord{At: stoppedAt}}
			must(t, r.Write(durable.OS, filepath.Join(live, id), false))
		}
		put := func(id string) {
			begin(id, time.Now())
			must(t, x.Put(id, time.Now()))
		}
		left := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got := stoppedDirs(t, dir); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("after %v there are %q, want %q", time.Now(), got, want)
			}
		}
		begin("before", time.Now().Add(-9*time.Hour))
		must(t, os.MkdirAll(filepath.Join(dir, "stopped", "unknown"), durable.DirPerm))
		must(t, os.MkdirAll(filepath.Join(dir, "stopped", ".gone-"+"x", archive.SpoolName), durable.DirPerm))
		must(t, os.Rename(filepath.Join(live, "before"), filepath.Join(dir, "stopped", "before")))
		done := make(chan struct{})
		go func() { defer close(done); x.Run(t.Context()) }()
		put("a")
		time.Sleep(time.Hour - time.Nanosecond)
		put("b")
		left("a", "b", "before", "unknown")
		time.Sleep(time.Nanosecond)
		left("a", "b", "unknown")
		time.Sleep(9 * time.Hour)
		left("b")
		if was, err := x.Take("b"); was != archive.Archived || err != nil {
			t.Errorf("b is not taken back: %v, %v", was, err)
		}
		time.Sleep(2 * time.Hour)
		left()
		if _, err := os.Stat(filepath.Join(live, "b")); err != nil {
			t.Errorf("a history that was taken back: %v", err)
		}
		put("b") // again
		put("b") // without having been taken back, which failed
		left("b")
		time.Sleep(10 * time.Hour)
		left()
		if used := budget.Used(); used != 0 {
			t.Errorf("%d bytes are counted of nothing", used)
		}
	})
}

// TestLoadEvictsWhatDoesNotFit: at the start, the oldest histories are removed until the
// others fit, before an Append needs the space.
func TestLoadEvictsWhatDoesNotFit(t *testing.T) {
	dir := t.TempDir()
	budget := spool.NewBudget(3*4*4096 + 1000)
	x := archive.New(dir, filepath.Join(dir, "containers"), durable.OS, time.Hour, budget, slog.New(slog.DiscardHandler))
	for id, age := range map[string]time.Duration{"a": 5, "b": 1, "c": 4, "d": 2, "e": 3} {
		at := filepath.Join(x.Dir, id)
		must(t, os.MkdirAll(filepath.Join(at, archive.SpoolName), durable.DirPerm))
		must(t, os.WriteFile(filepath.Join(at, archive.SpoolName, "0000000000000000.seg"), make([]byte, 100), 0o600))
		r := archive.Record{Stopped: &archive.StoppedRecord{At: time.Now().Add(-age * time.Minute)}}
		must(t, r.Write(durable.OS, at, false))
	}
	x.Load(t.Context())
	if got := stoppedDirs(t, dir); fmt.Sprint(got) != "[b d e]" || budget.Used() != 3*4*4096 {
		t.Errorf("left are %q, %d bytes are counted", got, budget.Used())
	}
}

// TestArchivedHistoriesAreEvicted: when all spools together are full, archived histories are
// evicted, and the container that writes loses nothing.
func TestArchivedHistoriesAreEvicted(t *testing.T) {
	h := newHost(t, "SPOOL_TOTAL_SIZE=2m", "SPOOL_MAX_SIZE=1m", "HISTORY_SIZE=1m")
	h.start()
	d := h.docker()
	line := strings.Repeat("x", 1000) + "\n"
	for i := range 6 {
		c := begin(t, d, dockertest.Info{ContainerID: fmt.Sprint("c", i), ContainerName: fmt.Sprint("/c", i)})
		for range 500 {
			must(t, c.Write("stdout", line))
		}
		must(t, c.Stop(t.Context()))
		if got := h.shipper.wait(t, fmt.Sprint("g/c", i), 500); len(got) != 500 {
			t.Errorf("container %d: %d lines", i, len(got))
		}
		h.gone()
	}
	state := filepath.Join(h.dir, "state")
	got := stoppedDirs(t, state)
	if len(got) == 0 || len(got) == 6 || got[0] == "c0" || got[len(got)-1] != "c5" {
		t.Errorf("left are %q", got)
	}
	used := h.budget.Used()
	h.stop()
	h.start()
	until(t, "as much is counted after a restart as before", func() bool { return h.budget.Used() == used })
	if got := stoppedDirs(t, state); len(got) == 0 {
		t.Error("the restart removed them")
	}
}

// TestReadingKeepsAge: docker logs of a stopped container attaches it for a moment, but does
// not renew its age. A run of the container does.
func TestReadingKeepsAge(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	info := dockertest.Info{ContainerID: "web", ContainerName: "/web"}
	run := func(text string) *archive.StoppedRecord {
		t.Helper()
		c := begin(t, d, info)
		if text != "" {
			must(t, c.Write("stdout", text))
		}
		want := strings.Count(text, "\n")
		for deadline := time.Now().Add(time.Minute); len(readLogs(t, d, "web", all).rest()) < want; {
			if time.Now().After(deadline) {
				t.Fatal("nothing to read")
			}
		}
		must(t, c.Stop(t.Context()))
		h.gone()
		r, err := archive.ReadRecord(h.fs, filepath.Join(h.dir, "state", "stopped", "web"))
		if err != nil {
			t.Fatal(err)
		}
		return r.Stopped
	}
	first := run("one\n")
	second := run("")
	h.stop()
	h.start()
	d = h.docker()
	third := run("")
	if !first.At.Equal(second.At) || !first.At.Equal(third.At) {
		t.Errorf("since %v, then %v and %v", first.At, second.At, third.At)
	}
	if fourth := run("two\n"); !fourth.At.After(first.At) {
		t.Errorf("another run: since %v as before", fourth.At)
	}
	if got := h.shipper.wait(t, "g/web", 2); len(got) != 2 {
		t.Errorf("shipped: %q", got)
	}
}

// TestReadRunRenewsAge: a run that printed nothing renews the age even if docker logs read it.
func TestReadRunRenewsAge(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("f1")
	h.startContainer("web", f, nil)
	f.write("stdout", lines(1, 10)...)
	h.shipper.wait(t, "g/web", 10)
	h.stopContainer(f)
	h.gone()
	f = h.fifo("f2")
	h.startContainer("web", f, nil)
	s := h.all()[0]
	before := s.record.Stopped.At
	s.mu.Lock()
	s.readers.lastLeft = time.Now().Add(-time.Hour) // it has run for so long
	s.mu.Unlock()
	if got := len(readLogs(t, h.docker(), "web", all).rest()); got != 10 {
		t.Errorf("%d entries", got)
	}
	h.stopContainer(f)
	h.gone()
	r, err := archive.ReadRecord(durable.OS, filepath.Join(h.dir, "state", "stopped", "web"))
	must(t, err)
	if !r.Stopped.At.After(before) {
		t.Error("its history is as old as before the run")
	}
}

// TestStartOpensNoArchivedLog: the start of the plugin opens no archived log.
func TestStartOpensNoArchivedLog(t *testing.T) {
	h := newHost(t)
	state := filepath.Join(h.dir, "state")
	for i := range 1000 {
		dir := filepath.Join(state, "stopped", fmt.Sprint("c", i))
		must(t, os.MkdirAll(dir, durable.DirPerm))
		must(t, os.WriteFile(filepath.Join(dir, archive.SpoolName), []byte("cannot be opened"), 0o600))
		r := archive.Record{Stopped: &archive.StoppedRecord{At: time.Now()}}
		must(t, r.Write(durable.OS, dir, false))
	}
	h.start()
	if n := len(h.all()); n != 0 {
		t.Errorf("%d sessions", n)
	}
	h.stop()
	if log := h.log.String(); strings.Contains(log, "cannot be opened") || strings.Contains(log, "reattached") {
		t.Errorf("%.500s", log)
	}
	if got := stoppedDirs(t, state); len(got) != 1000 {
		t.Errorf("%d are left", len(got))
	}
}

// TestNoHistoryIsRemoved: nothing remains of a container that wrote nothing or has no history.
func TestNoHistoryIsRemoved(t *testing.T) {
	h := newHost(t)
	h.start()
	for id, config := range map[string]map[string]string{"quiet": nil, "none": {"history-size": "0"}} {
		f := h.fifo(id)
		h.startContainer(id, f, config)
		if id == "none" {
			f.write("stdout", lines(1, 10)...)
		}
		h.stopContainer(f)
	}
	h.shipper.wait(t, "g/none", 10)
	h.gone()
	if got := stoppedDirs(t, filepath.Join(h.dir, "state")); len(got) > 0 {
		t.Errorf("left are %q", got)
	}
}

// TestLostCursorDeliversOnce: lines that were delivered before a container stopped are not
// delivered again if the cursor is lost.
func TestLostCursorDeliversOnce(t *testing.T) {
	h := newHost(t)
	h.start()
	d := h.docker()
	info := dockertest.Info{ContainerID: "web", ContainerName: "/web"}
	c := begin(t, d, info)
	must(t, c.Write("stdout", "one\ntwo\n"))
	h.shipper.wait(t, "g/web", 2)
	must(t, c.Stop(t.Context()))
	h.gone()
	must(t, os.RemoveAll(filepath.Join(h.dir, "state", "stopped", "web", archive.SpoolName, "cursor")))
	if got := len(readLogs(t, d, "web", all).rest()); got != 2 {
		t.Errorf("%d entries, want 2", got)
	}
	h.gone()
	c = begin(t, d, info)
	must(t, c.Write("stdout", "three\n"))
	if got := h.shipper.wait(t, "g/web", 3); fmt.Sprint(got) != "[one two three]" {
		t.Errorf("shipped: %q", got)
	}
	must(t, c.Stop(t.Context()))
}
