package spool

import (
	"math"
	"os"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestTornGapIsReportedOnce: a gap whose write was cut short by a kill is reported once,
// because its count is still pending. Nothing else is lost.
func TestTornGapIsReportedOnce(t *testing.T) {
	for name, lose := range map[string]func(*budgeted){
		"what Append could not keep": func(w *budgeted) {
			w.s.mu.Lock()
			w.s.addUnkeptLocked(Gap{Reason: Full, Frames: 3, Bytes: 300}, 0)
			w.s.mu.Unlock()
		},
		"lost after the spool": func(w *budgeted) { w.s.HoldGap(Gap{Reason: FirstForeign, Frames: 3, Bytes: 300}) },
	} {
		t.Run(name, func(t *testing.T) {
			disk := durabletest.NewDisk()
			w := newBudgeted(t, NewBudget(1<<30), Options{FS: disk})
			w.write(10)
			lose(w)
			at := disk.Killed() // the count is pending
			if !w.s.ReleaseGap() {
				if err := w.s.Ack([]stream.Range{{From: 0, To: w.s.End()}}); err != nil {
					t.Fatal(err)
				}
			}
			with := disk.Killed() // the gap is a block
			seg, err := with.ReadFile("/s/0000000000000000.seg")
			if err != nil {
				t.Fatal(err)
			}
			f, err := at.OpenFile("/s/0000000000000000.seg", os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(seg[:len(seg)-20], 0); err != nil {
				t.Fatal(err)
			}
			f.Close()
			lost := 0
			s := mustOpen(t, Options{Dir: "/s", FS: at, OnLoss: func(Gap) { lost++ }})
			defer s.Close()
			r := s.NewReader()
			read(r)
			if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
				t.Fatal(err)
			}
			s.ReleaseGap()
			s.Pending()
			frames, bytes := 0, 0
			for item, ok := r.Next(); ok; item, ok = r.Next() {
				if item.Gap != nil {
					frames, bytes = frames+int(item.Gap.Frames), bytes+int(item.Gap.Bytes)
				}
			}
			if frames != 3 || bytes != 300 || lost > 0 {
				t.Errorf("%d frames and %d bytes are reported as lost, %d losses are logged", frames, bytes, lost)
			}
		})
	}
}

// TestDamagedEndOfDeliveredLog: if the end of a delivered log is damaged later, no gap is
// recorded, although no cursor and no header says how much was delivered.
func TestDamagedEndOfDeliveredLog(t *testing.T) {
	disk := durabletest.NewDisk()
	w := newBudgeted(t, NewBudget(1<<30), Options{FS: disk, History: 1 << 20})
	for range 10 {
		w.write(10)
	}
	end := w.s.End()
	for name, delivered := range map[string]uint64{"archived": math.MaxUint64, "where it stopped": end} {
		t.Run(name, func(t *testing.T) {
			disk := disk.Killed()
			f, err := disk.OpenFile("/s/0000000000000000.seg", os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte("damage"), w.s.Size()-500); err != nil {
				t.Fatal(err)
			}
			f.Close()
			lost := 0
			s := mustOpen(t, Options{Dir: "/s", FS: disk, History: 1 << 20, Delivered: delivered, OnLoss: func(Gap) { lost++ }})
			defer s.Close()
			if s.Pending() || lost > 0 {
				t.Errorf("pending %v, %d losses are logged", s.Pending(), lost)
			}
			if s.End() < end {
				t.Errorf("positions are used twice: the end was %d, and is %d", end, s.End())
			}
		})
	}
}
