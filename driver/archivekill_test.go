package driver

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/logspool/logspool/internal/durable"
)

// copyingDisk copies the state directory before each call that changes it, as a kill would leave it there.
type copyingDisk struct {
	durable.FS
	mu   sync.Mutex
	from string
	to   func(call int) string
	n    int
	what []string
}

func (d *copyingDisk) step(op, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.CopyFS(d.to(d.n), os.DirFS(d.from)); err != nil {
		panic(err)
	}
	d.n++
	d.what = append(d.what, op+" "+filepath.Base(filepath.Dir(name))+"/"+filepath.Base(name))
}

func (d *copyingDisk) Rename(from, to string) error {
	d.step("rename", to)
	return d.FS.Rename(from, to)
}
func (d *copyingDisk) Remove(name string) error { d.step("remove", name); return d.FS.Remove(name) }
func (d *copyingDisk) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return copyingFile{f, d, name}, nil
}

type copyingFile struct {
	durable.File
	d    *copyingDisk
	name string
}

func (f copyingFile) WriteAt(p []byte, at int64) (int, error) {
	f.d.step("write", f.name)
	return f.File.WriteAt(p, at)
}

// TestKilledWhileArchived: a delivered log that is archived, taken back for docker logs or a new start, and archived again,
// is never delivered again, wherever the plugin is killed, and its lines are not lost.
func TestKilledWhileArchived(t *testing.T) {
	for _, again := range []string{"docker logs", "a start", "a start with a line"} {
		t.Run(again, func(t *testing.T) {
			h := newHost(t)
			disk := &copyingDisk{FS: durable.OS, from: filepath.Join(h.dir, "state")}
			copies := t.TempDir()
			disk.to = func(call int) string { return filepath.Join(copies, fmt.Sprint(call), "state") }
			h.start()
			f := h.fifo("f")
			h.run("web", f, nil)
			f.write("stdout", lines(1, 10)...)
			f.empty()
			h.shipper.wait(t, "g/web", 10)
			h.stop()
			h.disk = disk
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
			for i := range disk.n {
				k := newHost(t)
				k.dir = filepath.Join(copies, fmt.Sprint(i))
				k.start()
				k.gone()
				k.stop()
				for stream, got := range k.shipper.delivered {
					for _, line := range got {
						if line != "line 11" {
							t.Errorf("killed before call %d, %s: %s got %q again", i, disk.what[i], stream, line)
						}
					}
				}
			}
			if disk.n < 5 {
				t.Errorf("%d calls", disk.n)
			}
		})
	}
}
