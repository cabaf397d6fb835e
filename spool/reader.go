package spool

import (
	"slices"

	"github.com/logspool/logspool/internal/stream"
)

// Item is what a Reader returns: a frame, or the gap that takes the place of a missing part.
// Range is its place in the stream.
type Item struct {
	stream.Range
	Frame []byte // Frame is the protobuf of one frame, or nil for a gap.
	Gap   *Gap   // Gap is nil for a frame.
	Found bool   // Found says that reading found the gap, so OnLoss has not reported it.
}

// Reader returns the frames of a spool that have not been acknowledged, in the order of the
// stream. It finds damage, and the next frame after it. A reader belongs to one goroutine.
//
// A full spool may evict the segments that the reader has not reached. It does not evict the
// segment that the reader is in, nor those that it has passed, unless SetOwner allows that.
type Reader struct {
	// These fields are set before use. The reader's goroutine changes only limit.
	locked bool   // locked says that the caller holds s.mu.
	all    bool   // all returns acknowledged frames too, and pins nothing (see History).
	limit  uint64 // limit, if not 0, is the position from which on blocks are not read.

	// Spool.mu guards these fields. What is below pinned may be in flight.
	pinned uint64                  // pinned is the end of the part that must not be evicted.
	owner  func(frame []byte) bool // owner is nil if all frames are the reader's.

	// The reader's goroutine owns the fields below.
	window
	pos     uint64 // pos is the position of the next item, or of the frame in current.carry.
	acked   ackSet // acked is the acknowledged set at the last Rewind.
	current currentBlock
	last    lastFrame
	failure readFailure
}

// currentBlock is the place of Reader.pos on the disk. rest and carry begin at pos.
type currentBlock struct {
	located bool   // located says that window.segment is the segment that holds pos.
	off     int64  // off is the offset of the next block in the segment.
	block   int64  // block is the offset of the current block in the segment.
	rest    []byte // rest is the unread part of the payload, within window.raw.
	carry   []byte // carry is the beginning of a frame that continues in the next block.
	epoch   uint32 // epoch identifies the FIFO of the block.
	lost    bool   // lost says that what came before pos is lost, perhaps within a frame.
}

// lastFrame is the frame that Next returned last.
type lastFrame struct {
	from    uint64 // from is the position of the frame.
	bytes   []byte // bytes has the frame and, unless it is carried, the rest of its block.
	carried bool   // carried says that the frame was put together from several blocks.
}

// readFailure is the state of failed reads.
type readFailure struct {
	err   error // err is the failure of the last read.
	count int   // count is the number of failed reads in a row.
}

// NewReader returns a reader at the first position that has not been acknowledged. Close
// it after use.
func (s *Spool) NewReader() *Reader {
	r := &Reader{window: window{s: s}}
	s.mu.Lock()
	s.readers = append(s.readers, r)
	s.mu.Unlock()
	r.Rewind()
	return r
}

// SetOwner tells the spool which frames the user of this reader delivers, if other readers
// deliver the rest. A segment that the reader has passed may be evicted if owns returns false
// for all of it. owns gets the protobuf of a frame, or nil for a gap. It is called with the
// spool locked, must not call the spool, and must return the same result for the same frame
// each time.
func (r *Reader) SetOwner(owns func(frame []byte) bool) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.owner = owns
}

// SetLimit makes the reader ignore blocks that begin at limit or after it. 0 means no limit.
func (r *Reader) SetLimit(limit uint64) { r.limit = limit }

// Close ends the reader.
func (r *Reader) Close() {
	r.Release()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.readers = slices.DeleteFunc(r.s.readers, func(o *Reader) bool { return o == r })
}

// Rewind moves the reader back to the first position that has not been acknowledged.
func (r *Reader) Rewind() {
	r.Release()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.acked = ackSet{r.s.cursor.acked.prefix, slices.Clone(r.s.cursor.acked.beyond)}
	r.pos, r.pinned, r.current.lost = r.acked.prefix, 0, false
	r.unlocate()
}

// Position returns the position of the next item.
func (r *Reader) Position() uint64 { return r.pos }

// Release returns the read buffer and closes the file, until the next Next.
func (r *Reader) Release() {
	if len(r.current.rest) > 0 {
		r.current.off = r.current.block
	}
	if len(r.current.carry) > 0 {
		r.unlocate()
	}
	r.current.rest, r.current.carry, r.last.bytes = nil, nil, nil
	r.closeSegment()
	r.releaseBuffer()
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

// Next returns the next item. It returns false if there is none now: the end is reached,
// or the rest of a frame has not been written yet. The frame is valid until the next call
// of any method.
//
// The functions that Next calls return an item if ok is true. Otherwise, more says whether
// calling again can find one.
func (r *Reader) Next() (Item, bool) {
	r.failure.err = nil
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
		if ok && r.acked.through(item.From) < item.To && (item.Gap == nil || !r.acknowledged(item.Range)) {
			return item, true
		}
	}
}

// Ahead returns the frame that Next has just returned, with its header, and what follows it in
// its block. So the caller may decode several frames at once, and then go past them with Seek.
// It returns nil if the frame was put together from several blocks, or if something from there
// on has been acknowledged.
func (r *Reader) Ahead() []byte {
	if r.last.carried || r.last.from < r.acked.end() {
		return nil
	}
	return r.last.bytes
}

// Seek moves to a position in what Ahead has returned, where a frame begins or the block ends.
// Next continues there. What Ahead has returned stays valid, and Seek may be called again.
func (r *Reader) Seek(position uint64) {
	r.pos, r.current.rest = position, r.last.bytes[position-r.last.from:]
}

// Err returns the failure that stopped the last Next, or nil. Try again later.
func (r *Reader) Err() error { return r.failure.err }

// acknowledged reports whether all of g is acknowledged now. A gap may have been
// acknowledged since the last Rewind, because another reader had the frame of which this
// one finds only a part.
func (r *Reader) acknowledged(g stream.Range) bool {
	if r.all {
		return false
	}
	r.lock()
	defer r.unlock()
	return r.s.cursor.acked.through(g.From) >= g.To
}

// gap returns a gap from pos to to that reading has found, and moves the reader there.
func (r *Reader) gap(to uint64, reason Reason, frames uint64) Item {
	item := Item{Range: stream.Range{From: r.pos, To: to}, Gap: &Gap{Reason: reason, Frames: frames, Bytes: to - r.pos}, Found: true}
	r.pos = to
	return item
}

// fromBlock returns the next item of the current block.
func (r *Reader) fromBlock() (item Item, ok, more bool) {
	p := r.current.rest
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
			r.current.rest = p[skip:]
			return r.gap(r.pos+uint64(skip), Unreadable, 0), true, true
		}
		if whole := frameHeaderSize + n; whole <= len(p) {
			item = Item{Range: stream.Range{From: r.pos, To: r.pos + uint64(whole)}, Frame: p[frameHeaderSize:whole]}
			r.last = lastFrame{from: r.pos, bytes: p}
			r.pos, r.current.rest = item.To, p[whole:]
			return item, true, true
		}
	}
	r.current.carry = append(r.current.carry[:0], p...)
	r.current.rest = nil
	return item, false, false
}

// continueFrame completes the frame in carry with payload, which contains its rest or a
// part of it.
func (r *Reader) continueFrame(payload []byte) (item Item, ok, more bool) {
	carry := r.current.carry
	had := len(carry)
	want := frameHeaderSize + 1 // the first byte of protobuf shows whether it is a frame
	for {
		n := max(0, min(want-len(carry), len(payload)-(len(carry)-had)))
		carry = append(carry, payload[len(carry)-had:][:n]...)
		r.current.carry = carry
		if len(carry) < want {
			return item, false, true // more of it is still to come
		}
		n, plausible := frameLength(carry)
		if !plausible {
			r.current.carry, r.current.rest = carry[:had], payload
			item = r.giveUpFrame(r.pos+uint64(had), Unreadable)
			r.current.lost = false
			return item, true, true
		}
		if want == frameHeaderSize+n {
			break
		}
		want = frameHeaderSize + n
	}
	item = Item{Range: stream.Range{From: r.pos, To: r.pos + uint64(want)}, Frame: carry[frameHeaderSize:]}
	r.last = lastFrame{from: r.pos, bytes: carry, carried: true}
	r.pos, r.current.rest = item.To, payload[want-had:]
	r.current.carry = carry[:0]
	return item, true, true
}

// giveUpFrame returns a gap for the frame in carry, and for everything else before to.
func (r *Reader) giveUpFrame(to uint64, reason Reason) Item {
	frames := uint64(0)
	if len(r.current.carry) > 0 {
		frames = 1
	}
	r.current.carry, r.current.lost = r.current.carry[:0], true
	return r.gap(to, reason, frames)
}

// GiveUp returns the incomplete frame at the end of the stream as a gap; false if there is
// none. Call it after Next has returned false, if the rest of the frame will never be written.
// If the given up bytes contain a frame, the next Next continues with that.
func (r *Reader) GiveUp() (Item, bool) {
	carry := r.current.carry
	if len(carry) == 0 {
		return Item{}, false
	}
	end := r.pos + uint64(len(carry))
	i := findFrame(carry[1:])
	if acked := r.acknowledged(stream.Range{From: r.pos, To: end}); acked || i < 0 {
		return r.giveUpFrame(end, Unreadable), !acked
	}
	item := r.giveUpFrame(r.pos+1+uint64(i), Unreadable)
	r.current.lost = false
	r.unlocate()
	return item, true
}

// Reject is called if the frame that Next has just returned is not a frame. It returns a
// gap in its place; false if the gap has been acknowledged. If the rejected bytes contain
// a frame, the next Next continues with that.
func (r *Reader) Reject() (Item, bool) {
	to := r.pos
	if i := findFrame(r.last.bytes[1:min(len(r.last.bytes), int(r.pos-r.last.from))]); i >= 0 {
		to = r.last.from + 1 + uint64(i)
		if r.last.carried {
			r.unlocate() // and read it again
		} else {
			r.current.rest = r.last.bytes[1+i:]
		}
	}
	r.pos = r.last.from
	item := r.gap(to, Unreadable, 1)
	return item, !r.acknowledged(item.Range)
}
