package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/logspool/logspool/internal/durable"
)

// Item is what a Reader gives: a frame, or the news that a piece of the stream cannot be had.
type Item struct {
	Range        // where it stands in the stream
	Frame []byte // the protobuf of one frame; nil for a gap
	Gap   *Gap   // nil for a frame
}

// readChunk is how much a reader reads at a time, in bytes: several blocks of a busy container.
const readChunk = 256 << 10

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readChunk); return &b }}

// Reader gives the frames of a spool that have not been acknowledged, in the order of the stream.
// It is where damage is found and the way back in. A reader belongs to one goroutine. What it has not
// passed may give way when the spool is full; the segment it stands in, and those before, may not.
type Reader struct {
	s      *Spool
	locked bool // the caller holds s.mu
	limit  uint64

	pos   uint64 // where the next item begins, or the frame under way
	acked ackSet // as it was when the reader was last rewound

	// Where pos is on disk. entered says that a segment is; it and segment are guarded by s.mu too,
	// because a full spool looks at them.
	entered  bool
	segment  uint64 // base
	off      int64  // of the next block
	file     durable.File
	buffer   *[]byte
	raw      []byte // bytes of the file from rawAt on, within *buffer
	rawAt    int64
	blockAt  int64  // where the current block begins in the file
	block    []byte // what is left of its payload, within raw; begins at pos
	carry    []byte // the beginning of a frame whose end is in the next block; begins at pos
	epoch    uint32
	resumed  bool   // pos may be inside the next block
	err      error  // why the last read failed, and
	troubles int    // how many have in a row
	lastFrom uint64 // where the last frame began
	last     []byte // the block from there on; nil after a frame that was carried
}

// NewReader returns a reader at the first position that has not been acknowledged. Close it after use.
func (s *Spool) NewReader() *Reader {
	r := &Reader{s: s}
	s.mu.Lock()
	s.readers = append(s.readers, r)
	s.mu.Unlock()
	r.Rewind()
	return r
}

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
	r.pos = r.acked.prefix
	r.leaveLocked()
}

func (r *Reader) leaveLocked() {
	r.entered, r.resumed = false, true
	r.block, r.carry, r.last = nil, r.carry[:0], nil
}

// Position returns where the next item begins.
func (r *Reader) Position() uint64 { return r.pos }

// Release gives the read buffer and the open file back until the next Next.
func (r *Reader) Release() {
	if len(r.block) > 0 {
		r.off, r.resumed = r.blockAt, true
	}
	if len(r.carry) > 0 {
		r.lock()
		r.leaveLocked()
		r.unlock()
		r.carry = nil
	}
	r.block, r.raw, r.last = nil, nil, nil
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
	if r.buffer != nil {
		if len(*r.buffer) == readChunk {
			readBuffers.Put(r.buffer)
		}
		r.buffer = nil
	}
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
	for {
		item, ok, more := r.fromBlock()
		if !ok && !more {
			if item, ok, more = r.load(); !ok && !more {
				return Item{}, false
			}
		}
		if ok && r.acked.through(item.From) < item.To {
			return item, true
		}
	}
}

// gap passes over the stream up to to.
func (r *Reader) gap(to uint64, reason Reason, frames uint64) Item {
	item := Item{Range: Range{r.pos, to}, Gap: &Gap{Reason: reason, Frames: frames, Bytes: to - r.pos}}
	r.pos = to
	return item
}

// fromBlock takes the next item out of the block at hand. more says that there is something to go on with.
func (r *Reader) fromBlock() (item Item, ok, more bool) {
	p := r.block
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
			r.block = p[skip:]
			return r.gap(r.pos+uint64(skip), Unreadable, 0), true, true
		}
		if whole := frameHeaderSize + n; whole <= len(p) {
			item = Item{Range: Range{r.pos, r.pos + uint64(whole)}, Frame: p[frameHeaderSize:whole]}
			r.lastFrom, r.last = r.pos, p
			r.pos, r.block = item.To, p[whole:]
			return item, true, true
		}
	}
	r.carry = append(r.carry[:0], p...)
	r.block = nil
	return item, false, false
}

// GiveUp returns, as a gap, the beginning of a frame that the stream ends with, and false when it does not end
// so. It is for when Next has returned false and the rest of the frame will never be written.
func (r *Reader) GiveUp() (Item, bool) {
	if len(r.carry) == 0 {
		return Item{}, false
	}
	return r.dropCarry(r.pos+uint64(len(r.carry)), Unreadable), true
}

// Reject says that the frame which Next has just returned is not one: it returns a gap in its place,
// and if there is a frame inside it, goes on with that.
func (r *Reader) Reject() Item {
	to := r.pos
	if r.last != nil {
		if i := findFrame(r.last[1:min(len(r.last), int(r.pos-r.lastFrom))]); i >= 0 {
			to = r.lastFrom + 1 + uint64(i)
			r.block = r.last[1+i:]
		}
		r.last = nil
	}
	r.pos = r.lastFrom
	return r.gap(to, Unreadable, 1)
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
	size, end, next, found := r.where()
	switch {
	case !found:
		// It gave way, or everything in it has been acknowledged.
		r.leave()
		return item, false, true
	case r.off >= size && next == nil:
		return item, false, false
	case r.off >= size:
		return r.leaveFor(at, *next)
	}
	h, err := r.readBlock(size, false)
	if r.troubled(err) {
		return item, false, false
	}
	if err != nil {
		if _, _, _, found := r.where(); !found {
			return item, false, true // given back meanwhile
		}
		return r.passDamage(size, end)
	}
	return r.take(h)
}

// maxTrouble is how often a read may fail for a reason that may pass (too many open files, an I/O error)
// before it counts as damage.
const maxTrouble = 10

// troubled reports whether err is a trouble of reading, rather than of what was read, that may pass.
func (r *Reader) troubled(err error) bool {
	switch {
	case err == nil:
		r.err, r.troubles = nil, 0
		return false
	case errors.Is(err, errNoBlock), errors.Is(err, errShort), errors.Is(err, errChecksum), errors.Is(err, fs.ErrNotExist):
		return false
	}
	r.closeFile()
	r.err = err
	r.troubles++
	return r.troubles < maxTrouble
}

// Err returns why Next could not read on, although there may be more; nil when it could. Try again later.
func (r *Reader) Err() error { return r.err }

// where looks at the segment that the reader is in; next is the base of the following one.
func (r *Reader) where() (size int64, end uint64, next *uint64, found bool) {
	r.lock()
	defer r.unlock()
	i, found := r.s.findLocked(r.segment)
	if !found {
		return 0, 0, nil, false
	}
	if i+1 < len(r.s.segments) {
		next = &r.s.segments[i+1].base
	}
	return r.s.segments[i].size, r.s.segments[i].end, next, true
}

func (s *Spool) findLocked(base uint64) (int, bool) {
	return slices.BinarySearchFunc(s.segments, base, func(g segment, base uint64) int { return cmp.Compare(g.base, base) })
}

func (r *Reader) leave() {
	r.closeFile()
	r.lock()
	r.entered, r.resumed = false, true
	r.unlock()
}

func (r *Reader) closeFile() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
	r.raw = nil
}

// leaveFor goes on to the segment that begins at next. What is missing before it gave way, or the segment at
// hand does not hold all that was written to it: a power cut can do that.
func (r *Reader) leaveFor(at, next uint64) (item Item, ok, more bool) {
	if at < next {
		r.leave()
		r.lock()
		defer r.unlock()
		return r.passMissingLocked(next)
	}
	r.closeFile()
	r.lock()
	defer r.unlock()
	if _, found := r.s.findLocked(next); !found {
		r.entered, r.resumed = false, true
		return item, false, true
	}
	r.segment, r.off = next, segmentHeaderSize
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
	r.entered, r.segment, r.off, r.resumed = true, segments[i].base, segmentHeaderSize, true
	return item, false, true
}

// passMissingLocked passes over the stream up to to, which is on disk no more, or up to where another
// reason begins. It asks the cursor as it is now: what has been dealt with since is not missing.
func (r *Reader) passMissingLocked(to uint64) (item Item, ok, more bool) {
	from := r.pos
	r.carry = r.carry[:0]
	if end := r.s.cursor.acked.through(from); end > from {
		r.pos = min(to, end)
		return item, false, true
	}
	for _, d := range r.s.cursor.dropped {
		switch {
		case d.To <= from:
		case d.From <= from:
			item = r.gap(min(to, d.To), d.Reason, 0)
			g := d.Gap
			item.Gap = &g
			return item, true, true
		default:
			to = min(to, d.From)
		}
	}
	return r.gap(to, Damaged, 0), true, true
}

// readBlock reads and checks the block at r.off. One that lies behind the reader is checked only if all says so.
func (r *Reader) readBlock(size int64, all bool) (h blockHeader, err error) {
	if err := r.fill(BlockHeaderSize, size); err != nil {
		return h, err
	}
	if h, err = decodeHeader(r.raw[r.off-r.rawAt:]); err != nil {
		return h, err
	}
	if r.off+h.diskSize() > size {
		return h, errShort
	}
	if h.end() <= r.pos && !all {
		return h, nil
	}
	if err := r.fill(h.diskSize(), size); err != nil {
		return h, err
	}
	return h, h.verify(r.raw[r.off-r.rawAt:])
}

// fill makes raw hold n bytes from r.off on; size is where the segment ends.
func (r *Reader) fill(n, size int64) error {
	if r.file != nil && r.off >= r.rawAt && r.off+n <= r.rawAt+int64(len(r.raw)) {
		return nil
	}
	if r.off+n > size {
		return errShort
	}
	if r.file == nil {
		path := r.s.segmentPath(r.segment)
		f, err := r.s.fs.OpenFile(path, os.O_RDONLY, 0)
		if err != nil {
			return fmt.Errorf("couldn't open %q: %w", path, err)
		}
		r.file = f
	}
	if r.buffer == nil {
		r.buffer = readBuffers.Get().(*[]byte)
	}
	if n > int64(len(*r.buffer)) {
		readBuffers.Put(r.buffer)
		b := make([]byte, BlockHeaderSize+MaxPayload)
		r.buffer = &b
	}
	raw := (*r.buffer)[:min(int64(len(*r.buffer)), size-r.off)]
	got, err := r.file.ReadAt(raw, r.off)
	r.raw, r.rawAt = raw[:got], r.off
	if int64(got) < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = errShort
		}
		return err
	}
	return nil
}

// take makes the block with header h, at r.off, the one at hand.
func (r *Reader) take(h blockHeader) (item Item, ok, more bool) {
	at := r.pos + uint64(len(r.carry))
	if h.end() <= at {
		r.off += h.diskSize()
		return item, false, true
	}
	if h.position > at {
		// Blocks are missing in between: they were damaged, and passed over.
		return r.dropCarry(h.position, Damaged), true, true
	}
	start := r.off - r.rawAt + BlockHeaderSize
	payload := r.raw[start : start+int64(h.length)]
	if len(r.carry) > 0 && h.epoch != r.epoch {
		// Another FIFO: the rest of that frame will never come.
		return r.dropCarry(at, Unreadable), true, true
	}
	r.blockAt, r.epoch = r.off, h.epoch
	skip := int(at - h.position)
	switch {
	case h.kind == kindGap:
		if len(r.carry) > 0 {
			return r.dropCarry(at, Unreadable), true, true
		}
		g, _ := decodeGap(payload)
		item = r.gap(h.end(), g.Reason, g.Frames)
		item.Gap = &g
		r.off += h.diskSize()
		r.resumed = false
		return item, true, true
	case len(r.carry) > 0:
		return r.takeCarried(h, payload)
	case skip == 0 && !r.resumed && h.info.First > 0:
		// The end of a frame whose beginning is lost.
		r.block = payload[h.info.First:]
		r.off += h.diskSize()
		return r.gap(h.position+uint64(h.info.First), Unreadable, 0), true, true
	}
	r.resumed = false
	r.block = payload[skip:]
	r.off += h.diskSize()
	return item, false, true
}

// takeCarried goes on with the frame in carry, which the block at hand should end or continue.
func (r *Reader) takeCarried(h blockHeader, payload []byte) (item Item, ok, more bool) {
	r.off += h.diskSize()
	first := min(h.info.First, len(payload))
	r.carry = append(r.carry, payload[:first]...)
	whole := -1
	if len(r.carry) >= frameHeaderSize {
		if n, plausible := frameLength(r.carry); plausible {
			whole = frameHeaderSize + n
		} else {
			whole = 0
		}
	}
	switch {
	case whole == len(r.carry):
		item = Item{Range: Range{r.pos, r.pos + uint64(whole)}, Frame: r.carry[frameHeaderSize:]}
		r.lastFrom, r.last = r.pos, nil
		r.pos, r.block = item.To, payload[first:]
		r.carry = r.carry[:0]
		return item, true, true
	case first == len(payload) && (whole < 0 || whole > len(r.carry)):
		return item, false, true // more of it is still to come
	}
	// What the header says of the next frame's start does not go with the length of this one.
	r.block = payload[first:]
	return r.dropCarry(h.position+uint64(first), Unreadable), true, true
}

// dropCarry gives up the frame under way and everything else up to to.
func (r *Reader) dropCarry(to uint64, reason Reason) Item {
	frames := uint64(0)
	if len(r.carry) > 0 {
		frames = 1
	}
	r.carry = r.carry[:0]
	return r.gap(to, reason, frames)
}

// passDamage puts the reader before the next good block of the segment, which ends at size on disk and at
// end in the stream; take then passes over what is missing. Where there is none, the rest of the segment
// is given up.
func (r *Reader) passDamage(size int64, end uint64) (item Item, ok, more bool) {
	for r.off++; r.off+BlockHeaderSize <= size && r.fill(BlockHeaderSize, size) == nil; {
		rest := r.raw[r.off-r.rawAt:]
		i := nextBlock(rest)
		if i < 0 {
			r.off += int64(len(rest) - len(blockMagicBytes) + 1)
			continue
		}
		r.off += int64(i)
		if _, err := r.readBlock(size, true); err == nil {
			return item, false, true
		}
		r.off++
	}
	r.off = size
	if end <= r.pos {
		return item, false, true
	}
	return r.dropCarry(end, Damaged), true, true
}
