package fifo

import (
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/costtest"
	"github.com/logspool/logspool/spool"
)

// discardSink counts the bytes that the intake takes.
type discardSink struct {
	bytes int
	until int
	done  chan struct{} // done is closed when bytes has reached until.
}

func (s *discardSink) Take(block []byte, _ spool.BlockInfo) {
	if s.bytes += len(block) - spool.BlockHeaderSize; s.bytes == s.until {
		close(s.done)
	}
}
func (s *discardSink) Dropped()            {}
func (s *discardSink) End()                {}
func (s *discardSink) Fault(error)         {}
func (s *discardSink) Panicked(error, int) {}

// BenchmarkIntake takes lines of 100 bytes from a FIFO. cpu-ns is the processor time of a line,
// with that of the writer, which writes many lines at once.
func BenchmarkIntake(b *testing.B) {
	const lines = 256
	block := slices.Repeat(frame(1e18, strings.Repeat("x", 100)), lines)
	in := startIntake(b)
	path, w := makeFIFO(b, b.TempDir())
	defer w.Close()
	blocks := (b.N + lines - 1) / lines
	sink := &discardSink{until: blocks * len(block), done: make(chan struct{})}
	if _, err := in.Open(path, sink, nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := costtest.ProcessTime()
	for range blocks {
		if _, err := w.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	<-sink.done
	b.ReportMetric(float64(costtest.ProcessTime()-before)/float64(b.N), "cpu-ns/op")
}
