package driver

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
)

// TestRandomStartsAndStops: containers start and stop at random on a slow disk, are renamed,
// and the plugin is restarted in between. Every line is delivered once, the budget counts
// what is on the disk, and no file, session, slot or descriptor remains.
func TestRandomStartsAndStops(t *testing.T) {
	h := newHost(t, "LOGSPOUT_STREAM={{.Name}}", "SPOOL_SYNC=1h")
	h.onHookedDisk().Before(slowly)
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	h.start()
	h.stop()
	before := open()
	var mu sync.Mutex
	want := map[string][]string{}
	for round := range 4 {
		h.shipper.setDown(round%2 == 1)
		h.start()
		var fifos [300]*fakeFIFO
		for i := range fifos {
			fifos[i] = h.fifo(fmt.Sprintf("f%d-%d", round, i))
		}
		inParallel(len(fifos), 32, func(i int) {
			id := fmt.Sprint("c", i%60)
			name := fmt.Sprint("n", i%60, "-", rand.IntN(2))
			f := fifos[i]
			if err := h.startLogging(f.path, &container.Info{ID: id, Name: "/" + name}); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			for l := range rand.IntN(4) {
				line := fmt.Sprintf("%s r%d i%d l%d", id, round, i, l)
				want[id] = append(want[id], line)
				f.n = int64(round*1000000 + i*1000 + l)
				f.write("stdout", line)
			}
			mu.Unlock()
			h.stopContainer(f)
		})
		if round%2 == 0 {
			h.gone()
			h.mu.Lock()
			if n := len(h.fifos.attached) + len(h.sessions) + len(h.slots); n > 0 {
				t.Errorf("%d files, %d sessions, %d slots are left", len(h.fifos.attached), len(h.sessions), len(h.slots))
			}
			h.mu.Unlock()
			sum := int64(0)
			entries, _ := os.ReadDir(h.archive.Dir)
			for _, e := range entries {
				sum += archiveUsage(h, e.Name())
			}
			if used := h.budget.Used(); used != sum {
				t.Errorf("%d bytes are counted, %d are there", used, sum)
			}
		}
		h.stop()
		if after := open(); after > before {
			t.Errorf("round %d: %d descriptors, %d before", round, after, before)
		}
	}
	h.shipper.setDown(false)
	h.start()
	h.gone()
	got := map[string][]string{}
	for _, all := range h.shipper.delivered {
		for _, l := range all {
			id, _, _ := strings.Cut(l, " ")
			got[id] = append(got[id], l)
		}
	}
	for id := range want {
		slices.Sort(want[id])
		slices.Sort(got[id])
		if !slices.Equal(want[id], got[id]) {
			t.Errorf("%s: want %q, got %q", id, want[id], got[id])
		}
	}
}

func archiveUsage(h *host, id string) int64 {
	return archive.Usage(durable.OS, filepath.Join(h.archive.Dir, id))
}
