package spool

import (
	"os"
	"slices"

	"github.com/logspool/logspool/internal/durable"
)

// evictPrefix removes the delivered beginning of the first segment that is not delivered, and reports whether that was
// worth it: the rest of the segment goes into a file of its own, and takes the segment's place. What is copied is at most
// copiedMost times what is removed. Where it was not worth it, or failed, it is tried again when more is delivered: many
// spools are asked for each block that finds no space.
//
// If we crash before the old file is removed, both are there: the old one ends where the new one begins, and is history.
func (s *Spool) evictPrefix() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, acked := s.deliveredCount, s.cursor.acked.prefix
	if s.closed || i >= len(s.segments) || acked <= s.segments[i].base || acked >= s.segments[i].end || acked == s.prefixTriedAt {
		return false
	}
	s.prefixTriedAt = acked
	old := s.segments[i]
	off, header, ok := s.findBlockLocked(old, acked)
	if !ok || off < 2*allocationUnit || off*maxCopyRatio < old.size-off {
		return false
	}
	rest := make([]byte, segmentHeaderSize+old.size-off)
	r, err := s.fs.OpenFile(s.segmentPath(old.base), os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer r.Close()
	if _, err := r.ReadAt(rest[segmentHeaderSize:], off); err != nil {
		return false
	}
	copy(rest, header.encode())
	// Under its name it must be whole: the old segment ends where it begins. With Durable it must be on the disk, as the
	// old one is, before that is removed.
	path := s.segmentPath(header.base)
	if durable.WriteFile(s.fs, path, rest, filePerm, s.cursor.durable) != nil {
		_ = s.fs.Remove(path) // the directory could not be synced, and the old segment goes on
		return false
	}
	if i == len(s.segments)-1 {
		s.closeActiveLocked()
	}
	s.removeSegmentsLocked(i, i+1)
	s.segments = slices.Insert(s.segments, i, segment{base: header.base, end: old.end, dirty: !s.cursor.durable, progress: header.progress})
	s.resizeLocked(&s.segments[i], int64(len(rest)))
	s.dirDirty = true
	for _, r := range s.readers { // those that are in the old segment are in the new one
		if r.pinned > old.base {
			r.pinned = max(r.pinned, header.base+1)
		}
	}
	return true
}

// maxCopyRatio is how many times as much as it frees a removal of a segment's beginning may copy.
const maxCopyRatio = 8

// findBlockLocked returns where in a segment the block that holds pos begins, and the header of a segment that begins there.
func (s *Spool) findBlockLocked(seg segment, pos uint64) (off int64, header segmentHeader, ok bool) {
	w := window{s: s, headers: true}
	w.openSegment(seg.base)
	defer w.closeSegment()
	if w.fill(0, segmentHeaderSize, seg.size) != nil {
		return 0, header, false
	}
	header, err := decodeSegmentHeader(w.at(0), seg.base)
	if err != nil {
		return 0, header, false
	}
	at, p := seg.base, extent{size: seg.size, end: seg.end}
	for off = segmentHeaderSize; off < seg.size; {
		h, err := w.header(off, p)
		if err != nil || h.position != at {
			return 0, header, false
		}
		if h.end() > pos {
			// A frame that ends in this block may have its time in it.
			header.base, header.progress = h.position, s.cursor.acked.prefix
			header.maxTime = max(header.maxTime, h.info.MaxTime)
			return off, header, true
		}
		header.maxTime = max(header.maxTime, h.info.MaxTime)
		at, off = h.end(), off+h.diskSize()
	}
	return 0, header, false
}
