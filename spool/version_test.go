package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestUnknownSegmentVersion: a spool with segments of a newer version is refused and left
// as it is.
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

// TestReaderWaitsAtNewerSegment: a reader that comes to a segment of a newer version waits, and
// reports why.
func TestReaderWaitsAtNewerSegment(t *testing.T) {
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
	// The format of its blocks is not known either.
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

// TestEarlierVersionIsRead: the files of earlier versions are read, with the pending gap
// that was in a file of its own.
func TestEarlierVersionIsRead(t *testing.T) {
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
	binary.LittleEndian.PutUint64(header[16:], 1_700_000_000_000_000_000) // the time at which the segment was started
	binary.LittleEndian.PutUint32(header[32:], 0)
	binary.LittleEndian.PutUint32(header[36:], crc32.Checksum(header[:36], castagnoli))
	write("0000000000000000.seg", header, 0)
	disk.Remove("/spool/cursor")
	write("cursor", appendAck([]byte(cursorMagic), []stream.Range{{From: 0, To: half}}), 0)
	missing := make([]byte, 8+slotSize)
	copy(missing, pendingGapMagic)
	slot{epoch: 3, position: end, gap: Gap{Reason: Full, Frames: 5, Bytes: 500}}.encode(missing[8:])
	write("missing", missing, 0)
	for range 2 {
		s = mustOpen(t, Options{Dir: "/spool", FS: disk, MaxSize: 1 << 20})
		if s.Acked() != half {
			t.Errorf("acknowledged up to %d, want %d", s.Acked(), half)
		}
		if s.gaps.unkept.Frames != 5 {
			t.Errorf("the pending gap is %+v", s.gaps.unkept)
		}
		s.Close()
		if _, err := disk.ReadFile("/spool/missing"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("missing: %v", err)
		}
	}
}
