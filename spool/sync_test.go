package spool

import (
	"errors"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestCleanIsNotSynced: no clean file is synced. Without Durable nothing is synced, not even at
// Close.
func TestCleanIsNotSynced(t *testing.T) {
	disk := &countingFS{FS: durabletest.NewDisk()}
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
		t.Errorf("%d syncs, and %d of clean files", before, disk.syncs-before)
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

// TestSyncedSurvives: everything appended before a Sync survives a power cut, including
// segments that were full by then.
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

// TestSyncFailsUntilSynced: Sync returns an error until everything is on the disk or abandoned,
// and later blocks go to another file.
func TestSyncFailsUntilSynced(t *testing.T) {
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

// removing is a disk on which something else happens just before a directory is synced.
type removing struct {
	durable.FS
	first func()
}

func (r *removing) SyncDir(name string) error {
	if f := r.first; f != nil {
		r.first = nil
		f()
	}
	return r.FS.SyncDir(name)
}

// TestRemovedWhileSynced: a spool may be removed, because it is delivered, while the stop of
// the plugin syncs all spools.
func TestRemovedWhileSynced(t *testing.T) {
	disk := &removing{FS: durabletest.NewDisk()}
	s := mustOpen(t, Options{Dir: "/s", FS: disk})
	a := &appender{s: s}
	a.append(t, testFrame("stdout", 1, []byte("line")))
	disk.first = func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Sync(); err != nil {
		t.Errorf("Sync: %v", err)
	}
	if entries, err := disk.ReadDir("/s"); err == nil {
		t.Errorf("%d files came back", len(entries))
	}
}
