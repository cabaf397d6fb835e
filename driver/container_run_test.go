package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/durable"
)

// TestLinesKeepNamesOfTheirRun: undelivered lines of a container that is renamed and started
// again go to the names of the run that wrote them, also after a restart of the plugin, and
// also if CloudWatch was down for a part of the time.
func TestLinesKeepNamesOfTheirRun(t *testing.T) {
	for _, down := range []string{"always", "from the second run on", "never"} {
		for _, restarts := range []bool{false, true} {
			t.Run(fmt.Sprintf("down %s, plugin restarts=%v", down, restarts), func(t *testing.T) {
				h := newHost(t)
				h.shipper.setDown(down == "always")
				h.start()
				const runs, n = 4, 50
				for i := range runs {
					f := h.fifo(fmt.Sprint("f", i))
					f.n = int64(1000 * i)
					h.startContainerAs("web", fmt.Sprint("name", i), f, map[string]string{"delay": fmt.Sprint(i+1, "s")})
					f.write("stdout", lines(1, n)...)
					if i == 1 && down != "never" {
						h.shipper.setDown(true)
					}
					if i == 2 && restarts {
						f.waitUntilEmpty()
						h.stop()
						h.start()
					}
					f.raw(dockertest.Frame("stdout", 1e18+f.n+1, "unfinished", []byte{0x20, 0x01, 0x2a, 0x05, 0x12, 0x01, 'x', 0x18, 0x01}))
					h.stopContainer(f)
				}
				h.shipper.setDown(false)
				for i := range runs {
					got := h.shipper.wait(t, fmt.Sprint("g/name", i), n+1)
					if want := append(lines(1, n), "unfinished"); !slices.Equal(got, want) {
						t.Errorf("run %d: %q", i, got)
					}
				}
				h.gone()
				r, err := archive.ReadRecord(durable.OS, filepath.Join(h.dir, "state", "stopped", "web"))
				must(t, err)
				if len(r.Earlier) > 0 || r.Info.Name != fmt.Sprint("/name", runs-1) {
					t.Errorf("the record has %d earlier runs, and the name %s", len(r.Earlier), r.Info.Name)
				}
				if got := h.shipper.delivered; len(got) != runs {
					t.Errorf("%d streams", len(got))
				}
			})
		}
	}
}

// TestRecordDropsDeliveredRuns: the record has a run only while lines of it are undelivered.
func TestRecordDropsDeliveredRuns(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	dir := filepath.Join(h.dir, "state", "containers", "web")
	var f *fakeFIFO
	for i := range 3 {
		f = h.fifo(fmt.Sprint("f", i))
		f.n = int64(1000 * i)
		h.startContainerAs("web", fmt.Sprint("name", i), f, nil)
		f.write("stdout", "a line")
		f.waitUntilEmpty()
		r, err := archive.ReadRecord(durable.OS, dir)
		must(t, err)
		if len(r.Earlier) != i || r.Info.Name != fmt.Sprint("/name", i) {
			t.Errorf("run %d: %d earlier runs, name %s", i, len(r.Earlier), r.Info.Name)
		}
		if i < 2 {
			h.stopContainer(f)
		}
	}
	h.shipper.setDown(false)
	h.shipper.wait(t, "g/name2", 1)
	r, err := archive.ReadRecord(durable.OS, dir)
	must(t, err)
	if len(r.Earlier) > 0 {
		t.Errorf("%d earlier runs are left", len(r.Earlier))
	}
	h.stopContainer(f)
	h.gone()
}

// TestRecordBoundsRuns: however often a container is renamed while nothing is delivered, its
// record stays bounded, and every line is delivered once.
func TestRecordBoundsRuns(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	const n = 3 * maxRuns
	for i := range n {
		f := h.fifo(fmt.Sprint("f", i))
		f.n = int64(i)
		h.startContainerAs("web", fmt.Sprint("name", i), f, nil)
		f.write("stdout", fmt.Sprint("line ", i))
		h.stopContainer(f)
	}
	r, err := archive.ReadRecord(durable.OS, filepath.Join(h.dir, "state", "containers", "web"))
	must(t, err)
	if len(r.Earlier) > maxRuns {
		t.Errorf("%d earlier runs", len(r.Earlier))
	}
	h.shipper.setDown(false)
	h.gone()
	got := map[string]bool{}
	count := 0
	for _, messages := range h.shipper.delivered {
		for _, m := range messages {
			got[m] = true
			count++
		}
	}
	if len(got) != n || count != n || len(h.shipper.delivered["g/name0"]) != 1 || len(h.shipper.delivered[fmt.Sprint("g/name", n-1)]) != 1 {
		t.Errorf("%d lines, %d different ones", count, len(got))
	}
}

// TestRunsOfLostSpoolAreDropped: earlier runs of a spool that is gone do not name the lines
// of the next spool.
func TestRunsOfLostSpoolAreDropped(t *testing.T) {
	h := newHost(t)
	dir := filepath.Join(h.dir, "state", "containers", "web")
	must(t, os.MkdirAll(dir, durable.DirPerm))
	r := archive.Record{
		Info:    container.Info{ID: "web", Name: "/new"},
		Earlier: []archive.Run{{To: 10_000, Info: container.Info{ID: "web", Name: "/old"}}},
	}
	must(t, r.Write(durable.OS, dir, false))
	h.shipper.setDown(true)
	h.start()
	f := h.fifo("f")
	h.startContainerAs("web", "new", f, nil)
	f.write("stdout", lines(1, 10)...)
	h.stopContainer(f)
	h.shipper.setDown(false)
	if got := h.shipper.wait(t, "g/new", 10); !slices.Equal(got, lines(1, 10)) {
		t.Errorf("delivered: %q", got)
	}
	h.gone()
}

// TestKillBetweenRunsKeepsNames: a container is renamed and started again three times while
// its lines are undelivered. Wherever the plugin is killed, each line goes once to the name
// of the run that wrote it.
func TestKillBetweenRunsKeepsNames(t *testing.T) {
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
			f.waitUntilEmpty()
		}
		h.stopContainer(f)
		for n := killed.len(); len(spooled) < n; {
			spooled = append(spooled, 3*run)
		}
	}
	h.stop()
	for i, op := range killed.before {
		k := newHost(t, "LOGSPOUT_STREAM={{.Name}}")
		k.dir = killed.at(i)
		k.start()
		k.waitForNoSession()
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
