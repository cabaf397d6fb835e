//go:build !race

package events

import (
	"testing"
	"time"
)

// TestPipelineAllocations holds that no option costs an allocation a line. With the race detector a
// sync.Pool forgets what it is given, now and then.
func TestPipelineAllocations(t *testing.T) {
	for name, k := range pipelines {
		t.Run(name, func(t *testing.T) {
			p := NewPipeline(k.o)
			frames := k.frames()
			var pos uint64
			push := func() {
				for _, f := range frames {
					p.Push(f, pos, pos+1, time.Time{})
					pos++
					for _, ok := p.Next(); ok; _, ok = p.Next() {
					}
				}
			}
			push()
			if n := testing.AllocsPerRun(1000, push); n != 0 {
				t.Errorf("%v allocations for %d lines", n, len(frames))
			}
		})
	}
}
