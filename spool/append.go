package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// Append writes one block: the payload is block[BlockHeaderSize:], described by info, of the FIFO that
// epoch counts; block[:BlockHeaderSize] is overwritten with the header. block is the caller's again on return.
//
// When the block is not kept, because the spool is full (ErrFull) or the disk does not take it, that is
// remembered, and a gap stands in its place in the stream as soon as something can be written again.
// It blocks for as long as one write(2) into the page cache does.
func (s *Spool) Append(block []byte, epoch uint32, info BlockInfo) error {
	length := len(block) - BlockHeaderSize
	if length <= 0 || length > MaxPayload {
		return fmt.Errorf("a block of %d bytes: 1 to %d are possible", length, MaxPayload)
	}
	// Before the lock is taken, for others may have to give way. What was not kept may have to be told of first.
	need := Allocated(int64(len(block))+gapBlockSize+2*segmentHeaderSize) + 3*allocationUnit
	inBudget := s.budget.reserve(s, need)
	err := s.append(block, epoch, info, need, inBudget)
	for evicted := 0; diskFull(err) && s.budget.reclaimDisk(s, evicted == 0); evicted++ {
		err = s.append(block, epoch, info, need, inBudget && s.budget.reserve(s, need))
	}
	if err != nil && !errors.Is(err, fs.ErrClosed) {
		s.countUnkept(block, epoch, info, err)
	}
	s.appended.notify()
	return err
}

func (s *Spool) append(block []byte, epoch uint32, info BlockInfo, need int64, inBudget bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if inBudget {
		s.reserved = need
		defer func() {
			s.budget.add(-s.reserved)
			s.reserved = 0
		}()
	}
	if s.closed {
		return fs.ErrClosed
	}
	err := ErrFull
	if inBudget {
		err = s.appendLocked(block, epoch, info)
	}
	if err == nil {
		s.lastInFIFO.Store(true)
	}
	return err
}

// countUnkept records that a block was not kept, and why.
func (s *Spool) countUnkept(block []byte, epoch uint32, info BlockInfo, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	reason := Unwritable
	if errors.Is(err, ErrFull) {
		reason = Full
	}
	g := Gap{
		Reason: reason, Frames: uint64(info.Frames), Bytes: uint64(len(block) - BlockHeaderSize), MinTime: info.MinTime, MaxTime: info.MaxTime,
	}
	s.addUnkeptLocked(g, epoch)
	s.reportLossLocked(g)
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func (s *Spool) appendLocked(block []byte, epoch uint32, info BlockInfo) error {
	need := int64(len(block))
	if s.unkept.Bytes > 0 {
		need += gapBlockSize
	}
	if err := s.evictForLocked(need); err != nil {
		return err
	}
	if s.unkept.Bytes > 0 {
		if err := s.appendUnkeptLocked(); err != nil {
			return err
		}
	}
	h := blockHeader{length: len(block) - BlockHeaderSize, position: s.end.Load(), epoch: epoch, kind: kindData, info: info}
	if err := s.writeBlockLocked(block, h); err != nil {
		return err
	}
	s.lastBlock = lastBlock{}
	s.reportTornLocked()
	s.midFrame = !info.tail.boundary()
	s.appendAddedGapsLocked()
	return nil
}

// writeBlockLocked writes a block to the last segment, or to a new one when that is full. A gap stays where the block
// before it is, which may still stand at the head of its FIFO: Open looks for it in the last segment.
func (s *Spool) writeBlockLocked(block []byte, h blockHeader) error {
	s.markUsedLocked()
	if s.appendable {
		full := s.fullLocked()
		if h.kind == kindGap {
			full += MaxPayload
		}
		if s.segments[len(s.segments)-1].size >= full {
			s.sealLocked()
		}
	}
	if err := s.openActiveLocked(); err != nil {
		return err
	}
	h.before = s.lastSize
	h.encode(block)
	seg := &s.segments[len(s.segments)-1]
	if _, err := s.file.WriteAt(block, seg.size); err != nil {
		// What was written of it stays behind the segment's end: the next block goes into a new one,
		// and a reader that finds the torn block finds the next segment's first position as well.
		_ = s.file.Truncate(seg.size)
		s.sealLocked()
		return fmt.Errorf("couldn't write %q: %w", s.segmentPath(seg.base), err)
	}
	s.resizeLocked(seg, seg.size+h.diskSize())
	seg.end, seg.dirty = h.end(), true
	s.lastSize = h.diskSize()
	s.noteTimesLocked(h.info)
	s.end.Store(seg.end)
	return nil
}

// noteTimesLocked takes note of the times of a block that is appended.
func (s *Spool) noteTimesLocked(info BlockInfo) {
	s.maxTime = max(s.maxTime, info.MaxTime)
	if !info.tail.boundary() {
		// The time of its last frame may be in the next block. dockerd took it before it wrote the frame.
		s.maxTime = max(s.maxTime, time.Now().UnixNano())
	}
}

// reportTornLocked reports the loss of what a repair cut off, once: it is not in the FIFO.
func (s *Spool) reportTornLocked() {
	if s.torn = nil; s.tornGap != (Gap{}) {
		s.reportLossLocked(s.tornGap)
		s.tornGap = Gap{}
	}
}

// addUnkeptLocked adds to what could not be kept since the last block.
func (s *Spool) addUnkeptLocked(g Gap, epoch uint32) {
	if s.unkept.Frames == 0 && s.unkept.Bytes == 0 {
		s.unkept.Reason = g.Reason
	}
	s.unkept.join(g)
	s.unkeptEpoch = epoch
	s.markUsedLocked()
	s.cursor.slots[unkeptSlot] = slot{epoch, s.end.Load(), s.unkept}
	_ = s.cursor.storeSlots()
}

// reportLossLocked reports a loss in the spool.
func (s *Spool) reportLossLocked(g Gap) {
	if s.onLoss != nil && (g.Frames > 0 || g.Bytes > 0) {
		s.onLoss(g)
	}
}

// appendUnkeptLocked writes what has not been kept as a gap.
func (s *Spool) appendUnkeptLocked() error {
	if err := s.appendGapLocked(s.unkept, s.unkeptEpoch, gapHere); err != nil {
		return err
	}
	s.unkept = Gap{}
	return nil
}

// appendAddedGapsLocked writes the added gaps that wait, and returns how many it wrote.
func (s *Spool) appendAddedGapsLocked() (n int) {
	for len(s.addedGaps) > 0 && !s.midFrame && s.unkept.Bytes == 0 && s.fitsLocked(gapBlockSize) {
		if s.appendAddedGapLocked(s.addedGaps[0]) != nil {
			break
		}
		s.addedGaps = s.addedGaps[1:]
		n++
	}
	if n > 0 {
		s.storeAddedGapsLocked()
	}
	return n
}

// appendAddedGapLocked writes a gap that records a loss elsewhere.
func (s *Spool) appendAddedGapLocked(g Gap) error { return s.appendGapLocked(g, 0, gapElsewhere) }

func (s *Spool) appendGapLocked(g Gap, epoch uint32, where byte) error {
	block := make([]byte, gapBlockSize)
	encodeGap(block[BlockHeaderSize:], g)
	block[BlockHeaderSize+1] = where
	h := blockHeader{length: gapPayloadSize, position: s.end.Load(), epoch: epoch, kind: kindGap}
	return s.writeBlockLocked(block, h)
}
