package feed

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/events"
)

// BenchmarkFeed reads lines of 100 bytes from a spool as events.
func BenchmarkFeed(b *testing.B) {
	const lines = 64 << 10
	r := newFeedRig(b)
	var block bytes.Buffer
	for i := range lines {
		block.Write(r.line("stdout", strings.Repeat("x", 100)))
		if i%256 == 255 {
			r.append(block.Bytes())
			block.Reset()
		}
	}
	now := time.Now()
	b.SetBytes(100)
	b.ReportAllocs()
	var f *Feed
	for i := range b.N {
		if i%lines == 0 {
			if f != nil {
				f.Release()
			}
			f = New(r.spool, Options{Outputs: BothOutputs, Events: events.Options{}})
		}
		if _, ok := f.Next(now); !ok {
			b.Fatalf("there is no line %d", i)
		}
	}
	f.Release()
}
