package fifo

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/costtest"

	"github.com/logspool/logspool/internal/stream"
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

// BenchmarkQuiet takes one line of 100 bytes from each of 1,000 quiet FIFOs into its spool, again
// and again. cpu-ns is the processor time of a line without that of the writer, and
// calls its system calls, without the one that appends it.
func BenchmarkQuiet(b *testing.B) {
	const fifos = 1000
	in := steppedIntake(b)
	line := frame(1e18, strings.Repeat("x", 100))
	var writers []*os.File
	var spools []*spool.Spool
	for range fifos {
		s, _, err := spool.Open(spool.Options{Dir: b.TempDir(), MaxSize: 1 << 20})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		_, w := openIdle(b, in, spoolSink{s})
		w.Write(line)
		gatherNow(b, in) // This makes the spool's files.
		writers, spools = append(writers, w), append(spools, s)
	}
	c := countCalls(b)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	b.ResetTimer()
	var spent time.Duration
	for lines := 0; lines < b.N; {
		written := writers[:min(fifos, b.N-lines)]
		for _, w := range written {
			w.Write(line)
		}
		before := costtest.ThreadTime()
		for taken := 0; taken < len(written); {
			taken += gatherNow(b, in)
		}
		lines += len(written)
		spent += costtest.ThreadTime() - before
		for _, s := range spools {
			if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(spent)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(c.tees+c.reads+c.splices+c.waits+c.ctls)/float64(b.N), "calls/op")
}
