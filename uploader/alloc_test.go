//go:build !race

package uploader

import (
	"runtime"
	"testing"

	"github.com/logspool/logspool/internal/target"
)

// TestLineCostsNoAllocations checks that a line costs no allocation on its way from the spool to
// the body of a request. A batch costs a few. With the race detector, a sync.Pool drops some of
// its contents, so the test does not run then.
func TestLineCostsNoAllocations(t *testing.T) {
	for _, k := range pathKinds {
		for _, plain := range []bool{true, false} {
			s := pathSender(t, pathSpool(t, 20_000, k.line), plain)
			lines := 0
			build := func() {
				b := finishedBatch(s)
				if len(b.records) == 0 {
					s.deliveries[0].rewind()
				}
				lines += len(b.records)
				s.u.pool.free(b)
			}
			for range 10 {
				build() // The buffers grow.
			}
			lines = 0
			const batches = 20
			n := testing.AllocsPerRun(batches, build)
			if perLine := n * (batches + 1) / float64(lines); perLine > 0.01 {
				t.Errorf("%s, plain %v: %v allocations for a batch, %.3f for a line", k.name, plain, n, perLine)
			}
		}
	}
}

// TestSmallRequestNeedsLittleMemory: a small request allocates what the SDK allocates for it, and
// no buffer to copy the body through.
func TestSmallRequestNeedsLittleMemory(t *testing.T) {
	s := newSDK(staticConfig, "1")
	defer s.close()
	c, err := s.connect(t.Context(), target.Access{Region: "r", Endpoint: newSink(t)})
	if err != nil {
		t.Fatal(err)
	}
	send := func(n int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			if _, err := c.PutLogEvents(t.Context(), putRequest{group: "g", stream: "s", body: []byte(`{"logEvents":[]}`)}); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / uint64(n)
	}
	send(1) // makes the connection
	if n := send(100); n > 40<<10 {
		t.Errorf("%d bytes for each request", n)
	}
}
