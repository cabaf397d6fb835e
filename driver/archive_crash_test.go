package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
)

// copies are copies of the state directory, as a kill before an operation of the disk would leave it.
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

// TestKilledWhileArchived: a delivered log that is archived, taken back for docker logs or a new start, and archived again,
// is never delivered again, wherever the plugin is killed, and its lines are not lost.
func TestKilledWhileArchived(t *testing.T) {
	for _, again := range []string{"docker logs", "a start", "a start with a line"} {
		t.Run(again, func(t *testing.T) {
			h := newHost(t)
			h.start()
			f := h.fifo("f")
			h.run("web", f, nil)
			f.write("stdout", lines(1, 10)...)
			f.empty()
			h.shipper.wait(t, "g/web", 10)
			h.stop()
			killed := h.copyBefore(h.onHookedDisk(), "Rename", "Remove", "WriteAt")
			h.start()
			h.end(f)
			h.gone()
			switch again {
			case "docker logs":
				s, err := h.holdSession(t.Context(), "web", nil)
				if err != nil {
					t.Fatal(err)
				}
				s.release()
			default:
				f := h.fifo("g")
				h.run("web", f, nil)
				if again != "a start" {
					f.write("stdout", "line 11")
				}
				h.end(f)
			}
			h.gone()
			h.stop()
			for i, op := range killed.before {
				k := newHost(t)
				k.dir = killed.at(i)
				k.start()
				k.gone()
				k.stop()
				for stream, got := range k.shipper.delivered {
					for _, line := range got {
						if line != "line 11" {
							t.Errorf("killed before call %d, %s: %s got %q again", i, op, stream, line)
						}
					}
				}
			}
			if n := killed.len(); n < 5 {
				t.Errorf("%d calls", n)
			}
		})
	}
}
