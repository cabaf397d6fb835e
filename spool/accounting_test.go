package spool

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// accounted is a container's directory under a budget, in the states that the driver uses: open,
// archived, or removed.
type accounted struct {
	dir      string
	w        *budgeted
	archived *ArchivedLog
}

// onDisk returns the bytes that the directory takes on the disk.
func (a *accounted) onDisk(t fataler, disk *durabletest.Disk) int64 {
	if a.w == nil && a.archived == nil {
		return 0
	}
	info, err := Inspect(disk, a.dir)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return info.Allocated
}

// TestBudgetCountsWhatIsOnDisk: whatever is done to the logs under a budget, on a disk that may
// be full, its count equals what is on the disk.
func TestBudgetCountsWhatIsOnDisk(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		disk := durabletest.NewDisk()
		b := NewBudget(2 << 20)
		all := make([]*accounted, 4)
		for i := range all {
			all[i] = &accounted{dir: fmt.Sprint("/", i)}
		}
		full := false
		open := func(t *rapid.T, a *accounted) {
			o := Options{
				Dir: a.dir, FS: disk, Budget: b, MaxSize: 1 << 20,
				History: rapid.SampledFrom([]int64{0, 100 << 10, 1 << 30}).Draw(t, "history"), DropNewest: rapid.Bool().Draw(t, "newest"),
			}
			if a.archived != nil {
				a.archived.Release()
				a.archived, o.Delivered = nil, math.MaxUint64
			}
			s, _, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			a.w = &budgeted{appender: &appender{s: s}}
		}
		pick := func(t *rapid.T) *accounted {
			a := all[rapid.IntRange(0, len(all)-1).Draw(t, "spool")]
			if a.w == nil {
				open(t, a)
			}
			return a
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				a := pick(t)
				a.w.write(rapid.IntRange(1, 400).Draw(t, "frames"))
				if rapid.IntRange(0, 9).Draw(t, "dropped") > 0 {
					a.w.s.Dropped()
				}
			},
			"ack": func(t *rapid.T) {
				a := pick(t)
				from, end := a.w.s.Acked(), a.w.s.End()
				part := uint64(rapid.IntRange(1, 4).Draw(t, "part"))
				_ = a.w.s.Ack([]stream.Range{{From: from, To: from + (end-from)/part}})
			},
			"ack out of order": func(t *rapid.T) {
				a := pick(t)
				from, end := a.w.s.Acked(), a.w.s.End()
				_ = a.w.s.Ack([]stream.Range{{From: from + (end-from)/2, To: end}})
			},
			"prepare": func(t *rapid.T) { _ = pick(t).w.s.Prepare() },
			"add gap": func(t *rapid.T) { pick(t).w.s.AddGap(Gap{Reason: FirstForeign, Frames: 1, Bytes: 1}) },
			"hold gap": func(t *rapid.T) {
				a := pick(t)
				a.w.s.HoldGap(Gap{Reason: FirstForeign, Frames: 1, Bytes: 1})
				a.w.s.ReleaseGap()
			},
			"pending": func(t *rapid.T) { pick(t).w.s.Pending() },
			"sync":    func(t *rapid.T) { _ = pick(t).w.s.Sync() },
			"trim":    func(t *rapid.T) { b.Trim() },
			"reclaim": func(t *rapid.T) { b.reclaimDisk(nil, false) },
			"disk": func(t *rapid.T) {
				if full = !full; full {
					disk.Limit(1) // full as it is
				} else {
					disk.Limit(0)
				}
			},
			"close": func(t *rapid.T) {
				a := pick(t)
				_ = a.w.s.Close()
				a.w = nil
				open(t, a)
			},
			"archive": func(t *rapid.T) {
				a := pick(t)
				for a.w.s.Pending() && !full {
					a.w.s.ReleaseGap() // after Open, added gaps are held
					_ = a.w.s.Ack([]stream.Range{{From: 0, To: a.w.s.End()}})
				}
				_ = a.w.s.Close()
				a.w = nil
				if err := RemoveCursor(disk, a.dir); err != nil {
					t.Fatal(err)
				}
				info, err := Inspect(disk, a.dir)
				if err != nil {
					t.Fatal(err)
				}
				a.archived = b.AddArchived(info.Allocated, time.Now(), func() error {
					a.archived = nil
					return removeDir(disk, a.dir)
				})
			},
			"remove": func(t *rapid.T) {
				a := pick(t)
				if err := a.w.s.Remove(); err != nil {
					t.Fatal(err)
				}
				a.w = nil
			},
			"": func(t *rapid.T) {
				want := int64(0)
				for _, a := range all {
					want += a.onDisk(t, disk)
				}
				if used := b.Used(); used != want {
					t.Fatalf("%d bytes are counted, and %d are on the disk", used, want)
				}
			},
		})
		disk.Limit(0)
		for _, a := range all {
			if a.w != nil {
				a.w.s.Close()
			}
			if a.archived != nil {
				a.archived.Release()
			}
		}
		if used := b.Used(); used != 0 {
			rt.Fatalf("%d bytes are counted when nothing is open", used)
		}
		if n := len(b.open) + len(b.withFiles) + len(b.archived); n > 0 {
			rt.Fatalf("%d spools are still known", n)
		}
	})
}

// TestCursorIsCounted: the budget counts what the cursor takes on the disk, whatever
// created it and however long it becomes.
func TestCursorIsCounted(t *testing.T) {
	disk, b := durabletest.NewDisk(), NewBudget(64<<20)
	w := newBudgeted(t, b, Options{FS: disk})
	for i := range 2000 {
		w.write(1)
		from := w.s.Acked()
		if err := w.s.Ack([]stream.Range{{From: from, To: w.s.End()}}); err != nil {
			t.Fatal(err)
		}
		if info, err := Inspect(disk, "/s"); err != nil || b.Used() != info.Allocated {
			t.Fatalf("after %d acknowledgements: %d bytes are counted, and %d are on the disk: %v", i, b.Used(), info.Allocated, err)
		}
	}
	if info, _ := Inspect(disk, "/s"); info.Allocated < 10*allocationUnit {
		t.Errorf("the cursor has not grown: %d bytes on the disk", info.Allocated)
	}
}
