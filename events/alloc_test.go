//go:build !race

package events

import (
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/stream"
)

// TestNoOptionCostsAllocations checks that a line costs no allocation with any option.
// With the race detector, a sync.Pool drops some of its contents, so the test does not
// run then.
func TestNoOptionCostsAllocations(t *testing.T) {
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

// TestOrdinaryLineIsNotCopied checks that a complete line costs neither a copy nor an
// allocation without options, and with options that do not change it.
func TestOrdinaryLineIsNotCopied(t *testing.T) {
	for name, o := range map[string]Options{
		"nothing": {},
		"filters": {Include: regexp.MustCompile("line"), Exclude: regexp.MustCompile("none")},
		"strip":   {StripANSI: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPipeline(o)
			f := whole(Stdout, 1, "an ordinary line")
			var pos uint64
			push := func() {
				p.Push(f, pos, pos+1, time.Time{})
				pos++
				e, ok := p.Next()
				if !ok || &e.Message[0] != &f.Line[0] || !slices.Equal(e.Ranges, []stream.Range{{From: pos - 1, To: pos}}) {
					t.Fatalf("got %v, %v", e, ok)
				}
				if _, ok := p.Next(); ok {
					t.Fatal("two events of one line")
				}
			}
			push()
			if n := testing.AllocsPerRun(100, push); n != 0 {
				t.Errorf("%v allocations per line", n)
			}
		})
	}
}
