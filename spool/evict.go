package spool

import (
	"slices"

	"github.com/logspool/logspool/internal/stream"
)

// evictForLocked makes n more bytes fit in the spool's own bound, or returns ErrFull. The room in the budget has
// been taken before: see Budget.
func (s *Spool) evictForLocked(n int64) error {
	for !s.withinLimitLocked(n) {
		if !s.sealDeliveredLocked() && !s.evictAckedLocked() && (s.dropNewest || !s.evictUndeliveredLocked()) {
			return ErrFull
		}
	}
	return nil
}

// trimLocked evicts what is undelivered beyond the spool's own bound, as when that was lowered since the spool was last
// open. What a drop-newest spool has stays.
func (s *Spool) trimLocked() {
	for !s.dropNewest && !s.withinLimitLocked(0) && s.evictUndeliveredLocked() {
	}
}

// sealDeliveredLocked ends the segment that is appended to if everything in it is acknowledged, so that it is history,
// and reports whether it did.
func (s *Spool) sealDeliveredLocked() bool {
	if !s.lastDeliveredLocked() {
		return false
	}
	s.sealLocked()
	s.trimHistoryLocked()
	return true
}

// lastDeliveredLocked reports whether the segment that is appended to may be sealed to become history: something is in it,
// all of it is acknowledged, and its last block is not in the FIFO any more. After a crash it would be looked for there.
func (s *Spool) lastDeliveredLocked() bool {
	if !s.appendable || s.lastInFIFO.Load() {
		return false
	}
	last := s.segments[len(s.segments)-1]
	return last.end <= s.cursor.acked.prefix && last.size > segmentHeaderSize
}

func (s *Spool) withinLimitLocked(n int64) bool {
	return s.maxSize == 0 || s.totalBytes-s.deliveredBytes+n+segmentHeaderSize <= s.maxSize
}

// fitsLocked reports whether n more bytes, and the header of a segment that they may begin, fit.
func (s *Spool) fitsLocked(n int64) bool {
	return s.withinLimitLocked(n) && s.budget.Fits(n+segmentHeaderSize)
}

// evictUndeliveredLocked evicts the oldest segment of which nothing is in flight: what readers have been given is lost or
// kept exactly as it turns out. It records what of the segment had not been acknowledged, and returns false when there is
// no such segment.
func (s *Spool) evictUndeliveredLocked() bool {
	return s.evictAckedLocked() || s.evictUnownedLocked() || s.evictUnreadLocked()
}

// evictAckedLocked removes the oldest segment in which everything is acknowledged and that is kept only because
// something before it has not, as where one of two outputs is stuck. It costs nothing but history.
func (s *Spool) evictAckedLocked() bool {
	for i := s.deliveredCount; i < len(s.segments)-1; i++ {
		seg := s.segments[i]
		standsIn := func(r *Reader) bool { return seg.base < r.pinned && r.pinned <= s.segments[i+1].base }
		if s.cursor.acked.through(seg.base) >= seg.end && !slices.ContainsFunc(s.readers, standsIn) {
			s.removeSegmentsLocked(i, i+1)
			return true
		}
	}
	return false
}

// evictUnownedLocked evicts the oldest segment that some readers have passed and others have not come to, as where one of
// two outputs is stuck, and of which the former have nothing under way. They do not come to the place any more: the gap
// is written at the end of the stream, and what it covers counts as acknowledged.
//
// After a crash behind the gap, both the gap and the frames are there. After a crash behind the record in the cursor, the
// gap is there, and a segment in which everything is acknowledged.
func (s *Spool) evictUnownedLocked() bool {
	if len(s.readers) < 2 {
		return false
	}
	for i := s.deliveredCount; i < len(s.segments)-1; i++ {
		base := s.segments[i].base
		var passed []*Reader
		for _, r := range s.readers {
			if r.pinned > s.segments[i+1].base {
				passed = append(passed, r)
			} else if r.pinned > base { // it stands in it
				passed = nil
				break
			}
		}
		if len(passed) == 0 || len(passed) == len(s.readers) {
			continue
		}
		g, again, lost, ok := s.countUnownedLocked(i, passed)
		if !ok {
			continue
		}
		if s.unkept.Bytes > 0 { // its gap belongs where it is missing
			if s.appendUnkeptLocked() != nil {
				return false
			}
		}
		s.midFrame = false // a frame under way is the price: nothing comes between its parts
		if g.Bytes > 0 && s.appendAddedGapLocked(g) != nil {
			return false
		}
		// When the record cannot be written now, the cursor is rewritten at the next change.
		_ = s.cursor.ack(lost)
		s.ackedPrefix.Store(s.cursor.acked.prefix)
		s.reportLossLocked(g.minus(again))
		s.removeSegmentsLocked(i, i+1)
		return true
	}
	return false
}

// countUnownedLocked returns what of a segment has not been acknowledged, cut frames with all of them, and false when something
// of it is a passed reader's. again is what of it gaps record, so that it was lost before.
func (s *Spool) countUnownedLocked(i int, passed []*Reader) (g, again Gap, lost []stream.Range, ok bool) {
	seg := s.segments[i]
	g.Reason = Full
	r := &Reader{window: window{s: s}, locked: true, pos: s.cursor.acked.through(seg.base), acked: s.cursor.acked}
	defer r.Release()
	if r.pos == seg.base {
		r.openSegment(seg.base)
		h, err := r.block(segmentHeaderSize, extent{size: seg.size, end: seg.end})
		if err != nil || h.position != seg.base || h.info.First > 0 && i == 0 {
			return g, again, nil, false
		}
		if h.info.First > 0 { // a frame that begins in the segment before, which stays
			r.pos = s.cursor.acked.through(s.segments[i-1].base)
			r.lost = r.pos == s.segments[i-1].base
		}
	}
	for r.pos < seg.end {
		item, more := r.Next()
		if !more {
			return g, again, nil, false
		}
		if item.From >= seg.end {
			break
		}
		if item.To <= seg.base {
			continue
		}
		for _, p := range passed {
			if p.owner == nil || p.owner(item.Frame) {
				return g, again, nil, false
			}
		}
		lost = append(lost, item.Range)
		countItem(item, &g, &again)
	}
	return g, again, lost, true
}

// evictUnreadLocked evicts the oldest segment that no reader is in or has passed. The readers come to the place.
func (s *Spool) evictUnreadLocked() bool {
	pinned := uint64(0)
	for _, r := range s.readers {
		pinned = max(pinned, r.pinned)
	}
	i, _ := s.findLocked(pinned)
	i = max(i, s.deliveredCount)
	if i >= len(s.segments) {
		return false
	}
	if i == len(s.segments)-1 {
		s.sealLocked()
	}
	seg := s.segments[i]
	d := evicted{Range: stream.Range{From: max(seg.base, s.cursor.acked.prefix), To: seg.end}, Gap: Gap{Reason: Full}}
	known := s.cursor.evicted
	if d.From < d.To {
		var again Gap
		g, ok := s.countHeaders(seg)
		if !ok {
			g, again = s.countFrames(seg, d.Range)
		}
		d.Gap.join(g)
		s.reportLossLocked(d.Gap.minus(again))
		known = slices.Clone(known)
		_ = s.cursor.evict(s.joinEvictedLocked(d, pinned))
	}
	s.removeSegmentsLocked(i, i+1)
	if s.cursor.stale && s.cursor.rewrite() != nil && d.From < d.To { // not even now is there space for the record
		s.cursor.evicted = known
		s.recordEvictedAsGapLocked(d)
	}
	return true
}

// joinEvictedLocked joins d to the stretch before it, unless a reader has reported that: one record for one stretch,
// however long it becomes.
func (s *Spool) joinEvictedLocked(d evicted, pinned uint64) evicted {
	for _, before := range s.cursor.evicted {
		if before.To == d.From && before.From >= pinned {
			d.From = before.From
			d.Gap.join(before.Gap)
			break
		}
	}
	return d
}

// recordEvictedAsGapLocked reports what was evicted behind what there is, as a pending gap: that is overwritten in place, and a
// full disk lets it be. The place counts as acknowledged.
func (s *Spool) recordEvictedAsGapLocked(d evicted) {
	s.cursor.acked.add(d.Range)
	s.cursor.forgetReported()
	s.ackedPrefix.Store(s.cursor.acked.prefix)
	s.addGapLocked(d.Gap)
	s.storeAddedGapsLocked()
}

// countHeaders counts the frames of a segment in which nothing is acknowledged by the headers of its blocks, so that the
// intake does not wait until all of it is read. ok is false where they do not account for all of it.
func (s *Spool) countHeaders(seg segment) (g Gap, ok bool) {
	if s.cursor.acked.within(stream.Range{From: seg.base, To: seg.end}) {
		return g, false
	}
	w := window{s: s, headers: true}
	w.openSegment(seg.base)
	defer w.closeSegment()
	pos, p := seg.base, extent{size: seg.size, end: seg.end}
	for off := int64(segmentHeaderSize); off < seg.size; {
		h, err := w.header(off, p)
		if err != nil || h.position != pos || off == segmentHeaderSize && h.info.First > 0 {
			return g, false
		}
		if h.kind == kindGap {
			return g, false // what it records is in its payload
		}
		g.join(Gap{Frames: uint64(h.info.Frames), Bytes: uint64(h.length), MinTime: h.info.MinTime, MaxTime: h.info.MaxTime})
		pos, off = h.end(), off+h.diskSize()
	}
	return g, pos == seg.end
}

// countFrames counts the frames in r, a part of a segment, that are not acknowledged. again is what of it gaps record, so
// that it was lost before.
func (s *Spool) countFrames(seg segment, in stream.Range) (g, again Gap) {
	r := &Reader{window: window{s: s}, locked: true, pos: in.From, limit: in.To, acked: s.cursor.acked, lost: in.From == seg.base}
	defer r.Release()
	for {
		item, ok := r.Next()
		if !ok {
			if item, ok = r.GiveUp(); !ok {
				break
			}
		}
		countItem(item, &g, &again)
	}
	g.join(Gap{Bytes: in.To - min(r.pos, in.To)}) // what could not be read
	return g, again
}

// countItem adds an item that is evicted to g. What a gap records was lost before: it is added to again too.
func countItem(item Item, g, again *Gap) {
	if item.Gap != nil {
		g.join(*item.Gap)
		again.join(*item.Gap)
		return
	}
	t := frameTime(item.Frame)
	g.join(Gap{Frames: 1, Bytes: item.To - item.From, MinTime: t, MaxTime: t})
}

// trimHistoryLocked counts the segments in which everything is acknowledged among the history, and removes the oldest
// for which that has no room.
func (s *Spool) trimHistoryLocked() {
	for n := len(s.segments); s.deliveredCount < n && s.segments[s.deliveredCount].end <= s.cursor.acked.prefix && !(s.appendable && s.deliveredCount == n-1); {
		s.deliveredBytes += s.segments[s.deliveredCount].size
		s.deliveredCount++
	}
	n, size := 0, s.deliveredBytes
	for ; size > s.history; n++ {
		size -= s.segments[n].size
	}
	s.removeSegmentsLocked(0, n)
}
