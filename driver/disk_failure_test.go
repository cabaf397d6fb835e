package driver

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// onHookedDisk lets a test fail or delay the operations of the plugin's disk.
func (h *host) onHookedDisk() *durabletest.Hooked {
	disk := durabletest.NewHooked(durable.OS)
	h.disk = disk
	return disk
}

// tenLines starts the container web, which prints ten lines that are delivered.
func (h *host) tenLines() *fakeFIFO {
	h.t.Helper()
	f := h.fifo("f")
	h.run("web", f, nil)
	f.write("stdout", lines(1, 10)...)
	h.shipper.wait(h.t, "g/web", 10)
	return f
}

// restartOnFailingDisk starts the container web, which prints ten lines that are delivered, and starts the plugin again on a
// disk that fails.
func (h *host) restartOnFailingDisk(fail durabletest.Hook) (*durabletest.Hooked, *fakeFIFO) {
	h.t.Helper()
	disk := h.onHookedDisk()
	h.start()
	f := h.tenLines()
	h.stop()
	disk.Before(fail)
	h.start()
	return disk, f
}

// twentyLines holds that twenty lines of the container web are delivered, and ends it.
func (h *host) twentyLines(f *fakeFIFO) {
	h.t.Helper()
	if got := h.shipper.wait(h.t, "g/web", 20); len(got) != 20 {
		h.t.Errorf("%d lines were delivered", len(got))
	}
	h.end(f)
	h.gone()
}

// TestUnopenedStays: of a container that runs and could not be opened at the start, docker logs says so and changes
// nothing, also when the disk is well again: the next start delivers what is spooled, and reads on from its FIFO.
func TestUnopenedStays(t *testing.T) {
	for _, well := range []bool{false, true} {
		t.Run(fmt.Sprintf("well %v", well), func(t *testing.T) {
			h := newHost(t)
			disk := h.onHookedDisk()
			h.shipper.setDown(true)
			h.start()
			f := h.fifo("f")
			h.run("web", f, nil)
			f.write("stdout", lines(1, 10)...)
			f.empty()
			h.stop()
			disk.Before(durabletest.Fail("ReadFile", "cursor", syscall.EIO))
			h.start()
			if well {
				disk.Before(nil)
			}
			_, err := h.docker().ReadLogs(t.Context(), dockertest.Info{ContainerID: "web"}, all)
			if err == nil || !strings.Contains(err.Error(), errUnopened.Error()) {
				t.Errorf("ReadLogs: %v", err)
			}
			if !well {
				if err := h.startLogging(h.fifo("g").path, &container.Info{ID: "web", Name: "/web"}); err == nil {
					t.Error("StartLogging: no error")
				}
			}
			h.stop()
			disk.Before(nil)
			h.shipper.setDown(false)
			h.start()
			f.write("stdout", lines(11, 20)...)
			h.twentyLines(f)
		})
	}
}

// TestUnreadRecordWaits: a record that cannot be read now is not begun anew. At the start its FIFOs wait until it can.
func TestUnreadRecordWaits(t *testing.T) {
	t.Run("tried again", func(t *testing.T) { testUnreadRecord(t, false) })
	t.Run("started again", func(t *testing.T) { testUnreadRecord(t, true) })
}

func testUnreadRecord(t *testing.T, startedAgain bool) {
	h := newHost(t, "HISTORY_SIZE=64k")
	disk := h.onHookedDisk()
	h.start()
	d := h.docker()
	config := map[string]string{"history-size": "4m"}
	c := begin(t, d, dockertest.Info{ContainerID: "old", ContainerName: "/old", Config: config})
	const n = 500
	for range n {
		must(t, c.Write("stdout", strings.Repeat("x", 1000)+"\n"))
	}
	must(t, c.Stop(t.Context()))
	h.shipper.wait(t, "g/old", n)
	h.gone()
	f := h.tenLines()
	h.stop()

	disk.Before(durabletest.Fail("ReadFile", archive.RecordName, syscall.EMFILE))
	h.start()
	d = h.docker()
	for _, id := range []string{"old", "web"} {
		if _, err := d.ReadLogs(t.Context(), dockertest.Info{ContainerID: id}, all); err == nil {
			t.Errorf("%s: no error", id)
		}
	}
	f.write("stdout", lines(11, 20)...)
	disk.Before(nil)
	if startedAgain { // before it is tried again
		g := h.fifo("g")
		h.run("web", g, nil)
		defer h.end(g)
	}
	if got := h.shipper.wait(t, "g/web", 20); len(got) != 20 {
		t.Errorf("%d lines were delivered", len(got))
	}
	for id, want := range map[string]int{"old": n, "web": 20} {
		if got := len(readLogs(t, d, id, all).rest()); got != want {
			t.Errorf("%s: docker logs has %d of %d", id, got, want)
		}
	}
	h.end(f)
}

// TestReadingTellsNoGap: a segment that cannot be opened while a stopped container's log is asked for is no gap in the
// service's.
func TestReadingTellsNoGap(t *testing.T) {
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

// TestRecordOutlivesSpool: a record whose spool is gone does not have the next run's lines taken for delivered.
func TestRecordOutlivesSpool(t *testing.T) {
	for _, where := range []string{"stopped", "containers"} {
		t.Run(where, func(t *testing.T) {
			h := newHost(t)
			dir := filepath.Join(h.dir, "state", where, "web")
			must(t, os.MkdirAll(dir, dirPerm))
			r := archive.Record{Stopped: &archive.StoppedRecord{At: time.Now(), End: 10_000}}
			must(t, r.Write(durable.OS, dir, false))
			h.start()
			f := h.fifo("f")
			h.shipper.setDown(true)
			h.run("web", f, nil)
			f.write("stdout", lines(1, 100)...)
			f.empty()
			h.stop()
			h.shipper.setDown(false)
			h.start() // and once more
			if got := h.shipper.wait(t, "g/web", 100); len(got) != 100 {
				t.Errorf("%d lines were delivered", len(got))
			}
			h.end(f)
			h.gone()
		})
	}
}

// TestCannotBeRemoved: a history that cannot be removed when its room is needed is counted once, and is there still.
func TestCannotBeRemoved(t *testing.T) {
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
		h.ended()
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

// TestCannotExpire: a history that cannot be removed at its age is told of once, and tried again at the next start. What
// was removed but for some files is not counted.
func TestCannotExpire(t *testing.T) {
	for op, counted := range map[string]int64{"Rename": 4 * 4096, "Remove": 0} {
		t.Run(op, func(t *testing.T) {
			dir := t.TempDir()
			disk := durabletest.NewHooked(durable.OS)
			var log strings.Builder
			budget := spool.NewBudget(1 << 20)
			x := archive.New(dir, filepath.Join(dir, "containers"), disk, time.Hour, budget, slog.New(slog.NewTextHandler(&log, nil)))
			at := filepath.Join(x.Dir, "old", archive.SpoolName)
			must(t, os.MkdirAll(at, dirPerm))
			must(t, os.WriteFile(filepath.Join(at, "0000000000000000.seg"), make([]byte, 100), 0o600))
			r := archive.Record{Stopped: &archive.StoppedRecord{At: time.Now().Add(-2 * time.Hour)}}
			must(t, r.Write(durable.OS, filepath.Dir(at), false))
			x.Load(t.Context())
			disk.Before(durabletest.Fail(op, "", syscall.EIO))
			later := time.Now().Add(2 * time.Hour) // the host's clock may have been wrong at the start
			x.Expire(later)
			x.Expire(later)
			if n := strings.Count(log.String(), "cannot remove"); n != 1 || budget.Used() != counted {
				t.Errorf("told of %d times, %d bytes are counted", n, budget.Used())
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

// TestAskedNeverOlder: a record that cannot be read while a stopped container's log is asked for makes its history no
// older than it is, and so does not remove it.
func TestAskedNeverOlder(t *testing.T) {
	h := newHost(t, "HISTORY_AGE=1h")
	disk := h.onHookedDisk()
	old := filepath.Join(h.dir, "state", "stopped", "web")
	s, _, err := spool.Open(spool.Options{Dir: filepath.Join(old, archive.SpoolName), History: 1 << 20})
	must(t, err)
	var tracker spool.Tracker
	frame := fakeFrame("stdout", 1e18, "a line", nil)
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

// TestUnlistedIsFound: a container that runs, and was not found at the start because its directory could not be listed,
// is read again from the time on when somebody asks for its log.
func TestUnlistedIsFound(t *testing.T) {
	h := newHost(t)
	disk, f := h.restartOnFailingDisk(durabletest.Fail("ReadDir", "containers", syscall.EMFILE))
	disk.Before(nil)
	f.write("stdout", lines(11, 20)...)
	if got := len(readLogs(t, h.docker(), "web", all).rest()); got < 10 {
		t.Errorf("%d entries", got)
	}
	h.twentyLines(f)
}

// TestRoomOfWhatIsHidden: a history that has given way is counted no more, though some of its files are left.
func TestRoomOfWhatIsHidden(t *testing.T) {
	dir := t.TempDir()
	disk := durabletest.NewHooked(durable.OS)
	budget := spool.NewBudget(2 << 20)
	x := archive.New(dir, filepath.Join(dir, "containers"), disk, time.Hour, budget, slog.New(slog.DiscardHandler))
	at := filepath.Join(x.Dir, "old", archive.SpoolName)
	must(t, os.MkdirAll(at, dirPerm))
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
		frame := fakeFrame("stdout", 1e18+int64(i), strings.Repeat("x", 50_000), nil)
		must(t, s.Append(append(make([]byte, spool.BlockHeaderSize), frame...), 1, tracker.All(frame)))
	}
	if used, want := budget.Used(), spool.Allocated(s.Size())+4096; used != want {
		t.Errorf("%d bytes are counted, want %d", used, want)
	}
}

// TestRecordNotWritten: a record of a stream that is gone, which cannot be mended now, keeps nobody from reading on.
func TestRecordNotWritten(t *testing.T) {
	h := newHost(t)
	disk := h.onHookedDisk()
	h.start()
	f := h.tenLines()
	h.stop()
	dir := filepath.Join(h.dir, "state", "containers", "web")
	r, err := archive.ReadRecord(durable.OS, dir)
	must(t, err)
	r.Stopped = &archive.StoppedRecord{At: time.Now(), End: 1 << 20}
	must(t, r.Write(durable.OS, dir, false))
	disk.Before(durabletest.Fail("Rename", archive.RecordName, syscall.ENOSPC))
	h.start()
	disk.Before(nil)
	f.write("stdout", lines(11, 20)...)
	h.twentyLines(f)
}

// TestUnknownContainerEnv: with a bad CONTAINER_ENV nothing is taken for ignored that was not.
func TestUnknownContainerEnv(t *testing.T) {
	h := newHost(t, "CONTAINER_ENV=off")
	h.shipper.setDown(true)
	h.start()
	f := h.fifo("f")
	must(t, h.startLogging(f.path, &container.Info{ID: "web", Name: "/web", Env: []string{"LOGSPOUT=ignore"}}))
	f.write("stdout", lines(1, 1000)...)
	f.empty()
	h.stop()
	good := h.env
	h.env, h.bad = []string{"CONTAINER_ENV=offf"}, true
	h.start()
	for range 2 * ignoreStep >> 10 {
		f.write("stdout", strings.Repeat("x", 1<<10))
	}
	f.empty()
	h.stop()
	h.env, h.bad = good, false
	h.shipper.setDown(false)
	h.start()
	const want = 1000 + 2*ignoreStep>>10
	if got := h.shipper.wait(t, "g/web", want); len(got) != want {
		t.Errorf("%d lines of %d were delivered", len(got), want)
	}
	h.end(f)
}

// TestReadRunIsARun: docker logs in the course of a run that printed nothing does not make it a mere reading.
func TestReadRunIsARun(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("f1")
	h.run("web", f, nil)
	f.write("stdout", lines(1, 10)...)
	h.shipper.wait(t, "g/web", 10)
	h.end(f)
	h.gone()
	f = h.fifo("f2")
	h.run("web", f, nil)
	s := h.all()[0]
	before := s.record.Stopped.At
	s.mu.Lock()
	s.readers.lastLeft = time.Now().Add(-time.Hour) // it has run for so long
	s.mu.Unlock()
	if got := len(readLogs(t, h.docker(), "web", all).rest()); got != 10 {
		t.Errorf("%d entries", got)
	}
	h.end(f)
	h.gone()
	r, err := archive.ReadRecord(durable.OS, filepath.Join(h.dir, "state", "stopped", "web"))
	must(t, err)
	if !r.Stopped.At.After(before) {
		t.Error("its history is as old as before the run")
	}
}
