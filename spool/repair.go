package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/stream"
)

// maxSegmentFile is more than a segment file ever has: a full segment, the block that filled
// it, and gap blocks after that.
const maxSegmentFile = maxSegmentSize + 3*MaxPayload

// repairLast finds the last good block of the last segment, cuts off what follows it, and
// keeps that block for LastBlock. It does not read earlier segments, and of the last one only
// the headers and the end: a reader finds damage in the rest, and loses the damaged block.
//
// The last segment may be in one of these states:
//   - It ends with a good block, after a clean stop or a crash between two writes.
//   - It ends within a block. A crash interrupted the write, and the FIFO still holds the
//     block; or the block was damaged later (see Torn).
//   - It ends with something else. It is damaged, and what was not acknowledged is lost.
//   - Its header is incomplete. A crash interrupted its creation, and it holds nothing.
//   - It cannot be read or written now. It stays as it is, and the stream continues after all
//     positions that it can hold.
func (s *Spool) repairLast(r *Repair) {
	n := len(s.segments)
	if n == 0 {
		return
	}
	seg := &s.segments[n-1]
	s.active.maxTime = time.Now().UnixNano() // until more is known
	path := s.segmentPath(seg.base)
	f, err := s.opts.FS.OpenFile(path, os.O_RDWR, durable.FilePerm)
	if err != nil {
		return
	}
	found, err := s.lastBlocks(f, *seg)
	if err != nil {
		f.Close()
		return
	}
	h, err := decodeSegmentHeader(found.start, seg.base)
	if found.blocks == 0 && err != nil && seg.size <= segmentHeaderSize {
		// Blocks carry their own positions, so a bad header is discarded only if no block
		// follows.
		f.Close()
		s.setAside(r, seg.base, found.start, seg.size)
		s.removeSegmentsLocked(n-1, n)
		return
	}
	seg.end, s.recovered.last, s.active.midFrame, s.active.lastBlockSize = found.end, found.last, found.midFrame, found.lastSize
	if err == nil && !found.cutFrames {
		s.active.maxTime = max(h.maxTime, found.maxTime)
	}
	if err == nil && h.progress <= maxPosition {
		seg.progress = h.progress
		s.cursor.acked.add(stream.Range{From: 0, To: h.progress})
		s.cursor.forgetReported()
	}
	if cut := seg.size - found.size; cut > 0 {
		s.countCut(r, found.rest, found.end)
		s.setAside(r, seg.end, found.rest, cut)
		if f.Truncate(found.size) != nil {
			f.Close()
			return
		}
		s.resizeLocked(seg, found.size)
	}
	s.active.file, s.active.appendable = f, true
}

// Torn is the last block of a spool whose write was cut short. If its bytes are still in
// the FIFO, nothing is lost; otherwise the whole block is.
type Torn struct {
	Length int    // Length is the size of the whole payload, in bytes.
	Epoch  uint32 // Epoch identifies the FIFO of the block.
	header []byte
	first  int    // first is the offset of the first frame that starts in the payload.
	begin  []byte // begin is the part of the payload that is on the disk.
}

// FrameTimeSize is more than the number of bytes from a frame's start to the end of its time.
const FrameTimeSize = 32

// Matches reports whether the block is at the head of a FIFO. unread is the number of
// unread bytes in the FIFO, and head is how they begin. The intake's pipe may be smaller
// than the block (pipe(7), pipe-user-pages-soft), and head shorter. Then the beginnings
// are compared, provided that they include a frame's time.
func (t *Torn) Matches(head []byte, unread int) bool {
	if len(head) < t.Length {
		n := min(len(head), len(t.begin))
		return unread >= t.Length && n >= t.first+FrameTimeSize && bytes.Equal(head[:n], t.begin[:n])
	}
	sum := crc32.Checksum(t.header[8:], castagnoli)
	sum = crc32.Update(sum, castagnoli, head[:t.Length])
	return sum == binary.LittleEndian.Uint32(t.header[4:])
}

// countCut counts what is lost with cut, the bytes after the last good block, which ends at
// end. If cut begins with a torn block, countCut sets recovered.torn. The torn block counts
// as lost until RecoverTorn.
func (s *Spool) countCut(r *Repair, cut []byte, end uint64) {
	if len(cut) < BlockHeaderSize {
		return // a part of a header: its block was being written, and is in the FIFO
	}
	lost, to := Gap{Reason: Damaged}, end
	for off := 0; off < len(cut); {
		h, err := decodeHeader(cut[off:])
		if err != nil || h.position != to {
			n := len(cut) - off
			lost.Bytes += uint64(n)
			to += uint64(n)
			break
		}
		if off == 0 && h.diskSize() > int64(len(cut)) && h.kind == kindData {
			begin := bytes.Clone(cut)
			s.recovered.torn = &Torn{Length: h.length, Epoch: h.epoch, header: begin[:BlockHeaderSize], first: h.info.First, begin: begin[BlockHeaderSize:]}
		}
		if h.kind == kindGap && h.diskSize() > int64(len(cut)-off) {
			break // it was being written: its loss is still pending or unacknowledged
		}
		if h.kind == kindGap {
			h.info = BlockInfo{}
		}
		lost.join(h.info.gap(Damaged, h.length))
		to = h.end()
		off += int(min(h.diskSize(), int64(len(cut))))
	}
	if acked := s.cursor.acked.through(end); acked < to {
		r.lost = lost
	}
}

// Torn returns the torn block that Open found; nil if there was none, or if another block
// has been appended.
func (s *Spool) Torn() *Torn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recovered.torn
}

// RecoverTorn reports to the spool that the torn block is still in its FIFO and will be
// appended again, so it is not lost.
func (s *Spool) RecoverTorn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recovered.torn == nil {
		return
	}
	s.recovered.torn, s.recovered.tornGap = nil, Gap{}
	s.gaps.unkept = s.recovered.unkeptBefore
	s.storeUnkeptLocked()
	s.publishLocked()
}

var blockMagicBytes = binary.LittleEndian.AppendUint32(nil, blockMagic)

// nextBlock returns the offset of the next place in p where a block may begin; -1 if there
// is none.
func nextBlock(p []byte) int { return bytes.Index(p, blockMagicBytes) }

const (
	cutSuffix = ".cut"

	// maxCutFiles limits the files that are set aside. The oldest are kept, because they are
	// nearest to the cause.
	maxCutFiles = 8
)

// setAside counts size bytes that are cut off, and writes cut, which is all or the first of
// them, to a file, so that the damage can be examined. It ignores errors: a full disk must not
// prevent the spool from opening.
func (s *Spool) setAside(r *Repair, at uint64, cut []byte, size int64) {
	if size == 0 {
		return
	}
	r.CutBytes += size
	entries, err := s.opts.FS.ReadDir(s.opts.Dir)
	if err != nil {
		return
	}
	files := 0
	for _, e := range entries {
		if filepath.Ext(e.Name()) == cutSuffix {
			files++
		}
	}
	if files >= maxCutFiles {
		return
	}
	path := filepath.Join(s.opts.Dir, fmt.Sprintf("%016x%s", at, cutSuffix))
	f, err := s.opts.FS.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, durable.FilePerm)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.WriteAt(cut, 0); err != nil {
		_ = s.opts.FS.Remove(path)
		return
	}
	r.CutFile = path
}
