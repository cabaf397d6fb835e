package spool

import (
	"cmp"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
)

// faultyReads is a disk whose files cannot be opened or read while a test says so.
type faultyReads struct {
	durable.FS
	mu   sync.Mutex
	open error // the error of OpenFile; nil: none
	bad  int64 // the offset of an unreadable page in any file; 0: none
}

func (d *faultyReads) set(open error, bad int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open, d.bad = open, bad
}

func (d *faultyReads) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: d.open}
	}
	f, err := d.FS.OpenFile(name, flag, perm)
	return faultyFile{f, d}, err
}

type faultyFile struct {
	durable.File
	d *faultyReads
}

func (f faultyFile) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if bad := f.d.bad; bad > 0 && off < bad+diskPage && bad < off+int64(len(p)) {
		n, err := f.File.ReadAt(p[:max(0, bad-off)], off) // up to the unreadable page
		return n, cmp.Or(err, error(syscall.EIO))
	}
	return f.File.ReadAt(p, off)
}

// TestUnopenableSegmentLosesNothing: however long a segment cannot be opened, nothing is given
// up, and afterwards everything is read.
func TestUnopenableSegmentLosesNothing(t *testing.T) {
	disk := &faultyReads{FS: durabletest.NewDisk()}
	s, a := smallSpool(t, disk)
	a.append(t, numbered(1, 10, 100))
	s.mu.Lock()
	s.sealLocked() // so that the reader must open the file
	s.mu.Unlock()
	r := s.NewReader()
	defer r.Close()
	disk.set(syscall.EMFILE, 0)
	for range 100 {
		if got := read(r); got != "" || !errors.Is(r.Err(), syscall.EMFILE) {
			t.Fatalf("read %q, Err %v", got, r.Err())
		}
	}
	disk.set(nil, 0)
	if got := read(r); got != "1-10" || r.Err() != nil {
		t.Errorf("read %q, Err %v", got, r.Err())
	}
}

// TestUnreadableSectorLosesOnlyItsBlocks: a sector that can never be read loses the
// blocks that it is in. The reader retries a limited number of times.
func TestUnreadableSectorLosesOnlyItsBlocks(t *testing.T) {
	disk := &faultyReads{FS: durabletest.NewDisk()}
	s, a := smallSpool(t, disk)
	for i := range 12 {
		a.append(t, numbered(i*10+1, i*10+10, 400)) // blocks of a little over 4 KiB
	}
	r := s.NewReader()
	defer r.Close()
	disk.set(nil, 4*diskPage)
	var got string
	for range 3 * maxReadFailures {
		got += read(r) + " "
		if r.Err() == nil {
			break
		}
	}
	if r.Err() != nil {
		t.Errorf("still failing at the end: %v", r.Err())
	}
	got = strings.Join(strings.Fields(got), " ")
	if got != "1-30 spool_damaged:0 51-120" {
		t.Errorf("read %s", got)
	}
}

// TestReaderSharesTheOpenFile checks that a reader opens no file while the spool has the segment
// open, and that it opens the file itself when the spool closes it during a read.
func TestReaderSharesTheOpenFile(t *testing.T) {
	disk := durabletest.NewHooked(durabletest.NewDisk())
	s, a := smallSpool(t, disk)
	a.append(t, numbered(1, 10, 100))
	r := s.NewReader()
	defer r.Close()
	opened := 0
	disk.Before(func(op, _ string) error {
		if op == durabletest.OpenToRead {
			opened++
		}
		return nil
	})
	if got := read(r); got != "1-10" || opened != 0 {
		t.Errorf("read %q, opened %d files", got, opened)
	}
	a.append(t, numbered(11, 20, 100))
	disk.Before(func(op, _ string) error {
		switch {
		case op == durabletest.OpenToRead:
			opened++
		case op == "ReadAt" && opened == 0:
			s.mu.Lock()
			s.closeActiveLocked()
			s.mu.Unlock()
		}
		return nil
	})
	if got := read(r); got != "11-20" || opened != 1 || r.Err() != nil {
		t.Errorf("read %q, opened %d files, Err %v", got, opened, r.Err())
	}
}
