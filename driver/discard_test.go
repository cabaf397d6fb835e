package driver

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/durable/durabletest"
)

// TestDamagedRecordDiscardsFIFO: when a container's record is damaged, its FIFO is read and
// counted, so that the container is not blocked. Spooled lines are delivered, the record is
// quarantined, and a StartLogging takes the FIFO over.
func TestDamagedRecordDiscardsFIFO(t *testing.T) {
	for _, damage := range []string{"{", "[]", `{"Epoch":"x"}`} {
		t.Run(damage, func(t *testing.T) {
			h := newHost(t)
			h.fifoDir = h.dir
			h.shipper.setDown(true)
			h.start()
			f, empty := h.fifo("f"), h.fifo("empty")
			h.startContainer("web", f, nil)
			f.write("stdout", lines(1, 10)...)
			f.waitUntilEmpty()
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
			if n := f.unread(); n == 0 {
				t.Error("the FIFO is read at once, although a StartLogging may claim it")
			}
			h.fifos.discardUnclaimed(h.unread.Load() > 0)
			f.waitUntilEmpty()
			h.wantLogged("the output of an unknown container is lost", "file="+f.path, "level=ERROR", "lines=10")
			h.wantLogged("a container's record is damaged", "container=web", "level=ERROR")
			if kept, _ := filepath.Glob(filepath.Join(state, "kept", "web-*.json")); len(kept) != 1 {
				t.Errorf("kept: %v", kept)
			} else if p, _ := os.ReadFile(kept[0]); string(p) != damage {
				t.Errorf("kept: %q", p)
			}
			if h.fifos.isClaimed(empty.path) {
				t.Error("a FIFO was read that is empty")
			}
			// Never two readers: all that is written from now on is the session's.
			h.startContainer("web", f, nil)
			f.write("stdout", lines(11, 500)...)
			if got := h.shipper.wait(t, "g/web", 500); !slices.Equal(got, lines(1, 500)) {
				t.Errorf("delivered: %d lines", len(got))
			}
			h.fifos.discardUnclaimed(h.unread.Load() > 0)
			f.write("stdout", "the last")
			h.stopContainer(f)
			if got := h.shipper.wait(t, "g/web", 501); got[500] != "the last" {
				t.Errorf("delivered: %q", got[500])
			}
			h.gone()
		})
	}
}

// TestUnreadableRecordDiscardsFullFIFO: while a record cannot be read, its FIFO is left alone
// until it fills. Then it is discarded. Once the record can be read, further lines are
// spooled.
func TestUnreadableRecordDiscardsFullFIFO(t *testing.T) {
	h := newHost(t)
	h.fifoDir = h.dir
	disk, f := h.restartOnFailingDisk(durabletest.Fail("ReadFile", archive.RecordName, syscall.EIO))
	until(t, "the record is known to be unreadable", func() bool { return h.unread.Load() == 1 })
	f.write("stdout", lines(11, 15)...)
	h.fifos.discardUnclaimed(h.unread.Load() > 0)
	if h.fifos.isClaimed(f.path) {
		t.Error("a FIFO that is not full is discarded")
	}
	var flood []string
	for range 200 {
		flood = append(flood, strings.Repeat("x", 200))
	}
	f.write("stdout", flood...)
	h.fifos.discardUnclaimed(h.unread.Load() > 0)
	f.waitUntilEmpty()
	h.wantLogged("the output of an unknown container is lost", "lines=205")
	disk.Before(nil)
	until(t, "the session is there", func() bool { return len(h.all()) == 1 && h.fifos.attachment(f.path) != nil })
	f.write("stdout", lines(11, 20)...)
	h.stopAfterTwentyLines(f)
}

// TestStartTakesFIFOFromDiscarder: the FIFO of a container whose spool cannot be opened is
// discarded until a StartLogging opens the spool. Then only the session reads it.
func TestStartTakesFIFOFromDiscarder(t *testing.T) {
	h := newHost(t)
	disk, f := h.restartOnFailingDisk(durabletest.Fail("ReadFile", "cursor", syscall.EIO))
	f.write("stdout", "lost")
	f.waitUntilEmpty()
	disk.Before(nil)
	g := h.fifo("g")
	h.startContainer("web", g, nil)
	if h.fifos.attachment(f.path) == nil {
		t.Error("the first FIFO is not the session's")
	}
	g.n = 100
	f.write("stdout", lines(11, 15)...)
	f.waitUntilEmpty()
	g.write("stdout", lines(16, 20)...)
	h.stopContainer(g)
	h.stopAfterTwentyLines(f)
	h.wantLogged("a container's output is lost: its spool cannot be opened", "lines=1")
}

// TestUnlistedContainersKeepLines: while the state directory cannot be listed, FIFOs keep
// their lines. They are attached when it can be listed.
func TestUnlistedContainersKeepLines(t *testing.T) {
	h := newHost(t)
	h.fifoDir = h.dir
	disk, f := h.restartOnFailingDisk(durabletest.Fail("ReadDir", "containers", syscall.EMFILE))
	f.write("stdout", lines(11, 15)...)
	h.fifos.discardUnclaimed(h.unread.Load() > 0)
	if h.fifos.isClaimed(f.path) {
		t.Error("the FIFO is discarded")
	}
	disk.Before(nil)
	f.write("stdout", lines(16, 20)...)
	h.stopAfterTwentyLines(f)
}

// TestStopCountsUnknownFIFO: what is left in an unknown FIFO when dockerd stops its container
// is counted as lost.
func TestStopCountsUnknownFIFO(t *testing.T) {
	h := newHost(t)
	h.fifoDir = h.dir
	h.start()
	f := h.fifo("f")
	f.write("stdout", lines(1, 10)...)
	h.stopContainer(f)
	until(t, "it is logged", func() bool { return strings.Contains(h.logged(), "lines=10") })
	h.wantLogged("the output of an unknown container is lost", "lines=10", "file="+f.path)
}
