package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
)

// TestReopensFIFO: a FIFO of the record that cannot be opened after a restart is tried again
// until it can, and no line is lost or spooled twice.
func TestReopensFIFO(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.startWithTenLines()
	h.stop()
	aside := f.path + ".aside"
	must(t, os.Rename(f.path, aside))
	must(t, os.Mkdir(f.path, 0o700)) // an open fails, and not because it is gone
	h.start()
	f.write("stdout", lines(11, 15)...)
	h.wantLogged("cannot read a container's FIFO; trying again", `container="web (web)"`, "level=ERROR")
	if n := len(h.all()); n != 1 {
		t.Fatalf("%d sessions", n)
	}
	must(t, os.Remove(f.path))
	must(t, os.Rename(aside, f.path))
	f.write("stdout", lines(16, 20)...)
	h.stopAfterTwentyLines(f)
	h.wantLogged("a container's FIFO can be read again")
}

// TestGoneFIFOEndsSession: a session ends if its FIFO could not be opened, and then is gone.
func TestGoneFIFOEndsSession(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.startWithTenLines()
	h.stop()
	f.close()
	must(t, os.Remove(f.path))
	must(t, os.Mkdir(f.path, 0o700))
	h.start()
	h.stopLogging(t.Context(), f.path)
	must(t, os.Remove(f.path))
	h.gone()
}

// TestUnreadableRecordIsNotReplaced: a record that cannot be read now is not replaced. At the
// start its FIFOs wait until it can be read.
func TestUnreadableRecordIsNotReplaced(t *testing.T) {
	t.Run("tried again", func(t *testing.T) { testUnreadableRecord(t, false) })
	t.Run("started again", func(t *testing.T) { testUnreadableRecord(t, true) })
}

func testUnreadableRecord(t *testing.T, startedAgain bool) {
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
	f := h.startWithTenLines()
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
		h.startContainer("web", g, nil)
		defer h.stopContainer(g)
	}
	if got := h.shipper.wait(t, "g/web", 20); len(got) != 20 {
		t.Errorf("%d lines were delivered", len(got))
	}
	for id, want := range map[string]int{"old": n, "web": 20} {
		if got := len(readLogs(t, d, id, all).rest()); got != want {
			t.Errorf("%s: docker logs has %d of %d", id, got, want)
		}
	}
	h.stopContainer(f)
}

// TestUnopenedContainerStays: docker logs of a running container that could not be opened at
// the start reports that and changes nothing, even if the disk works again. The next start
// delivers what is spooled, and reads on from its FIFO.
func TestUnopenedContainerStays(t *testing.T) {
	for _, works := range []bool{false, true} {
		t.Run(fmt.Sprintf("works %v", works), func(t *testing.T) {
			h := newHost(t)
			disk := h.onHookedDisk()
			f := h.stopUndelivered()
			disk.Before(durabletest.Fail("ReadFile", "cursor", syscall.EIO))
			h.start()
			if works {
				disk.Before(nil)
			}
			_, err := h.docker().ReadLogs(t.Context(), dockertest.Info{ContainerID: "web"}, all)
			if err == nil || !strings.Contains(err.Error(), errUnopened.Error()) {
				t.Errorf("ReadLogs: %v", err)
			}
			if !works {
				if err := h.startLogging(h.fifo("g").path, &container.Info{ID: "web", Name: "/web"}); err == nil {
					t.Error("StartLogging: no error")
				}
			}
			h.stop()
			disk.Before(nil)
			h.shipper.setDown(false)
			h.start()
			f.write("stdout", lines(11, 20)...)
			h.stopAfterTwentyLines(f)
		})
	}
}

// TestUnlistedContainerIsOpenedByReader: a running container that was not found at the start,
// because the state directory could not be listed, is opened by docker logs, and its FIFO is
// read from then on.
func TestUnlistedContainerIsOpenedByReader(t *testing.T) {
	h := newHost(t)
	disk, f := h.restartOnFailingDisk(durabletest.Fail("ReadDir", "containers", syscall.EMFILE))
	disk.Before(nil)
	f.write("stdout", lines(11, 20)...)
	if got := len(readLogs(t, h.docker(), "web", all).rest()); got < 10 {
		t.Errorf("%d entries", got)
	}
	h.stopAfterTwentyLines(f)
}

// TestUnwritableRecordIsAttached: a container is attached even if a record that describes a
// spool that is gone cannot be corrected now.
func TestUnwritableRecordIsAttached(t *testing.T) {
	h := newHost(t)
	disk := h.onHookedDisk()
	h.start()
	f := h.startWithTenLines()
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
	h.stopAfterTwentyLines(f)
}

// TestTornBlockOfAnyFIFOIsRecovered: a kill cut short the write of a block of one of a
// container's FIFOs, while others have more data. The block is still in its FIFO, so no loss
// is reported, whichever FIFO is first in the record.
func TestTornBlockOfAnyFIFOIsRecovered(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	var before []*fakeFIFO
	for i := range 50 { // Enough that the first is read while the last is opened
		f := h.fifo(fmt.Sprint("f", i))
		h.startContainer("web", f, nil)
		before = append(before, f)
	}
	a, b := before[0], h.fifo("b")
	h.startContainer("web", b, nil)
	a.write("stdout", "line 1")
	a.waitUntilEmpty()
	last := dockertest.Frame("stdout", 2e18, "line 2", nil)
	b.raw(last)
	b.waitUntilEmpty()
	h.stop()
	segments, err := filepath.Glob(filepath.Join(h.dir, "state", "containers", "web", "spool", "*.seg"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("%v, %v", segments, err)
	}
	info, err := os.Stat(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(segments[0], info.Size()-3); err != nil {
		t.Fatal(err)
	}
	b.raw(last) // it was not dropped
	a.write("stdout", "line 3")
	h.shipper.setDown(false)
	h.start()
	for _, f := range append(before, b) {
		h.stopContainer(f)
	}
	h.gone()
	got := slices.Sorted(slices.Values(h.shipper.delivered["g/web"]))
	if !slices.Equal(got, lines(1, 3)) || strings.Contains(h.logged(), "lines are lost") {
		t.Errorf("got %q", got)
	}
}

// TestLostSpoolDeliversNewLines: if a record's spool is gone, the lines of the next run do
// not count as delivered.
func TestLostSpoolDeliversNewLines(t *testing.T) {
	for _, where := range []string{"stopped", "containers"} {
		t.Run(where, func(t *testing.T) {
			h := newHost(t)
			dir := filepath.Join(h.dir, "state", where, "web")
			must(t, os.MkdirAll(dir, durable.DirPerm))
			r := archive.Record{Stopped: &archive.StoppedRecord{At: time.Now(), End: 10_000}}
			must(t, r.Write(durable.OS, dir, false))
			h.start()
			f := h.fifo("f")
			h.shipper.setDown(true)
			h.startContainer("web", f, nil)
			f.write("stdout", lines(1, 100)...)
			f.waitUntilEmpty()
			h.stop()
			h.shipper.setDown(false)
			h.start() // and once more
			if got := h.shipper.wait(t, "g/web", 100); len(got) != 100 {
				t.Errorf("%d lines were delivered", len(got))
			}
			h.stopContainer(f)
			h.gone()
		})
	}
}

// TestDamagedStateReadsFIFO: whatever is damaged on disk, a container's FIFO is read after a
// restart, and the container can be stopped.
func TestDamagedStateReadsFIFO(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, dir string)
	}{
		{"the spool is a file", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(filepath.Join(dir, "spool")))
			must(t, os.WriteFile(filepath.Join(dir, "spool"), []byte("x"), 0o600))
		}},
		{"the cursor is a directory", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(filepath.Join(dir, "spool", "cursor")))
			must(t, os.Mkdir(filepath.Join(dir, "spool", "cursor"), 0o700))
		}},
		{"no spool", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(filepath.Join(dir, "spool")))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHost(t)
			f := h.stopUndelivered()
			tc.damage(t, filepath.Join(h.dir, "state", "containers", "web"))
			h.start()
			f.write("stdout", slices.Repeat(lines(11, 20), 2000)...) // more than a pipe holds
			f.waitUntilEmpty()
			h.stopContainer(f)
			h.shipper.setDown(false)
		})
	}
}

// TestLostRecordDeliversLines: spooled lines are delivered even if the record is lost. What a
// crash left of a session that had ended, or had hardly begun, is removed.
func TestLostRecordDeliversLines(t *testing.T) {
	for _, damage := range []string{"", "{", "null"} {
		t.Run(damage, func(t *testing.T) {
			h := newHost(t)
			h.shipper.setDown(true)
			h.start()
			f := h.fifo("fifo")
			h.startContainer("web", f, nil)
			f.write("stdout", lines(1, 10)...)
			h.stopContainer(f)
			h.stop()
			path := filepath.Join(h.dir, "state", "containers", "web", archive.RecordName)
			if damage == "" {
				must(t, os.Remove(path))
			} else {
				must(t, os.WriteFile(path, []byte(damage), 0o600))
			}
			must(t, os.Mkdir(filepath.Join(h.dir, "state", "containers", "empty"), 0o700))
			h.shipper.setDown(false)
			h.start()
			h.gone()
			h.shipper.mu.Lock()
			defer h.shipper.mu.Unlock()
			if len(h.shipper.delivered) != 1 {
				t.Errorf("delivered %v", h.shipper.delivered)
			}
			for _, got := range h.shipper.delivered {
				if !slices.Equal(got, lines(1, 10)) {
					t.Errorf("got %q", got)
				}
			}
		})
	}
}
