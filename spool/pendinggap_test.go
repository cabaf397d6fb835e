package spool

import (
	"errors"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestUnkeptGapSurvivesKill: what a full spool or a full disk did not keep is reported once by
// the process that follows a killed one.
func TestUnkeptGapSurvivesKill(t *testing.T) {
	for _, full := range []string{"spool", "disk"} {
		t.Run(full, func(t *testing.T) {
			disk := durabletest.NewDisk()
			o := Options{Dir: "/s", FS: disk, MaxSize: 1 << 20, DropNewest: true}
			a := &appender{s: mustOpen(t, o)}
			total, last := 0, int64(0)
			write := func(blocks int) (refused int) {
				for range blocks {
					var p []byte
					for range 50 {
						total++
						p = append(p, testFrame("stdout", int64(total), []byte(strings.Repeat("y", 100)))...)
					}
					if a.s.Append(append(make([]byte, BlockHeaderSize), p...), 0, a.tracker.All(p)) != nil {
						refused++
					}
				}
				return refused
			}
			if full == "disk" {
				disk.Limit(500_000)
			}
			for range 3 { // a count survives a kill, and later blocks are added to it
				if write(200) == 0 {
					t.Fatal("there was space for everything")
				}
				a.s = mustOpen(t, o) // the process was killed
			}
			disk.Limit(0)
			r := a.s.NewReader()
			seen, reported := 0, 0
			take := func() {
				for {
					item, ok := r.Next()
					if !ok {
						return
					}
					if item.Gap != nil {
						reported += int(item.Gap.Frames)
						if item.Gap.MinTime != last+1 {
							t.Errorf("the gap %+v is after time %d", *item.Gap, last)
						}
						last = item.Gap.MaxTime
					} else {
						seen++
						last = frameTime(item.Frame)
					}
					if err := a.s.Ack([]stream.Range{item.Range}); err != nil {
						t.Fatal(err)
					}
				}
			}
			take()
			for a.s.Pending() {
				take()
			}
			if seen+reported != total || reported == 0 {
				t.Errorf("%d read and %d reported of %d", seen, reported, total)
			}
			r.Close()
			a.s = mustOpen(t, o)
			if a.s.Pending() {
				t.Error("a reported gap is reported again")
			}
		})
	}
}

// TestHeldGapStaysPending: a gap whose marker was rejected is pending until it is in the
// stream again, also after a kill.
func TestHeldGapStaysPending(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	a.append(t, numbered(1, 10, 100))
	if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
		t.Fatal(err)
	}
	if s.Pending() || s.ReleaseGap() {
		t.Error("pending before a gap was held")
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

// TestAddedGapSurvivesKill: an added gap for which the stream has no space yet survives a kill.
func TestAddedGapSurvivesKill(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	p := numbered(1, 1, 1000)
	a.append(t, p[:500]) // a gap does not come between the parts of a frame
	s.AddGap(Gap{Reason: FirstForeign, Frames: 7, Bytes: 70})
	s = mustOpen(t, Options{Dir: "/spool", FS: disk.Killed(), MaxSize: 1 << 20})
	defer s.Close()
	if !s.HoldsGap() {
		t.Fatal("the gap is lost")
	}
}

// TestPendingAppendsUnkeptGap: what a full budget refused is reported when everything else is
// delivered, although other spools still use the space. So is an added gap that waits for the
// rest of a frame that never comes.
func TestPendingAppendsUnkeptGap(t *testing.T) {
	budget := NewBudget(1)
	s := mustOpen(t, Options{Dir: "/spool", FS: durabletest.NewDisk(), Budget: budget})
	defer s.Close()
	if s.Pending() {
		t.Error("pending before anything was appended")
	}
	var tr Tracker
	p := numbered(1, 10, 100)
	p = append(p, p[:50]...)
	info := tr.All(p)
	if err := s.Append(append(make([]byte, BlockHeaderSize), p...), 1, info); !errors.Is(err, ErrFull) {
		t.Fatalf("Append: %v", err)
	}
	s.active.midFrame = true
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
