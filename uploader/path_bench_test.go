package uploader

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/internal/costtest"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/spool"
)

// pathKinds are what a container logs in BenchmarkPath: lines of about 100 bytes without and
// with quotes, and lines of about 1,000 bytes.
var pathKinds = []struct {
	name string
	line func(r *rand.Rand, i int) string
}{
	{"text", func(r *rand.Rand, i int) string {
		return fmt.Sprintf("10.0.%d.%d - - [22/Nov/2026:10:11:%02d +0000] GET /api/v1/items/%d?page=%d HTTP/1.1 200 %d",
			r.IntN(256), r.IntN(256), i/10_000%60, r.IntN(100_000), r.IntN(50), r.IntN(20_000))
	}},
	{"quotes", func(r *rand.Rand, i int) string {
		return fmt.Sprintf(`{"level":"info","ts":"2026-11-22T10:11:%02d.%06dZ","msg":"served","path":"/items/%d","ms":%d}`,
			i/10_000%60, r.IntN(1_000_000), r.IntN(100_000), r.IntN(3000))
	}},
	{"long", func(r *rand.Rand, i int) string {
		words := make([]string, 0, 160)
		for n := 0; n < 1000; n += len(words[len(words)-1]) + 1 {
			words = append(words, []string{"request", "served", "from", "cache", "worker", "timeout", fmt.Sprint(r.IntN(1e6))}[r.IntN(7)])
		}
		return strings.Join(words, " ")
	}},
}

// BenchmarkPath is the way of a line from the spool to the finished body of a request: one
// container, one stream, nothing in flight. An iteration is one line.
func BenchmarkPath(b *testing.B) {
	for _, k := range pathKinds {
		for _, mode := range []string{"plain", "gzip"} {
			b.Run(k.name+"/"+mode, func(b *testing.B) {
				sp := pathSpool(b, 60_000, k.line)
				s := pathSender(b, sp, mode == "plain")
				lines, in, out := 0, 0, 0
				b.ReportAllocs()
				b.ResetTimer()
				begun := costtest.ProcessTime()
				for lines < b.N {
					ba := finishedBatch(s)
					if len(ba.records) == 0 {
						s.deliveries[0].rewind()
					}
					lines += len(ba.records)
					in, out = in+ba.plainSize, out+len(ba.out)
					s.u.pool.free(ba)
				}
				b.ReportMetric(float64(costtest.ProcessTime()-begun)/float64(lines), "cpu-ns/line")
				b.ReportMetric(float64(in)/float64(out), "ratio")
			})
		}
	}
}

// finishedBatch builds a batch of a backlog up to the body of its request.
func finishedBatch(s *sender) *batch {
	b := s.build(time.Now(), true)
	s.u.pool.finish(b)
	return b
}

// pathSpool returns a spool with lines that a busy container wrote.
func pathSpool(tb testing.TB, lines int, line func(*rand.Rand, int) string) *spool.Spool {
	sp, _, err := spool.Open(spool.Options{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { sp.Close() })
	var tracker spool.Tracker
	var block bytes.Buffer
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).UnixNano()
	for i := range lines {
		block.Write(dockertest.Frame("stdout", at+int64(i)*4000, line(r, i), nil))
		if block.Len() < 40_000 && i < lines-1 {
			continue
		}
		info := tracker.All(block.Bytes())
		tracker.Advance(info)
		if err := sp.Append(append(make([]byte, spool.BlockHeaderSize), block.Bytes()...), 1, info); err != nil {
			tb.Fatal(err)
		}
		block.Reset()
	}
	return sp
}

// pathSender returns a sender that nobody runs, with a delivery of the spool.
func pathSender(tb testing.TB, sp *spool.Spool, plain bool) *sender {
	u := New(Options{Log: discard, Plain: plain, Config: staticConfig})
	s := newSender(u, newService(u, target.Access{}, newEndpoint()), target.Target{}, testTarget)
	f := feed.New(sp, feed.Options{Outputs: feed.BothOutputs})
	tb.Cleanup(f.Close)
	s.deliveries = []*Delivery{newDelivery(s, testTarget, f, 0)}
	return s
}
