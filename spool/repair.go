package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"github.com/logspool/logspool/internal/stream"
)

// maxSegmentFile is more than a segment ever has: a segment, the block that made it full, and notes behind that.
const maxSegmentFile = maxSegmentSize + 3*MaxPayload

// repairLast finds the end of the last segment, cuts off what stands behind its last good block, and
// remembers that block. Earlier segments are not looked at: damage there costs the block that has it,
// when it is read.
//
// The last segment may stand so:
//   - it ends with a good block: a clean stop, or a crash between two writes;
//   - it ends within a block: a crash during a write, which the FIFO still holds, or damage (see Torn);
//   - it ends with something else: damage, and what was not acknowledged of it is lost;
//   - its header is not whole: a crash while it was begun, with nothing in it;
//   - it cannot be read or written now: it stays as it is, and the stream goes on behind all that it can hold.
func (s *Spool) repairLast(r *Repair) {
	n := len(s.segments)
	if n == 0 {
		return
	}
	seg := &s.segments[n-1]
	s.maxTime = time.Now().UnixNano() // until more is known
	path := s.segmentPath(seg.base)
	f, err := s.fs.OpenFile(path, os.O_RDWR, filePerm)
	if err != nil {
		return
	}
	data := make([]byte, min(seg.size, maxSegmentFile))
	if _, err := f.ReadAt(data, 0); err != nil && len(data) > 0 {
		f.Close()
		return
	}
	found := goodBlocks(data, seg.base)
	h, err := decodeSegmentHeader(data, seg.base)
	if found.blocks == 0 && err != nil && len(data) <= segmentHeaderSize {
		// Blocks carry their positions themselves, so only a header that nothing follows is given up.
		f.Close()
		s.setAside(r, seg.base, data, seg.size)
		s.removeSegmentsLocked(n-1, n)
		return
	}
	seg.end, s.lastBlock, s.midFrame, s.lastSize = found.end, found.last, found.midFrame, found.lastSize
	if err == nil && !found.cutFrames {
		s.maxTime = max(h.maxTime, found.maxTime)
	}
	if err == nil && h.progress <= maxPosition {
		seg.progress = h.progress
		s.cursor.acked.add(stream.Range{From: 0, To: h.progress})
		s.cursor.forgetReported()
	}
	if cut := seg.size - int64(found.size); cut > 0 {
		s.countCut(r, data[found.size:], found.end)
		s.setAside(r, seg.end, data[found.size:], cut)
		if f.Truncate(int64(found.size)) != nil {
			f.Close()
			return
		}
		s.resizeLocked(seg, int64(found.size))
	}
	s.file, s.appendable = f, true
}

// Torn is a block whose write was cut short, as the last one in the spool. When its bytes are still in the FIFO, nothing
// is lost; otherwise all of it is.
type Torn struct {
	Length int    // bytes of payload that the block was to have
	Epoch  uint32 // of its FIFO
	header []byte
	first  int    // where in the payload the first frame starts
	begin  []byte // the payload, as far as it is on the disk
}

// tornFrameTime is more than the bytes from a frame's start to the end of its time.
const tornFrameTime = 32

// Matches reports whether the block is at the head of a FIFO that has so many unread bytes, of which head is the beginning.
// Where head is shorter than the block, because the pipe that it was read through is (pipe(7), pipe-user-pages-soft), the
// beginning of the block decides if a frame's time is in it.
func (t *Torn) Matches(head []byte, unread int) bool {
	if len(head) < t.Length {
		n := min(len(head), len(t.begin))
		return unread >= t.Length && n >= t.first+tornFrameTime && bytes.Equal(head[:n], t.begin[:n])
	}
	sum := crc32.Checksum(t.header[8:], castagnoli)
	sum = crc32.Update(sum, castagnoli, head[:t.Length])
	return sum == binary.LittleEndian.Uint32(t.header[4:])
}

// countCut finds out what is lost with the bytes that are cut off behind the last good block, which ends at end. A block
// whose write was cut short is noted in s.torn, and counted as lost until RecoverTorn.
func (s *Spool) countCut(r *Repair, cut []byte, end uint64) {
	if len(cut) < BlockHeaderSize {
		return // the beginning of a header: its block was being written, and is in the FIFO
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
			s.torn = &Torn{Length: h.length, Epoch: h.epoch, header: begin[:BlockHeaderSize], first: h.info.First, begin: begin[BlockHeaderSize:]}
		}
		if h.kind == kindGap && h.diskSize() > int64(len(cut)-off) {
			break // it was being written: what it records is still pending, or not acknowledged yet
		}
		g := Gap{Frames: uint64(h.info.Frames), Bytes: uint64(h.length), MinTime: h.info.MinTime, MaxTime: h.info.MaxTime}
		if h.kind == kindGap {
			g = Gap{Bytes: uint64(h.length)}
		}
		lost.join(g)
		to = h.end()
		off += int(min(h.diskSize(), int64(len(cut))))
	}
	if acked := s.cursor.acked.through(end); acked < to {
		r.lost = lost
	}
}

// Torn returns the block whose write was cut short, if Open found one and nothing has been appended since; nil: there is
// none.
func (s *Spool) Torn() *Torn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.torn
}

// RecoverTorn says that the torn block is still in its FIFO, and will be appended again: it is not lost.
func (s *Spool) RecoverTorn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.torn == nil {
		return
	}
	s.torn, s.tornGap = nil, Gap{}
	s.unkept = s.beforeTorn
	s.markUsedLocked()
	s.cursor.slots[unkeptSlot] = slot{s.unkeptEpoch, s.end.Load(), s.unkept}
	_ = s.cursor.storeSlots()
}

// foundBlocks is what goodBlocks found in a segment.
type foundBlocks struct {
	blocks   int
	size     int       // where the last good one ends in the file
	end      uint64    // and in the stream
	last     lastBlock // the last one of data, if nothing but notes follows it
	midFrame bool      // the last one ends within a frame
	lastSize int64     // bytes on disk of the last one, gap or not
	maxTime  int64     // the greatest time in their headers,
	// which does not say all where a block ends within a frame.
	cutFrames bool
}

// goodBlocks walks over the blocks in data, a whole segment, and over damaged ones in between.
func goodBlocks(data []byte, base uint64) foundBlocks {
	f := foundBlocks{size: min(segmentHeaderSize, len(data)), end: base}
	for off := f.size; off < len(data); {
		h, err := decodeHeader(data[off:])
		if err == nil {
			err = h.verify(data[off:])
		}
		// What is skipped held as many positions at most as it has bytes.
		if err != nil || h.position < f.end || h.position-f.end > uint64(off-f.size) {
			next := nextBlock(data[off+1:])
			if next < 0 {
				break
			}
			off += 1 + next
			continue
		}
		off += int(h.diskSize())
		payload := data[off-h.length : off]
		f.blocks, f.size, f.end, f.lastSize = f.blocks+1, off, h.end(), h.diskSize()
		f.maxTime, f.cutFrames = max(f.maxTime, h.info.MaxTime), f.cutFrames || !h.info.tail.boundary()
		if h.kind == kindGap {
			if len(payload) != gapPayloadSize || payload[1] == gapHere {
				f.last = lastBlock{}
			}
			f.midFrame = false
			continue
		}
		f.last, f.midFrame = lastBlock{header: h, payload: payload}, !h.info.tail.boundary()
	}
	f.last.payload = bytes.Clone(f.last.payload)
	return f
}

var blockMagicBytes = binary.LittleEndian.AppendUint32(nil, blockMagic)

// nextBlock returns the offset of the next place in p where a block may begin, and -1 when there is none.
func nextBlock(p []byte) int { return bytes.Index(p, blockMagicBytes) }

// maxCutFiles bounds what damage can leave behind: the oldest are kept, they are nearest to the cause.
const maxCutFiles = 8

// setAside counts size bytes that are cut off, and keeps them, or the first of them, in a file of their own, so that
// the damage can be examined. An error is ignored: a full disk must not keep the spool from opening.
func (s *Spool) setAside(r *Repair, at uint64, cut []byte, size int64) {
	if size == 0 {
		return
	}
	r.CutBytes += size
	entries, err := s.fs.ReadDir(s.dir)
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
	path := filepath.Join(s.dir, fmt.Sprintf("%016x%s", at, cutSuffix))
	f, err := s.fs.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, filePerm)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.WriteAt(cut, 0); err != nil {
		_ = s.fs.Remove(path)
		return
	}
	r.CutFile = path
}

// openPendingGaps takes over the pending gaps on disk, and adds what the repair has lost.
func (s *Spool) openPendingGaps(lost Gap) {
	if p := s.cursor.slots[unkeptSlot]; p.position >= s.end.Load() { // otherwise the gap is a block already
		s.unkept, s.unkeptEpoch = p.gap, p.epoch
	}
	s.heldGap = s.cursor.slots[addedSlot].gap
	s.beforeTorn = s.unkept
	if lost.Bytes > 0 {
		s.addUnkeptLocked(lost, s.unkeptEpoch)
		if s.tornGap = lost; s.torn == nil {
			s.reportTornLocked()
		}
	}
}
