package driver

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/spool"
)

// onHookedDisk lets a test fail or delay the operations of the plugin's disk.
func (h *host) onHookedDisk() *durabletest.Hooked {
	disk := durabletest.NewHooked(durable.OS)
	h.disk = disk
	return disk
}

// restartOnFailingDisk starts the container web, which prints ten lines that are delivered,
// and restarts the plugin on a disk that fails.
func (h *host) restartOnFailingDisk(fail durabletest.Hook) (*durabletest.Hooked, *fakeFIFO) {
	h.t.Helper()
	disk := h.onHookedDisk()
	h.start()
	f := h.startWithTenLines()
	h.stop()
	disk.Before(fail)
	h.start()
	return disk, f
}

// hangingDisk blocks the operations that a test chooses, until it is released.
type hangingDisk struct {
	*durabletest.Hooked
	hung    atomic.Int64  // operations that were blocked
	until   chan struct{} // closed by release
	release func()
}

func (h *host) onHangingDisk() *hangingDisk {
	d := &hangingDisk{Hooked: h.onHookedDisk(), until: make(chan struct{})}
	d.release = sync.OnceFunc(func() {
		d.Before(nil)
		close(d.until)
	})
	h.t.Cleanup(d.release)
	return d
}

// hang blocks the operations that hangs chooses from now on.
func (d *hangingDisk) hang(hangs func(op, name string) bool) {
	d.Before(func(op, name string) error {
		if hangs(op, name) {
			d.hung.Add(1)
			<-d.until
		}
		return nil
	})
}

// copies are copies of the state directory, as a kill before an operation of the disk would
// leave it.
type copies struct {
	mu     sync.Mutex
	dir    string   // contains N/state for the copy N
	before []string // the operation before which each copy was made
}

// at is the directory of a host with the copy n.
func (c *copies) at(n int) string { return filepath.Join(c.dir, fmt.Sprint(n)) }

func (c *copies) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.before)
}

// copyBefore copies the state directory before each of the named operations from now on.
func (h *host) copyBefore(disk *durabletest.Hooked, ops ...string) *copies {
	c := &copies{dir: h.t.TempDir()}
	disk.Before(func(op, name string) error {
		if !slices.Contains(ops, op) {
			return nil
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		to := c.at(len(c.before))
		if err := os.CopyFS(filepath.Join(to, "state"), os.DirFS(filepath.Join(h.dir, "state"))); err != nil {
			// Another operation removes a file at the same time.
			return os.RemoveAll(to)
		}
		c.before = append(c.before, op+" "+filepath.Base(filepath.Dir(name))+"/"+filepath.Base(name))
		return nil
	})
	return c
}

// slowly delays some operations that move or remove a file.
func slowly(op, _ string) error {
	if (op == "Rename" || op == "Remove") && rand.IntN(20) == 0 {
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
	}
	return nil
}

// countOpens counts the spools that are opened until the test ends.
func countOpens(t *testing.T) *atomic.Int64 {
	var n atomic.Int64
	openSpool = func(o spool.Options) (*spool.Spool, spool.Repair, error) {
		n.Add(1)
		return spool.Open(o)
	}
	t.Cleanup(func() { openSpool = spool.Open })
	return &n
}
