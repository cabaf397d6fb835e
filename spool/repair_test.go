package spool

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestLastBlockBeforeAddedGap: an added gap that comes between a block's append and its removal
// from the FIFO does not hide the block, which must be compared with the head of the FIFO.
func TestLastBlockBeforeAddedGap(t *testing.T) {
	for _, tc := range []struct {
		name   string
		blocks int
	}{{"in one segment", 1}, {"at the end of a full segment", 4}} {
		t.Run(tc.name, func(t *testing.T) {
			disk := durabletest.NewDisk()
			s, a := smallSpool(t, disk)
			a.epoch = 3
			var p []byte
			for i := range tc.blocks {
				p = numbered(i*100+1, i*100+100, 150)
				a.append(t, p)
			}
			for range 3 {
				s.AddGap(Gap{Reason: FirstForeign, Frames: 1, Bytes: 1})
			}
			s, _, err := Open(Options{Dir: "/spool", FS: disk.Killed(), MaxSize: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			got, info, epoch, ok := s.LastBlock()
			if !ok || epoch != 3 || info.Frames != 100 || !bytes.Equal(got, p) {
				t.Errorf("got %d bytes of epoch %d with %d frames, %v", len(got), epoch, info.Frames, ok)
			}
		})
	}
}

// TestAddedGapWaitsForEndOfFrame: an added gap does not come between the parts of a frame, not
// even after a restart.
func TestAddedGapWaitsForEndOfFrame(t *testing.T) {
	disk := durabletest.NewDisk()
	_, a := smallSpool(t, disk)
	p := numbered(1, 1, 1000)
	a.append(t, p[:500])
	s, _, err := Open(Options{Dir: "/spool", FS: disk.Killed(), MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.AddGap(Gap{Reason: FirstForeign, Frames: 7, Bytes: 1})
	a.s = s
	a.append(t, p[500:])
	r := s.NewReader()
	defer r.Close()
	if got := read(r); got != "1-1 unknown:7" {
		t.Errorf("read %s", got)
	}
}

// TestOpenReadsLittleOfHugeSegment: Open reads a limited part of a segment, however large
// the file has become.
func TestOpenReadsLittleOfHugeSegment(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	a := &appender{s: s}
	a.append(t, numbered(1, 10, 100))
	s.Close()
	if err := os.Truncate(dir+"/0000000000000000.seg", 1<<42); err != nil {
		t.Fatal(err)
	}
	s, repair, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if repair.CutBytes < 1<<41 || s.Size() > 1<<20 {
		t.Errorf("%+v, %d bytes on disk", repair, s.Size())
	}
	r := s.NewReader()
	defer r.Close()
	if got := read(r); got != "1-10" {
		t.Errorf("read %s", got)
	}
}

// TestForgedBlockIsNotRead: bytes of a container that look like a block are not taken for
// one when a torn block is skipped, because positions advance no faster than bytes.
func TestForgedBlockIsNotRead(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	a.append(t, numbered(1, 10, 100))
	end := s.End()
	forged := make([]byte, BlockHeaderSize+100)
	h := blockHeader{length: 100, position: 1 << 40}
	h.encode(forged)
	a.append(t, testFrame("stdout", 11, append(forged, numbered(12, 13, 100)...)))
	disk = disk.Killed()
	f, err := disk.OpenFile("/spool/0000000000000000.seg", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	st, _ := f.Stat()
	f.Truncate(st.Size() - 1)
	f.Close()
	s, _, err = Open(Options{Dir: "/spool", FS: disk, MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.End() != end {
		t.Errorf("the stream ends at %d, want %d", s.End(), end)
	}
}

// TestCutEndIsReportedAsGap: what a repair cuts off and was not delivered is recorded in
// the stream, with its lines.
func TestCutEndIsReportedAsGap(t *testing.T) {
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
		"cut in its header": {func(p []byte) []byte { return p[:last(p)+20] }, "1-365"}, // the write of its header was cut short
	} {
		t.Run(name, func(t *testing.T) {
			dir := build(t, 0)
			damage(t, dir, tc.f)
			var lost Gap
			s := mustOpen(t, Options{Dir: dir, OnLoss: func(g Gap) { lost.join(g) }})
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
