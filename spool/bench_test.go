package spool

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/stream"
)

// BenchmarkFollowed appends at the greatest rate of dockerd, 38 KB each millisecond in lines of
// 100 bytes, while some Histories follow. append-ns is the duration of Append, for which the
// intake waits. behind is how many frames a follower has not read at the end.
func BenchmarkFollowed(b *testing.B) {
	for _, followers := range []int{0, 1, 20} {
		b.Run(fmt.Sprint(followers), func(b *testing.B) {
			s := mustOpen(b, Options{Dir: b.TempDir(), MaxSize: 256 << 20, History: 20 << 20})
			defer s.Close()
			var wg sync.WaitGroup
			var mu sync.Mutex
			given := 0
			for range followers {
				h, err := s.NewHistory(b.Context(), HistoryOptions{})
				if err != nil {
					b.Fatal(err)
				}
				wg.Go(func() {
					defer h.Close()
					n := 0
					defer func() { mu.Lock(); given += n; mu.Unlock() }()
					for {
						_, ok, err := h.Next()
						switch {
						case err != nil:
							b.Error(err)
							return
						case ok:
							n++
						case h.Wait(b.Context()) != nil:
							return
						}
					}
				})
			}
			p := numbered(1, 320, 100)
			block := append(make([]byte, BlockHeaderSize), p...)
			var tr Tracker
			info := tr.All(p)
			var spent time.Duration
			b.SetBytes(int64(len(p)))
			next := time.Now()
			for range b.N {
				next = next.Add(time.Millisecond)
				time.Sleep(time.Until(next))
				begun := time.Now()
				if err := s.Append(block, 0, info); err != nil {
					b.Fatal(err)
				}
				spent += time.Since(begun)
				if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "append-ns")
			s.Close()
			wg.Wait()
			if followers > 0 {
				b.ReportMetric(float64(b.N*320)-float64(given)/float64(followers), "behind")
			}
		})
	}
}

// BenchmarkHistory reads a history of lines of 100 bytes from its beginning to its end.
func BenchmarkHistory(b *testing.B) {
	s := mustOpen(b, Options{Dir: b.TempDir(), History: 1 << 30})
	defer s.Close()
	a := &appender{s: s}
	p := numbered(1, 320, 100)
	for range 2000 {
		a.append(b, p)
	}
	b.SetBytes(s.Size())
	b.ReportAllocs()
	for b.Loop() {
		h, err := s.NewHistory(b.Context(), HistoryOptions{Tail: -1})
		if err != nil {
			b.Fatal(err)
		}
		if got := len(h.all(b)); got != 2000*320 {
			b.Fatal(got)
		}
		h.Close()
	}
}

// BenchmarkAppend appends blocks of some lines of 100 bytes, and acknowledges all of them
// every sixteenth time.
func BenchmarkAppend(b *testing.B) {
	for _, lines := range []int{1, 320} {
		b.Run(fmt.Sprint(lines), func(b *testing.B) {
			s := mustOpen(b, Options{Dir: b.TempDir(), MaxSize: 256 << 20, History: 1 << 20})
			defer s.Close()
			p := numbered(1, lines, 100)
			block := append(make([]byte, BlockHeaderSize), p...)
			var tr Tracker
			info := tr.All(p)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := s.Append(block, 0, info); err != nil {
					b.Fatal(err)
				}
				if i%16 == 15 {
					if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkOpen opens a spool of 4 MB of undelivered lines, as the plugin does for each container
// when it starts. read-B is how many bytes it reads.
func BenchmarkOpen(b *testing.B) {
	for _, frames := range []int{1, 400} {
		b.Run(fmt.Sprintf("frames=%d", frames), func(b *testing.B) {
			disk := &countingFS{FS: durable.OS}
			o := Options{Dir: b.TempDir(), FS: disk, MaxSize: 256 << 20, History: 20 << 20}
			s := mustOpen(b, o)
			a := &appender{s: s}
			for block := numbered(1, frames, 100); s.Size() < 4<<20; {
				a.append(b, block)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			disk.bytes.Store(0)
			b.ReportAllocs()
			for b.Loop() {
				s = mustOpen(b, o)
				s.CountBacklog(b.Context())
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(disk.bytes.Load())/float64(b.N), "read-B/op")
		})
	}
}
