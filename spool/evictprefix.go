package spool

import (
	"os"
	"slices"

	"github.com/logspool/logspool/internal/durable"
)

// maxCopyRatio is how many bytes evictPrefix may copy for each byte that it frees.
const maxCopyRatio = 8

// evictPrefix removes the delivered prefix of the first segment that is not wholly
// delivered: the rest of the segment moves to a file of its own, which takes the
// segment's place. It reports whether it did. It does nothing if too little would be
// freed (see maxCopyRatio). Then, and after a failure, it tries again only when more is
// delivered, because the budget asks many spools for each block that finds no space.
//
// A crash before the old file is removed leaves both files. The old one ends where the new one
// begins, and is history.
func (s *Spool) evictPrefix() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, acked := s.stored.deliveredSegments, s.cursor.acked.prefix
	if s.closed || i >= len(s.segments) || acked <= s.segments[i].base || acked >= s.segments[i].end || acked == s.triedAt {
		return false
	}
	s.triedAt = acked
	old := s.segments[i]
	off, header, ok := s.findBlockLocked(old, acked)
	if !ok || off < 2*allocationUnit || off*maxCopyRatio < old.size-off {
		return false
	}
	rest := make([]byte, segmentHeaderSize+old.size-off)
	r, err := s.opts.FS.OpenFile(s.segmentPath(old.base), os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer r.Close()
	if _, err := r.ReadAt(rest[segmentHeaderSize:], off); err != nil {
		return false
	}
	copy(rest, header.encode())
	// The new file must be whole when it gets its name, because the old segment ends where it
	// begins. With Options.Durable, it must also be synced before the old file is removed.
	path := s.segmentPath(header.base)
	if durable.WriteFile(s.opts.FS, path, rest, durable.FilePerm, s.cursor.durable) != nil {
		// The new file may exist if only the sync failed. The old segment stays.
		_ = s.opts.FS.Remove(path)
		return false
	}
	if i == len(s.segments)-1 {
		s.closeActiveLocked()
	}
	s.removeSegmentsLocked(i, i+1)
	s.segments = slices.Insert(s.segments, i, segment{base: header.base, end: old.end, dirty: !s.cursor.durable, progress: header.progress})
	s.resizeLocked(&s.segments[i], int64(len(rest)))
	s.dirDirty = true
	for _, r := range s.readers { // readers in the old segment are now in the new one
		if r.pinned > old.base {
			r.pinned = max(r.pinned, header.base+1)
		}
	}
	return true
}

// findBlockLocked returns the offset of the block of seg that holds pos, and the header of a
// segment that begins with that block.
func (s *Spool) findBlockLocked(seg segment, pos uint64) (off int64, header segmentHeader, ok bool) {
	header, err := decodeSegmentHeader(s.segmentStart(seg.base), seg.base)
	if err != nil {
		return 0, header, false
	}
	header.progress = s.cursor.acked.prefix
	s.walkHeaders(seg, func(at int64, h blockHeader) bool {
		// This includes the block that holds pos: a frame that began before it may have its
		// time in it.
		header.maxTime = max(header.maxTime, h.info.MaxTime)
		header.base, off, ok = h.position, at, h.end() > pos
		return !ok
	})
	return off, header, ok
}
