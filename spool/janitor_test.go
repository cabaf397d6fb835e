package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestDeliveredDataNeverCostsALine: where a budget is full of delivered data, also of segments that are still appended
// to, every new line is kept.
func TestDeliveredDataNeverCostsALine(t *testing.T) {
	const limit = 8 << 20
	b := NewBudget(limit)
	var all []*budgeted
	for i := range 30 {
		s := newBudgeted(t, b, Options{Dir: fmt.Sprint("/", i), MaxSize: 64 << 20, History: 20 << 20})
		for range 8 {
			s.write(300)
			s.s.Dropped()
		}
		if err := s.s.Ack([]stream.Range{{From: 0, To: s.s.End()}}); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	for range 20 {
		for _, s := range all {
			s.write(1)
			s.s.Dropped()
		}
	}
	for i, s := range all {
		if s.refused > 0 {
			t.Errorf("%d lines of spool %d were refused", s.refused, i)
		}
		if _, lost := s.accountAfter(t, 2400); lost > 0 {
			t.Errorf("%d lines of spool %d are lost", lost, i)
		}
	}
	if used := b.Used(); used > limit {
		t.Errorf("%d bytes are on disk", used)
	}
}

// TestUndroppedBlockIsNotSealed: the block that may still be at the head of its FIFO is not removed: after a crash it is
// looked for.
func TestUndroppedBlockIsNotSealed(t *testing.T) {
	b := NewBudget(1 << 20)
	s := newBudgeted(t, b, Options{History: 1 << 20})
	s.write(100)
	if err := s.s.Ack([]stream.Range{{From: 0, To: s.s.End()}}); err != nil {
		t.Fatal(err)
	}
	if s.s.evictHistory() {
		t.Error("removed before it was dropped")
	}
	s.s.Dropped()
	if !s.s.evictHistory() || s.s.Size() != 0 {
		t.Errorf("not removed: %d bytes", s.s.Size())
	}
}

// smallDisk is a disk in memory on which only a part of what other programs leave is free.
func smallDisk(bytes int64) *durabletest.Disk {
	disk := durabletest.NewDisk()
	disk.Limit(bytes)
	return disk
}

// TestFullDiskMakesRoom: a full disk removes the same things in the same order as a full budget, wherever the shortage
// appears.
func TestFullDiskMakesRoom(t *testing.T) {
	disk := smallDisk(2 << 20)
	b := NewBudget(1 << 30)
	old := newBudgeted(t, b, Options{Dir: "/old", FS: disk, MaxSize: 64 << 20, History: 64 << 20})
	for range 60 {
		old.write(200)
		old.s.Dropped()
	}
	if err := old.s.Ack([]stream.Range{{From: 0, To: old.s.End()}}); err != nil {
		t.Fatal(err)
	}
	archived := 0
	for i := range 3 {
		name := fmt.Sprint("/archived", i)
		f, err := disk.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(make([]byte, 100<<10), 0); err != nil {
			t.Fatal(err)
		}
		f.Close()
		b.AddArchived(100<<10, time.Unix(int64(i), 0), func() error {
			archived++
			if old.s.HistorySize() > 0 && old.s.Size() < 1<<20 {
				t.Error("history was removed before an archived log")
			}
			return disk.Remove(name)
		})
	}
	w := newBudgeted(t, b, Options{Dir: "/new", FS: disk, MaxSize: 64 << 20})
	for w.n < 8000 {
		w.write(50)
		w.s.Dropped()
	}
	if read, lost := w.account(t); read != w.n || lost > 0 || w.refused > 0 {
		t.Errorf("%d of %d lines are there, %d lost, %d refused", read, w.n, lost, w.refused)
	}
	if archived != 3 {
		t.Errorf("%d archived logs were removed", archived)
	}
	// The record of a start that finds no room.
	for range 400 {
		w.write(50)
	}
	calls := 0
	err := b.Retry(func() error {
		calls++
		return &fs.PathError{Op: "write", Path: "record", Err: syscall.ENOSPC}
	})
	if !errors.Is(err, syscall.ENOSPC) || calls == 0 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if _, lost := w.account(t); lost == 0 {
		t.Error("the full disk cost nothing")
	}
}

// TestEvictBeginning: when the delivered beginning of a segment is removed, readers go on with the rest, nothing that was
// handed out is lost, and a crash at any step leaves every undelivered line.
func TestEvictBeginning(t *testing.T) {
	disk := durabletest.NewDisk()
	b := NewBudget(1 << 30)
	w := newBudgeted(t, b, Options{FS: disk, MaxSize: 64 << 20, History: 64 << 20})
	for range 20 {
		w.write(100)
	}
	r := w.s.NewReader()
	defer r.Close()
	handed := handOut(t, r, 1234)
	if err := w.s.Ack(handed[:1100]); err != nil {
		t.Fatal(err)
	}
	size := w.s.Size()
	if !w.s.evictBeginning() || w.s.Size() > size/2 || w.s.evictBeginning() {
		t.Fatalf("%d bytes are left of %d", w.s.Size(), size)
	}
	check := func(disk *durabletest.Disk) {
		t.Helper()
		s := mustOpen(t, Options{Dir: "/s", FS: disk, History: 64 << 20})
		defer s.Close()
		r := s.NewReader()
		defer r.Close()
		if got := read(r); got != "1101-2000" {
			t.Errorf("read %s", got)
		}
	}
	check(disk.Killed())
	if w.s.evictUndeliveredLocked() {
		t.Error("a segment was evicted of which frames are in flight")
	}
	w.write(10)
	if got := read(r); got != "1235-2010" {
		t.Errorf("read %s", got)
	}
	if _, lost := w.accountAfter(t, 1100); lost > 0 {
		t.Errorf("%d lines are lost", lost)
	}
	// The old file is still there.
	both := disk.Killed()
	full := durabletest.NewDisk()
	w2 := newBudgeted(t, b, Options{FS: full})
	for range 20 {
		w2.write(100)
	}
	old, err := full.ReadFile("/s/0000000000000000.seg")
	if err != nil {
		t.Fatal(err)
	}
	f, err := both.OpenFile("/s/0000000000000000.seg", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(old, 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s := mustOpen(t, Options{Dir: "/s", FS: both, History: 64 << 20})
	defer s.Close()
	again := s.NewReader()
	defer again.Close()
	if got := read(again); got != "1101-2010" {
		t.Errorf("read %s", got)
	}
}

// TestTrimAtOpen: what is undelivered beyond a bound that was lowered is evicted when the spool is opened and not at the
// first Append, by the headers alone, and is counted exactly.
func TestTrimAtOpen(t *testing.T) {
	disk := durabletest.NewDisk()
	w := newBudgeted(t, NewBudget(1<<30), Options{FS: disk, MaxSize: 64 << 20})
	for range 200 {
		w.write(200)
	}
	w.s.Close()
	var lost Gap
	read := &meteredFS{FS: disk}
	s := mustOpen(t, Options{Dir: "/s", FS: read, MaxSize: 1 << 20, OnLoss: func(g Gap) { lost.add(g) }})
	defer s.Close()
	if s.Size() > 5<<20 { // a segment is as large as it was made
		t.Errorf("%d bytes are left", s.Size())
	}
	reads := read.bytes
	w.s = s
	before := s.Size()
	w.write(1)
	if s.Size() < before {
		t.Error("the first Append has evicted something")
	}
	got, told := w.account(t)
	if told == 0 || int(lost.Frames) != told {
		t.Errorf("%d lines are reported as lost, %d are recorded in the stream, %d read", lost.Frames, told, got)
	}
	if reads > 6<<20 { // the last segment, and the headers of the others
		t.Errorf("opening has read %d bytes", reads)
	}
}

// meteredFS counts the bytes that are read.
type meteredFS struct {
	durable.FS
	bytes int64
	syncs int
}

type meteredFile struct {
	durable.File
	fs *meteredFS
}

func (c *meteredFS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := c.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return meteredFile{f, c}, nil
}

func (c *meteredFS) SyncDir(name string) error { c.syncs++; return c.FS.SyncDir(name) }

func (f meteredFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.fs.bytes += int64(n)
	return n, err
}

func (f meteredFile) Sync() error { f.fs.syncs++; return f.File.Sync() }

// TestCountsAgree: the headers of a segment and its frames give the same count.
func TestCountsAgree(t *testing.T) {
	s := mustOpen(t, Options{Dir: "/s", FS: durabletest.NewDisk()})
	defer s.Close()
	a := &appender{s: s}
	for i := range 50 {
		a.append(t, numbered(i*10+1, i*10+10, i*7))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.segments[0]
	byHeaders, ok := s.countHeaders(seg)
	if byFrames, _ := s.countFrames(seg, stream.Range{From: seg.base, To: seg.end}); !ok || byHeaders != byFrames {
		t.Errorf("by headers %+v (%v), by frames %+v", byHeaders, ok, byFrames)
	}
}

// TestEvictedGapIsReportedOnce: a gap that is evicted is recorded in the stream again, and reported as a loss only when its
// lines were lost.
func TestEvictedGapIsReportedOnce(t *testing.T) {
	var lost Gap
	s := mustOpen(t, Options{Dir: t.TempDir(), MaxSize: 1 << 20, OnLoss: func(g Gap) { lost.add(g) }})
	defer s.Close()
	a := &appender{s: s}
	const foreign = 70_000 // as the uploader adds it, which has reported it
	a.append(t, numbered(1, 10, 100))
	s.AddGap(Gap{Reason: FirstForeign, Frames: foreign, Bytes: foreign * 100})
	next := 11
	for ; next < 30_000; next += 10 {
		a.append(t, numbered(next, next+9, 100))
	}
	read, recorded := 0, 0
	r := s.NewReader()
	defer r.Release()
	for _, item := range frames(r) {
		if item.Gap != nil {
			recorded += int(item.Gap.Frames)
		} else {
			read++
		}
	}
	if recorded <= foreign || read+recorded != next-1+foreign {
		t.Errorf("%d lines are read and %d recorded as missing, of %d and %d", read, recorded, next-1, foreign)
	}
	if int(lost.Frames) != recorded-foreign {
		t.Errorf("%d lines are reported as lost, %d were", lost.Frames, recorded-foreign)
	}
}

// TestLostCursor: when the cursor is missing, empty, damaged or of a newer version, what was delivered is not sent again,
// apart from the last few lines, and a newer cursor is kept.
func TestLostCursor(t *testing.T) {
	for name, damage := range map[string]func(path string, data []byte) error{
		"missing": func(path string, _ []byte) error { return os.Remove(path) },
		"empty":   func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		"damaged": func(path string, data []byte) error {
			return os.WriteFile(path, bytes.Repeat([]byte{0x55}, len(data)), 0o600)
		},
		"damaged record": func(path string, data []byte) error {
			data[cursorReserveEnd+10] ^= 0xff
			return os.WriteFile(path, data, 0o600)
		},
		"newer": func(path string, data []byte) error {
			return os.WriteFile(path, append([]byte("LSPLCUR7"), data[8:]...), 0o600)
		},
	} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed=%v", name, killed), func(t *testing.T) {
				dir := t.TempDir()
				o := Options{Dir: dir, History: 20 << 20, MaxSize: 256 << 20}
				s := mustOpen(t, o)
				a := &appender{s: s}
				const n = 40_000
				for i := range n / 100 {
					a.append(t, numbered(i*100+1, i*100+100, 100))
					if i%10 == 9 {
						if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
							t.Fatal(err)
						}
					}
				}
				if !killed {
					s.Close()
				}
				path := filepath.Join(dir, cursorName)
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := damage(path, data); err != nil {
					t.Fatal(err)
				}
				s2, repair, err := Open(o)
				if err != nil {
					t.Fatal(err)
				}
				defer s2.Close()
				r := s2.NewReader()
				defer r.Close()
				if again := len(frames(r)); again > progressStep/100 {
					t.Errorf("%d of %d lines are sent again", again, n)
				}
				if name == "newer" {
					kept, err := os.ReadFile(repair.NewerCursor)
					if err != nil || !strings.HasPrefix(string(kept), "LSPLCUR7") {
						t.Errorf("the newer cursor is not kept: %v", err)
					}
				}
			})
		}
	}
}

// TestUnknownSegmentVersion: a spool whose segments are of a newer version is refused and left as it is.
func TestUnknownSegmentVersion(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	a := &appender{s: s}
	a.append(t, numbered(1, 100, 100))
	s.Close()
	path := filepath.Join(dir, "0000000000000000.seg")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[7] = '2'
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(Options{Dir: dir}); !errors.Is(err, ErrVersion) {
		t.Errorf("Open: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, data) {
		t.Errorf("the segment was changed: %v", err)
	}
}

// TestUnknownSegmentInTheMiddle: a reader that comes to a segment of a newer version waits, and says why.
func TestUnknownSegmentInTheMiddle(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	for i := range 10 {
		a.append(t, numbered(i*100+1, i*100+100, 400))
	}
	f, err := disk.OpenFile(s.segmentPath(s.segments[1].base), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("9"), 7); err != nil {
		t.Fatal(err)
	}
	// The blocks of that version are not known either.
	if _, err := f.WriteAt(make([]byte, 64), segmentHeaderSize); err != nil {
		t.Fatal(err)
	}
	f.Close()
	r := s.NewReader()
	defer r.Close()
	got := frames(r)
	if !errors.Is(r.Err(), ErrVersion) || got[len(got)-1].To != s.segments[1].base {
		t.Errorf("%d items, then %v", len(got), r.Err())
	}
}

// TestDamagedEnd: what a repair cuts off the end and was not delivered is recorded in the stream, with its lines.
func TestDamagedEnd(t *testing.T) {
	build := func(t *testing.T, acked uint64) string {
		dir := t.TempDir()
		s := mustOpen(t, Options{Dir: dir})
		a := &appender{s: s}
		a.append(t, numbered(1, 365, 100))
		from := s.End()
		a.append(t, numbered(366, 401, 100))
		if acked > 0 {
			if err := s.Ack([]stream.Range{{From: 0, To: from - 1 + acked}}); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
		return dir
	}
	damage := func(t *testing.T, dir string, f func([]byte) []byte) {
		path := filepath.Join(dir, "0000000000000000.seg")
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, f(data), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	last := func(data []byte) int { return bytes.LastIndex(data, blockMagicBytes) }
	for name, tc := range map[string]struct {
		f    func([]byte) []byte
		want string
	}{
		"a byte":            {func(p []byte) []byte { p[len(p)-50] ^= 1; return p }, "1-365 spool_damaged:36"},
		"a header":          {func(p []byte) []byte { p[last(p)] ^= 1; return p }, "1-365 spool_damaged:0"},
		"zeros":             {func(p []byte) []byte { clear(p[last(p):]); return p }, "1-365 spool_damaged:0"},
		"cut in a block":    {func(p []byte) []byte { return p[:len(p)-50] }, "1-365 spool_damaged:36"},
		"cut in its header": {func(p []byte) []byte { return p[:last(p)+20] }, "1-365"}, // its write began
	} {
		t.Run(name, func(t *testing.T) {
			dir := build(t, 0)
			damage(t, dir, tc.f)
			var lost Gap
			s := mustOpen(t, Options{Dir: dir, OnLoss: func(g Gap) { lost.add(g) }})
			a := &appender{s: s}
			a.append(t, numbered(402, 410, 100))
			r := s.NewReader()
			if got := read(r); got != tc.want+" 402-410" {
				t.Errorf("read %s", got)
			}
			if strings.Contains(tc.want, "damaged") == (lost.Bytes == 0) {
				t.Errorf("reported: %+v", lost)
			}
			r.Close()
			s.Close()
			s = mustOpen(t, Options{Dir: dir})
			defer s.Close()
			r = s.NewReader()
			defer r.Close()
			if got := read(r); got != tc.want+" 402-410" {
				t.Errorf("read after another start: %s", got)
			}
		})
	}
	t.Run("delivered", func(t *testing.T) {
		dir := build(t, math.MaxInt16)
		damage(t, dir, func(p []byte) []byte { p[len(p)-50] ^= 1; return p })
		s := mustOpen(t, Options{Dir: dir, OnLoss: func(g Gap) { t.Errorf("reported: %+v", g) }})
		defer s.Close()
		if s.Pending() {
			t.Error("something is pending")
		}
	})
	t.Run("still in the FIFO", func(t *testing.T) {
		dir := build(t, 0)
		damage(t, dir, func(p []byte) []byte { return p[:len(p)-50] })
		s := mustOpen(t, Options{Dir: dir})
		defer s.Close()
		head := numbered(366, 410, 100)
		torn := s.Torn()
		if torn == nil || torn.Matches(head[:100], 100) || torn.Matches(numbered(367, 410, 100), len(head)) || !torn.Matches(head, len(head)) {
			t.Fatalf("torn: %+v", torn)
		}
		s.RecoverTorn()
		a := &appender{s: s}
		a.append(t, head)
		r := s.NewReader()
		defer r.Close()
		if got := read(r); got != "1-410" {
			t.Errorf("read %s", got)
		}
	})
}

// TestCleanIsNotSynced: nothing that is clean is synced, and nothing at all without Durable, not even at Close.
func TestCleanIsNotSynced(t *testing.T) {
	disk := &meteredFS{FS: durabletest.NewDisk()}
	s := mustOpen(t, Options{Dir: "/s", FS: disk, Durable: true})
	a := &appender{s: s}
	a.append(t, numbered(1, 10, 100))
	for range 3 {
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	before := disk.syncs
	for range 3 {
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	if before == 0 || disk.syncs != before {
		t.Errorf("%d syncs, and %d of what was clean", before, disk.syncs-before)
	}
	disk.syncs = 0
	s = mustOpen(t, Options{Dir: "/t", FS: disk})
	a = &appender{s: s}
	a.append(t, numbered(1, 10, 100))
	if err := s.Ack([]stream.Range{{From: 0, To: 10}}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if disk.syncs != 0 {
		t.Errorf("%d syncs without Durable", disk.syncs)
	}
}

// openFiles counts the descriptors of this process for files below dir.
func openFiles(t *testing.T, dir string) (n int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, dir) {
			n++
		}
	}
	return n
}

// TestFilesAreBounded: no more spools have open files than LimitFiles says, and one that is idle has none.
func TestFilesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := NewBudget(1 << 30)
		b.LimitFiles(5)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); b.Run(ctx) }()
		var all []*appender
		for i := range 40 {
			s := mustOpen(t, Options{Dir: filepath.Join(dir, fmt.Sprint(i)), Budget: b})
			defer s.Close()
			all = append(all, &appender{s: s})
		}
		if n := openFiles(t, dir); n != 0 {
			t.Errorf("%d files are open of spools that were not used", n)
		}
		for round := range 3 {
			for _, a := range all {
				a.append(t, numbered(round*10+1, round*10+10, 100))
				if err := a.s.Ack([]stream.Range{{From: 0, To: a.s.End() - 5}}); err != nil {
					t.Fatal(err)
				}
				if n := openFiles(t, dir); n > 10 {
					t.Fatalf("%d files are open", n)
				}
			}
		}
		time.Sleep(3 * idleTime)
		synctest.Wait()
		if n := openFiles(t, dir); n != 0 {
			t.Errorf("%d files are open of idle spools", n)
		}
		for i, a := range all {
			r := a.s.NewReader()
			if got := len(frames(r)); got != 1 {
				t.Errorf("spool %d: %d frames", i, got)
			}
			r.Close()
		}
		cancel()
		<-done
	})
}

// TestHeldGap: a gap whose marker was refused is pending until it was put into the stream again, across a kill.
func TestHeldGap(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	a.append(t, numbered(1, 10, 100))
	if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
		t.Fatal(err)
	}
	if s.Pending() || s.ReleaseGap() {
		t.Error("pending before anything was held")
	}
	s.HoldGap(Gap{Reason: FirstForeign, Frames: 2, Bytes: 20})
	s.HoldGap(Gap{Reason: FirstForeign + 1, Frames: 3, Bytes: 30})
	for range 2 {
		if !s.Pending() || !s.HoldsGap() || s.Undelivered() != 0 {
			t.Fatalf("not pending: %d bytes undelivered", s.Undelivered())
		}
		s = mustOpen(t, Options{Dir: "/spool", FS: disk.Killed(), MaxSize: 1 << 20})
		defer s.Close()
	}
	if !s.ReleaseGap() || s.HoldsGap() {
		t.Error("not released")
	}
	r := s.NewReader()
	defer r.Close()
	if got := read(r); got != "unknown:5" {
		t.Errorf("read %s", got)
	}
	if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
		t.Fatal(err)
	}
	if s.Pending() {
		t.Error("still pending")
	}
}

// TestAddedGapSurvivesAKill: a loss behind the spool that has no room in the stream yet is not forgotten.
func TestAddedGapSurvivesAKill(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	p := numbered(1, 1, 1000)
	a.append(t, p[:500]) // a gap does not come between the parts of a frame
	s.AddGap(Gap{Reason: FirstForeign, Frames: 7, Bytes: 70})
	s = mustOpen(t, Options{Dir: "/spool", FS: disk.Killed(), MaxSize: 1 << 20})
	defer s.Close()
	if !s.HoldsGap() {
		t.Fatal("the gap is forgotten")
	}
}

// TestEarlierVersion: the files of earlier versions are read, with the pending gap that they kept beside the cursor.
func TestEarlierVersion(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	a.append(t, numbered(1, 10, 100))
	half := s.End()
	a.append(t, numbered(11, 20, 100))
	end := s.End()
	s.Close()
	write := func(name string, p []byte, at int64) {
		f, err := disk.OpenFile("/spool/"+name, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(p, at); err != nil {
			t.Fatal(err)
		}
	}
	header := segmentHeader{}.encode()
	binary.LittleEndian.PutUint64(header[16:], 1_700_000_000_000_000_000) // when the segment was begun
	binary.LittleEndian.PutUint32(header[32:], 0)
	binary.LittleEndian.PutUint32(header[36:], crc32.Checksum(header[:36], castagnoli))
	write("0000000000000000.seg", header, 0)
	disk.Remove("/spool/cursor")
	write("cursor", appendAck([]byte(cursorMagic), []stream.Range{{From: 0, To: half}}), 0)
	missing := make([]byte, 8+slotSize)
	copy(missing, missingMagic)
	slot{epoch: 3, position: end, gap: Gap{Reason: Full, Frames: 5, Bytes: 500}}.encode(missing[8:])
	write("missing", missing, 0)
	for range 2 {
		s = mustOpen(t, Options{Dir: "/spool", FS: disk, MaxSize: 1 << 20})
		if s.Acked() != half {
			t.Errorf("acknowledged up to %d, want %d", s.Acked(), half)
		}
		if s.missing.Frames != 5 {
			t.Errorf("the pending gap is %+v", s.missing)
		}
		s.Close()
		if _, err := disk.ReadFile("/spool/missing"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("missing: %v", err)
		}
	}
}
