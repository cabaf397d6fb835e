package spool

import (
	"errors"
	"fmt"
	"io/fs"
)

// load makes the next block the one at hand. When that is not possible in one go, it returns an item for
// what is passed over, or says that there is more.
func (r *Reader) load() (item Item, ok, more bool) {
	at := r.pos + uint64(len(r.carry))
	if r.limit > 0 && at >= r.limit {
		return item, false, false
	}
	if !r.located {
		return r.locate(at)
	}
	p := r.currentSegment()
	switch {
	case !p.found:
		// It gave way, or everything in it has been acknowledged.
		r.unlocate()
		return item, false, true
	case r.off >= p.size && at < p.next:
		return r.skipMissing(p.next)
	case r.off >= p.size && p.last:
		return item, false, false
	case r.off >= p.size:
		return r.nextSegment(p.next)
	}
	h, err := r.block(r.off, p)
	if r.readFailed(err) {
		return item, false, false
	}
	if err != nil {
		if !r.currentSegment().found {
			return item, false, true // removed meanwhile
		}
		if r.off == segmentHeaderSize && r.segmentIsNewer(p) {
			r.err = fmt.Errorf("%q: %w", r.s.segmentPath(r.segment), ErrVersion)
			return item, false, false
		}
		return r.skipDamage(p)
	}
	return r.useBlock(h)
}

// maxReadFailures is how often a read may fail for a reason that may pass before it counts as damage. A file that
// cannot be opened, because there are too many open files or for want of permission, says nothing about what is in
// it: that is waited for without end.
const maxReadFailures = 10

// readFailed reports whether err is a trouble of reading, rather than of what was read, that may pass.
func (r *Reader) readFailed(err error) bool {
	switch {
	case err == nil:
		r.failures = 0
		return false
	case errors.Is(err, errNoBlock), errors.Is(err, errShort), errors.Is(err, errChecksum), errors.Is(err, fs.ErrNotExist):
		return false
	}
	if r.file != nil {
		r.closeSegment()
		if r.failures++; r.failures >= maxReadFailures {
			r.failures = 0
			return false
		}
	}
	r.err = err
	return true
}

// extent is what is known of the segment that a reader is in.
type extent struct {
	found bool
	size  int64  // bytes on disk
	end   uint64 // position behind what it holds, or should hold
	last  bool   // no other follows
	next  uint64 // where the following one begins; of the last one, where the stream ends
}

// currentSegment looks at the segment that the reader is in.
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
	}
	return p
}

// unlocate forgets where pos is on disk, and what was read from there.
func (r *Reader) unlocate() {
	r.closeSegment()
	r.located = false
	r.rest, r.carry, r.last = nil, r.carry[:0], nil
}

// nextSegment goes on to the segment that begins at next.
func (r *Reader) nextSegment(next uint64) (item Item, ok, more bool) {
	r.closeSegment()
	r.lock()
	defer r.unlock()
	if _, found := r.s.findLocked(next); !found {
		r.located = false // it gave way
		return item, false, true
	}
	r.openSegment(next)
	r.off, r.pinned = segmentHeaderSize, max(r.pinned, next+1)
	return item, false, true
}

// locate finds the segment that holds the position at, and passes over what is not there any more.
func (r *Reader) locate(at uint64) (item Item, ok, more bool) {
	r.lock()
	defer r.unlock()
	segments := r.s.segments
	i, found := r.s.findLocked(at)
	if !found {
		if i > 0 && at < segments[i-1].end {
			i-- // at is inside it
		} else {
			// Nothing holds it: it gave way, or was lost, or has not been written yet.
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
	r.located, r.off = true, segmentHeaderSize
	r.pinned = max(r.pinned, r.segment+1)
	return item, false, true
}

// skipMissing passes over what the segment at hand should hold up to to, and does not: a power cut can do that.
func (r *Reader) skipMissing(to uint64) (item Item, ok, more bool) {
	r.closeSegment()
	r.lock()
	defer r.unlock()
	r.located = false
	return r.skipMissingLocked(to)
}

// skipMissingLocked passes over the stream up to to, which is on disk no more, or up to where another
// reason begins. It asks the cursor as it is now: what has been dealt with since is not missing.
func (r *Reader) skipMissingLocked(to uint64) (item Item, ok, more bool) {
	from := r.pos + uint64(len(r.carry))
	gap := Gap{Reason: Damaged}
	if r.all {
		if len(r.carry) > 0 {
			return r.giveUpFrame(to, Damaged), true, true
		}
		r.lost = true
		return r.gap(to, Damaged, 0), true, true
	}
	for _, d := range r.s.cursor.evicted {
		switch {
		case d.To <= from:
		case d.From <= from:
			to, gap = min(to, d.To), d.Gap
		default:
			to = min(to, d.From)
		}
	}
	if end := r.s.cursor.acked.through(r.pos); end > r.pos {
		r.pos, r.carry = end, r.carry[:0] // where an item ends, which to need not be
		return item, false, true
	}
	if len(r.carry) > 0 {
		if r.s.cursor.acked.through(from) > from {
			gap.Reason = Full // the rest of the frame gave way: see evictPassedLocked
		}
		return r.giveUpFrame(from, gap.Reason), true, true
	}
	item = r.gap(to, gap.Reason, 0)
	if gap.Reason != Damaged {
		item.Gap = &gap
	}
	r.pinned, r.lost = max(r.pinned, to), true
	return item, true, true
}

// useBlock makes the block with header h, at r.off, the one at hand.
func (r *Reader) useBlock(h blockHeader) (item Item, ok, more bool) {
	at := r.pos + uint64(len(r.carry))
	switch {
	case h.end() <= at:
		r.off += h.diskSize()
		return item, false, true
	case h.position > at:
		// Blocks are missing in between: they were damaged, and passed over.
		return r.giveUpFrame(h.position, Damaged), true, true
	case len(r.carry) > 0 && (h.epoch != r.epoch || h.kind == kindGap):
		// Another FIFO, or what was not kept: the rest of that frame will never come.
		return r.giveUpFrame(at, Unreadable), true, true
	}
	payload := r.at(r.off)[BlockHeaderSize:h.diskSize()][at-h.position:]
	r.blockAt, r.epoch = r.off, h.epoch
	r.off += h.diskSize()
	switch {
	case h.kind == kindGap:
		g, _ := decodeGap(payload)
		item = r.gap(h.end(), g.Reason, g.Frames)
		item.Gap, r.lost = &g, g.Reason < FirstForeign // which stand between frames
		return item, true, true
	case len(r.carry) > 0:
		return r.continueFrame(payload)
	case r.lost && at == h.position && h.info.First > 0:
		// The end of a frame whose beginning is lost, or more of its middle.
		r.rest = payload[h.info.First:]
		r.lost = len(r.rest) == 0
		return r.gap(h.position+uint64(h.info.First), Unreadable, 0), true, true
	}
	r.lost, r.rest = false, payload
	return item, false, true
}

// segmentIsNewer reports whether the segment at hand was written by a newer version, so that nothing in it is damage.
func (r *Reader) segmentIsNewer(p extent) bool {
	return r.fill(0, segmentHeaderSize, p.size) == nil && newerSegment(r.at(0))
}

// skipDamage puts the reader before the next good block of the segment; take then passes over what is missing.
// Where there is none, the rest of the segment is given up.
func (r *Reader) skipDamage(p extent) (item Item, ok, more bool) {
	for r.off++; r.off+BlockHeaderSize <= p.size; {
		if err := r.fill(r.off, BlockHeaderSize, p.size); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if r.file == nil {
				r.err = err
				return item, false, false
			}
			r.off = (r.off/diskPage + 1) * diskPage
			continue
		}
		rest := r.at(r.off)
		i := nextBlock(rest)
		if i < 0 {
			r.off += int64(len(rest) - len(blockMagicBytes) + 1)
			continue
		}
		r.off += int64(i)
		if _, err := r.block(r.off, p); err == nil {
			return item, false, true
		}
		r.off++
	}
	r.off = p.size
	if end := r.pos + uint64(len(r.carry)); p.end <= end {
		return item, false, true
	}
	return r.giveUpFrame(p.end, Damaged), true, true
}

// diskPage is how much of a file cannot be read where a sector of the disk cannot: the kernel reads by pages.
const diskPage = 4096
