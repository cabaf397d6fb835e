package spool

import (
	"bytes"

	"github.com/logspool/logspool/internal/durable"
)

// foundBlocks describes the good blocks of a segment.
type foundBlocks struct {
	blocks    int
	size      int64     // size is the offset in the file at which the last good block ends.
	end       uint64    // end is the position in the stream at which the last good block ends.
	last      lastBlock // last is the last data block, if only gaps from elsewhere follow it.
	midFrame  bool      // midFrame says that the last block ends within a frame.
	lastSize  int64     // lastSize is the size on disk of the last block, data or gap.
	maxTime   int64     // maxTime is not before any time in the headers.
	cutFrames bool      // cutFrames says that a block cuts a frame, so maxTime may be too low.

	start []byte // start is the beginning of the file: the segment's header, if that is whole.
	rest  []byte // rest is what follows the last good block.
}

// lastBlocks finds the good blocks of a segment that may be damaged. It goes from header to
// header, and verifies only the last data block that the headers lead to, and what follows it.
// So it reads little of a long segment. If that block is damaged, or there is none, it verifies
// every block.
//
// A reader finds a damaged block that the headers pass over, like one in an earlier segment.
func (s *Spool) lastBlocks(f durable.File, seg segment) (foundBlocks, error) {
	seg.size = min(seg.size, maxSegmentFile)
	none := foundBlocks{size: min(segmentHeaderSize, seg.size), end: seg.base}
	start, err := readPart(f, 0, none.size)
	if err != nil {
		return none, err
	}
	before, passed := none, none // before has the blocks before the last data block
	w := window{s: s, segment: seg.base, headers: true, file: f}
	defer w.releaseBuffer()
	w.walk(seg, func(off int64, h blockHeader) bool {
		if off+h.diskSize() > seg.size {
			return false // it was not written whole
		}
		if h.kind == kindData {
			before = passed
			before.size, before.end = off, h.position
		}
		passed.note(&h)
		return true
	})
	end, err := readPart(f, before.size, seg.size)
	if err != nil {
		return none, err
	}
	if before.blocks > 0 && !startsWithBlock(end) {
		before = none
		if end, err = readPart(f, before.size, seg.size); err != nil {
			return none, err
		}
	}
	found := goodBlocks(end, before)
	found.start = start
	return found, nil
}

// readPart reads the bytes of a file from offset from to offset to.
func readPart(f durable.File, from, to int64) ([]byte, error) {
	p := make([]byte, to-from)
	if len(p) == 0 {
		return p, nil
	}
	_, err := f.ReadAt(p, from)
	return p, err
}

func startsWithBlock(p []byte) bool {
	h, err := decodeHeader(p)
	return err == nil && h.verify(p) == nil
}

// note adds a block to what the headers say.
func (f *foundBlocks) note(h *blockHeader) {
	f.blocks++
	f.maxTime, f.cutFrames = max(f.maxTime, h.info.MaxTime), f.cutFrames || !h.info.tail.boundary()
}

// goodBlocks finds the good blocks in data, the end of a segment, and skips damaged ones
// between them. f describes the blocks before data.
func goodBlocks(data []byte, f foundBlocks) foundBlocks {
	begin := f.size
	for off := int64(0); off < int64(len(data)); {
		h, err := decodeHeader(data[off:])
		if err == nil {
			err = h.verify(data[off:])
		}
		// The skipped bytes held at most as many positions as there are bytes.
		if err != nil || h.position < f.end || h.position-f.end > uint64(begin+off-f.size) {
			next := nextBlock(data[off+1:])
			if next < 0 {
				break
			}
			off += 1 + int64(next)
			continue
		}
		off += h.diskSize()
		payload := data[off-int64(h.length) : off]
		f.note(&h)
		f.size, f.end, f.lastSize = begin+off, h.end(), h.diskSize()
		if h.kind == kindGap {
			if len(payload) != gapPayloadSize || payload[1] == gapHere {
				f.last = lastBlock{}
			}
			f.midFrame = false
			continue
		}
		f.last, f.midFrame = lastBlock{header: h, payload: payload}, !h.info.tail.boundary()
	}
	f.rest = data[f.size-begin:]
	if len(f.last.payload) < len(data)/2 {
		f.last.payload = bytes.Clone(f.last.payload)
	}
	return f
}
