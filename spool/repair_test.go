package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestLastBlockBehindNotes: a note that comes between a block's append and its drop from the FIFO does not hide the
// block: it is what the head of the FIFO must be compared with.
func TestLastBlockBehindNotes(t *testing.T) {
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

// TestNoteWithinAFrame: a note does not come between the parts of a frame, not even after a restart.
func TestNoteWithinAFrame(t *testing.T) {
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

// TestOpenOnAFullDisk: what was spooled and acknowledged is there although nothing can be written.
func TestOpenOnAFullDisk(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	a.append(t, numbered(1, 10, 100))
	half := s.End()
	a.append(t, numbered(11, 20, 100))
	if err := s.Ack([]stream.Range{{From: 0, To: half}}); err != nil {
		t.Fatal(err)
	}
	disk = disk.Killed()
	disk.Limit(1)
	s, _, err := Open(Options{Dir: "/spool", FS: disk, MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := s.NewReader()
	defer r.Close()
	if got := read(r); got != "11-20" {
		t.Errorf("read %s", got)
	}
	// What is acknowledged now is on disk as soon as there is room.
	all := []stream.Range{{From: half, To: s.End()}}
	if err := s.Ack(all); err == nil {
		t.Error("Ack: no error on a full disk")
	}
	disk.Limit(0)
	if err := s.Sync(); err != nil {
		t.Error(err)
	}
	s2, _, err := Open(Options{Dir: "/spool", FS: disk.Killed(), MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s2.Close()
	if s2.Acked() != s2.End() {
		t.Errorf("acknowledged up to %d of %d", s2.Acked(), s2.End())
	}
}

// TestAckOnAFullDisk: where the segments that an Ack removes make the room that its record needs, it is recorded.
func TestAckOnAFullDisk(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	for i := range 10 {
		a.append(t, numbered(i*200+1, i*200+200, 400))
	}
	used := int64(0)
	entries, _ := disk.ReadDir("/spool")
	for _, e := range entries {
		info, _ := e.Info()
		used += info.Size()
	}
	disk.Limit(used)
	last := s.End() - 10
	if err := s.Ack([]stream.Range{{From: 0, To: last}}); err != nil {
		t.Errorf("Ack: %v", err)
	}
	s, _, err := Open(Options{Dir: "/spool", FS: disk.Killed(), MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Acked() != last {
		t.Errorf("acknowledged up to %d, want %d", s.Acked(), last)
	}
}

// TestPendingTellsWhatWasNotKept: what a full budget did not let in is told of when everything else is delivered,
// although others still need the room, and so is a note that waits for the rest of a frame that never comes.
func TestPendingTellsWhatWasNotKept(t *testing.T) {
	budget := NewBudget(1)
	s := mustOpen(t, Options{Dir: "/spool", FS: durabletest.NewDisk(), Budget: budget})
	defer s.Close()
	if s.Pending() {
		t.Error("pending before anything came")
	}
	var tr Tracker
	p := numbered(1, 10, 100)
	p = append(p, p[:50]...)
	info := tr.All(p)
	if err := s.Append(append(make([]byte, BlockHeaderSize), p...), 1, info); !errors.Is(err, ErrFull) {
		t.Fatalf("Append: %v", err)
	}
	s.midFrame = true
	s.AddGap(Gap{Reason: FirstForeign, Frames: 3, Bytes: 1})
	if !s.Pending() {
		t.Fatal("nothing is pending")
	}
	r := s.NewReader()
	defer r.Close()
	if got := read(r); got != "spool_full:11 unknown:3" {
		t.Errorf("read %s", got)
	}
	if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
		t.Fatal(err)
	}
	if s.Pending() {
		t.Error("still pending")
	}
}

// TestSyncedSurvives: all that was appended before a Sync survives a power cut, also what stands in segments that
// were full by then.
func TestSyncedSurvives(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	for i := range 10 {
		a.append(t, numbered(i*100+1, i*100+100, 400))
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	s, _, err := Open(Options{Dir: "/spool", FS: disk.PowerCut(), MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := s.NewReader()
	defer r.Close()
	if got := read(r); got != "1-1000" {
		t.Errorf("read %s", got)
	}
}

// TestSyncFails: a sync that fails is an error each time until what it was for is on disk or given up, and what
// comes after it goes into another file.
func TestSyncFails(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	a.append(t, numbered(1, 100, 100))
	disk.FailWhen(func(_ int, op, _ string) durabletest.Failure {
		if op == "Sync" {
			return durabletest.Failure{Err: durabletest.ErrInjected}
		}
		return durabletest.Failure{}
	})
	if err := s.Sync(); !errors.Is(err, durabletest.ErrInjected) {
		t.Errorf("Sync: %v", err)
	}
	disk.FailWhen(nil)
	a.append(t, numbered(101, 200, 100))
	entries, _ := disk.ReadDir("/spool")
	segments := 0
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), segmentSuffix) {
			segments++
		}
	}
	if segments != 2 {
		t.Errorf("%d segments after a failed sync", segments)
	}
	r := s.NewReader()
	defer r.Close()
	if got := read(r); got != "1-200" {
		t.Errorf("read %s", got)
	}
}

// TestHugeSegment: what is read of a segment at the start is bounded, whatever the file has become.
func TestHugeSegment(t *testing.T) {
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

// TestForgedBlock: what a container printed is not taken for a block where a torn one is looked through: positions
// in a segment cannot go on faster than its bytes.
func TestForgedBlock(t *testing.T) {
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

// TestCursorNonsense: a record whose numbers make no sense changes nothing, whatever its checksum says.
func TestCursorNonsense(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	a.append(t, numbered(1, 10, 100))
	s.Close()
	p := []byte(cursorMagic)
	for _, body := range [][]byte{
		binary.AppendUvarint(binary.AppendUvarint(nil, 10), 1<<63),
		binary.AppendUvarint(binary.AppendUvarint(nil, 1<<64-1), 1<<64-1),
		bytes.Repeat([]byte{0xff}, 30),
	} {
		for _, kind := range []byte{recordAck, recordDropped} {
			p = appendRecord(p, kind, func(p []byte) []byte { return append(p, body...) })
		}
	}
	f, err := disk.OpenFile("/spool/cursor", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt(p, 0)
	f.Close()
	s, _, err = Open(Options{Dir: "/spool", FS: disk, MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := s.NewReader()
	defer r.Close()
	a.s = s
	a.tracker = Tracker{}
	a.append(t, numbered(11, 20, 100))
	if got := read(r); got != "1-20" {
		t.Errorf("read %s", got)
	}
}
