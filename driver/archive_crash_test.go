package driver

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/logspool/logspool/internal/dockertest"
)

// TestKillWhileArchivingDeliversOnce: a delivered log is archived, opened again for docker
// logs or a new start, and archived again. Wherever the plugin is killed, no line is
// delivered again, and none is lost.
func TestKillWhileArchivingDeliversOnce(t *testing.T) {
	for _, again := range []string{"docker logs", "a start", "a start with a line"} {
		t.Run(again, func(t *testing.T) {
			h := newHost(t)
			h.start()
			f := h.fifo("f")
			h.startContainer("web", f, nil)
			f.write("stdout", lines(1, 10)...)
			f.waitUntilEmpty()
			h.shipper.wait(t, "g/web", 10)
			h.stop()
			killed := h.copyBefore(h.onHookedDisk(), "Rename", "Remove", "WriteAt")
			h.start()
			h.stopContainer(f)
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
				h.startContainer("web", f, nil)
				if again != "a start" {
					f.write("stdout", "line 11")
				}
				h.stopContainer(f)
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

// TestKillWhileArchivingKeepsHistory: wherever the plugin is killed while a history is
// archived, opened again or read, all of it is in one place afterwards.
func TestKillWhileArchivingKeepsHistory(t *testing.T) {
	h := newHost(t)
	disk := h.onHookedDisk()
	h.start()
	d := h.docker()
	info := dockertest.Info{ContainerID: "web", ContainerName: "/web"}
	c := begin(t, d, info)
	const n = 20
	for i := range n {
		must(t, c.Write("stdout", fmt.Sprintf("line %d\n", i)))
	}
	h.shipper.wait(t, "g/web", n)
	killed := h.copyBefore(disk, "Rename", "Remove", "MkdirAll", "OpenFile")
	must(t, c.Stop(t.Context()))
	h.gone()
	c = begin(t, d, info) // as docker logs does
	must(t, c.Stop(t.Context()))
	h.gone()
	readLogs(t, d, "web", all).rest()
	h.gone()
	h.stop()
	if n := killed.len(); n < 10 {
		t.Fatalf("%d moments", n)
	}
	for i := range killed.before {
		after := newHost(t)
		after.dir = killed.at(i)
		after.start()
		d := after.docker()
		if got := readLogs(t, d, "web", all).rest(); len(got) != n {
			t.Errorf("moment %d: %d entries, want %d", i, len(got), n)
		}
		after.gone()
		if got := stoppedDirs(t, filepath.Join(after.dir, "state")); fmt.Sprint(got) != "[web]" {
			t.Errorf("moment %d: archived are %q", i, got)
		}
		after.stop()
	}
}
