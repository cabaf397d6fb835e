package archive

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// put archives a container with a log of one line, as a session does.
func put(t *testing.T, x *Archive, fsys durable.FS, id string, since time.Time) {
	t.Helper()
	dir := filepath.Join(x.live, id)
	s, _, err := spool.Open(spool.Options{Dir: filepath.Join(dir, SpoolName), FS: fsys, History: 20 << 20})
	if err != nil {
		t.Fatal(err)
	}
	frame := []byte("\x00\x00\x00\x0f\x0a\x06stdout\x10\x01\x1a\x03one")
	var tracker spool.Tracker
	if err := s.Append(append(make([]byte, spool.BlockHeaderSize), frame...), 1, tracker.All(frame)); err != nil {
		t.Fatal(err)
	}
	if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r := Record{Info: container.Info{ID: id, Name: "/" + id}, Stopped: &StoppedRecord{At: since, End: s.End()}}
	if err := r.Write(fsys, dir, false); err != nil {
		t.Fatal(err)
	}
	if err := x.Put(id, since); err != nil {
		t.Fatal(err)
	}
}

func (a *Archive) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.logs)
}

// TestArchivedLogIsTwoFiles: an archived log of one line has two files, and all its space on
// the disk is counted.
func TestArchivedLogIsTwoFiles(t *testing.T) {
	dir := t.TempDir()
	budget := spool.NewBudget(1 << 30)
	x := New(dir, filepath.Join(dir, "containers"), durable.OS, time.Hour, budget, slog.New(slog.DiscardHandler))
	for i := range 20 {
		put(t, x, durable.OS, fmt.Sprint("c", i), time.Now())
	}
	files, allocated := 0, int64(0)
	err := filepath.WalkDir(x.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !e.IsDir() {
			files++
		}
		info, err := e.Info()
		if path != x.Dir {
			allocated += max(4096, info.Sys().(*syscall.Stat_t).Blocks*512)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files != 2*20 {
		t.Errorf("%d files", files)
	}
	if used := budget.Used(); used < allocated {
		t.Errorf("%d bytes are counted, %d are allocated", used, allocated)
	}
}

// TestTotalBoundsSmallLogs: the budget bounds many logs of one line, because it counts what
// files and directories take.
func TestTotalBoundsSmallLogs(t *testing.T) {
	dir := t.TempDir()
	budget := spool.NewBudget(1 << 20)
	x := New(dir, filepath.Join(dir, "containers"), durable.OS, time.Hour, budget, slog.New(slog.DiscardHandler))
	for i := range 600 {
		put(t, x, durable.OS, fmt.Sprint("c", i), time.Now())
		budget.Trim()
	}
	if used := Usage(durable.OS, dir); used > 1<<20 { // of the directories alone
		t.Errorf("%d bytes", used)
	}
	entries, err := os.ReadDir(x.Dir)
	if err != nil || len(entries) != x.count() || len(entries) < 20 || budget.Used() > 1<<20 {
		t.Errorf("%d directories, %d logs, %d bytes, %v", len(entries), x.count(), budget.Used(), err)
	}
	if _, newest := x.Since("c599"); !newest {
		t.Error("the newest was removed")
	}
}

// TestClockStepRemovesNothing: a step of the host's clock removes nothing, neither while the
// plugin runs nor when it starts.
func TestClockStepRemovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		open := func() *Archive {
			return New(dir, filepath.Join(dir, "containers"), durable.OS, 168*time.Hour, spool.NewBudget(1<<30), slog.New(slog.DiscardHandler))
		}
		x := open()
		for i := range 3 {
			put(t, x, durable.OS, fmt.Sprint("c", i), time.Now().Add(-900*time.Hour)) // as after a step of the clock
		}
		x = open()
		done := make(chan struct{})
		go func() { defer close(done); x.Run(t.Context()) }()
		synctest.Wait()
		if n := x.count(); n != 3 {
			t.Errorf("%d of 3 logs are left at the start", n)
		}
		time.Sleep(grace - time.Second)
		synctest.Wait()
		if n := x.count(); n != 3 {
			t.Errorf("%d of 3 logs are left after a while", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := x.count(); n != 0 {
			t.Errorf("%d logs are left that are too old", n)
		}
		put(t, x, durable.OS, "ahead", time.Now().Add(1000*time.Hour)) // the clock was set back since
		time.Sleep(169 * time.Hour)
		synctest.Wait()
		if n := x.count(); n != 0 {
			t.Error("a log from the future is kept for longer than its age")
		}
	})
}

// TestArchiveKeepsNewestLogs: of more than MaxLogs logs, the newest are kept.
func TestArchiveKeepsNewestLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		x := New(dir, filepath.Join(dir, "containers"), durable.OS, 168*time.Hour, spool.NewBudget(1<<40), slog.New(slog.DiscardHandler))
		go x.Run(t.Context())
		synctest.Wait()
		begun := time.Now()
		for i := range MaxLogs + 10 {
			id := fmt.Sprint("c", i)
			if err := os.MkdirAll(filepath.Join(x.live, id), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := x.Put(id, begun.Add(time.Duration(i))); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if _, oldest := x.Since("c9"); x.count() != MaxLogs || oldest {
			t.Errorf("%d logs, the oldest is there: %v", x.count(), oldest)
		}
	})
}
