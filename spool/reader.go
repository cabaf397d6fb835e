package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/logspool/logspool/internal/stream"
)

// Item is what a Reader gives: a frame, or the news that a piece of the stream cannot be had.
type Item struct {
	stream.Range        // where it stands in the stream
	Frame        []byte // the protobuf of one frame; nil for a gap
	Gap          *Gap   // nil for a frame
}

// Reader gives the frames of a spool that have not been acknowledged, in the order of the stream.
// It is where damage is found and the way back in. A reader belongs to one goroutine. What it has not
// passed may give way when the spool is full; the segment it stands in, and those before, may not.
type Reader struct {
	window
	locked bool   // the caller holds s.mu
	all    bool   // what has been acknowledged is read too, and nothing held: see History
	limit  uint64 // read no block from there on; 0: no limit

	pos   uint64 // where the next item begins, or the frame under way
	acked ackSet // as it was when the reader was last rewound

	// Guarded by s.mu: what lies below it may have been handed out, and does not give way unless it is another's.
	pinned uint64
	owned  func(frame []byte) bool // nil: all

	// Where pos is on disk. entered says that segment is.
	entered  bool
	off      int64  // of the next block
	blockAt  int64  // where the current block begins in the file
	rest     []byte // what is left of its payload, within raw; begins at pos
	carry    []byte // the beginning of a frame whose end is in the next block; begins at pos
	epoch    uint32
	lost     bool   // what stands before pos is lost: a frame may have begun there
	err      error  // why the last read failed, and
	troubles int    // how many have in a row
	lastFrom uint64 // where the last frame began
	last     []byte // the block from there on, or the frame alone if it was
	carried  bool   // put together from several blocks
}

// NewReader returns a reader at the first position that has not been acknowledged. Close it after use.
func (s *Spool) NewReader() *Reader {
	r := &Reader{window: window{s: s}}
	s.mu.Lock()
	s.readers = append(s.readers, r)
	s.mu.Unlock()
	r.Rewind()
	return r
}

// Own says which of the frames that the reader gives are its user's, where others read the same spool: mine is asked
// with the protobuf of a frame, or nil for a gap. What no reader has that has passed it can give way. It is called with
// the spool locked, must not call the spool, and says the same of the same frame each time.
func (r *Reader) Own(mine func(frame []byte) bool) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.owned = mine
}

// SetLimit makes the reader read no block that begins at limit or behind it; 0: no limit.
func (r *Reader) SetLimit(limit uint64) { r.limit = limit }

// Close ends the reader.
func (r *Reader) Close() {
	r.Release()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.readers = slices.DeleteFunc(r.s.readers, func(o *Reader) bool { return o == r })
}

// Rewind puts the reader back to the first position that has not been acknowledged.
func (r *Reader) Rewind() {
	r.Release()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.acked = ackSet{r.s.cursor.acked.prefix, slices.Clone(r.s.cursor.acked.beyond)}
	r.pos, r.pinned, r.lost = r.acked.prefix, 0, false
	r.leave()
}

// Position returns where the next item begins.
func (r *Reader) Position() uint64 { return r.pos }

// Release gives the read buffer and the open file back until the next Next.
func (r *Reader) Release() {
	if len(r.rest) > 0 {
		r.off = r.blockAt
	}
	if len(r.carry) > 0 {
		r.leave()
	}
	r.rest, r.carry, r.last = nil, nil, nil
	r.closeFile()
	r.giveBuffer()
}

func (r *Reader) lock() {
	if !r.locked {
		r.s.mu.Lock()
	}
}

func (r *Reader) unlock() {
	if !r.locked {
		r.s.mu.Unlock()
	}
}

// Next returns the next item, and false when there is none now: the end is reached, or the rest of a
// frame has not been written yet. The frame is valid until the next call of any method.
func (r *Reader) Next() (Item, bool) {
	r.err = nil
	for {
		item, ok, more := r.fromBlock()
		if !ok && !more {
			if item, ok, more = r.load(); !ok && !more {
				return Item{}, false
			}
		}
		if ok && r.all {
			return item, true
		}
		if ok && r.acked.through(item.From) < item.To && (item.Gap == nil || !r.dealtWith(item.Range)) {
			return item, true
		}
	}
}

// dealtWith reports whether all of g has been acknowledged by now. A gap may be so although it was not when the
// reader was rewound: another reader had the frame of which this one finds the beginning or the end alone.
func (r *Reader) dealtWith(g stream.Range) bool {
	if r.all {
		return false
	}
	r.lock()
	defer r.unlock()
	return r.s.cursor.acked.through(g.From) >= g.To
}

// gap passes over the stream up to to.
func (r *Reader) gap(to uint64, reason Reason, frames uint64) Item {
	item := Item{Range: stream.Range{From: r.pos, To: to}, Gap: &Gap{Reason: reason, Frames: frames, Bytes: to - r.pos}}
	r.pos = to
	return item
}

// fromBlock takes the next item out of the block at hand. more says that there is something to go on with.
func (r *Reader) fromBlock() (item Item, ok, more bool) {
	p := r.rest
	if len(p) == 0 {
		return item, false, false
	}
	if len(p) >= frameHeaderSize {
		n, plausible := frameLength(p)
		if !plausible {
			skip := len(p)
			if i := findFrame(p[1:]); i >= 0 {
				skip = 1 + i
			}
			r.rest = p[skip:]
			return r.gap(r.pos+uint64(skip), Unreadable, 0), true, true
		}
		if whole := frameHeaderSize + n; whole <= len(p) {
			item = Item{Range: stream.Range{From: r.pos, To: r.pos + uint64(whole)}, Frame: p[frameHeaderSize:whole]}
			r.lastFrom, r.last, r.carried = r.pos, p, false
			r.pos, r.rest = item.To, p[whole:]
			return item, true, true
		}
	}
	r.carry = append(r.carry[:0], p...)
	r.rest = nil
	return item, false, false
}

// GiveUp returns, as a gap, the beginning of a frame that the stream ends with, and false when it does not end
// so. It is for when Next has returned false and the rest of the frame will never be written. If there is a frame
// inside what is given up, the next Next goes on with that.
func (r *Reader) GiveUp() (Item, bool) {
	if len(r.carry) == 0 {
		return Item{}, false
	}
	end := r.pos + uint64(len(r.carry))
	i := findFrame(r.carry[1:])
	if done := r.dealtWith(stream.Range{From: r.pos, To: end}); done || i < 0 {
		return r.dropCarry(end, Unreadable), !done
	}
	item := r.dropCarry(r.pos+1+uint64(i), Unreadable)
	r.lost = false
	r.leave()
	return item, true
}

// Reject says that the frame which Next has just returned is not one: it returns a gap in its place,
// and if there is a frame inside it, goes on with that. It returns false for a gap that has been acknowledged.
func (r *Reader) Reject() (Item, bool) {
	to := r.pos
	if i := findFrame(r.last[1:min(len(r.last), int(r.pos-r.lastFrom))]); i >= 0 {
		to = r.lastFrom + 1 + uint64(i)
		if r.carried {
			r.leave() // and come back to it
		} else {
			r.rest = r.last[1+i:]
		}
	}
	r.pos = r.lastFrom
	item := r.gap(to, Unreadable, 1)
	return item, !r.dealtWith(item.Range)
}

// load makes the next block the one at hand. When that is not possible in one go, it returns an item for
// what is passed over, or says that there is more.
func (r *Reader) load() (item Item, ok, more bool) {
	at := r.pos + uint64(len(r.carry))
	if r.limit > 0 && at >= r.limit {
		return item, false, false
	}
	if !r.entered {
		return r.enter(at)
	}
	p := r.where()
	switch {
	case !p.found:
		// It gave way, or everything in it has been acknowledged.
		r.leave()
		return item, false, true
	case r.off >= p.size && at < p.next:
		return r.passMissing(p.next)
	case r.off >= p.size && p.last:
		return item, false, false
	case r.off >= p.size:
		return r.goOn(p.next)
	}
	h, err := r.block(r.off, p)
	if r.troubled(err) {
		return item, false, false
	}
	if err != nil {
		if !r.where().found {
			return item, false, true // removed meanwhile
		}
		if r.off == segmentHeaderSize && r.isNewer(p) {
			r.err = fmt.Errorf("%q: %w", r.s.segmentPath(r.segment), ErrVersion)
			return item, false, false
		}
		return r.passDamage(p)
	}
	return r.take(h)
}

// maxTrouble is how often a read may fail for a reason that may pass before it counts as damage. A file that
// cannot be opened, because there are too many open files or for want of permission, says nothing about what is in
// it: that is waited for without end.
const maxTrouble = 10

// troubled reports whether err is a trouble of reading, rather than of what was read, that may pass.
func (r *Reader) troubled(err error) bool {
	switch {
	case err == nil:
		r.troubles = 0
		return false
	case errors.Is(err, errNoBlock), errors.Is(err, errShort), errors.Is(err, errChecksum), errors.Is(err, fs.ErrNotExist):
		return false
	}
	if r.file != nil {
		r.closeFile()
		if r.troubles++; r.troubles >= maxTrouble {
			r.troubles = 0
			return false
		}
	}
	r.err = err
	return true
}

// Err returns why Next could not read on, although there may be more; nil when it could. Try again later.
func (r *Reader) Err() error { return r.err }

// place is what is known of the segment that a reader is in.
type place struct {
	found bool
	size  int64  // bytes on disk
	end   uint64 // position behind what it holds, or should hold
	last  bool   // no other follows
	next  uint64 // where the following one begins; of the last one, where the stream ends
}

// where looks at the segment that the reader is in.
func (r *Reader) where() (p place) {
	r.lock()
	defer r.unlock()
	i, found := r.s.findLocked(r.segment)
	if !found {
		return p
	}
	seg := r.s.segments[i]
	p = place{found: true, size: seg.size, end: seg.end, last: i+1 == len(r.s.segments), next: r.s.end.Load()}
	if !p.last {
		p.next = r.s.segments[i+1].base
	}
	return p
}

func (s *Spool) findLocked(base uint64) (int, bool) {
	return slices.BinarySearchFunc(s.segments, base, func(g segment, base uint64) int { return cmp.Compare(g.base, base) })
}

// leave forgets where pos is on disk, and what was read from there.
func (r *Reader) leave() {
	r.closeFile()
	r.entered = false
	r.rest, r.carry, r.last = nil, r.carry[:0], nil
}

// goOn goes on to the segment that begins at next.
func (r *Reader) goOn(next uint64) (item Item, ok, more bool) {
	r.closeFile()
	r.lock()
	defer r.unlock()
	if _, found := r.s.findLocked(next); !found {
		r.entered = false // it gave way
		return item, false, true
	}
	r.turnTo(next)
	r.off, r.pinned = segmentHeaderSize, max(r.pinned, next+1)
	return item, false, true
}

// enter finds the segment that holds the position at, and passes over what is not there any more.
func (r *Reader) enter(at uint64) (item Item, ok, more bool) {
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
			return r.passMissingLocked(to)
		}
	}
	r.turnTo(segments[i].base)
	r.entered, r.off = true, segmentHeaderSize
	r.pinned = max(r.pinned, r.segment+1)
	return item, false, true
}

// passMissing passes over what the segment at hand should hold up to to, and does not: a power cut can do that.
func (r *Reader) passMissing(to uint64) (item Item, ok, more bool) {
	r.closeFile()
	r.lock()
	defer r.unlock()
	r.entered = false
	return r.passMissingLocked(to)
}

// passMissingLocked passes over the stream up to to, which is on disk no more, or up to where another
// reason begins. It asks the cursor as it is now: what has been dealt with since is not missing.
func (r *Reader) passMissingLocked(to uint64) (item Item, ok, more bool) {
	from := r.pos + uint64(len(r.carry))
	gap := Gap{Reason: Damaged}
	if r.all {
		if len(r.carry) > 0 {
			return r.dropCarry(to, Damaged), true, true
		}
		r.lost = true
		return r.gap(to, Damaged, 0), true, true
	}
	for _, d := range r.s.cursor.dropped {
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
		return r.dropCarry(from, gap.Reason), true, true
	}
	item = r.gap(to, gap.Reason, 0)
	if gap.Reason != Damaged {
		item.Gap = &gap
	}
	r.pinned, r.lost = max(r.pinned, to), true
	return item, true, true
}

// take makes the block with header h, at r.off, the one at hand.
func (r *Reader) take(h blockHeader) (item Item, ok, more bool) {
	at := r.pos + uint64(len(r.carry))
	switch {
	case h.end() <= at:
		r.off += h.diskSize()
		return item, false, true
	case h.position > at:
		// Blocks are missing in between: they were damaged, and passed over.
		return r.dropCarry(h.position, Damaged), true, true
	case len(r.carry) > 0 && (h.epoch != r.epoch || h.kind == kindGap):
		// Another FIFO, or what was not kept: the rest of that frame will never come.
		return r.dropCarry(at, Unreadable), true, true
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
		return r.takeCarried(payload)
	case r.lost && at == h.position && h.info.First > 0:
		// The end of a frame whose beginning is lost, or more of its middle.
		r.rest = payload[h.info.First:]
		r.lost = len(r.rest) == 0
		return r.gap(h.position+uint64(h.info.First), Unreadable, 0), true, true
	}
	r.lost, r.rest = false, payload
	return item, false, true
}

// takeCarried goes on with the frame in carry, whose rest is payload or begins it.
func (r *Reader) takeCarried(payload []byte) (item Item, ok, more bool) {
	had := len(r.carry)
	want := frameHeaderSize + 1 // with the first byte of protobuf, which tells garbage
	for {
		n := max(0, min(want-len(r.carry), len(payload)-(len(r.carry)-had)))
		r.carry = append(r.carry, payload[len(r.carry)-had:][:n]...)
		if len(r.carry) < want {
			return item, false, true // more of it is still to come
		}
		n, plausible := frameLength(r.carry)
		if !plausible {
			r.carry, r.rest = r.carry[:had], payload
			item = r.dropCarry(r.pos+uint64(had), Unreadable)
			r.lost = false
			return item, true, true
		}
		if want == frameHeaderSize+n {
			break
		}
		want = frameHeaderSize + n
	}
	item = Item{Range: stream.Range{From: r.pos, To: r.pos + uint64(want)}, Frame: r.carry[frameHeaderSize:]}
	r.lastFrom, r.last, r.carried = r.pos, r.carry, true
	r.pos, r.rest = item.To, payload[want-had:]
	r.carry = r.carry[:0]
	return item, true, true
}

// dropCarry gives up the frame under way and everything else up to to.
func (r *Reader) dropCarry(to uint64, reason Reason) Item {
	frames := uint64(0)
	if len(r.carry) > 0 {
		frames = 1
	}
	r.carry, r.lost = r.carry[:0], true
	return r.gap(to, reason, frames)
}

// isNewer reports whether the segment at hand was written by a newer version, so that nothing in it is damage.
func (r *Reader) isNewer(p place) bool {
	return r.fill(0, segmentHeaderSize, p.size) == nil && newerSegment(r.at(0))
}

// passDamage puts the reader before the next good block of the segment; take then passes over what is missing.
// Where there is none, the rest of the segment is given up.
func (r *Reader) passDamage(p place) (item Item, ok, more bool) {
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
	return r.dropCarry(p.end, Damaged), true, true
}

// diskPage is how much of a file cannot be read where a sector of the disk cannot: the kernel reads by pages.
const diskPage = 4096
