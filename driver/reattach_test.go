package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/spool"
)

// logs fails the test unless the plugin has logged a line that contains all of these.
func (h *host) logs(want ...string) {
	h.t.Helper()
	for line := range strings.Lines(h.logged()) {
		if !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(line, w) }) {
			return
		}
	}
	h.t.Errorf("not logged: %q", want)
}

// TestFIFOIsReopened: a FIFO of the record that cannot be opened after a restart is tried again until it can, and then
// nothing of it is lost or taken twice.
func TestFIFOIsReopened(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.tenLines()
	h.stop()
	aside := f.path + ".aside"
	must(t, os.Rename(f.path, aside))
	must(t, os.Mkdir(f.path, 0o700)) // an open fails, and not because it is gone
	h.start()
	f.write("stdout", lines(11, 15)...)
	h.logs("cannot read a container's FIFO; trying again", `container="web (web)"`, "level=ERROR")
	if n := len(h.all()); n != 1 {
		t.Fatalf("%d sessions", n)
	}
	must(t, os.Remove(f.path))
	must(t, os.Rename(aside, f.path))
	f.write("stdout", lines(16, 20)...)
	h.twentyLines(f)
	h.logs("a container's FIFO can be read again")
}

// TestFIFOIsGone: a session whose FIFO could not be opened, and then is gone, ends.
func TestFIFOIsGone(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.tenLines()
	h.stop()
	f.close()
	must(t, os.Remove(f.path))
	must(t, os.Mkdir(f.path, 0o700))
	h.start()
	h.stopLogging(t.Context(), f.path)
	must(t, os.Remove(f.path))
	h.gone()
}

// TestUnknownFIFOIsRead: when a container's record is damaged, its FIFO is read, and counted, so that the container goes on.
// What was spooled is delivered, and the record is kept. A StartLogging takes the FIFO over.
func TestUnknownFIFOIsRead(t *testing.T) {
	for _, damage := range []string{"{", "[]", `{"Epoch":"x"}`} {
		t.Run(damage, func(t *testing.T) {
			h := newHost(t)
			h.fifoDir = h.dir
			h.shipper.setDown(true)
			h.start()
			f, empty := h.fifo("f"), h.fifo("empty")
			h.run("web", f, nil)
			f.write("stdout", lines(1, 10)...)
			f.empty()
			h.stop()
			state := filepath.Join(h.dir, "state")
			must(t, os.WriteFile(filepath.Join(state, "containers", "web", archive.RecordName), []byte(damage), 0o600))
			f.write("stdout", slices.Repeat([]string{"lost"}, 10)...)
			h.shipper.setDown(false)
			h.start()
			if got := h.shipper.wait(t, "g/web", 10); !slices.Equal(got, lines(1, 10)) {
				t.Errorf("delivered: %q", got)
			}
			h.gone()
			if n := f.left(); n == 0 {
				t.Error("the FIFO is read at once, although a StartLogging may claim it")
			}
			h.fifos.discardUnclaimed(h.hasUnread())
			f.empty()
			h.logs("the output of an unknown container is lost", "file="+f.path, "level=ERROR", "lines=10")
			h.logs("a container's record is damaged", "container=web", "level=ERROR")
			if kept, _ := filepath.Glob(filepath.Join(state, "kept", "web-*.json")); len(kept) != 1 {
				t.Errorf("kept: %v", kept)
			} else if p, _ := os.ReadFile(kept[0]); string(p) != damage {
				t.Errorf("kept: %q", p)
			}
			if h.fifos.isClaimed(empty.path) {
				t.Error("a FIFO was read that is empty")
			}
			// Never two readers: all that is written from now on is the session's.
			h.run("web", f, nil)
			f.write("stdout", lines(11, 500)...)
			if got := h.shipper.wait(t, "g/web", 500); !slices.Equal(got, lines(1, 500)) {
				t.Errorf("delivered: %d lines", len(got))
			}
			h.fifos.discardUnclaimed(h.hasUnread())
			f.write("stdout", "the last")
			h.end(f)
			if got := h.shipper.wait(t, "g/web", 501); got[500] != "the last" {
				t.Errorf("delivered: %q", got[500])
			}
			h.gone()
		})
	}
}

// TestUnreadRecordKeepsLines: while a record cannot be read, its FIFO is left alone until it fills up. It is then read, and
// when the record can be read, the lines from then on are spooled.
func TestUnreadRecordKeepsLines(t *testing.T) {
	h := newHost(t)
	h.fifoDir = h.dir
	disk, f := h.restartOnFailingDisk(durabletest.Fail("ReadFile", archive.RecordName, syscall.EIO))
	until(t, "the record is known to be unreadable", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.unread == 1
	})
	f.write("stdout", lines(11, 15)...)
	h.fifos.discardUnclaimed(h.hasUnread())
	if h.fifos.isClaimed(f.path) {
		t.Error("a FIFO with room is discarded")
	}
	var flood []string
	for range 200 {
		flood = append(flood, strings.Repeat("x", 200))
	}
	f.write("stdout", flood...)
	h.fifos.discardUnclaimed(h.hasUnread())
	f.empty()
	h.logs("the output of an unknown container is lost", "lines=205")
	disk.Before(nil)
	until(t, "the session is there", func() bool { return len(h.all()) == 1 && h.fifos.attachment(f.path) != nil })
	f.write("stdout", lines(11, 20)...)
	h.twentyLines(f)
}

// TestUnopenedIsTakenOver: the FIFO of a container whose spool cannot be opened is discarded, until a StartLogging of the
// container opens the spool: then the session alone reads it.
func TestUnopenedIsTakenOver(t *testing.T) {
	h := newHost(t)
	disk, f := h.restartOnFailingDisk(durabletest.Fail("ReadFile", "cursor", syscall.EIO))
	f.write("stdout", "lost")
	f.empty()
	disk.Before(nil)
	g := h.fifo("g")
	h.run("web", g, nil)
	if h.fifos.attachment(f.path) == nil {
		t.Error("the first FIFO is not the session's")
	}
	g.n = 100
	f.write("stdout", lines(11, 15)...)
	f.empty()
	g.write("stdout", lines(16, 20)...)
	h.end(g)
	h.twentyLines(f)
	h.logs("a container's output is lost: its spool cannot be opened", "lines=1")
}

// TestFIFOOfAnother: a FIFO that a session reads is not given to a second one, nor removed.
func TestFIFOOfAnother(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("f")
	h.run("web", f, nil)
	if err := h.startLogging(f.path, &container.Info{ID: "other"}); err == nil || !strings.Contains(err.Error(), "web (web)") {
		t.Errorf("StartLogging: %v", err)
	}
	f.write("stdout", lines(1, 10)...)
	h.shipper.wait(t, "g/web", 10)
	if _, err := os.Lstat(f.path); err != nil {
		t.Error(err)
	}
	h.end(f)
	h.gone()
}

// TestNewerSpoolIsKept: a spool of a newer version is kept aside, and the container goes on with a new one. What was kept is
// reported at each start, and delivered by a version that can read it.
func TestNewerSpoolIsKept(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	f := h.fifo("f")
	h.run("web", f, nil)
	f.write("stdout", lines(1, 10)...)
	f.empty()
	h.stop()
	state := filepath.Join(h.dir, "state")
	marker := filepath.Join(state, "containers", "web", archive.SpoolName, "newer")
	must(t, os.WriteFile(marker, nil, 0o600))
	openSpool = func(o spool.Options) (*spool.Spool, spool.Repair, error) {
		if _, err := os.Stat(filepath.Join(o.Dir, "newer")); err == nil {
			return nil, spool.Repair{}, fmt.Errorf("couldn't open %q: %w", o.Dir, spool.ErrVersion)
		}
		return spool.Open(o)
	}
	t.Cleanup(func() { openSpool = spool.Open })
	h.shipper.setDown(false)
	h.start()
	f.write("stdout", lines(11, 20)...)
	if got := h.shipper.wait(t, "g/web", 10); !slices.Equal(got, lines(11, 20)) {
		t.Errorf("delivered: %q", got)
	}
	kept, _ := filepath.Glob(filepath.Join(state, "kept", "web-*"))
	if len(kept) != 1 {
		t.Fatalf("kept: %v", kept)
	}
	h.logs("a newer version of the plugin wrote a container's spool", "kept_in="+kept[0], "level=ERROR")
	h.end(f)
	h.gone()
	h.stop()
	h.start()
	h.logs("undelivered lines are kept that only a newer version of the plugin can read", "kept_in="+kept[0])
	h.stop()
	openSpool = spool.Open // an upgrade
	must(t, os.Remove(filepath.Join(kept[0], archive.SpoolName, "newer")))
	h.start()
	h.logs("kept lines can be read now, but the container has another log")
	h.stop()
	must(t, os.RemoveAll(filepath.Join(state, "stopped", "web"))) // it has expired
	h.start()
	if got := h.shipper.wait(t, "g/web", 20); !slices.Equal(got[10:], lines(1, 10)) {
		t.Errorf("delivered: %q", got)
	}
	h.gone()
	if left, _ := filepath.Glob(filepath.Join(state, "kept", "*")); len(left) > 0 {
		t.Errorf("kept: %v", left)
	}
}

// TestDocsLogsKeepsNewerSpool: docker logs of a stopped container whose log a newer version wrote changes nothing.
func TestDockerLogsKeepsNewerSpool(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.tenLines()
	h.end(f)
	h.gone()
	openSpool = func(spool.Options) (*spool.Spool, spool.Repair, error) {
		return nil, spool.Repair{}, spool.ErrVersion
	}
	_, err := h.beginReading(t.Context(), "web")
	openSpool = spool.Open
	if err == nil || !strings.Contains(err.Error(), spool.ErrVersion.Error()) {
		t.Error(err)
	}
	if got := stoppedDirs(t, filepath.Join(h.dir, "state")); !slices.Equal(got, []string{"web"}) {
		t.Errorf("archived: %q", got)
	}
	must(t, durable.OS.Remove(filepath.Join(h.dir, "state", "containers")))
}

// TestUnlistedKeepsLines: while the state directory cannot be listed, FIFOs keep their lines, and are attached again when it can.
func TestUnlistedKeepsLines(t *testing.T) {
	h := newHost(t)
	h.fifoDir = h.dir
	disk, f := h.restartOnFailingDisk(durabletest.Fail("ReadDir", "containers", syscall.EMFILE))
	f.write("stdout", lines(11, 15)...)
	h.fifos.discardUnclaimed(h.hasUnread())
	if h.fifos.isClaimed(f.path) {
		t.Error("the FIFO is discarded")
	}
	disk.Before(nil)
	f.write("stdout", lines(16, 20)...)
	h.twentyLines(f)
}

// TestRestOfUnknownIsCounted: what is left in an unknown FIFO when dockerd stops its container is counted.
func TestRestOfUnknownIsCounted(t *testing.T) {
	h := newHost(t)
	h.fifoDir = h.dir
	h.start()
	f := h.fifo("f")
	f.write("stdout", lines(1, 10)...)
	h.end(f)
	until(t, "it is logged", func() bool { return strings.Contains(h.logged(), "lines=10") })
	h.logs("the output of an unknown container is lost", "lines=10", "file="+f.path)
}
