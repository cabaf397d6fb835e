package driver

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// TestDiskFailureKeepsHistory: an operation that the disk refuses loses no history. docker
// logs and a start get an error, and both work once the disk does.
func TestDiskFailureKeepsHistory(t *testing.T) {
	info := dockertest.Info{ContainerID: "web", ContainerName: "/web"}
	const n = 100
	for _, test := range []struct {
		name  string
		fails func(op, name string) error
	}{
		{"it cannot be moved", durabletest.Fail("Rename", "containers/web", syscall.EIO)},
		{"it cannot be opened", durabletest.Fail("ReadFile", "cursor", syscall.EMFILE)},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			disk := h.onHookedDisk()
			h.start()
			d := h.docker()
			c := begin(t, d, info)
			for i := range n {
				must(t, c.Write("stdout", fmt.Sprintf("line %d\n", i)))
			}
			h.shipper.wait(t, "g/web", n)
			must(t, c.Stop(t.Context()))
			h.gone()
			used := h.budget.Used()
			disk.Before(test.fails)
			_, err := d.ReadLogs(t.Context(), info, all)
			if refused, ok := errors.AsType[*dockertest.Error](err); !ok || refused.Status != 500 {
				t.Errorf("ReadLogs: %v", err)
			}
			if _, err := d.Start(t.Context(), info); err == nil {
				t.Error("a start replaced the container's log")
			}
			if got := h.budget.Used(); got != used || !h.archived("web") {
				t.Errorf("%d bytes are counted, want %d", got, used)
			}
			disk.Before(nil)
			if got := len(readLogs(t, d, "web", all).rest()); got != n {
				t.Errorf("%d entries when the disk works, want %d", got, n)
			}
			h.gone()
			if got := h.budget.Used(); got != used {
				t.Errorf("%d bytes are counted afterwards, want %d", got, used)
			}
			c = begin(t, d, info)
			must(t, c.Write("stdout", "another\n"))
			h.shipper.wait(t, "g/web", n+1)
			must(t, c.Stop(t.Context()))
			h.gone()
			if got := len(readLogs(t, d, "web", all).rest()); got != n+1 {
				t.Errorf("%d entries after another run, want %d", got, n+1)
			}
		})
	}
}

// TestArchivesAfterNextReader: a history that cannot be archived stays where it is. docker
// logs can read it, and it is archived afterwards.
func TestArchivesAfterNextReader(t *testing.T) {
	h := newHost(t)
	disk := h.onHookedDisk()
	h.start()
	d := h.docker()
	c := begin(t, d, dockertest.Info{ContainerID: "web", ContainerName: "/web"})
	must(t, c.Write("stdout", "a line\n"))
	h.shipper.wait(t, "g/web", 1)
	disk.Before(durabletest.Fail("Rename", "stopped/web", syscall.ENOSPC))
	must(t, c.Stop(t.Context()))
	h.waitForNoSession()
	disk.Before(nil)
	if len(h.containers()) != 1 {
		t.Fatal("it was archived")
	}
	if got := texts(readLogs(t, d, "web", all).rest()); len(got) != 1 {
		t.Errorf("read %q", got)
	}
	h.gone()
	if got := stoppedDirs(t, filepath.Join(h.dir, "state")); fmt.Sprint(got) != "[web]" {
		t.Errorf("archived are %q", got)
	}
}

// TestUnremovableHistoryIsCountedOnce: a history that cannot be removed when its space is
// needed remains, and is counted once.
func TestUnremovableHistoryIsCountedOnce(t *testing.T) {
	h := newHost(t, "SPOOL_TOTAL_SIZE=2m", "SPOOL_MAX_SIZE=1m", "HISTORY_SIZE=1m")
	disk := h.onHookedDisk()
	h.start()
	d := h.docker()
	fill := func(id string) {
		c := begin(t, d, dockertest.Info{ContainerID: id, ContainerName: "/" + id})
		for range 900 {
			must(t, c.Write("stdout", strings.Repeat("x", 1000)+"\n"))
		}
		must(t, c.Stop(t.Context()))
		h.waitForNoSession()
	}
	fill("a")
	fill("b")
	disk.Before(func(op, name string) error {
		if op == "Rename" && strings.Contains(name, ".gone-") {
			return syscall.EIO
		}
		return nil
	})
	fill("c")
	disk.Before(nil)
	sum := int64(0)
	for _, id := range stoppedDirs(t, filepath.Join(h.dir, "state")) {
		readLogs(t, d, id, all).rest()
		h.gone()
		sum += archive.Usage(durable.OS, filepath.Join(h.dir, "state", "stopped", id))
	}
	if used := h.budget.Used(); used != sum || sum == 0 {
		t.Errorf("%d bytes are counted, there are %d", used, sum)
	}
}

// TestUnremovableHistoryIsLoggedOnce: a history that cannot be removed at its age is logged
// once, and removed after the next start. A history that is only partly removed is not
// counted.
func TestUnremovableHistoryIsLoggedOnce(t *testing.T) {
	for op, counted := range map[string]int64{"Rename": 4 * 4096, "Remove": 0} {
		t.Run(op, func(t *testing.T) {
			dir := t.TempDir()
			disk := durabletest.NewHooked(durable.OS)
			var log strings.Builder
			budget := spool.NewBudget(1 << 20)
			x := archive.New(dir, filepath.Join(dir, "containers"), disk, time.Hour, budget, slog.New(slog.NewTextHandler(&log, nil)))
			at := filepath.Join(x.Dir, "old", archive.SpoolName)
			must(t, os.MkdirAll(at, durable.DirPerm))
			must(t, os.WriteFile(filepath.Join(at, "0000000000000000.seg"), make([]byte, 100), 0o600))
			r := archive.Record{Stopped: &archive.StoppedRecord{At: time.Now().Add(-2 * time.Hour)}}
			must(t, r.Write(durable.OS, filepath.Dir(at), false))
			x.Load(t.Context())
			disk.Before(durabletest.Fail(op, "", syscall.EIO))
			later := time.Now().Add(2 * time.Hour) // the host's clock may have been wrong at the start
			x.Expire(later)
			x.Expire(later)
			if n := strings.Count(log.String(), "cannot remove"); n != 1 || budget.Used() != counted {
				t.Errorf("logged %d times, %d bytes are counted", n, budget.Used())
			}
			if at := x.Next(); time.Until(at) < 30*time.Minute {
				t.Errorf("it looks again at %v", at)
			}
			disk.Before(nil)
			x = archive.New(dir, filepath.Join(dir, "containers"), disk, time.Hour, spool.NewBudget(1<<20), slog.New(slog.DiscardHandler))
			x.Load(t.Context())
			x.Expire(time.Now().Add(2 * time.Hour))
			if got := stoppedDirs(t, dir); len(got) > 0 {
				t.Errorf("after the next start there are %q", got)
			}
		})
	}
}

// TestUnreadableRecordKeepsAge: a record that cannot be read for docker logs does not change
// the age of a history, and so does not remove it.
func TestUnreadableRecordKeepsAge(t *testing.T) {
	h := newHost(t, "HISTORY_AGE=1h")
	disk := h.onHookedDisk()
	old := filepath.Join(h.dir, "state", "stopped", "web")
	s, _, err := spool.Open(spool.Options{Dir: filepath.Join(old, archive.SpoolName), History: 1 << 20})
	must(t, err)
	var tracker spool.Tracker
	frame := dockertest.Frame("stdout", 1e18, "a line", nil)
	must(t, s.Append(append(make([]byte, spool.BlockHeaderSize), frame...), 1, tracker.All(frame)))
	must(t, s.Ack([]stream.Range{{From: 0, To: s.End()}}))
	r := archive.Record{Stopped: &archive.StoppedRecord{At: time.Now(), End: s.End()}}
	must(t, s.Close())
	must(t, r.Write(durable.OS, old, false))
	segments, err := filepath.Glob(filepath.Join(old, archive.SpoolName, "*.seg"))
	must(t, err)
	past := time.Now().Add(-2 * time.Hour) // it printed then, and stopped now
	must(t, os.Chtimes(segments[0], past, past))
	h.start()
	d := h.docker()
	disk.Before(durabletest.Fail("ReadFile", archive.RecordName, syscall.EMFILE))
	if _, err := d.ReadLogs(t.Context(), dockertest.Info{ContainerID: "web"}, all); err == nil {
		t.Error("no error")
	}
	disk.Before(nil)
	since, _ := h.Driver.archive.Since("web")
	if time.Since(since) > time.Hour {
		t.Errorf("it is as old as from %v", since)
	}
	if got := len(readLogs(t, d, "web", all).rest()); got != 1 {
		t.Errorf("%d entries", got)
	}
	h.gone()
}

// TestEvictedHistoryIsNotCounted: an evicted history is not counted, even if some of its
// files remain.
func TestEvictedHistoryIsNotCounted(t *testing.T) {
	dir := t.TempDir()
	disk := durabletest.NewHooked(durable.OS)
	budget := spool.NewBudget(2 << 20)
	x := archive.New(dir, filepath.Join(dir, "containers"), disk, time.Hour, budget, slog.New(slog.DiscardHandler))
	at := filepath.Join(x.Dir, "old", archive.SpoolName)
	must(t, os.MkdirAll(at, durable.DirPerm))
	must(t, os.WriteFile(filepath.Join(at, "0000000000000000.seg"), make([]byte, 1<<20), 0o600))
	r := archive.Record{Stopped: &archive.StoppedRecord{At: time.Now()}}
	must(t, r.Write(durable.OS, filepath.Dir(at), false))
	x.Load(t.Context())
	disk.Before(durabletest.Fail("Remove", archive.RecordName, syscall.EIO))
	s, _, err := spool.Open(spool.Options{Dir: filepath.Join(dir, "s"), Budget: budget})
	must(t, err)
	defer s.Close()
	var tracker spool.Tracker
	for i := range 30 {
		frame := dockertest.Frame("stdout", 1e18+int64(i), strings.Repeat("x", 50_000), nil)
		must(t, s.Append(append(make([]byte, spool.BlockHeaderSize), frame...), 1, tracker.All(frame)))
	}
	if used, want := budget.Used(), spool.Allocated(s.Size())+4096; used != want {
		t.Errorf("%d bytes are counted, want %d", used, want)
	}
}

// TestUnreadableSegmentIsNoGap: a segment that cannot be opened for docker logs does not
// become a gap in CloudWatch.
func TestUnreadableSegmentIsNoGap(t *testing.T) {
	h := newHost(t)
	disk := h.onHookedDisk()
	h.start()
	d := h.docker()
	info := dockertest.Info{ContainerID: "web", ContainerName: "/web"}
	for run := 1; run <= 2; run++ {
		c := begin(t, d, info)
		must(t, c.Write("stdout", strings.Join(lines(1, 10), "\n")+"\n"))
		must(t, c.Stop(t.Context()))
		h.shipper.wait(t, "g/web", 10*run)
		h.gone()
		disk.Before(durabletest.Fail("OpenFile", ".seg", syscall.EMFILE))
		if _, err := d.ReadLogs(t.Context(), info, all); err == nil {
			t.Error("no error")
		}
		disk.Before(nil)
		h.gone()
		if got := len(readLogs(t, d, "web", all).rest()); got != 10*run {
			t.Errorf("docker logs has %d entries after run %d", got, run)
		}
		h.gone()
	}
	if got := h.shipper.wait(t, "g/web", 20); len(got) != 20 {
		t.Errorf("delivered: %q", got)
	}
}
