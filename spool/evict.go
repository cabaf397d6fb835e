package spool

import (
	"slices"

	"github.com/logspool/logspool/internal/stream"
)

// evictForLocked makes n more bytes fit below the spool's own limit, or returns ErrFull.
// The space in the budget has been reserved before: see Budget.
func (s *Spool) evictForLocked(n int64) error {
	for !s.withinLimitLocked(n) {
		if !s.sealDeliveredLocked() && !s.evictAckedLocked() && (s.opts.DropNewest || !s.evictUndeliveredLocked()) {
			return ErrFull
		}
	}
	return nil
}

// trimLocked evicts undelivered data beyond the spool's own limit, which may have been lowered
// since the spool was last open. A drop-newest spool keeps what it has.
func (s *Spool) trimLocked() {
	for !s.opts.DropNewest && !s.withinLimitLocked(0) && s.evictUndeliveredLocked() {
	}
}

// withinLimitLocked reports whether the spool's own limit allows n more bytes, and the
// header of a segment that they may start.
func (s *Spool) withinLimitLocked(n int64) bool {
	return s.opts.MaxSize == 0 || s.stored.total-s.stored.delivered+n+segmentHeaderSize <= s.opts.MaxSize
}

// fitsLocked reports whether both the spool's own limit and the budget allow n more bytes.
func (s *Spool) fitsLocked(n int64) bool {
	return s.withinLimitLocked(n) && s.opts.Budget.Fits(n+segmentHeaderSize)
}

// sealDeliveredLocked seals the active segment if everything in it is acknowledged, so that it
// becomes history. It reports whether it did.
func (s *Spool) sealDeliveredLocked() bool {
	if !s.lastDeliveredLocked() {
		return false
	}
	s.sealLocked()
	s.trimHistoryLocked()
	return true
}

// lastDeliveredLocked reports whether the active segment may become history: it has
// blocks, all of them are acknowledged, and the last one is not in its FIFO any more. The
// next start would look in this segment for a block that is still in its FIFO.
func (s *Spool) lastDeliveredLocked() bool {
	if !s.active.appendable || s.lastInFIFO.Load() {
		return false
	}
	last := s.segments[len(s.segments)-1]
	return last.end <= s.cursor.acked.prefix && last.size > segmentHeaderSize
}

// trimHistoryLocked counts the leading segments in which everything is acknowledged as
// history, and removes the oldest ones beyond the limit of the history.
func (s *Spool) trimHistoryLocked() {
	for {
		i := s.stored.deliveredSegments
		if i == len(s.segments) || s.segments[i].end > s.cursor.acked.prefix || s.active.appendable && i == len(s.segments)-1 {
			break
		}
		s.stored.delivered += s.segments[i].size
		s.stored.deliveredSegments++
	}
	n, size := 0, s.stored.delivered
	for ; size > s.opts.History; n++ {
		size -= s.segments[n].size
	}
	s.removeSegmentsLocked(0, n)
}

// sizes returns the bytes of delivered data that may be removed, and of undelivered data.
func (s *Spool) sizes() (delivered, pending int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastDeliveredLocked() {
		return s.stored.total, 0
	}
	return s.stored.delivered, s.stored.total - s.stored.delivered
}

// evictHistory removes the oldest segment in which everything is delivered. It reports whether
// there was one.
func (s *Spool) evictHistory() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.stored.deliveredSegments == 0 && !s.sealDeliveredLocked() {
		return false
	}
	if s.stored.deliveredSegments > 0 { // otherwise sealDeliveredLocked has removed it
		s.removeSegmentsLocked(0, 1)
	}
	return true
}

// evictFor evicts the oldest undelivered segment that may be evicted, to make space for
// another spool. It reports whether there was one.
func (s *Spool) evictFor(other *Spool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	end := s.end.Load()
	s.markUsedLocked()
	if !s.evictUndeliveredLocked() {
		return false
	}
	defer s.publishLocked()
	if s != other {
		s.reportGapsLocked(int(s.end.Load() - end))
	}
	return true
}

// evictUndeliveredLocked evicts the oldest segment of which nothing is in flight. What is
// in flight is not evicted: its delivery decides whether it is lost. The unacknowledged
// part of the segment is recorded as lost. It returns false if there is no such segment.
func (s *Spool) evictUndeliveredLocked() bool {
	return s.evictAckedLocked() || s.evictUnownedLocked() || s.evictUnreadLocked()
}

// evictAckedLocked removes the oldest segment in which everything is acknowledged although
// something before it is not, as when one of two outputs is stuck. Only history is lost.
func (s *Spool) evictAckedLocked() bool {
	for i := s.stored.deliveredSegments; i < len(s.segments)-1; i++ {
		seg := s.segments[i]
		inside := func(r *Reader) bool { return seg.base < r.pinned && r.pinned <= s.segments[i+1].base }
		if s.cursor.acked.through(seg.base) >= seg.end && !slices.ContainsFunc(s.readers, inside) {
			s.removeSegmentsLocked(i, i+1)
			return true
		}
	}
	return false
}

// evictUnownedLocked evicts the oldest segment that one reader has passed and another has
// not reached, if the first has nothing in flight there. It matters when the outputs of a
// container go to two streams: while one is stuck, the reader of the other reads on, in
// search of its own frames (docs/decisions/0008-evict-behind-a-reader.md). The readers that
// have passed the place do not return to it. So a gap block at the end of the stream
// records the loss, and the lost frames count as acknowledged.
//
// A crash after the gap block leaves both the gap and the frames. A crash after the
// record in the cursor leaves the gap and a segment in which everything is acknowledged.
func (s *Spool) evictUnownedLocked() bool {
	if len(s.readers) < 2 {
		return false
	}
	for i := s.stored.deliveredSegments; i < len(s.segments)-1; i++ {
		passed := s.passedLocked(i)
		if len(passed) == 0 || len(passed) == len(s.readers) {
			continue
		}
		l, lost, ok := s.countUnownedLocked(i, passed)
		if !ok {
			continue
		}
		// The unkept gap comes first, because its data was next in the stream.
		if s.gaps.unkept.Bytes > 0 && s.appendUnkeptLocked() != nil {
			return false
		}
		// A frame in progress is lost: nothing may come between its parts.
		s.active.midFrame = false
		if l.all.Bytes > 0 && s.appendAddedGapLocked(l.all) != nil {
			return false
		}
		// If the record cannot be written now, the cursor is rewritten at the next change.
		_ = s.cursor.ack(lost)
		s.ackedPrefix.Store(s.cursor.acked.prefix)
		s.reportLossLocked(l.newlyLost())
		s.removeSegmentsLocked(i, i+1)
		return true
	}
	return false
}

// passedLocked returns the readers that have passed segment i, which is not the last one;
// nil if a reader is in it.
func (s *Spool) passedLocked(i int) (passed []*Reader) {
	for _, r := range s.readers {
		switch {
		case r.pinned > s.segments[i+1].base:
			passed = append(passed, r)
		case r.pinned > s.segments[i].base:
			return nil
		}
	}
	return passed
}

// countUnownedLocked counts the unacknowledged items of segment i, including those that
// begin or end in a neighbouring segment, and returns their ranges. ok is false if one of
// them belongs to a reader in passed.
func (s *Spool) countUnownedLocked(i int, passed []*Reader) (l loss, lost []stream.Range, ok bool) {
	seg := s.segments[i]
	l.all.Reason = Full
	r := &Reader{window: window{s: s}, locked: true, pos: s.cursor.acked.through(seg.base), acked: s.cursor.acked}
	defer r.Release()
	if r.pos == seg.base {
		r.openSegment(seg.base)
		h, err := r.block(segmentHeaderSize, extent{size: seg.size, end: seg.end})
		if err != nil || h.position != seg.base || h.info.First > 0 && i == 0 {
			return l, nil, false
		}
		if h.info.First > 0 { // a frame begins in the segment before, which stays
			r.pos = s.cursor.acked.through(s.segments[i-1].base)
			r.current.lost = r.pos == s.segments[i-1].base
		}
	}
	for r.pos < seg.end {
		item, more := r.Next()
		if !more {
			return l, nil, false
		}
		if item.From >= seg.end {
			break
		}
		if item.To <= seg.base {
			continue
		}
		for _, p := range passed {
			if p.owner == nil || p.owner(item.Frame) {
				return l, nil, false
			}
		}
		lost = append(lost, item.Range)
		l.add(item)
	}
	return l, lost, true
}

// evictUnreadLocked evicts the oldest segment that no reader is in or has passed. The
// readers will reach the place, so the cursor records the loss and the reader returns it
// as a gap.
func (s *Spool) evictUnreadLocked() bool {
	pinned := uint64(0)
	for _, r := range s.readers {
		pinned = max(pinned, r.pinned)
	}
	i, _ := s.findLocked(pinned)
	i = max(i, s.stored.deliveredSegments)
	if i >= len(s.segments) {
		return false
	}
	if i == len(s.segments)-1 {
		s.sealLocked()
	}
	seg := s.segments[i]
	e := evicted{Range: stream.Range{From: max(seg.base, s.cursor.acked.prefix), To: seg.end}}
	known := s.cursor.evicted
	if e.From < e.To {
		g, ok := s.countHeadersLocked(seg)
		l := loss{all: g}
		if !ok {
			l = s.countFramesLocked(seg, e.Range)
		}
		e.Gap = l.all
		s.reportLossLocked(l.newlyLost())
		known = slices.Clone(known)
		_ = s.cursor.evict(s.joinEvictedLocked(e, pinned))
	}
	s.removeSegmentsLocked(i, i+1)
	if s.cursor.file.stale && s.cursor.rewrite() != nil && e.From < e.To {
		// Not even the removed segment made space for the record.
		s.cursor.evicted = known
		s.recordEvictedAsGapLocked(e)
	}
	return true
}

// joinEvictedLocked joins e to the evicted range just before it, unless a reader has already
// reported that one. So one record describes an evicted range, however long it becomes.
func (s *Spool) joinEvictedLocked(e evicted, pinned uint64) evicted {
	for _, before := range s.cursor.evicted {
		if before.To == e.From && before.From >= pinned {
			e.From = before.From
			e.Gap.join(before.Gap)
			break
		}
	}
	return e
}

// recordEvictedAsGapLocked records e as a gap at the end of the stream instead of at its
// place, which counts as acknowledged. That gap is pending, and a full disk allows its
// record to be overwritten in place.
func (s *Spool) recordEvictedAsGapLocked(e evicted) {
	s.cursor.acked.add(e.Range)
	s.cursor.forgetReported()
	s.ackedPrefix.Store(s.cursor.acked.prefix)
	s.addGapLocked(e.Gap)
	s.storeAddedGapsLocked()
}

// loss is what an eviction loses.
type loss struct {
	all   Gap // all is everything that had not been acknowledged.
	again Gap // again is the part of all that gap blocks recorded, so that it was lost before.
}

func (l *loss) add(item Item) {
	if item.Gap != nil {
		l.all.join(*item.Gap)
		l.again.join(*item.Gap)
		return
	}
	t := frameTime(item.Frame)
	l.all.join(Gap{Frames: 1, Bytes: item.To - item.From, MinTime: t, MaxTime: t})
}

// newlyLost returns what had not been lost before.
func (l loss) newlyLost() Gap { return l.all.minus(l.again) }

// countFramesLocked counts what is not acknowledged of in, the end of a segment or all of it.
func (s *Spool) countFramesLocked(seg segment, in stream.Range) loss {
	l := loss{all: Gap{Reason: Full}}
	r := &Reader{window: window{s: s}, locked: true, pos: in.From, limit: in.To, acked: s.cursor.acked}
	r.current.lost = in.From == seg.base
	defer r.Release()
	for {
		item, ok := r.Next()
		if !ok {
			if item, ok = r.GiveUp(); !ok {
				break
			}
		}
		l.add(item)
	}
	l.all.join(Gap{Bytes: in.To - min(r.pos, in.To)}) // what could not be read
	return l
}

// countHeadersLocked counts a segment by the headers of its blocks, so that the intake
// does not wait until all of it is read. ok is false if the headers do not suffice: part
// of the segment is acknowledged, or is a gap, or a frame begins before it.
func (s *Spool) countHeadersLocked(seg segment) (g Gap, ok bool) {
	g.Reason = Full
	if s.cursor.acked.within(stream.Range{From: seg.base, To: seg.end}) {
		return g, false
	}
	ok = s.walkHeaders(seg, func(off int64, h blockHeader) bool {
		g.join(h.info.gap(Full, h.length))
		// A gap block has its numbers in the payload.
		return h.kind != kindGap && (off > segmentHeaderSize || h.info.First == 0)
	})
	return g, ok
}

// walkHeaders calls f with the header of each block of seg, without verifying it, until f
// returns false. It reports whether f returned true for all, and the headers account for
// all of seg.
func (s *Spool) walkHeaders(seg segment, f func(off int64, h blockHeader) bool) bool {
	w := window{s: s, headers: true}
	w.openSegment(seg.base)
	defer w.releaseBuffer()
	defer w.closeSegment()
	reached, whole := w.walk(seg, f)
	return whole && reached == seg.end
}

// walk calls f with the header of each block of seg, the window's segment, until f returns
// false or the headers end or contradict each other. It returns the position that it has
// reached, and whether no header is left.
func (w *window) walk(seg segment, f func(off int64, h blockHeader) bool) (pos uint64, whole bool) {
	pos, p := seg.base, extent{size: seg.size, end: seg.end}
	for off := int64(segmentHeaderSize); off < seg.size; {
		h, err := w.header(off, p)
		if err != nil || h.position != pos || !f(off, h) {
			return pos, false
		}
		pos, off = h.end(), off+h.diskSize()
	}
	return pos, true
}
