package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTornBlockOfSecondFIFO: a kill cut short the write of a block of one of a container's FIFOs, of which others have
// more. The block is still in its FIFO, so no loss is reported, whichever FIFO is first in the record.
func TestTornBlockOfSecondFIFO(t *testing.T) {
	h := newHost(t)
	h.shipper.setDown(true)
	h.start()
	var before []*fakeFIFO
	for i := range 50 { // so many that the first is read while the last is opened
		f := h.fifo(fmt.Sprint("f", i))
		h.run("web", f, nil)
		before = append(before, f)
	}
	a, b := before[0], h.fifo("b")
	h.run("web", b, nil)
	a.write("stdout", "line 1")
	a.empty()
	last := fakeFrame("stdout", 2e18, "line 2", nil)
	b.raw(last)
	b.empty()
	h.stop()
	segments, err := filepath.Glob(filepath.Join(h.dir, "state", "containers", "web", "spool", "*.seg"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("%v, %v", segments, err)
	}
	info, err := os.Stat(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(segments[0], info.Size()-3); err != nil {
		t.Fatal(err)
	}
	b.raw(last) // it was not dropped
	a.write("stdout", "line 3")
	h.shipper.setDown(false)
	h.start()
	for _, f := range append(before, b) {
		h.end(f)
	}
	h.gone()
	got := slices.Sorted(slices.Values(h.shipper.delivered["g/web"]))
	if !slices.Equal(got, lines(1, 3)) || strings.Contains(h.logged(), "lines are lost") {
		t.Errorf("got %q", got)
	}
}
