package spool

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestSkippedFramesAreLikeThoseOfNext reads a stream whose blocks begin and end anywhere, partly
// with Next and partly with Ahead, and releases and rewinds the reader at times. Every frame
// comes once, at its position.
func TestSkippedFramesAreLikeThoseOfNext(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := mustOpen(t, Options{Dir: "/spool", FS: durabletest.NewDisk(), MaxSize: 64 << 20})
	defer s.Close()
	a := &appender{s: s}
	var all []byte
	var want []stream.Range
	for range 2000 {
		from := uint64(len(all))
		all = append(all, testFrame("stdout", 1, []byte(strings.Repeat("x", r.IntN(100))))...)
		want = append(want, stream.Range{From: from, To: uint64(len(all))})
	}
	for rest := all; len(rest) > 0; {
		n := 1 + r.IntN(min(len(rest), 2000))
		a.append(t, rest[:n])
		rest = rest[n:]
	}
	reader := s.NewReader()
	defer reader.Close()
	var got []stream.Range
	skipped := 0
	for {
		switch r.IntN(20) {
		case 0:
			reader.Release()
		case 1:
			if n := len(got); n > 0 && r.IntN(50) == 0 {
				if err := s.Ack(slices.Clone(got)); err != nil {
					t.Fatal(err)
				}
				reader.Rewind()
			}
		}
		item, ok := reader.Next()
		if !ok {
			break
		}
		to, p := item.From, reader.Ahead()
		for len(p) >= frameHeaderSize && r.IntN(5) > 0 {
			n, ok := frameLength(p)
			if n += frameHeaderSize; !ok || n > len(p) {
				break
			}
			got = append(got, stream.Range{From: to, To: to + uint64(n)})
			to, p = to+uint64(n), p[n:]
			skipped++
		}
		switch {
		case to > item.From:
			reader.Seek(to)
		case reader.Ahead() != nil && r.IntN(2) == 0:
			reader.Seek(item.From) // Next returns the frame again.
		default:
			got = append(got, item.Range)
		}
	}
	if !slices.Equal(got, want) || skipped < len(want)/10 {
		t.Errorf("read %d frames, of which %d were skipped, want %d", len(got), skipped, len(want))
	}
}

// TestAheadReturnsNothingAcknowledged: where something that follows has been acknowledged, only
// Next knows which frames are left.
func TestAheadReturnsNothingAcknowledged(t *testing.T) {
	s := mustOpen(t, Options{Dir: "/spool", FS: durabletest.NewDisk()})
	defer s.Close()
	a := &appender{s: s}
	frame := testFrame("stdout", 1, []byte("a line"))
	size := uint64(len(frame))
	a.append(t, slices.Concat(frame, frame, frame, frame))
	if err := s.Ack([]stream.Range{{From: 2 * size, To: 3 * size}}); err != nil {
		t.Fatal(err)
	}
	r := s.NewReader()
	defer r.Close()
	for i, want := range []struct{ from, ahead uint64 }{{0, 0}, {size, 0}, {3 * size, size}} {
		item, ok := r.Next()
		if p := r.Ahead(); !ok || item.From != want.from || uint64(len(p)) != want.ahead {
			t.Errorf("item %d: %v, %v, %d bytes ahead; want %v", i, item.Range, ok, len(p), want)
		}
	}
}
