package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// countingFS counts the bytes that are read, and the syncs.
type countingFS struct {
	durable.FS
	bytes atomic.Int64
	syncs int
}

func (c *countingFS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := c.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return countingFile{f, c}, nil
}

func (c *countingFS) SyncDir(name string) error { c.syncs++; return c.FS.SyncDir(name) }

func (c *countingFS) ReadFile(name string) ([]byte, error) {
	p, err := c.FS.ReadFile(name)
	c.bytes.Add(int64(len(p)))
	return p, err
}

type countingFile struct {
	durable.File
	c *countingFS
}

func (f countingFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.c.bytes.Add(int64(n))
	return n, err
}

func (f countingFile) Sync() error { f.c.syncs++; return f.File.Sync() }

// openHistory returns a History of dir that knows only the names and sizes of its segments, and
// not the last block, which an open Spool knows.
func openHistory(disk durable.FS, dir string, o HistoryOptions) (*History, error) {
	s := &Spool{opts: Options{Dir: dir, FS: disk}, closed: true}
	if err := s.listSegments(); err != nil {
		return nil, err
	}
	if n := len(s.segments); n > 0 {
		s.end.Store(s.segments[n-1].end)
	}
	h, _, err := newFinder(context.Background(), s).history(o)
	return h, err
}

// histories opens the history of the spool, and the history of its files.
func histories(t fataler, s *Spool, o HistoryOptions) []*History {
	own, err := s.NewHistory(context.Background(), o)
	if err != nil {
		t.Fatalf("NewHistory: %v", err)
	}
	found, err := openHistory(s.opts.FS, s.opts.Dir, o)
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
			t.Fatalf("reading does not end")
		}
	}
}

// spans formats numbers as ranges in one line.
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

// TestHistoryIsKept: the newest delivered data is kept up to the limit of the history, whatever
// the limit of undelivered data is. A lower limit applies from the next Open on.
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

// TestHistoryStaysWhenFull: a spool that has reached its own limit keeps its history, because
// removing it would make no space.
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

// TestHistoryOverDamage: in the history as in the delivery, damage loses the block that it is
// in, wherever the history begins. What was read and counted before the damage stays counted.
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

// TestHistoryContinuesAfterRemovedSegment: a History whose segment is removed continues at the
// first one that is left.
func TestHistoryContinuesAfterRemovedSegment(t *testing.T) {
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

// TestFullDiskEvictsHistoryFirst: if the disk is full, delivered data is removed before a line
// is lost.
func TestFullDiskEvictsHistoryFirst(t *testing.T) {
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

// TestWaitReturnsOnAppendCloseOrCancel: Wait returns when something is appended, when its
// context is done, and when nothing will be appended any more.
func TestWaitReturnsOnAppendCloseOrCancel(t *testing.T) {
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
