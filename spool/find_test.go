package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/longtest"
	"github.com/logspool/logspool/internal/stream"
)

// TestTailReturnsExactlyTheLastFrames: a History returns exactly the last frames,
// wherever blocks and segments end, delivered or not, with gaps between them and an
// incomplete frame at the end. Then it returns what is appended.
func TestTailReturnsExactlyTheLastFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := durabletest.NewDisk()
		s := mustOpen(t, Options{Dir: "/s", FS: disk, MaxSize: 1 << 20, History: 256 << 10})
		defer func() { s.Close() }()
		a := &appender{s: s}
		var content []byte
		var ends []int // of the frames in the stream
		n, written, appended := int64(0), 0, 0
		for range rapid.IntRange(0, 60).Draw(t, "blocks") {
			for range rapid.IntRange(1, 8).Draw(t, "frames") {
				n++
				f := testFrame("stdout", n, make([]byte, rapid.SampledFrom([]int{0, 100, 5000, 17000}).Draw(t, "size")))
				content, written = append(content, f...), written+len(f)
				ends = append(ends, written)
			}
			cut := len(content)
			switch rapid.IntRange(0, 6).Draw(t, "then") {
			case 0:
				cut = rapid.IntRange(1, len(content)).Draw(t, "cut")
			case 1:
				s.AddGap(Gap{Reason: FirstForeign, Frames: 1, Bytes: 1})
			case 2:
				if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
					t.Fatal(err)
				}
			case 3:
				s.Close()
				s = mustOpen(t, Options{Dir: "/s", FS: disk, MaxSize: 1 << 20, History: 256 << 10})
				a.s = s
			}
			for p := content[:cut]; len(p) > 0; p = p[min(len(p), 100<<10):] {
				a.append(t, p[:min(len(p), 100<<10)])
			}
			content, appended = bytes.Clone(content[cut:]), appended+cut
		}
		everything := HistoryOptions{Tail: -1}
		all := histories(t, s, everything)[0].all(t)
		last := int64(0)
		for last < n && ends[last] <= appended {
			last++
		}
		if len(all) > 0 && all[len(all)-1] != last {
			t.Fatalf("read %s up to %d", spans(all), last)
		}
		for _, tail := range []int{0, 1, 2, 3, 10, rapid.IntRange(0, 500).Draw(t, "tail"), 1 << 40} {
			for i, h := range histories(t, s, HistoryOptions{Tail: tail}) {
				want := all[max(0, len(all)-tail):]
				if got := h.all(t); spans(got) != spans(want) {
					t.Fatalf("%d: the last %d of %s are %s", i, tail, spans(all), spans(got))
				}
				h.Close()
			}
		}
		// What is appended next is returned, once the incomplete frame is complete.
		h, err := s.NewHistory(context.Background(), HistoryOptions{Tail: 0})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		h.all(t)
		if len(content) > 0 {
			a.append(t, content)
		}
		a.append(t, numbered(int(n)+1, int(n)+3, 10))
		if err := h.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := h.all(t); len(got) < 3 || got[len(got)-1] != n+3 || len(all) > 0 && got[0] != last+1 {
			t.Fatalf("read %s, after %d up to %d", spans(got), last, n+3)
		}
	})
}

// TestTailReadsLittle: the end of a long history, and a time in it, is found with a few hundred
// kilobytes of reads, whatever the size of its blocks, and also after it has been opened again.
func TestTailReadsLittle(t *testing.T) { testTailReadsLittle(t, 1) }

func TestLong_TailReadsLittle(t *testing.T) {
	longtest.Skip(t)
	testTailReadsLittle(t, 16)
}

func testTailReadsLittle(t *testing.T, times int) {
	for _, tc := range []struct {
		name              string
		frames, size, all int // frames in a block, bytes of a line, bytes of the history
	}{
		{"one short frame in a block", 1, 100, 16 << 20},
		{"long blocks", 2000, 100, 64 << 20},
		{"one long frame in a block", 1, 16 << 10, 64 << 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			disk := &countingFS{FS: durable.OS}
			o := Options{Dir: t.TempDir(), FS: disk, MaxSize: 256 << 20, History: 2 << 30}
			s := mustOpen(t, o)
			a := &appender{s: s}
			n := 0
			block := make([]byte, BlockHeaderSize, BlockHeaderSize+tc.frames*(tc.size+40))
			line := bytes.Repeat([]byte("n"), tc.size)
			for size := 0; size < tc.all*times; size += len(block) {
				block = block[:BlockHeaderSize]
				for range tc.frames {
					n++
					block = append(block, testFrame("stdout", int64(n), line)...)
				}
				if err := s.Append(block, 0, a.tracker.All(block[BlockHeaderSize:])); err != nil {
					t.Fatal(err)
				}
				if n%1024 == 0 {
					if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
						t.Fatal(err)
					}
				}
			}
			check := func(what string) {
				for _, o := range []HistoryOptions{{Tail: 10}, {Tail: -1, Since: int64(n - 9)}} {
					disk.bytes.Store(0)
					h, err := s.NewHistory(t.Context(), o)
					if err != nil {
						t.Fatal(err)
					}
					got := h.all(t)
					h.Close()
					read := disk.bytes.Load()
					t.Logf("%s: %+v reads %d KiB of %d MiB", what, o, read>>10, s.Size()>>20)
					if o.Tail > 0 && (read > 1<<20 || len(got) != 10) || read > 1<<20+2*maxSegmentSize || got[len(got)-1] != int64(n) {
						t.Errorf("%s: %d bytes read for %s of %d", what, read, spans(got), n)
					}
				}
			}
			check("open")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, o)
			defer s.Close()
			check("opened again")
		})
	}
}

// TestSinceSkipsNoLaterFrame: no frame of that time or later is skipped, and most of the
// earlier ones are.
func TestSinceSkipsNoLaterFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := durabletest.NewDisk()
		s := mustOpen(t, Options{Dir: "/s", FS: disk, MaxSize: 1 << 20, History: 256 << 10})
		defer s.Close()
		a := &appender{s: s}
		n, cuts := int64(0), rapid.Bool().Draw(t, "cuts")
		for range rapid.IntRange(1, 60).Draw(t, "blocks") {
			var p []byte
			for range rapid.IntRange(1, 8).Draw(t, "frames") {
				n++
				p = append(p, testFrame("stdout", n, make([]byte, rapid.SampledFrom([]int{0, 100, 5000}).Draw(t, "size")))...)
			}
			if cuts && rapid.IntRange(0, 3).Draw(t, "cut here") == 0 {
				cut := rapid.IntRange(1, len(p)-1).Draw(t, "cut")
				a.append(t, p[:cut])
				p = p[cut:]
			}
			a.append(t, p)
		}
		since := rapid.Int64Range(1, n+2).Draw(t, "since")
		tail := rapid.SampledFrom([]int{-1, 0, 5, 50, 1 << 30}).Draw(t, "tail")
		for i, h := range histories(t, s, HistoryOptions{Tail: tail, Since: since}) {
			got := h.all(t)
			h.Close()
			first := max(1, since)
			if tail >= 0 {
				first = max(first, n-int64(tail)+1)
			}
			if want := n - first + 1; int64(len(got)) < want || len(got) > 0 && (got[len(got)-1] != n || got[0] != n-int64(len(got))+1) {
				t.Fatalf("%d: since %d, the last %d of %d: %s", i, since, tail, n, spans(got))
			}
			if tail >= 0 && len(got) > tail {
				t.Fatalf("%d: since %d, the last %d of %d: %s", i, since, tail, n, spans(got))
			}
			if !cuts && len(got) > 0 && got[0] < since-8 {
				t.Fatalf("%d: since %d of %d: %s", i, since, n, spans(got))
			}
		}
	})
}

// TestSinceFindsLateFrameBeforeEarlyOnes: a late frame before early ones is found, also if its
// time is in another segment than its beginning, and after the spool has been opened again.
func TestSinceFindsLateFrameBeforeEarlyOnes(t *testing.T) {
	for _, cut := range []bool{false, true} {
		for _, reopen := range []bool{false, true} {
			t.Run(fmt.Sprintf("cut=%v, reopened=%v", cut, reopen), func(t *testing.T) {
				disk := durabletest.NewDisk()
				o := Options{Dir: "/s", FS: disk, MaxSize: 1 << 20} // segments of 64 KiB
				a := &appender{s: mustOpen(t, o)}
				defer func() { a.s.Close() }()
				full := numbered(1, 10, 7000)
				late := testFrame("stdout", 1000, []byte("late"))
				at := len(late)
				if cut {
					at = 8 // the first bytes of the frame, without its time
				}
				a.append(t, append(bytes.Clone(full), late[:at]...))
				again := func() {
					if reopen {
						a.s.Close()
						a.s = mustOpen(t, o)
					}
				}
				again()
				for range 3 {
					a.append(t, append(late[at:], full...))
					at = len(late)
					again()
				}
				for _, h := range histories(t, a.s, HistoryOptions{Tail: -1, Since: 500}) {
					if !slices.Contains(h.all(t), 1000) {
						t.Error("the late frame is skipped")
					}
					h.Close()
				}
			})
		}
	}
}

// TestSinceOverDamage: a damaged header makes a search by time lose no block but that one.
func TestSinceOverDamage(t *testing.T) {
	for at := range BlockHeaderSize {
		for _, flip := range []byte{1, 0x14, 0x80} {
			disk := durabletest.NewDisk()
			s, a := smallSpool(t, disk)
			var off int64
			for i := range 10 {
				if i == 3 {
					off = s.segments[0].size
				}
				a.append(t, numbered(i*10+1, i*10+10, 100))
			}
			f, err := disk.OpenFile("/spool/0000000000000000.seg", os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			var b [1]byte
			f.ReadAt(b[:], off+int64(at))
			b[0] ^= flip
			f.WriteAt(b[:], off+int64(at))
			f.Close()
			for _, h := range histories(t, s, HistoryOptions{Tail: -1, Since: 45}) {
				got := h.all(t)
				if i := slices.Index(got, 45); i < 0 || spans(got[i:]) != "45-100" {
					t.Errorf("byte %d: %s", at, spans(got))
				}
				h.Close()
			}
		}
	}
}

// TestTailWhileSegmentIsRemoved: if a segment is removed during the search for the last frames,
// or before they are read, the frames that are left are returned, and no others.
func TestTailWhileSegmentIsRemoved(t *testing.T) {
	for opened := range 5 {
		t.Run(fmt.Sprint(opened), func(t *testing.T) {
			disk := &hookedFS{FS: durabletest.NewDisk()}
			s := mustOpen(t, Options{Dir: "/s", FS: disk, MaxSize: 1 << 20, History: 1 << 20}) // segments of 64 KiB
			defer s.Close()
			a := &appender{s: s}
			for n := 1; n <= 1000; n += 100 {
				a.append(t, numbered(n, n+99, 300))
			}
			if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
				t.Fatal(err)
			}
			last := func() int64 { return int64(s.segments[0].end / uint64(len(numbered(100, 100, 300)))) } // frame of the first segment
			tail := 1000 - int(last()) + 50                                                                 // so that fifty frames of the first segment are returned, and the rest is skipped
			first := s.segmentPath(s.segments[0].base)
			removed := false
			disk.onOpen = func(name string) {
				if name == first {
					if opened--; opened < 0 && !removed {
						removed = true
						s.evictHistory()
					}
				}
			}
			h, err := s.NewHistory(t.Context(), HistoryOptions{Tail: tail})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			disk.onOpen = nil
			if !removed {
				s.evictHistory()
			}
			got := h.all(t)
			if n := len(got); n < 1000-int(got[0])+1 || n > tail || got[n-1] != 1000 || removed && n < tail-50 {
				t.Errorf("the last %d frames are %s", tail, spans(got))
			}
		})
	}
}

// TestTailEndsWithItsContext: a search stops soon after its context is done, so it does not
// hold up what waits for its end.
func TestTailEndsWithItsContext(t *testing.T) {
	s := mustOpen(t, Options{Dir: "/s", FS: durabletest.NewDisk(), MaxSize: 16 << 20})
	defer s.Close()
	a := &appender{s: s}
	for n := 1; n <= 100_000; n += 1000 {
		a.append(t, numbered(n, n+999, 10))
	}
	a.append(t, numbered(100_001, 120_000, 10))
	for _, test := range []struct {
		o     HistoryOptions
		asked int // calls of Err before the context is canceled
	}{
		{HistoryOptions{Tail: 50_000}, 3},               // canceled during the search for the place
		{HistoryOptions{Tail: 50_000, Since: 1000}, 3},  //
		{HistoryOptions{Tail: 10}, 3},                   // canceled while frames are counted
		{HistoryOptions{Tail: 10}, 1 + 20_000/1024 + 3}, // canceled while frames are skipped
	} {
		ctx := &countedContext{Context: t.Context(), left: test.asked}
		if _, err := s.NewHistory(ctx, test.o); !errors.Is(err, context.Canceled) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// countedContext is canceled after a number of calls of Err.
type countedContext struct {
	context.Context
	left int
}

func (c *countedContext) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}
