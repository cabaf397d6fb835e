package spool

import (
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
	owner  func(frame []byte) bool // nil: all

	// Where pos is on disk. located says that segment is.
	located  bool
	off      int64  // of the next block
	blockAt  int64  // where the current block begins in the file
	rest     []byte // what is left of its payload, within raw; begins at pos
	carry    []byte // the beginning of a frame whose end is in the next block; begins at pos
	epoch    uint32
	lost     bool   // what stands before pos is lost: a frame may have begun there
	err      error  // why the last read failed, and
	failures int    // how many have in a row
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

// SetOwner says which of the frames that the reader gives are its user's, where others read the same spool: mine is asked
// with the protobuf of a frame, or nil for a gap. What no reader has that has passed it can give way. It is called with
// the spool locked, must not call the spool, and says the same of the same frame each time.
func (r *Reader) SetOwner(mine func(frame []byte) bool) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.owner = mine
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
	r.unlocate()
}

// Position returns where the next item begins.
func (r *Reader) Position() uint64 { return r.pos }

// Release gives the read buffer and the open file back until the next Next.
func (r *Reader) Release() {
	if len(r.rest) > 0 {
		r.off = r.blockAt
	}
	if len(r.carry) > 0 {
		r.unlocate()
	}
	r.rest, r.carry, r.last = nil, nil, nil
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
		if ok && r.acked.through(item.From) < item.To && (item.Gap == nil || !r.acknowledged(item.Range)) {
			return item, true
		}
	}
}

// acknowledged reports whether all of g has been acknowledged by now. A gap may be so although it was not when the
// reader was rewound: another reader had the frame of which this one finds the beginning or the end alone.
func (r *Reader) acknowledged(g stream.Range) bool {
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
	if done := r.acknowledged(stream.Range{From: r.pos, To: end}); done || i < 0 {
		return r.giveUpFrame(end, Unreadable), !done
	}
	item := r.giveUpFrame(r.pos+1+uint64(i), Unreadable)
	r.lost = false
	r.unlocate()
	return item, true
}

// Reject says that the frame which Next has just returned is not one: it returns a gap in its place,
// and if there is a frame inside it, goes on with that. It returns false for a gap that has been acknowledged.
func (r *Reader) Reject() (Item, bool) {
	to := r.pos
	if i := findFrame(r.last[1:min(len(r.last), int(r.pos-r.lastFrom))]); i >= 0 {
		to = r.lastFrom + 1 + uint64(i)
		if r.carried {
			r.unlocate() // and come back to it
		} else {
			r.rest = r.last[1+i:]
		}
	}
	r.pos = r.lastFrom
	item := r.gap(to, Unreadable, 1)
	return item, !r.acknowledged(item.Range)
}

// Err returns why Next could not read on, although there may be more; nil when it could. Try again later.
func (r *Reader) Err() error { return r.err }

// continueFrame goes on with the frame in carry, whose rest is payload or begins it.
func (r *Reader) continueFrame(payload []byte) (item Item, ok, more bool) {
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
			item = r.giveUpFrame(r.pos+uint64(had), Unreadable)
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

// giveUpFrame gives up the frame under way and everything else up to to.
func (r *Reader) giveUpFrame(to uint64, reason Reason) Item {
	frames := uint64(0)
	if len(r.carry) > 0 {
		frames = 1
	}
	r.carry, r.lost = r.carry[:0], true
	return r.gap(to, reason, frames)
}
