package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/spool"
)

// failing fails with err in operations op on files that end so.
func failing(op, suffix string, err error) func(op, name string) error {
	return func(o, name string) error {
		if o == op && strings.HasSuffix(name, suffix) {
			return err
		}
		return nil
	}
}

func (h *host) onSickDisk() *sickDisk {
	disk := &sickDisk{FS: durable.OS}
	h.disk = disk
	return disk
}

// TestUnopenedStays: of a container that runs and could not be opened at the start, docker logs says so and changes
// nothing, also when the disk is well again: the next start delivers what is spooled, and reads on from its FIFO.
func TestUnopenedStays(t *testing.T) {
	for _, well := range []bool{false, true} {
		t.Run(fmt.Sprintf("well %v", well), func(t *testing.T) {
			h := newHost(t)
			disk := h.onSickDisk()
			h.shipper.setDown(true)
			h.start()
			f := h.fifo("f")
			h.run("web", f, nil)
			f.write("stdout", lines(1, 10)...)
			f.empty()
			h.stop()
			disk.is(failing("read", "cursor", syscall.EIO))
			h.start()
			if well {
				disk.is(nil)
			}
			_, err := h.docker().ReadLogs(t.Context(), dockertest.Info{ContainerID: "web"}, all)
			if err == nil || !strings.Contains(err.Error(), errUnopened.Error()) {
				t.Errorf("ReadLogs: %v", err)
			}
			if !well {
				if err := h.startLogging(h.fifo("g").path, &Info{ContainerID: "web", ContainerName: "/web"}); err == nil {
					t.Error("StartLogging: no error")
				}
			}
			h.stop()
			disk.is(nil)
			h.shipper.setDown(false)
			h.start()
			f.write("stdout", lines(11, 20)...)
			if got := h.shipper.wait(t, "g/web", 20); len(got) != 20 {
				t.Errorf("%d lines were delivered", len(got))
			}
			h.end(f)
			h.gone()
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
	disk := h.onSickDisk()
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
	f := h.fifo("f")
	h.run("web", f, nil)
	f.write("stdout", lines(1, 10)...)
	h.shipper.wait(t, "g/web", 10)
	h.stop()

	disk.is(failing("read", recordName, syscall.EMFILE))
	h.start()
	d = h.docker()
	for _, id := range []string{"old", "web"} {
		if _, err := d.ReadLogs(t.Context(), dockertest.Info{ContainerID: id}, all); err == nil {
			t.Errorf("%s: no error", id)
		}
	}
	f.write("stdout", lines(11, 20)...)
	disk.is(nil)
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

// openSick fails to open files, too.
type openSick struct{ *sickDisk }

func (d openSick) OpenFile(name string, flag int, perm os.FileMode) (durable.File, error) {
	if err := d.try("open", name); err != nil {
		return nil, err
	}
	return d.FS.OpenFile(name, flag, perm)
}

// TestReadingTellsNoGap: a segment that cannot be opened while a stopped container's log is asked for is no gap in the
// service's.
func TestReadingTellsNoGap(t *testing.T) {
	h := newHost(t)
	disk := openSick{&sickDisk{FS: durable.OS}}
	h.disk = disk
	h.start()
	d := h.docker()
	info := dockertest.Info{ContainerID: "web", ContainerName: "/web"}
	for run := 1; run <= 2; run++ {
		c := begin(t, d, info)
		must(t, c.Write("stdout", strings.Join(lines(1, 10), "\n")+"\n"))
		must(t, c.Stop(t.Context()))
		h.shipper.wait(t, "g/web", 10*run)
		h.gone()
		disk.is(failing("open", ".seg", syscall.EMFILE))
		if _, err := d.ReadLogs(t.Context(), info, all); err == nil {
			t.Error("no error")
		}
		disk.is(nil)
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
			r := record{Stopped: &stoppedRecord{At: time.Now(), End: 10_000}}
			must(t, r.write(durable.OS, dir, false))
			h.start()
			f := h.fifo("f")
			h.run("web", f, nil)
			f.write("stdout", lines(1, 100)...)
			if got := h.shipper.wait(t, "g/web", 100); len(got) != 100 {
				t.Errorf("%d lines were delivered", len(got))
			}
			h.end(f)
			h.gone()
		})
	}
}

// TestCannotBeRemoved: a history that cannot be removed when its room is needed, or at its age, is counted once, and is
// there still.
func TestCannotBeRemoved(t *testing.T) {
	h := newHost(t, "SPOOL_TOTAL_SIZE=2m", "SPOOL_MAX_SIZE=1m", "HISTORY_SIZE=1m")
	disk := h.onSickDisk()
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
	disk.is(func(op, name string) error {
		if op == "rename" && strings.Contains(name, goneMark) {
			return syscall.EIO
		}
		return nil
	})
	fill("c")
	x := h.Driver.stopped
	x.age = 0
	for range 2 {
		x.expire() // what it cannot remove it does not try again
	}
	if n := strings.Count(h.logged(), "cannot be removed"); n != 3 {
		t.Errorf("told of %d times", n)
	}
	if at := x.next(); time.Until(at) < longestWait/2 {
		t.Errorf("it looks again at %v", at)
	}
	x.age = time.Hour
	disk.is(nil)
	sum := int64(0)
	for _, id := range stoppedDirs(t, filepath.Join(h.dir, "state")) {
		readLogs(t, d, id, all).rest()
		h.gone()
		i, err := spool.Inspect(nil, filepath.Join(h.dir, "state", "stopped", id, spoolName))
		must(t, err)
		sum += i.Bytes
	}
	if used := h.budget.Used(); used != sum || sum == 0 {
		t.Errorf("%d bytes are counted, there are %d", used, sum)
	}
}

// TestUnknownContainerEnv: with a bad CONTAINER_ENV nothing is taken for ignored that was not.
func TestUnknownContainerEnv(t *testing.T) {
	h := newHost(t, "CONTAINER_ENV=off")
	h.shipper.setDown(true)
	h.start()
	f := h.fifo("f")
	must(t, h.startLogging(f.path, &Info{ContainerID: "web", ContainerName: "/web", ContainerEnv: []string{"LOGSPOUT=ignore"}}))
	f.write("stdout", lines(1, 1000)...)
	f.empty()
	h.stop()
	good := h.env
	h.env, h.bad = []string{"CONTAINER_ENV=offf"}, true
	h.start()
	for range 2 * ignoredStep >> 10 {
		f.write("stdout", strings.Repeat("x", 1<<10))
	}
	f.empty()
	h.stop()
	h.env, h.bad = good, false
	h.shipper.setDown(false)
	h.start()
	const want = 1000 + 2*ignoredStep>>10
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
	s.since = time.Now().Add(-time.Hour) // it has run for so long
	s.mu.Unlock()
	if got := len(readLogs(t, h.docker(), "web", all).rest()); got != 10 {
		t.Errorf("%d entries", got)
	}
	h.end(f)
	h.gone()
	r, err := readRecord(durable.OS, filepath.Join(h.dir, "state", "stopped", "web"))
	must(t, err)
	if !r.Stopped.At.After(before) {
		t.Error("its history is as old as before the run")
	}
}
