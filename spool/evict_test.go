package spool

import (
	"fmt"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestDeliveredDataNeverCostsALine: if a budget is full of delivered data, including active
// segments, every new line is kept.
func TestDeliveredDataNeverCostsALine(t *testing.T) {
	const limit = 8 << 20
	b := NewBudget(limit)
	var all []*budgeted
	for i := range 30 {
		s := newBudgeted(t, b, Options{Dir: fmt.Sprint("/", i), MaxSize: 64 << 20, History: 20 << 20})
		for range 8 {
			s.write(300)
			s.s.Dropped()
		}
		if err := s.s.Ack([]stream.Range{{From: 0, To: s.s.End()}}); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	for range 20 {
		for _, s := range all {
			s.write(1)
			s.s.Dropped()
		}
	}
	for i, s := range all {
		if s.refused > 0 {
			t.Errorf("%d lines of spool %d were refused", s.refused, i)
		}
		if _, lost := s.accountAfter(t, 2400); lost > 0 {
			t.Errorf("%d lines of spool %d are lost", lost, i)
		}
	}
	if used := b.Used(); used > limit {
		t.Errorf("%d bytes are on disk", used)
	}
}

// TestBlockInFIFOIsNotEvicted: a block that may still be at the head of its FIFO is not
// removed, because the next start compares it with the FIFO.
func TestBlockInFIFOIsNotEvicted(t *testing.T) {
	b := NewBudget(1 << 20)
	s := newBudgeted(t, b, Options{History: 1 << 20})
	s.write(100)
	if err := s.s.Ack([]stream.Range{{From: 0, To: s.s.End()}}); err != nil {
		t.Fatal(err)
	}
	if s.s.evictHistory() {
		t.Error("removed before its block left the FIFO")
	}
	s.s.Dropped()
	if !s.s.evictHistory() || s.s.Size() != 0 {
		t.Errorf("not removed: %d bytes", s.s.Size())
	}
}

// TestTrimAtOpen: undelivered data beyond a lowered limit is evicted by Open and not by the
// first Append. Open reads block headers only, and the count is exact.
func TestTrimAtOpen(t *testing.T) {
	disk := durabletest.NewDisk()
	w := newBudgeted(t, NewBudget(1<<30), Options{FS: disk, MaxSize: 64 << 20})
	for range 200 {
		w.write(200)
	}
	w.s.Close()
	var lost Gap
	read := &countingFS{FS: disk}
	s := mustOpen(t, Options{Dir: "/s", FS: read, MaxSize: 1 << 20, OnLoss: func(g Gap) { lost.join(g) }})
	defer s.Close()
	if s.Size() > 5<<20 { // segments keep the size that they had
		t.Errorf("%d bytes are left", s.Size())
	}
	reads := read.bytes.Load()
	w.s = s
	before := s.Size()
	w.write(1)
	if s.Size() < before {
		t.Error("the first Append has evicted something")
	}
	got, recorded := w.account(t)
	if recorded == 0 || int(lost.Frames) != recorded {
		t.Errorf("%d lines are reported as lost, %d are recorded in the stream, %d read", lost.Frames, recorded, got)
	}
	if reads > 6<<20 { // the last segment, and the headers of the others
		t.Errorf("Open has read %d bytes", reads)
	}
}

// TestHeadersAndFramesCountTheSame: counting a segment by its headers and by its frames gives
// the same result.
func TestHeadersAndFramesCountTheSame(t *testing.T) {
	s := mustOpen(t, Options{Dir: "/s", FS: durabletest.NewDisk()})
	defer s.Close()
	a := &appender{s: s}
	for i := range 50 {
		a.append(t, numbered(i*10+1, i*10+10, i*7))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.segments[0]
	byHeaders, ok := s.countHeadersLocked(seg)
	if byFrames := s.countFramesLocked(seg, stream.Range{From: seg.base, To: seg.end}).all; !ok || byHeaders != byFrames {
		t.Errorf("by headers %+v (%v), by frames %+v", byHeaders, ok, byFrames)
	}
}

// TestEvictedGapIsReportedOnce: an evicted gap is recorded in the stream again, but is not
// reported as a new loss unless the spool lost its lines.
func TestEvictedGapIsReportedOnce(t *testing.T) {
	var lost Gap
	s := mustOpen(t, Options{Dir: t.TempDir(), MaxSize: 1 << 20, OnLoss: func(g Gap) { lost.join(g) }})
	defer s.Close()
	a := &appender{s: s}
	const foreign = 70_000 // added and reported by the uploader
	a.append(t, numbered(1, 10, 100))
	s.AddGap(Gap{Reason: FirstForeign, Frames: foreign, Bytes: foreign * 100})
	next := 11
	for ; next < 30_000; next += 10 {
		a.append(t, numbered(next, next+9, 100))
	}
	read, recorded := 0, 0
	r := s.NewReader()
	defer r.Release()
	for _, item := range frames(r) {
		if item.Gap != nil {
			recorded += int(item.Gap.Frames)
		} else {
			read++
		}
	}
	if recorded <= foreign || read+recorded != next-1+foreign {
		t.Errorf("%d lines are read and %d recorded as missing, of %d and %d", read, recorded, next-1, foreign)
	}
	if int(lost.Frames) != recorded-foreign {
		t.Errorf("%d lines are reported as lost, %d were", lost.Frames, recorded-foreign)
	}
}
