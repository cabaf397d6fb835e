package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestFullDiskCountsExactly: if a disk refuses any calls because it is full, the lost lines are
// counted exactly. When it has space again, nothing stays pending.
func TestFullDiskCountsExactly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		disk := durabletest.NewDisk()
		b := NewBudget(8 << 20)
		all := make([]*budgeted, 3)
		lost := make([]int, len(all))
		read := make([]int, len(all))
		for i := range all {
			s, _, err := Open(Options{Dir: fmt.Sprint("/", i), FS: disk, Budget: b, MaxSize: 2 << 20, History: 1 << 20, DropNewest: i == 2})
			if err != nil {
				rt.Fatal(err)
			}
			all[i] = &budgeted{appender: &appender{s: s}}
		}
		deliver := func(i, most int) {
			r := all[i].s.NewReader()
			defer r.Close()
			ranges, lostNow := takeItems(r, most, func([]byte) { read[i]++ })
			lost[i] += lostNow
			_ = all[i].s.Ack(ranges)
		}
		index := func(t *rapid.T) int { return rapid.IntRange(0, len(all)-1).Draw(t, "spool") }
		calls := 0
		write := func(t *rapid.T) {
			w := all[index(t)]
			calls = 0
			w.write(rapid.IntRange(1, 600).Draw(t, "frames"))
			w.s.Dropped()
			if calls > 500 {
				t.Fatalf("%d calls of the disk for one block", calls)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": write, "append2": write, "append3": write,
			"deliver": func(t *rapid.T) { deliver(index(t), rapid.IntRange(1, 2000).Draw(t, "most")) },
			"pending": func(t *rapid.T) { all[index(t)].s.Pending() },
			"disk": func(t *rapid.T) {
				ops := rapid.SampledFrom([]string{"", "WriteAt", "OpenFile", "Rename", "any"}).Draw(t, "ops")
				half := rapid.Bool().Draw(t, "half")
				disk.FailWhen(func(_ int, op, name string) durabletest.Failure {
					calls++
					needs := op == "WriteAt" || op == "Rename" || op == "OpenFile" && strings.HasSuffix(name, ".tmp")
					if needs && (op == ops || ops == "any") {
						return durabletest.Failure{Err: syscall.ENOSPC, After: half}
					}
					return durabletest.Failure{}
				})
			},
		})
		disk.FailWhen(nil)
		for i, w := range all {
			for rounds := 0; w.s.Pending(); rounds++ {
				if rounds > 10 {
					rt.Fatalf("spool %d stays pending", i)
				}
				deliver(i, 1<<20)
			}
			if read[i]+lost[i] != w.n {
				rt.Fatalf("spool %d: %d read and %d lost of %d", i, read[i], lost[i], w.n)
			}
			w.s.Close()
		}
		if b.Used() != 0 {
			rt.Fatalf("%d bytes are counted at the end", b.Used())
		}
	})
}

// TestOpenOnAFullDisk: what was spooled and acknowledged is there although nothing can be
// written.
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
	// What is acknowledged now is on disk as soon as there is space.
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

// TestAckRecordsIntoSpaceThatItFrees: if the segments that an Ack removes make the space that
// its record needs, the record is written.
func TestAckRecordsIntoSpaceThatItFrees(t *testing.T) {
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

// fullDisk is a disk without space. Its errors are those of the kernel.
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

// TestFullDiskReportsWhatItLost: a disk without space keeps nothing, and the spool
// continues. When there is space again, what was not kept is reported.
func TestFullDiskReportsWhatItLost(t *testing.T) {
	w := newWorld(t, durabletest.NewDisk(), Options{MaxSize: 16 << 20, DropNewest: true})
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	w.append(10, 100)
	w.disk.Limit(50_000)
	for range 200 {
		w.append(10, 100)
	}
	if len(w.refused) == 0 {
		t.Fatal("the disk was never full")
	}
	w.disk.Limit(0)
	w.append(10, 100)
	read, reported := 0, uint64(0)
	for {
		item, ok := w.r.Next()
		if !ok {
			break
		}
		if item.Gap != nil {
			if item.Gap.Reason != Unwritable {
				t.Errorf("a gap for %v", item.Gap.Reason)
			}
			reported += item.Gap.Frames
			continue
		}
		if !w.kept[frameTime(item.Frame)] {
			t.Fatalf("frame %d was read, and was not kept", frameTime(item.Frame))
		}
		read++
	}
	if read != len(w.kept) || reported != uint64(len(w.refused)) {
		t.Errorf("%d of %d kept frames read, %d of %d refused frames reported", read, len(w.kept), reported, len(w.refused))
	}
	if err := w.s.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// TestFullDiskEvictsInOrder: a full disk evicts the same things in the same order as a full
// budget, whichever call finds it full.
func TestFullDiskEvictsInOrder(t *testing.T) {
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
	// The record of a container whose start finds a full disk.
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
		t.Error("nothing was evicted for the full disk")
	}
}

// smallDisk is a disk in memory. bytes of it are free, and other programs use the rest.
func smallDisk(bytes int64) *durabletest.Disk {
	disk := durabletest.NewDisk()
	disk.Limit(bytes)
	return disk
}
