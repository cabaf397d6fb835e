package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/longtest"
	"github.com/logspool/logspool/internal/stream"
)

// countingFS counts the bytes that are read.
type countingFS struct {
	durable.FS
	read atomic.Int64
}

func (c *countingFS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := c.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return countingFile{f, c}, nil
}

func (c *countingFS) ReadFile(name string) ([]byte, error) {
	p, err := c.FS.ReadFile(name)
	c.read.Add(int64(len(p)))
	return p, err
}

type countingFile struct {
	durable.File
	c *countingFS
}

func (f countingFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.c.read.Add(int64(n))
	return n, err
}

// openHistory returns a History of what is in dir, by nothing but the names and sizes of its segments: without what a
// Spool remembers of its last block.
func openHistory(disk durable.FS, dir string, o HistoryOptions) (*History, error) {
	s := &Spool{dir: dir, fs: disk, closed: true}
	if err := s.listSegments(); err != nil {
		return nil, err
	}
	if n := len(s.segments); n > 0 {
		s.end.Store(s.segments[n-1].end)
	}
	h, _, err := newFinder(context.Background(), s).history(o)
	return h, err
}

// histories opens the history of a spool, and that of what is on disk of it.
func histories(t fataler, s *Spool, o HistoryOptions) []*History {
	own, err := s.NewHistory(context.Background(), o)
	if err != nil {
		t.Fatalf("NewHistory: %v", err)
	}
	found, err := openHistory(s.fs, s.dir, o)
	if err != nil {
		t.Fatalf("openHistory: %v", err)
	}
	return []*History{own, found}
}

// all returns the times of the frames that there are now.
func (h *History) all(t fataler) (times []int64) {
	for {
		f, ok, err := h.Next()
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		if !ok {
			return times
		}
		times = append(times, frameTime(f))
		if len(times) > 10_000_000 {
			t.Fatalf("there is no end")
		}
	}
}

// spans says numbers in a line.
func spans(n []int64) string {
	var b strings.Builder
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] == n[j]+1 {
			j++
		}
		fmt.Fprintf(&b, "%d-%d ", n[i], n[j])
		i = j + 1
	}
	return strings.TrimSpace(b.String())
}

// TestHistoryIsKept: what is delivered stays as far as its bound reaches, the newest of it, whatever the bound of what
// is not delivered; and a smaller bound applies from the next opening on.
func TestHistoryIsKept(t *testing.T) {
	for _, history := range []int64{0, 64 << 10, 300 << 10, 20 << 20} {
		t.Run(fmt.Sprint(history), func(t *testing.T) {
			disk := durabletest.NewDisk()
			o := Options{Dir: "/s", FS: disk, MaxSize: 256 << 20, History: history}
			s := mustOpen(t, o)
			a := &appender{s: s}
			n := 0
			for range 2000 {
				a.append(t, numbered(n+1, n+10, 300))
				n += 10
				if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
					t.Fatal(err)
				}
				active := s.segments[len(s.segments)-1].size
				if s.HistorySize() > history || s.Size() != s.HistorySize()+active {
					t.Fatalf("%d bytes of history, %d of %d in all", s.HistorySize(), active, s.Size())
				}
			}
			written := int64(n) * 320
			if got := s.HistorySize(); got < min(history, written)*3/4-int64(maxSegmentSize)*history/(20<<20) {
				t.Errorf("%d bytes of history are kept of %d", got, history)
			}
			h, err := s.NewHistory(context.Background(), HistoryOptions{Tail: -1})
			if err != nil {
				t.Fatal(err)
			}
			got := h.all(t)
			if len(got) == 0 || got[len(got)-1] != int64(n) || int64(len(got)) != int64(n)-got[0]+1 {
				t.Errorf("read %s of %d", spans(got), n)
			}
			h.Close()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			o.History /= 3
			s = mustOpen(t, o)
			if s.HistorySize() > o.History {
				t.Errorf("%d bytes of history, %d are allowed since", s.HistorySize(), o.History)
			}
			s.Close()
		})
	}
}

// TestTail: the last frames and no others, wherever blocks and segments end, delivered or not, with gaps between them
// and the beginning of a frame at the end; and afterwards what comes then.
func TestTail(t *testing.T) {
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
		// And what comes then is given, once the frame under way has come whole.
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
			t.Fatalf("read %s, behind %d up to %d", spans(got), last, n+3)
		}
	})
}

// TestTailReadsLittle: the end of a long history is found within a few hundred kilobytes, whatever the size of
// its blocks, also when it has been opened again; and so is a time.
func TestTailReadsLittle(t *testing.T) { testTailReadsLittle(t, 1) }

func TestLong_TailReadsLittle(t *testing.T) {
	longtest.Skip(t)
	testTailReadsLittle(t, 16)
}

func testTailReadsLittle(t *testing.T, times int) {
	for _, tc := range []struct {
		name              string
		frames, size, all int // in a block; bytes of a line; bytes of history
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
					disk.read.Store(0)
					h, err := s.NewHistory(t.Context(), o)
					if err != nil {
						t.Fatal(err)
					}
					got := h.all(t)
					h.Close()
					read := disk.read.Load()
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

// TestSince: no frame of that time or later is passed over, and of the earlier ones most are.
func TestSince(t *testing.T) {
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

// TestSinceBeforeEarlierTimes: what is late and stands before what is early is found, also where a frame's time is in
// another segment than its beginning, and across openings.
func TestSinceBeforeEarlierTimes(t *testing.T) {
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
					at = 8 // before the time
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
						t.Error("the late frame is passed over")
					}
					h.Close()
				}
			})
		}
	}
}

// TestSinceOverDamage: damage to a header costs a search by time no block but that one.
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

// TestHistoryStaysWhenFull: a spool that gives way for want of room of its own leaves its history, which would make none.
func TestHistoryStaysWhenFull(t *testing.T) {
	s := mustOpen(t, Options{Dir: "/s", FS: durabletest.NewDisk(), MaxSize: 1 << 20, History: 512 << 10})
	defer s.Close()
	a := &appender{s: s}
	for range 100 {
		a.append(t, numbered(1, 50, 100))
		if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
			t.Fatal(err)
		}
	}
	before := s.HistorySize()
	for range 400 {
		a.append(t, numbered(1, 50, 100))
	}
	if s.HistorySize() < before || before < 256<<10 {
		t.Errorf("%d bytes of history are left of %d", s.HistorySize(), before)
	}
}

// TestHistoryOverDamage: damage costs the block that it is in, in the history as in the delivery, wherever the history
// begins; and what was counted as read before it stays counted.
func TestHistoryOverDamage(t *testing.T) {
	for _, block := range []int{4, 8, 9} {
		disk := durabletest.NewDisk()
		s, a := smallSpool(t, disk)
		var off int64
		for i := range 10 {
			if i == block {
				off = s.segments[0].size
			}
			a.append(t, numbered(i*10+1, i*10+10, 100))
		}
		var left []int64
		for n := int64(1); n <= 100; n++ {
			if n <= int64(block)*10 || n > int64(block)*10+10 {
				left = append(left, n)
			}
		}
		f, err := disk.OpenFile("/spool/0000000000000000.seg", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		flip := func(at int, bits byte) {
			var b [1]byte
			f.ReadAt(b[:], off+int64(at))
			b[0] ^= bits
			f.WriteAt(b[:], off+int64(at))
		}
		for at := range BlockHeaderSize + 20 {
			for _, bits := range []byte{1, 0x14, 0x80} {
				flip(at, bits)
				for _, tail := range []int{-1, 1, 5, 15, 25, 95, 1000} {
					want := left
					if tail >= 0 {
						want = left[max(0, len(left)-tail):]
					}
					for i, h := range histories(t, s, HistoryOptions{Tail: tail}) {
						if got := h.all(t); spans(got) != spans(want) {
							t.Errorf("%d: byte %d of block %d, the last %d: %s", i, at, block, tail, spans(got))
						}
						h.Close()
					}
				}
				flip(at, bits)
			}
		}
		f.Close()
	}
}

// TestHistoryReclaimed: a History whose segment is removed under it goes on at the first one that is left.
func TestHistoryReclaimed(t *testing.T) {
	s := mustOpen(t, Options{Dir: "/s", FS: durabletest.NewDisk(), MaxSize: 1 << 20, History: 128 << 10})
	defer s.Close()
	a := &appender{s: s}
	write := func(from, to int) {
		for ; from <= to; from += 10 {
			a.append(t, numbered(from, from+9, 300))
			if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(1, 300)
	h, err := s.NewHistory(context.Background(), HistoryOptions{Tail: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for n := int64(1); n <= 25; n++ {
		if f, ok, err := h.Next(); !ok || err != nil || frameTime(f) != n {
			t.Fatalf("read %v, %v, want frame %d", ok, err, n)
		}
	}
	write(301, 3000)
	got := h.all(t)
	first, err := s.NewHistory(context.Background(), HistoryOptions{Tail: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if want := first.all(t); !strings.HasSuffix(spans(got), spans(want)) || len(got) < len(want) || len(got) > 2900 {
		t.Errorf("read %s, left are %s", spans(got), spans(want))
	}
}

// TestTailReclaimed: a segment that is removed while the last frames are looked for, or before they are read, costs none
// that is still there, and has none given that was not asked for.
func TestTailReclaimed(t *testing.T) {
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
			tail := 1000 - int(last()) + 50                                                                 // so that some of that are passed over, and fifty are wanted
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
				t.Errorf("of the last %d there are %s", tail, spans(got))
			}
		})
	}
}

// hookedFS calls onOpen before a file is opened.
type hookedFS struct {
	durable.FS
	onOpen func(name string)
}

func (h *hookedFS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	if h.onOpen != nil && flag == os.O_RDONLY {
		h.onOpen(name)
	}
	return h.FS.OpenFile(name, flag, perm)
}

// TestTailForNobody: who wants to know no more does not hold up what waits for the end of reading.
func TestTailForNobody(t *testing.T) {
	s := mustOpen(t, Options{Dir: "/s", FS: durabletest.NewDisk(), MaxSize: 16 << 20})
	defer s.Close()
	a := &appender{s: s}
	for n := 1; n <= 100_000; n += 1000 {
		a.append(t, numbered(n, n+999, 10))
	}
	a.append(t, numbered(100_001, 120_000, 10))
	for _, test := range []struct {
		o     HistoryOptions
		asked int // how often whoever asks is still there
	}{
		{HistoryOptions{Tail: 50_000}, 3},               // while it looks for the place
		{HistoryOptions{Tail: 50_000, Since: 1000}, 3},  //
		{HistoryOptions{Tail: 10}, 3},                   // while it counts
		{HistoryOptions{Tail: 10}, 1 + 20_000/1024 + 3}, // and while it passes over what is not wanted
	} {
		ctx := &countedContext{Context: t.Context(), left: test.asked}
		if _, err := s.NewHistory(ctx, test.o); !errors.Is(err, context.Canceled) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// countedContext is canceled when it has been asked so often.
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

// fullDisk says of a disk without room what the kernel says.
type fullDisk struct{ *durabletest.Disk }

func (d fullDisk) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := d.Disk.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return fullDiskFile{f}, nil
}

type fullDiskFile struct{ durable.File }

func (f fullDiskFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	if err != nil {
		err = syscall.ENOSPC
	}
	return n, err
}

// TestHistoryOnAFullDisk: where the disk has no room, what is delivered makes it before a line is lost.
func TestHistoryOnAFullDisk(t *testing.T) {
	disk := durabletest.NewDisk()
	s := mustOpen(t, Options{Dir: "/s", FS: fullDisk{disk}, MaxSize: 16 << 20, History: 1 << 20})
	defer s.Close()
	a := &appender{s: s}
	n := 0
	write := func(most int64) {
		for s.HistorySize() < most {
			a.append(t, numbered(n+1, n+50, 100))
			n += 50
			if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(800 << 10)
	from := n
	disk.Limit(s.Size() + 50_000)
	for s.HistorySize() > 0 {
		a.append(t, numbered(n+1, n+50, 100)) // fails on an error
		n += 50
	}
	r := s.NewReader()
	defer r.Close()
	if got, want := read(r), fmt.Sprintf("%d-%d", from+1, n); got != want || n-from < 800<<10/150 {
		t.Errorf("read %s, want %s", got, want)
	}
}

// TestWait: a History waits until something comes, its context is done, or nothing can come any more.
func TestWait(t *testing.T) {
	s := mustOpen(t, Options{Dir: "/s", FS: durabletest.NewDisk(), History: 1 << 20})
	a := &appender{s: s}
	a.append(t, numbered(1, 10, 100))
	h, err := s.NewHistory(context.Background(), HistoryOptions{Tail: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Wait(t.Context()); err != nil { // nothing has been asked for yet
		t.Fatal(err)
	}
	if got := spans(h.all(t)); got != "8-10" {
		t.Fatalf("read %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v", err)
	}
	woken := make(chan error)
	wait := func() { woken <- h.Wait(t.Context()) }
	for n := 11; n < 100; n += 10 {
		go wait()
		a.append(t, numbered(n, n+9, 100))
		if err := <-woken; err != nil {
			t.Fatal(err)
		}
		if got := spans(h.all(t)); got != fmt.Sprintf("%d-%d", n, n+9) {
			t.Fatalf("read %s at %d", got, n)
		}
	}
	go wait()
	s.Close()
	if err := <-woken; !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Wait: %v", err)
	}
	if _, err := s.NewHistory(context.Background(), HistoryOptions{}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("NewHistory: %v", err)
	}
}
