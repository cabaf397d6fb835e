package spool

import (
	"slices"
)

// makeRoomLocked sees to it that n more bytes fit in the spool's own bound, or returns ErrFull. The room in the budget has
// been taken before: see Budget.
func (s *Spool) makeRoomLocked(n int64) error {
	for !s.hasRoomLocked(n) {
		if !s.removeDealtWithLocked() && (s.dropNewest || !s.dropOldestLocked()) {
			return ErrFull
		}
	}
	return nil
}

func (s *Spool) hasRoomLocked(n int64) bool {
	return s.maxSize == 0 || s.total-s.delivered+n+segmentHeaderSize <= s.maxSize
}

// fitsLocked reports whether n more bytes, and the header of a segment that they may begin, fit.
func (s *Spool) fitsLocked(n int64) bool {
	return s.hasRoomLocked(n) && s.budget.Fits(n+segmentHeaderSize)
}

// growLocked counts n more bytes, or fewer where it is negative: in the budget what had not been taken there before.
func (s *Spool) growLocked(n int64) {
	s.total += n
	covered := max(0, min(n, s.reserved))
	s.reserved -= covered
	s.budget.add(n - covered)
}

// dropOldestLocked gives up the oldest segment of which nothing is under way: what readers have been given is lost or
// kept exactly as it turns out. It notes what of the segment had not been dealt with, and returns false when there is no
// such segment.
func (s *Spool) dropOldestLocked() bool {
	return s.removeDealtWithLocked() || s.dropPassedLocked() || s.dropAheadLocked()
}

// removeDealtWithLocked removes the oldest segment in which everything has been dealt with and that is kept only because
// something before it has not, as where one of two outputs is stuck. It costs nothing but history.
func (s *Spool) removeDealtWithLocked() bool {
	for i := s.deliveredN; i < len(s.segments)-1; i++ {
		seg := s.segments[i]
		standsIn := func(r *Reader) bool { return seg.base < r.held && r.held <= s.segments[i+1].base }
		if s.cursor.acked.through(seg.base) >= seg.end && !slices.ContainsFunc(s.readers, standsIn) {
			s.removeSegmentsLocked(i, i+1)
			return true
		}
	}
	return false
}

// dropPassedLocked gives up the oldest segment that some readers have passed and others have not come to, as where one of
// two outputs is stuck, and of which the former have nothing under way. They do not come to the place any more: the gap
// is told behind what there is, and what it tells of counts as dealt with.
//
// If we crash behind the gap, both the gap and the frames are there; behind the record in the cursor, the gap and a segment
// of which all is dealt with.
func (s *Spool) dropPassedLocked() bool {
	if len(s.readers) < 2 {
		return false
	}
	for i := s.deliveredN; i < len(s.segments)-1; i++ {
		base := s.segments[i].base
		var passed []*Reader
		for _, r := range s.readers {
			if r.held > s.segments[i+1].base {
				passed = append(passed, r)
			} else if r.held > base { // it stands in it
				passed = nil
				break
			}
		}
		if len(passed) == 0 || len(passed) == len(s.readers) {
			continue
		}
		g, lost, ok := s.unownedLocked(i, passed)
		if !ok {
			continue
		}
		if s.missing.Bytes > 0 { // it is to be told at the place where it is missing
			if s.appendMissingLocked() != nil {
				return false
			}
		}
		s.midFrame = false // a frame under way is the price: nothing comes between its parts
		if g.Bytes > 0 && s.appendNoteLocked(g) != nil {
			return false
		}
		// When the record cannot be written now, the cursor is written anew at the next change.
		_ = s.cursor.ack(lost)
		s.removeSegmentsLocked(i, i+1)
		return true
	}
	return false
}

// unownedLocked returns what of a segment has not been dealt with, cut frames with all of them, and false when something
// of it is a passed reader's.
func (s *Spool) unownedLocked(i int, passed []*Reader) (g Gap, lost []Range, ok bool) {
	seg := s.segments[i]
	g.Reason = Full
	r := &Reader{window: window{s: s}, locked: true, pos: s.cursor.acked.through(seg.base), acked: s.cursor.acked}
	defer r.Release()
	if r.pos == seg.base {
		r.turnTo(seg.base)
		h, err := r.block(segmentHeaderSize, place{size: seg.size, end: seg.end})
		if err != nil || h.position != seg.base || h.info.First > 0 && i == 0 {
			return g, nil, false
		}
		if h.info.First > 0 { // a frame that begins in the segment before, which stays
			r.pos = s.cursor.acked.through(s.segments[i-1].base)
			r.lost = r.pos == s.segments[i-1].base
		}
	}
	for r.pos < seg.end {
		item, more := r.Next()
		if !more {
			return g, nil, false
		}
		if item.From >= seg.end {
			break
		}
		if item.To <= seg.base {
			continue
		}
		for _, p := range passed {
			if p.owned == nil || p.owned(item.Frame) {
				return g, nil, false
			}
		}
		lost = append(lost, item.Range)
		if item.Gap != nil {
			g.add(*item.Gap)
			continue
		}
		t := frameTime(item.Frame)
		g.add(Gap{Frames: 1, Bytes: item.To - item.From, MinTime: t, MaxTime: t})
	}
	return g, lost, true
}

// dropAheadLocked gives up the oldest segment that no reader stands in or has passed. The readers come to the place.
func (s *Spool) dropAheadLocked() bool {
	held := uint64(0)
	for _, r := range s.readers {
		held = max(held, r.held)
	}
	i, _ := s.findLocked(held)
	i = max(i, s.deliveredN)
	if i >= len(s.segments) {
		return false
	}
	if i == len(s.segments)-1 {
		s.sealLocked()
	}
	seg := s.segments[i]
	d := dropped{Range: Range{max(seg.base, s.cursor.acked.prefix), seg.end}, Gap: Gap{Reason: Full}}
	if d.From < d.To {
		r := &Reader{window: window{s: s}, locked: true, pos: d.From, limit: d.To, acked: s.cursor.acked, lost: d.From == seg.base}
		for {
			item, ok := r.Next()
			if !ok {
				if item, ok = r.GiveUp(); !ok {
					break
				}
			}
			if item.Gap != nil {
				d.Gap.add(*item.Gap)
				continue
			}
			t := frameTime(item.Frame)
			d.Gap.add(Gap{Frames: 1, Bytes: item.To - item.From, MinTime: t, MaxTime: t})
		}
		d.Gap.add(Gap{Bytes: d.To - min(r.pos, d.To)}) // what could not be read
		r.Release()
		// One note for one stretch, however long it becomes, until a reader has told of it.
		for _, before := range s.cursor.dropped {
			if before.To == d.From && before.From >= held {
				d.From = before.From
				d.Gap.add(before.Gap)
				break
			}
		}
		// When the note cannot be written now, the cursor is written anew at the next change: room on the
		// disk is what is wanted first.
		_ = s.cursor.drop(d)
	}
	s.removeSegmentsLocked(i, i+1)
	return true
}

// reclaimLocked counts the segments in which everything has been dealt with among the history, and removes the oldest
// for which that has no room.
func (s *Spool) reclaimLocked() {
	for n := len(s.segments); s.deliveredN < n && s.segments[s.deliveredN].end <= s.cursor.acked.prefix && !(s.active != nil && s.deliveredN == n-1); {
		s.delivered += s.segments[s.deliveredN].size
		s.deliveredN++
	}
	n, size := 0, s.delivered
	for ; size > s.history; n++ {
		size -= s.segments[n].size
	}
	s.removeSegmentsLocked(0, n)
}

func (s *Spool) removeSegmentsLocked(from, to int) {
	for i, seg := range s.segments[from:to] {
		// A file that cannot be removed now is found and removed when the spool is next opened.
		s.fs.Remove(s.segmentPath(seg.base))
		s.growLocked(-seg.size)
		if from+i < s.deliveredN {
			s.delivered -= seg.size
		}
	}
	s.deliveredN -= max(0, min(to, s.deliveredN)-from)
	s.segments = slices.Delete(s.segments, from, to)
}

// segmentSize is how large a segment is at least, before the next one is begun, so that room is given back in steps
// that suit both bounds. A history of 64 KiB is not to be one segment, of which nothing is left when the next is full.
func segmentSize(maxSize, history int64) int64 {
	size := int64(maxSegmentSize)
	if maxSize > 0 {
		size = min(size, max(maxSize/16, minSegmentSize))
	}
	if history > 0 {
		size = min(size, max(history/8, minHistorySegment))
	}
	return size
}

// fullLocked is the size at which a segment is full: larger while much waits to be delivered, lest small segments
// become thousands of files.
func (s *Spool) fullLocked() int64 {
	return min(max(s.segmentSize, (s.total-s.delivered)/64), maxSegmentSize)
}
