package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/container"
)

// TestFIFOHasOneSession: a FIFO that a session reads is neither given to a second session nor
// removed.
func TestFIFOHasOneSession(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("f")
	h.startContainer("web", f, nil)
	if err := h.startLogging(f.path, &container.Info{ID: "other"}); err == nil || !strings.Contains(err.Error(), "web (web)") {
		t.Errorf("StartLogging: %v", err)
	}
	f.write("stdout", lines(1, 10)...)
	h.shipper.wait(t, "g/web", 10)
	if _, err := os.Lstat(f.path); err != nil {
		t.Error(err)
	}
	h.stopContainer(f)
	h.gone()
}

// TestFIFOsOutsideTheDirectoryAreRefused: with a FIFO directory, no FIFO outside it is
// opened or removed.
func TestFIFOsOutsideTheDirectoryAreRefused(t *testing.T) {
	h := newHost(t)
	h.start()
	h.fifos.dir = filepath.Join(h.dir, "fifos")
	f := h.fifo("elsewhere")
	for _, path := range []string{f.path, h.fifos.dir + "/../elsewhere", h.fifos.dir + "/sub/fifo", h.fifos.dir} {
		if err := h.startLogging(path, &container.Info{ID: "x"}); err == nil || !strings.Contains(err.Error(), "logspool: File") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if f.unread() != 0 || len(h.containers()) > 0 {
		t.Errorf("%v came to be", h.containers())
	}
	if info, err := os.Lstat(f.path); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("the FIFO elsewhere: %v", err)
	}
}

// TestStartBeyondLimitIsRefused: half of the descriptors are for containers. A start beyond
// that is refused with the limit, the count and a hint, and leaves nothing. Delivery works
// for all running containers, and a stop frees a descriptor.
func TestStartBeyondLimitIsRefused(t *testing.T) {
	h := newHost(t)
	h.openFiles = 120
	h.start()
	const n = 60
	var fifos []*fakeFIFO
	for i := range n {
		f := h.fifo(fmt.Sprint("f", i))
		h.startContainer(fmt.Sprint("c", i), f, nil)
		fifos = append(fifos, f)
	}
	over := h.fifo("over")
	err := h.startLogging(over.path, &container.Info{ID: "over"})
	if err == nil || !strings.Contains(err.Error(), "60 containers") || !strings.Contains(err.Error(), "120 open files") ||
		!strings.Contains(err.Error(), "LimitNOFILE") || strings.Contains(err.Error(), "\n") {
		t.Errorf("StartLogging: %v", err)
	}
	if _, err := os.Lstat(over.path); !notExist(err) {
		t.Errorf("the FIFO: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(h.dir, "state", "containers", "over")); !notExist(err) {
		t.Errorf("the directory: %v", err)
	}
	for i, f := range fifos {
		f.write("stdout", "a line")
		h.shipper.wait(t, fmt.Sprint("g/c", i), 1)
	}
	h.stop()
	h.start() // all of them are attached again
	for i, f := range fifos {
		f.write("stdout", "another")
		h.shipper.wait(t, fmt.Sprint("g/c", i), 2)
	}
	h.stopContainer(fifos[0])
	until(t, "the first has ended", func() bool { return h.fifos.attachment(fifos[0].path) == nil })
	h.startContainer("over", h.fifo("over"), nil)
}
