package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The layout of segments and blocks; DESIGN.md draws it. All numbers are little-endian.
const (
	segmentMagic      = "LSPLSEG1"
	segmentHeaderSize = 40

	blockMagic = 0x314b4c42 // "BLK1"

	// BlockHeaderSize is the number of bytes before a block's payload. The caller of
	// Append leaves them free, so that one call writes header and payload without a copy.
	BlockHeaderSize = 64

	// MaxPayload is the maximum size of a block's payload, in bytes. It is more than one
	// read of a FIFO returns, and it limits what a reader allocates for one block.
	MaxPayload = 1 << 20

	// maxPosition limits positions, so that sums of them never overflow. No stream is as long.
	maxPosition = 1 << 62
)

// Kinds of blocks.
const (
	kindData = 0
	kindGap  = 1
)

const gapPayloadSize = 40

// The places of the bytes that a gap block records.
const (
	gapHere      = 0 // the gap's own place: the FIFO holds neither them nor the block before
	gapElsewhere = 1 // elsewhere: the block before it may still be in its FIFO
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockHeader is a block's header in memory.
type blockHeader struct {
	length   int    // length is the size of the payload, in bytes.
	position uint64 // position is where the payload begins in the stream.
	epoch    uint32 // epoch identifies the FIFO from which the payload came.
	kind     uint8
	before   int64 // before is the previous block's size on disk, or 0 if that is not known.
	info     BlockInfo
}

func (h *blockHeader) end() uint64     { return h.position + uint64(h.length) }
func (h *blockHeader) diskSize() int64 { return BlockHeaderSize + int64(h.length) }

// encode writes the header into block[:BlockHeaderSize]; the payload follows there.
func (h *blockHeader) encode(block []byte) {
	le := binary.LittleEndian
	le.PutUint32(block[0:], blockMagic)
	le.PutUint32(block[8:], uint32(h.length))
	le.PutUint32(block[12:], uint32(h.info.First))
	le.PutUint32(block[16:], uint32(h.info.Frames))
	le.PutUint32(block[20:], h.info.tail.remaining)
	le.PutUint64(block[24:], h.position)
	le.PutUint64(block[32:], uint64(h.info.MinTime))
	le.PutUint64(block[40:], uint64(h.info.MaxTime))
	le.PutUint32(block[48:], h.epoch)
	block[52] = h.kind
	block[53] = h.info.tail.prefixLen
	copy(block[54:57], h.info.tail.prefix[:])
	clear(block[57:60])
	le.PutUint32(block[60:], uint32(h.before))
	le.PutUint32(block[4:], crc32.Checksum(block[8:BlockHeaderSize+h.length], castagnoli))
}

var (
	errNoBlock  = errors.New("no block header")
	errShort    = errors.New("block cut short")
	errChecksum = errors.New("checksum does not match")
)

// decodeHeader decodes a header, and checks that its values are within limits. It does not
// verify the checksum, which covers the payload too.
func decodeHeader(p []byte) (h blockHeader, err error) {
	if len(p) < BlockHeaderSize {
		return h, errShort
	}
	le := binary.LittleEndian
	if le.Uint32(p) != blockMagic {
		return h, errNoBlock
	}
	length, first := le.Uint32(p[8:]), le.Uint32(p[12:])
	prefixLen := p[53]
	position := le.Uint64(p[24:])
	if length == 0 || length > MaxPayload || first > length || prefixLen >= frameHeaderSize || position > maxPosition {
		return h, fmt.Errorf("%w: position %d, length %d, first frame at %d", errNoBlock, position, length, first)
	}
	h = blockHeader{
		length:   int(length),
		position: position,
		epoch:    le.Uint32(p[48:]),
		kind:     p[52],
		before:   int64(le.Uint32(p[60:])),
		info: BlockInfo{
			First:   int(first),
			Frames:  int(le.Uint32(p[16:])),
			MinTime: int64(le.Uint64(p[32:])),
			MaxTime: int64(le.Uint64(p[40:])),
			tail:    tail{remaining: le.Uint32(p[20:]), prefixLen: prefixLen},
		},
	}
	copy(h.info.tail.prefix[:], p[54:57])
	return h, nil
}

// verify checks the checksum of the block at the start of p.
func (h *blockHeader) verify(p []byte) error {
	if int64(len(p)) < h.diskSize() {
		return errShort
	}
	if binary.LittleEndian.Uint32(p[4:]) != crc32.Checksum(p[8:h.diskSize()], castagnoli) {
		return errChecksum
	}
	return nil
}

// segmentHeader is a segment's header in memory.
type segmentHeader struct {
	// base is the position of the segment's first byte.
	base uint64
	// progress is a position before which everything was delivered when the header was last
	// written.
	progress uint64
	// maxTime is not before any frame that begins before the segment, in Unix nanoseconds.
	maxTime int64
}

// hasProgress is a flag in a segment's header: bytes 16 to 23 hold the delivery progress.
// Earlier versions set no flag, and wrote the time at which the segment was started to
// those bytes.
const hasProgress = 1

func (h segmentHeader) encode() []byte {
	le := binary.LittleEndian
	p := make([]byte, segmentHeaderSize)
	copy(p, segmentMagic)
	le.PutUint64(p[8:], h.base)
	le.PutUint64(p[16:], h.progress)
	le.PutUint64(p[24:], uint64(h.maxTime))
	le.PutUint32(p[32:], hasProgress)
	le.PutUint32(p[36:], crc32.Checksum(p[:36], castagnoli))
	return p
}

// decodeSegmentHeader decodes and verifies the header of the segment that begins at base.
func decodeSegmentHeader(p []byte, base uint64) (h segmentHeader, err error) {
	le := binary.LittleEndian
	switch {
	case len(p) < segmentHeaderSize:
		return h, errShort
	case newerSegment(p):
		return h, ErrVersion
	case string(p[:8]) != segmentMagic:
		return h, errNoBlock
	case le.Uint32(p[36:]) != crc32.Checksum(p[:36], castagnoli):
		return h, errChecksum
	case le.Uint64(p[8:]) != base:
		return h, fmt.Errorf("segment begins at position %d, its name says %d", le.Uint64(p[8:]), base)
	}
	h = segmentHeader{base: base, maxTime: int64(le.Uint64(p[24:]))}
	if le.Uint32(p[32:])&hasProgress != 0 {
		h.progress = le.Uint64(p[16:])
	}
	return h, nil
}

// newerSegment reports whether p is the beginning of a segment of an unknown version.
func newerSegment(p []byte) bool {
	const family = len(segmentMagic) - 1
	return len(p) >= len(segmentMagic) && string(p[:family]) == segmentMagic[:family] &&
		p[family] != segmentMagic[family] && p[family] >= '0' && p[family] <= 'z'
}

func encodeGap(p []byte, g Gap) {
	le := binary.LittleEndian
	p[0] = byte(g.Reason)
	clear(p[1:8])
	le.PutUint64(p[8:], g.Frames)
	le.PutUint64(p[16:], g.Bytes)
	le.PutUint64(p[24:], uint64(g.MinTime))
	le.PutUint64(p[32:], uint64(g.MaxTime))
}

func decodeGap(p []byte) (Gap, bool) {
	if len(p) < gapPayloadSize {
		return Gap{}, false
	}
	le := binary.LittleEndian
	return Gap{
		Reason:  Reason(p[0]),
		Frames:  le.Uint64(p[8:]),
		Bytes:   le.Uint64(p[16:]),
		MinTime: int64(le.Uint64(p[24:])),
		MaxTime: int64(le.Uint64(p[32:])),
	}, true
}
