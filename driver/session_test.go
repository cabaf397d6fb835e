package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/driver/archive"
)

// TestSession: a container's lines are delivered in order, and nothing of it is left when it has stopped.
func TestSession(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("fifo")
	h.run("web", f, nil)
	f.write("stdout", lines(1, 1000)...)
	h.end(f)
	if got := h.shipper.wait(t, "g/web", 1000); !slices.Equal(got, lines(1, 1000)) {
		t.Errorf("got %.300q", got)
	}
	h.gone()
}

// TestRestartBeforeDelivery: a container is started again, under a new FIFO, while what it wrote before waits for the
// service; also when the plugin is started again in between.
func TestRestartBeforeDelivery(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("another plugin=%v", again), func(t *testing.T) {
			h := newHost(t)
			h.shipper.setDown(true)
			h.start()
			for i := range 5 {
				f := h.fifo("fifo" + string(rune('a'+i)))
				f.n = int64(i * 100)
				h.run("web", f, nil)
				f.write("stdout", lines(i*100+1, i*100+50)...)
				if i == 2 && again {
					f.empty()
					h.stop()
					f.write("stdout", lines(i*100+51, i*100+60)...)
					h.start()
				} else {
					f.write("stdout", lines(i*100+51, i*100+60)...)
				}
				f.write("stdout", lines(i*100+61, i*100+100)...)
				h.end(f)
			}
			h.shipper.setDown(false)
			if got := h.shipper.wait(t, "g/web", 500); !slices.Equal(got, lines(1, 500)) {
				t.Errorf("got %d: %.300q", len(got), got)
			}
			h.gone()
		})
	}
}

// TestStartedAgainWhileFinishing: the container is started again while the last lines of its first run are being
// delivered, many times over.
func TestStartedAgainWhileFinishing(t *testing.T) {
	h := newHost(t)
	h.start()
	total := 0
	for i := range 100 {
		f := h.fifo(fmt.Sprint("fifo", i))
		f.n = int64(i * 100)
		h.run("web", f, nil)
		f.write("stdout", lines(total+1, total+10)...)
		total += 10
		h.end(f)
	}
	if got := h.shipper.wait(t, "g/web", total); !slices.Equal(got, lines(1, total)) {
		t.Errorf("got %d: %.300q", len(got), got)
	}
	h.gone()
}

// TestSplit: the two outputs go to two streams, gaps and all, and the session ends.
func TestSplit(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("fifo")
	h.run("web", f, map[string]string{"stream": "{{.Source}}"})
	for i := range 300 {
		source := "stdout"
		if i%3 == 0 {
			source = "stderr"
		}
		f.write(source, source)
	}
	f.raw([]byte(strings.Repeat("garbage ", 100)))
	f.write("stderr", "after")
	h.end(f)
	h.shipper.wait(t, "g/stdout", 201)
	if got := h.shipper.wait(t, "g/stderr", 101); got[100] != "after" {
		t.Errorf("stderr ends with %q", got[100])
	}
	h.gone()
}

// TestRefusedLinesAreTold: where nothing of a container could be kept, because others have the room, the marker is
// delivered before the session ends.
func TestRefusedLinesAreTold(t *testing.T) {
	h := newHost(t, "SPOOL_TOTAL_SIZE=1m")
	h.shipper.setDown(true)
	h.start()
	hog := h.fifo("hog")
	h.run("hog", hog, map[string]string{"spool-full": "drop-newest"})
	for range 40 {
		hog.write("stdout", strings.Repeat("x", 30_000))
	}
	for range 400 { // to the brim, however large the blocks before were
		hog.write("stdout", strings.Repeat("x", 3000))
		hog.empty()
	}
	f := h.fifo("fifo")
	h.run("web", f, map[string]string{"spool-full": "drop-newest"})
	f.write("stdout", lines(1, 2000)...)
	h.end(f)
	h.shipper.setDown(false)
	h.end(hog)
	h.gone()
	arrived, told := 0, 0
	for _, line := range h.shipper.wait(t, "g/web", 1) {
		n := 0
		if _, err := fmt.Sscanf(line, "[logspool] missing here: %d lines", &n); err == nil {
			told += n
		} else {
			arrived++
		}
	}
	if arrived+told != 2000 || told == 0 {
		t.Errorf("%d arrived + %d told of as lost, 2000 were written", arrived, told)
	}
}

// TestDamagedState: whatever has become of what is on disk of a container, its FIFO is read after a restart, and it
// can be stopped.
func TestDamagedState(t *testing.T) {
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
			h.shipper.setDown(true)
			h.start()
			f := h.fifo("fifo")
			h.run("web", f, nil)
			f.write("stdout", lines(1, 10)...)
			f.empty()
			h.stop()
			tc.damage(t, filepath.Join(h.dir, "state", "containers", "web"))
			h.start()
			f.write("stdout", slices.Repeat(lines(11, 20), 2000)...) // more than a pipe holds
			f.empty()
			h.end(f)
			h.shipper.setDown(false)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLostRecord: what is spooled is delivered although nobody knows any more which container it was, and what a crash
// left of a session that had ended, or had hardly begun, is removed.
func TestLostRecord(t *testing.T) {
	for _, damage := range []string{"", "{", "null"} {
		t.Run(damage, func(t *testing.T) {
			h := newHost(t)
			h.shipper.setDown(true)
			h.start()
			f := h.fifo("fifo")
			h.run("web", f, nil)
			f.write("stdout", lines(1, 10)...)
			h.end(f)
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

// TestOddOrder: StartLogging and StopLogging twice, StopLogging of the unknown, and of a container that has written
// nothing.
func TestOddOrder(t *testing.T) {
	h := newHost(t)
	h.start()
	f := h.fifo("fifo")
	h.run("web", f, nil)
	h.run("web", f, nil)
	f.write("stdout", "one")
	for range 3 {
		h.stopLogging(t.Context(), f.path)
	}
	f.write("stdout", "two") // as a writer that is late
	h.end(f)
	h.end(f)
	if got := h.shipper.wait(t, "g/web", 2); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("got %q", got)
	}
	h.stopLogging(t.Context(), "/unknown")
	dead := h.fifo("dead") // its dockerd dies
	h.run("dead", dead, nil)
	dead.write("stdout", "last words")
	dead.close()
	h.shipper.wait(t, "g/dead", 1)
	quiet := h.fifo("quiet")
	h.run("quiet", quiet, nil)
	h.end(quiet)
	h.gone()
	if len(h.shipper.delivered) != 2 {
		t.Errorf("delivered %v", h.shipper.delivered)
	}
	if _, err := os.Lstat(dead.path); !notExist(err) {
		t.Errorf("a FIFO that nobody will use again: %v", err)
	}
}

// TestStopWhileStopping: the plugin is stopped while a StopLogging waits: what is in the FIFO is taken, because
// dockerd removes it as soon as it has an answer.
func TestStopWhileStopping(t *testing.T) {
	for i := range 20 {
		h := newHost(t)
		h.shipper.setDown(i%2 == 0)
		h.start()
		f := h.fifo("fifo")
		h.run("web", f, nil)
		f.write("stdout", lines(1, 1000)...)
		answered := make(chan struct{})
		go func() { defer close(answered); h.stopLogging(t.Context(), f.path) }()
		h.StopIntake()
		<-answered
		if f.left() > 0 {
			t.Errorf("StopLogging succeeded with %d bytes in the FIFO", f.left())
		}
		h.stop()
	}
}
