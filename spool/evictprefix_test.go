package spool

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
)

// stepFS calls step before each call that changes a file or a directory, and when half of a
// write is done.
type stepFS struct {
	durable.FS
	step  func(op, name string)
	wrote func(bytes int) // nil: not called
}

func (f *stepFS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f.step("open", name)
	file, err := f.FS.OpenFile(name, flag, perm)
	return &stepFile{file, f, name}, err
}

func (f *stepFS) Rename(from, to string) error { f.step("rename", from); return f.FS.Rename(from, to) }

func (f *stepFS) Remove(name string) error { f.step("remove", name); return f.FS.Remove(name) }

type stepFile struct {
	durable.File
	fs   *stepFS
	name string
}

func (f *stepFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.step("write", f.name)
	if n, err := f.File.WriteAt(p[:len(p)/2], off); err != nil {
		return n, err
	}
	f.fs.step("half a write", f.name)
	if f.fs.wrote != nil {
		f.fs.wrote(len(p))
	}
	return f.File.WriteAt(p, off)
}

// TestEvictPrefixSurvivesCrash: after a kill at any step of evictPrefix, or a power cut with
// Durable, every undelivered line is there once. A write may have been cut short.
func TestEvictPrefixSurvivesCrash(t *testing.T) {
	disk := durabletest.NewDisk()
	steps := 0
	check := func(what string, disk *durabletest.Disk) {
		s, repair, err := Open(Options{Dir: "/s", FS: disk, History: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r := s.NewReader()
		defer r.Close()
		if got := read(r); got != "1101-2000" || s.End() == 0 || repair.CutBytes > 0 {
			t.Errorf("%s: read %s, cut %d bytes", what, got, repair.CutBytes)
		}
	}
	step := &stepFS{FS: disk, step: func(op, name string) {}}
	w := newBudgeted(t, NewBudget(1<<30), Options{FS: step, MaxSize: 64 << 20, History: 64 << 20, Durable: true})
	for range 20 {
		w.write(100)
	}
	r := w.s.NewReader()
	defer r.Close()
	handed := handOut(t, r, 1100)
	if err := w.s.Ack(handed); err != nil {
		t.Fatal(err)
	}
	if err := w.s.Sync(); err != nil {
		t.Fatal(err)
	}
	step.step = func(op, name string) {
		steps++
		check("killed before "+op+" of "+name, disk.Killed())
		check("power cut before "+op+" of "+name, disk.PowerCut())
	}
	if !w.s.evictPrefix() {
		t.Fatal("nothing was removed")
	}
	step.step = func(op, name string) {}
	check("killed at the end", disk.Killed())
	check("power cut at the end", disk.PowerCut())
	if steps < 4 || !strings.Contains(read(w.s.NewReader()), "2000") {
		t.Errorf("%d steps", steps)
	}
}

// TestEvictPrefixCopiesLittle: however small the steps of the delivery are, evictPrefix copies
// at most eight times what it removes, and reads nothing again until more is delivered.
func TestEvictPrefixCopiesLittle(t *testing.T) {
	disk := durabletest.NewDisk()
	opens, written := 0, 0
	step := &stepFS{FS: disk, step: func(op, _ string) {
		if op == "open" {
			opens++
		}
	}, wrote: func(n int) { written += n }}
	w := newBudgeted(t, NewBudget(1<<30), Options{FS: step, MaxSize: 64 << 20})
	for range 200 {
		w.write(50)
	}
	size := w.s.Size()
	r := w.s.NewReader()
	defer r.Close()
	written = 0
	for range 190 {
		handed := handOut(t, r, 50)
		if err := w.s.Ack(handed); err != nil {
			t.Fatal(err)
		}
		w.s.evictPrefix()
		before := opens
		if w.s.evictPrefix() || opens > before {
			t.Fatal("read again although nothing more was delivered")
		}
	}
	freed := size - w.s.Size()
	if freed < size/2 || int64(written) > 9*freed { // this includes the cursor's records
		t.Errorf("%d bytes were written to remove %d of %d", written, freed, size)
	}
}

// TestEvictPrefixLosesNothing: when the delivered prefix of a segment is removed, readers
// continue with the rest, nothing that was handed out is lost, and a crash at any step
// leaves every undelivered line.
func TestEvictPrefixLosesNothing(t *testing.T) {
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
	if !w.s.evictPrefix() || w.s.Size() > size/2 || w.s.evictPrefix() {
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
