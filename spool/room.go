package spool

import (
	"slices"
	"sync/atomic"
)

// Budget bounds the bytes on disk of several spools together. Its methods may be called from any goroutine.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// NewBudget makes a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Used returns the bytes on disk of all spools under the budget.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) add(n int64) {
	if b != nil {
		b.used.Add(n)
	}
}

func (b *Budget) fits(n int64) bool { return b == nil || b.used.Load()+n <= b.limit }

// makeRoomLocked sees to it that n more bytes fit, or returns ErrFull.
func (s *Spool) makeRoomLocked(n int64) error {
	for !s.fitsLocked(n) {
		if s.deliveredN > 0 && !s.budget.fits(n+segmentHeaderSize) {
			s.removeSegmentsLocked(0, 1)
			continue
		}
		if s.dropNewest || !s.dropOldestLocked() {
			return ErrFull
		}
	}
	return nil
}

// fitsLocked reports whether n more bytes, and the header of a segment that they may begin, fit.
func (s *Spool) fitsLocked(n int64) bool {
	n += segmentHeaderSize
	return (s.maxSize == 0 || s.total-s.delivered+n <= s.maxSize) && s.budget.fits(n)
}

// dropOldestLocked gives up the oldest segment that no reader stands in or has passed: what readers have
// been given may be under way, and is gone or kept exactly as it turns out. It notes what of the segment
// had not been dealt with, and returns false when there is no such segment.
func (s *Spool) dropOldestLocked() bool {
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
		s.total -= seg.size
		s.budget.add(-seg.size)
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
