package spool

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"sort"
)

// finder finds where in a spool a History begins, and reads as little as possible. It reads
// block headers, which also contain the size of the previous block, so a segment can be
// walked backwards. It does not verify the headers, because that takes the payloads. If
// headers contradict each other, or contradict what is read afterwards, what the Reader reads
// is right.
type finder struct {
	window
	ctx       context.Context
	segments  []segment // segments are the spool's segments at the start of the search.
	streamEnd uint64    // streamEnd is the end of the stream at the start of the search.
	before    int64     // before is the size of the block before the current spot, or 0.
}

// spot is where a block begins, or where the last one ends.
type spot struct {
	i   int    // i is the segment's index in finder.segments.
	off int64  // off is the offset in the segment's file.
	pos uint64 // pos is not after the position of any block from off on.
}

func (a spot) before(b spot) bool { return a.i < b.i || a.i == b.i && a.off < b.off }

func newFinder(ctx context.Context, s *Spool) *finder {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &finder{
		window: window{s: s, headers: true}, ctx: ctx, segments: slices.Clone(s.segments), streamEnd: s.end.Load(), before: s.active.lastBlockSize,
	}
}

// history returns a History that begins where o says. gone reports that the first segment has
// been removed while frames of it were to be skipped, so that later frames may have been
// skipped instead.
func (f *finder) history(o HistoryOptions) (h *History, gone bool, err error) {
	h = &History{r: f.reader(), endAtStart: f.streamEnd}
	if len(f.segments) == 0 {
		return h, false, nil
	}
	defer f.closeSegment()
	begin := spot{0, segmentHeaderSize, f.segments[0].base}
	if o.Since > 0 {
		begin = f.since(o.Since)
	}
	f.back = true
	skip, until := 0, uint64(0)
	if o.Tail >= 0 {
		if begin, skip, until, err = f.tail(o.Tail, begin); err != nil {
			return nil, false, err
		}
	}
	f.place(h.r, begin)
	if skip == 0 {
		return h, false, nil
	}
	if _, err := f.read(h.r, skip, until); err != nil {
		h.Close()
		return nil, false, err
	}
	f.s.mu.Lock()
	_, there := f.s.findLocked(f.segments[begin.i].base)
	f.s.mu.Unlock()
	return h, !there, nil
}

// read reads at most limit frames that begin before until, and returns their number.
func (f *finder) read(r *Reader, limit int, until uint64) (n int, err error) {
	for n < limit && r.Position() < until {
		item, ok := r.Next()
		if !ok {
			return n, r.failure.err
		}
		if item.Gap != nil {
			continue
		}
		if n++; n%checkFrames == 0 && f.ctx.Err() != nil {
			return n, f.ctx.Err()
		}
	}
	return n, nil
}

func (f *finder) reader() *Reader {
	return &Reader{window: window{s: f.s}, all: true, current: currentBlock{lost: true}}
}

// place moves a reader to a spot. The reader skips the end of a frame that began earlier.
func (f *finder) place(r *Reader, at spot) {
	r.openSegment(f.segments[at.i].base)
	r.current.located, r.current.off, r.pos, r.current.lost = true, at.off, at.pos, true
}

// end returns the end of the stream.
func (f *finder) end() spot {
	i := len(f.segments) - 1
	return spot{i, f.segments[i].size, f.segments[i].end}
}

// enterSegment moves the window to segment i, and returns its extent.
func (f *finder) enterSegment(i int) extent {
	if base := f.segments[i].base; f.segment != base || f.file == nil {
		f.openSegment(base)
	}
	return extent{size: f.segments[i].size, end: f.segments[i].end}
}

// since returns the first block that may contain a frame that is not earlier than t.
func (f *finder) since(t int64) spot {
	// The header of a segment holds the greatest time of the frames that begin before it.
	i := sort.Search(len(f.segments)-1, func(i int) bool {
		p := f.enterSegment(i + 1)
		if f.fill(0, segmentHeaderSize, p) != nil {
			return true
		}
		h, err := decodeSegmentHeader(f.at(0), f.segment)
		return err != nil || h.maxTime >= t
	})
	at := spot{i, segmentHeaderSize, f.segments[i].base}
	p := f.enterSegment(i)
	for at.off < p.size {
		h, err := f.header(at.off, p)
		// If the block ends within a frame, the time of that frame may not be known.
		if err != nil || h.info.MaxTime >= t || !h.info.tail.boundary() {
			return at
		}
		next := spot{i, at.off + h.diskSize(), h.end()}
		if next.off < p.size {
			// The next header must agree, in case the length is damaged.
			if after, err := f.header(next.off, p); err != nil || after.before != h.diskSize() || after.position != h.end() {
				return at
			}
		} else if next.off > p.size {
			return at
		}
		at = next
	}
	if i+1 < len(f.segments) {
		return spot{i + 1, segmentHeaderSize, f.segments[i+1].base}
	}
	return at
}

// tail returns a spot from which on there are n whole frames, and skip more before those. The
// frames to skip begin before until. If there are at most n frames after begin, tail returns
// begin.
func (f *finder) tail(n int, begin spot) (at spot, skip int, until uint64, err error) {
	at = f.end()
	end := at
	counted, want := 0, n // whole frames from at on; frames that the next headers must have
	for first := true; first || counted < n; {
		from := at
		for sum := 0; first || sum < want; {
			if !begin.before(at) {
				return begin, 0, 0, nil
			}
			if err := f.ctx.Err(); err != nil {
				return at, 0, 0, err
			}
			b, err := f.stepBack(&at)
			if err != nil {
				// stepBack went to the segment's beginning; the frames from there are counted.
				break
			}
			if first && b.kind == kindData && !b.info.tail.boundary() {
				want++ // the last frame is incomplete
			}
			first = false
			if want == 0 {
				return end, 0, 0, nil
			}
			sum += b.info.Frames
		}
		first = false
		if at.before(begin) {
			at = begin
		}
		c, err := f.count(at, from, end)
		if err != nil {
			return at, 0, 0, err
		}
		counted += c
		want = n - counted
		skip, until = counted-n, from.pos
	}
	return at, skip, until, nil
}

// checkFrames is the number of frames after which the context is checked.
const checkFrames = 1024

var errNotWalkable = errors.New("the previous block is not known")

// stepBack moves a spot, which is not the first one, to the previous block, and returns its
// header. If that block is not known, it moves the spot to the beginning of the segment and
// returns errNotWalkable.
func (f *finder) stepBack(at *spot) (blockHeader, error) {
	for at.off <= segmentHeaderSize && at.i > 0 {
		at.i--
		at.off = f.segments[at.i].size
	}
	p := f.enterSegment(at.i)
	h, ok := f.blockBefore(*at, p, f.before)
	if !ok && at.off == p.size {
		h, ok = f.blockBefore(*at, p, f.lastSize(p)) // no header follows that has the size
	}
	if !ok {
		*at, f.before = spot{at.i, segmentHeaderSize, f.segment}, 0
		return h, errNotWalkable
	}
	at.off -= h.diskSize()
	at.pos, f.before = h.position, h.before
	return h, nil
}

// blockBefore returns the header of the block that ends at a spot, if size is its size on
// disk.
func (f *finder) blockBefore(at spot, p extent, size int64) (blockHeader, bool) {
	if size <= BlockHeaderSize || at.off-size < segmentHeaderSize {
		return blockHeader{}, false
	}
	h, err := f.header(at.off-size, p)
	return h, err == nil && h.diskSize() == size && h.end() == at.pos
}

// lastSize returns the size of the last block of the current segment, which must end where the
// segment ends; 0: none was found.
func (f *finder) lastSize(p extent) int64 {
	for to := p.size; to >= segmentHeaderSize+BlockHeaderSize && p.size-to <= MaxPayload; {
		from := max(segmentHeaderSize, to-headerChunk)
		if f.fill(from, to-from, p) != nil {
			return 0
		}
		for piece := f.at(from)[:to-from]; ; {
			i := bytes.LastIndex(piece[:max(0, len(piece)-BlockHeaderSize+len(blockMagicBytes))], blockMagicBytes)
			if i < 0 {
				break
			}
			off := from + int64(i)
			// A container can print bytes that look like a block. Positions advance no faster
			// than bytes.
			h, err := decodeHeader(piece[i:])
			if err == nil && off+h.diskSize() == p.size && h.position >= f.segment && h.end() <= p.end &&
				h.position-f.segment <= uint64(off-segmentHeaderSize) {
				return h.diskSize()
			}
			piece = piece[:i+BlockHeaderSize-1]
		}
		if from == segmentHeaderSize {
			break
		}
		to = from + BlockHeaderSize - 1
	}
	return 0
}

// count returns the number of whole frames that begin between two spots. end is the end of the
// stream.
func (f *finder) count(from, to, end spot) (n int, err error) {
	r := f.reader()
	defer r.Release()
	r.limit = end.pos
	f.place(r, from)
	return f.read(r, math.MaxInt, to.pos)
}
