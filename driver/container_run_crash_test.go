package driver

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/container"
)

// TestKilledBetweenRuns: a container is renamed and started again while its lines are undelivered, three times. Wherever the
// plugin is killed, each line goes to the name of the run that wrote it, once.
func TestKilledBetweenRuns(t *testing.T) {
	h := newHost(t, "LOGSPOUT_STREAM={{.Name}}")
	killed := h.copyBefore(h.onHookedDisk(), "Rename", "Remove", "WriteAt")
	h.shipper.setDown(true)
	h.start()
	var spooled []int // lines that were spooled before the call
	for run := range 3 {
		f := h.fifo(fmt.Sprint("f", run))
		if err := h.startLogging(f.path, &container.Info{ID: "web", Name: fmt.Sprint("/run", run)}); err != nil {
			t.Fatal(err)
		}
		f.n = int64(run) * 1000
		for l := range 3 {
			f.write("stdout", fmt.Sprintf("run%d %d", run, l))
			f.empty()
		}
		h.end(f)
		for n := killed.len(); len(spooled) < n; {
			spooled = append(spooled, 3*run)
		}
	}
	h.stop()
	for i, op := range killed.before {
		k := newHost(t, "LOGSPOUT_STREAM={{.Name}}")
		k.dir = killed.at(i)
		k.start()
		k.ended()
		if left, err := filepath.Glob(filepath.Join(k.dir, "state", "containers", "*", "*")); err != nil || len(k.containers()) > 0 {
			t.Errorf("killed before call %d, %s: left %q", i, op, left)
		}
		k.stop()
		n := 0
		for stream, got := range k.shipper.delivered {
			for j, line := range got {
				name, _, _ := strings.Cut(line, " ")
				if stream != "g/"+name {
					t.Errorf("killed before call %d, %s: %q went to %s", i, op, line, stream)
				}
				if line != fmt.Sprintf("%s %d", name, j) {
					t.Errorf("killed before call %d, %s: %s is %q", i, op, stream, got)
				}
				n++
			}
		}
		if i < len(spooled) && n < spooled[i] {
			t.Errorf("killed before call %d, %s: %d lines of %d", i, op, n, spooled[i])
		}
	}
}
