package spool

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/logspool/logspool/internal/durable"
)

// load makes the next block the current one. On the way it may return a gap for a part that it
// skips.
func (r *Reader) load() (item Item, ok, more bool) {
	at := r.pos + uint64(len(r.current.carry))
	if r.limit > 0 && at >= r.limit {
		return item, false, false
	}
	if !r.current.located {
		return r.locate(at)
	}
	p := r.currentSegment()
	switch {
	case !p.found:
		// It was evicted, or everything in it has been acknowledged.
		r.unlocate()
		return item, false, true
	case r.current.off >= p.size && at < p.next:
		return r.skipMissing(p.next)
	case r.current.off >= p.size && p.last:
		return item, false, false
	case r.current.off >= p.size:
		return r.nextSegment(p.next)
	}
	h, err := r.block(r.current.off, p)
	if r.readFailed(err) {
		return item, false, false
	}
	if err != nil {
		if !r.currentSegment().found {
			return item, false, true // it has been removed meanwhile
		}
		if r.current.off == segmentHeaderSize && r.segmentIsNewer(p) {
			r.failure.err = fmt.Errorf("%q: %w", r.s.segmentPath(r.segment), ErrVersion)
			return item, false, false
		}
		return r.skipDamage(p)
	}
	return r.useBlock(h)
}

// maxReadFailures is how many reads may fail in a row before the block counts as damaged. If
// the file cannot be opened, because there are too many open files or the permissions are
// wrong, nothing is known of its content, and the reader retries without a limit.
const maxReadFailures = 10

// readFailed reports whether err is a failure to read, which may pass, and not damage of
// what was read.
func (r *Reader) readFailed(err error) bool {
	switch {
	case err == nil:
		r.failure.count = 0
		return false
	case errors.Is(err, errNoBlock), errors.Is(err, errShort), errors.Is(err, errChecksum), errors.Is(err, fs.ErrNotExist):
		return false
	}
	if r.file != nil {
		r.closeSegment()
		if r.failure.count++; r.failure.count >= maxReadFailures {
			r.failure.count = 0
			return false
		}
	}
	r.failure.err = err
	return true
}

// extent is the part of the stream, and of the disk, that a segment takes.
type extent struct {
	found bool
	size  int64  // size is the number of bytes on disk.
	end   uint64 // end is the position after what the segment holds, or should hold.
	last  bool   // last says that no other segment follows.
	next  uint64 // next is where the next segment begins, or where the stream ends.
	// file is the segment's file if the spool writes to it, or nil. The spool may close it at
	// any time.
	file durable.File
}

// currentSegment returns the extent of the segment that the reader is in.
func (r *Reader) currentSegment() (p extent) {
	r.lock()
	defer r.unlock()
	i, found := r.s.findLocked(r.segment)
	if !found {
		return p
	}
	seg := r.s.segments[i]
	p = extent{found: true, size: seg.size, end: seg.end, last: i+1 == len(r.s.segments), next: r.s.end.Load()}
	if !p.last {
		p.next = r.s.segments[i+1].base
	} else if r.s.active.appendable {
		p.file = r.s.active.file
	}
	return p
}

// unlocate forgets where pos is on the disk, and what was read from there.
func (r *Reader) unlocate() {
	r.closeSegment()
	r.current.located = false
	r.current.rest, r.current.carry, r.last.bytes = nil, r.current.carry[:0], nil
}

// locate finds the segment that holds the position at, or skips a part that no segment holds.
func (r *Reader) locate(at uint64) (item Item, ok, more bool) {
	r.lock()
	defer r.unlock()
	segments := r.s.segments
	i, found := r.s.findLocked(at)
	if !found {
		if i > 0 && at < segments[i-1].end {
			i-- // at is inside it
		} else {
			// No segment holds it: it was evicted or lost, or has not been written yet.
			to := r.s.end.Load()
			if i < len(segments) {
				to = segments[i].base
			}
			if at >= to {
				return item, false, false
			}
			return r.skipMissingLocked(to)
		}
	}
	r.openSegment(segments[i].base)
	r.current.located, r.current.off = true, segmentHeaderSize
	r.pinned = max(r.pinned, r.segment+1)
	return item, false, true
}

// nextSegment moves on to the segment that begins at next.
func (r *Reader) nextSegment(next uint64) (item Item, ok, more bool) {
	r.closeSegment()
	r.lock()
	defer r.unlock()
	if _, found := r.s.findLocked(next); !found {
		r.current.located = false // it was evicted
		return item, false, true
	}
	r.openSegment(next)
	r.current.off, r.pinned = segmentHeaderSize, max(r.pinned, next+1)
	return item, false, true
}

// skipMissing skips what the current segment should hold before to and does not, as after
// a power cut.
func (r *Reader) skipMissing(to uint64) (item Item, ok, more bool) {
	r.closeSegment()
	r.lock()
	defer r.unlock()
	r.current.located = false
	return r.skipMissingLocked(to)
}

// skipMissingLocked skips the stream up to to, which is no longer on the disk, or up to
// where another reason begins. It uses the present cursor, because what has been
// acknowledged meanwhile is not missing.
func (r *Reader) skipMissingLocked(to uint64) (item Item, ok, more bool) {
	carried := len(r.current.carry) > 0
	from := r.pos + uint64(len(r.current.carry))
	gap := Gap{Reason: Damaged}
	if r.all {
		if carried {
			return r.giveUpFrame(to, Damaged), true, true
		}
		r.current.lost = true
		return r.gap(to, Damaged, 0), true, true
	}
	for _, e := range r.s.cursor.evicted {
		switch {
		case e.To <= from:
		case e.From <= from:
			to, gap = min(to, e.To), e.Gap
		default:
			to = min(to, e.From)
		}
	}
	if end := r.s.cursor.acked.through(r.pos); end > r.pos {
		// An item ends there, but perhaps not at to.
		r.pos, r.current.carry = end, r.current.carry[:0]
		return item, false, true
	}
	if carried {
		if r.s.cursor.acked.through(from) > from {
			gap.Reason = Full // the rest of the frame was evicted: see evictUnownedLocked
		}
		return r.giveUpFrame(from, gap.Reason), true, true
	}
	item = r.gap(to, gap.Reason, 0)
	if gap.Reason != Damaged {
		item.Gap, item.Found = &gap, false
	}
	r.pinned, r.current.lost = max(r.pinned, to), true
	return item, true, true
}

// useBlock makes the block with header h, at current.off, the current one.
func (r *Reader) useBlock(h blockHeader) (item Item, ok, more bool) {
	carried := len(r.current.carry) > 0
	at := r.pos + uint64(len(r.current.carry))
	switch {
	case h.end() <= at:
		r.current.off += h.diskSize()
		return item, false, true
	case h.position > at:
		// Blocks are missing in between: they were damaged, and skipped.
		return r.giveUpFrame(h.position, Damaged), true, true
	case carried && (h.epoch != r.current.epoch || h.kind == kindGap):
		// The block is of another FIFO, or a gap: the rest of the frame will never come.
		return r.giveUpFrame(at, Unreadable), true, true
	}
	payload := r.at(r.current.off)[BlockHeaderSize:h.diskSize()][at-h.position:]
	r.current.block, r.current.epoch = r.current.off, h.epoch
	r.current.off += h.diskSize()
	switch {
	case h.kind == kindGap:
		g, _ := decodeGap(payload)
		item = r.gap(h.end(), g.Reason, g.Frames)
		// Foreign gaps are between frames.
		item.Gap, item.Found, r.current.lost = &g, false, g.Reason < FirstForeign
		return item, true, true
	case carried:
		return r.continueFrame(payload)
	case r.current.lost && at == h.position && h.info.First > 0:
		// The end of a frame whose beginning is lost, or more of its middle.
		r.current.rest = payload[h.info.First:]
		r.current.lost = len(r.current.rest) == 0
		return r.gap(h.position+uint64(h.info.First), Unreadable, 0), true, true
	}
	r.current.lost, r.current.rest = false, payload
	return item, false, true
}

// segmentIsNewer reports whether a newer version wrote the current segment, so that it is not
// damaged.
func (r *Reader) segmentIsNewer(p extent) bool {
	return r.fill(0, segmentHeaderSize, p) == nil && newerSegment(r.at(0))
}

// skipDamage moves the reader to the next good block of the segment; useBlock then
// returns the gap. If there is none, the rest of the segment is lost.
func (r *Reader) skipDamage(p extent) (item Item, ok, more bool) {
	off := &r.current.off
	for *off++; *off+BlockHeaderSize <= p.size; {
		if err := r.fill(*off, BlockHeaderSize, p); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if r.file == nil && !errors.Is(err, errShort) {
				r.failure.err = err
				return item, false, false
			}
			*off = (*off/diskPage + 1) * diskPage
			continue
		}
		rest := r.at(*off)
		i := nextBlock(rest)
		if i < 0 {
			*off += int64(len(rest) - len(blockMagicBytes) + 1)
			continue
		}
		*off += int64(i)
		if _, err := r.block(*off, p); err == nil {
			return item, false, true
		}
		*off++
	}
	*off = p.size
	if end := r.pos + uint64(len(r.current.carry)); p.end <= end {
		return item, false, true
	}
	return r.giveUpFrame(p.end, Damaged), true, true
}

// diskPage is the number of bytes that cannot be read if one sector of the disk is bad,
// because the kernel reads whole pages.
const diskPage = 4096
