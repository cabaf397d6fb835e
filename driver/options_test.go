package driver

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/logspool/logspool/internal/config"
)

// TestOptionsAreParsedOnce: the plugin parses a container's log options once for each start, and once
// when it opens the container's session without a start.
func TestOptionsAreParsedOnce(t *testing.T) {
	var parsed atomic.Int64
	parse := parseOptions
	parseOptions = func(s *config.Settings, opts map[string]string, env []string) (*config.Container, error) {
		parsed.Add(1)
		return parse(s, opts, env)
	}
	t.Cleanup(func() { parseOptions = parse })
	want := func(what string, n int64) {
		t.Helper()
		if got := parsed.Swap(0); got != n {
			t.Errorf("%s: parsed %d times, want %d", what, got, n)
		}
	}
	h := newHost(t)
	h.start()
	var f *fakeFIFO
	for i, what := range []string{"the first start", "a start of an archived container"} {
		f = h.fifo(fmt.Sprint("f", i))
		f.n = int64(i)
		h.run("web", f, map[string]string{"delay": "1s"})
		f.write("stdout", "a line")
		h.shipper.wait(t, "g/web", i+1)
		want(what, 1)
		if i == 0 {
			h.end(f)
			h.gone()
		}
	}
	h.stop()
	h.start()
	want("a restart of the plugin", 1)
	h.end(f)
	h.gone()
	want("the stop", 0)
}
