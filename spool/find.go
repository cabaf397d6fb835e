package spool

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sort"
)

// finder finds where in a spool a History begins, without reading more than it must. What it goes by are headers, which
// say the size of the block before them, too, so that a segment can be walked backwards. They are not verified, because
// that takes the payload: where they contradict each other, or what is read from there contradicts them, the Reader
// has the last word.
type finder struct {
	window
	ctx       context.Context
	segments  []segment // as they were; the last one's end is that of the stream
	streamEnd uint64    // the stream's end then, also where there is no segment
	before    int64     // size of the block before the spot at hand; 0: not known
}

// spot is where a block begins, or the last one ends.
type spot struct {
	i   int // of the segment
	off int64
	pos uint64 // no block from off on has an earlier position
}

func (a spot) before(b spot) bool { return a.i < b.i || a.i == b.i && a.off < b.off }

func newFinder(ctx context.Context, s *Spool) *finder {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &finder{
		window: window{s: s, headers: true}, ctx: ctx, segments: slices.Clone(s.segments), streamEnd: s.end.Load(), before: s.lastSize,
	}
}

// history returns a History that begins where o says. gone says that what was to be passed over in its first segment has
// been removed meanwhile, so that what came after it may have been passed over.
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
	if err := f.skip(h.r, skip, until); err != nil {
		h.Close()
		return nil, false, err
	}
	f.s.mu.Lock()
	_, there := f.s.findLocked(f.segments[begin.i].base)
	f.s.mu.Unlock()
	return h, !there, nil
}

// skip passes over so many frames of those that begin before until.
func (f *finder) skip(r *Reader, frames int, until uint64) error {
	for n := 0; n < frames && r.Position() < until; {
		item, ok := r.Next()
		if !ok {
			return r.err
		}
		if item.Gap != nil {
			continue
		}
		if n++; n%checkFrames == 0 && f.ctx.Err() != nil {
			return f.ctx.Err()
		}
	}
	return nil
}

func (f *finder) reader() *Reader { return &Reader{window: window{s: f.s}, all: true, lost: true} }

// place places a reader at a spot. The end of a frame that began before it is passed over.
func (f *finder) place(r *Reader, at spot) {
	r.openSegment(f.segments[at.i].base)
	r.located, r.off, r.pos, r.lost = true, at.off, at.pos, true
}

func (f *finder) end() spot {
	i := len(f.segments) - 1
	return spot{i, f.segments[i].size, f.segments[i].end}
}

// enterSegment makes the segment of a spot the one at hand, and says what it holds.
func (f *finder) enterSegment(i int) extent {
	if base := f.segments[i].base; f.segment != base || f.file == nil {
		f.openSegment(base)
	}
	return extent{size: f.segments[i].size, end: f.segments[i].end}
}

// since returns the first block that may have a frame which is not earlier than t.
func (f *finder) since(t int64) spot {
	// The header of a segment says how late frames are that begin before it.
	i := sort.Search(len(f.segments)-1, func(i int) bool {
		p := f.enterSegment(i + 1)
		if f.fill(0, segmentHeaderSize, p.size) != nil {
			return true
		}
		h, err := decodeSegmentHeader(f.at(0), f.segment)
		return err != nil || h.maxTime >= t
	})
	at := spot{i, segmentHeaderSize, f.segments[i].base}
	p := f.enterSegment(i)
	for at.off < p.size {
		h, err := f.header(at.off, p)
		// Of a frame that a block ends within the time may not be known.
		if err != nil || h.info.MaxTime >= t || !h.info.tail.boundary() {
			return at
		}
		next := spot{i, at.off + h.diskSize(), h.end()}
		if next.off < p.size {
			// Damage to the length does not lead astray: both must agree.
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

// tail returns a spot from which on there are n whole frames and skip more, which begin before until; or begin, where
// there are not more.
func (f *finder) tail(n int, begin spot) (at spot, skip int, until uint64, err error) {
	at = f.end()
	end := at
	counted, want := 0, n // whole frames from at on, and how many headers are to account for
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
				break // of what cannot be walked over, the frames are counted
			}
			if first && b.kind == kindData && !b.info.tail.boundary() {
				want++ // one is still to come whole
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

// checkFrames is after how many frames it is looked at whether anybody still wants to know.
const checkFrames = 1024

var errNotWalkable = errors.New("the block before this one cannot be told")

// stepBack moves a spot, which is not the first one, to the block before it, and returns its header. Where that cannot
// be told, it moves to the beginning of the segment, and the error is errNoWay.
func (f *finder) stepBack(at *spot) (blockHeader, error) {
	for at.off <= segmentHeaderSize && at.i > 0 {
		at.i--
		at.off = f.segments[at.i].size
	}
	p := f.enterSegment(at.i)
	h, ok := f.blockBefore(*at, p, f.before)
	if !ok && at.off == p.size {
		h, ok = f.blockBefore(*at, p, f.lastSize(p)) // nothing after it says
	}
	if !ok {
		*at, f.before = spot{at.i, segmentHeaderSize, f.segment}, 0
		return h, errNotWalkable
	}
	at.off -= h.diskSize()
	at.pos, f.before = h.position, h.before
	return h, nil
}

// blockBefore returns the header of the block that ends at a spot, if size is its size on disk.
func (f *finder) blockBefore(at spot, p extent, size int64) (blockHeader, bool) {
	if size <= BlockHeaderSize || at.off-size < segmentHeaderSize {
		return blockHeader{}, false
	}
	h, err := f.header(at.off-size, p)
	return h, err == nil && h.diskSize() == size && h.end() == at.pos
}

// lastSize looks for the last block of the segment at hand, which must end where that does; 0: there is none.
func (f *finder) lastSize(p extent) int64 {
	for to := p.size; to >= segmentHeaderSize+BlockHeaderSize && p.size-to <= MaxPayload; {
		from := max(segmentHeaderSize, to-headerChunk)
		if f.fill(from, to-from, p.size) != nil {
			return 0
		}
		for piece := f.at(from)[:to-from]; ; {
			i := bytes.LastIndex(piece[:max(0, len(piece)-BlockHeaderSize+len(blockMagicBytes))], blockMagicBytes)
			if i < 0 {
				break
			}
			off := from + int64(i)
			// A container can print blocks, too: positions go on no faster than bytes.
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

// count counts the whole frames that begin between two spots; end is where the stream ends.
func (f *finder) count(from, to, end spot) (n int, err error) {
	r := f.reader()
	defer r.Release()
	r.limit = end.pos
	f.place(r, from)
	for {
		item, ok := r.Next()
		if !ok || item.From >= to.pos {
			return n, r.err
		}
		if item.Gap != nil {
			continue
		}
		if n++; n%checkFrames == 0 && f.ctx.Err() != nil {
			return n, f.ctx.Err()
		}
	}
}
