package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// Append writes one block. The payload is block[BlockHeaderSize:], info describes it, and
// epoch counts the FIFO from which it came. Append overwrites block[:BlockHeaderSize]
// with the header. The caller owns block again when Append returns.
//
// If the block cannot be kept, because the spool is full (ErrFull) or the disk refuses
// the write, Append counts it. A gap takes its place in the stream as soon as something
// can be written again. Append blocks for as long as a write(2) into the page cache does.
func (s *Spool) Append(block []byte, epoch uint32, info BlockInfo) error {
	length := len(block) - BlockHeaderSize
	if length <= 0 || length > MaxPayload {
		return fmt.Errorf("payload of %d bytes, expected 1 to %d", length, MaxPayload)
	}
	// This is done without the lock, because other spools may have to evict something. An
	// unkept gap may come before the block, and each of the two may start a segment.
	need := Allocated(int64(len(block))+gapBlockSize+2*segmentHeaderSize) + 3*allocationUnit
	inBudget := s.opts.Budget.reserve(s, need)
	err := s.append(block, epoch, info, need, inBudget)
	for evicted := 0; diskFull(err) && s.opts.Budget.reclaimDisk(s, evicted == 0); evicted++ {
		err = s.append(block, epoch, info, need, inBudget && s.opts.Budget.reserve(s, need))
	}
	if err != nil && !errors.Is(err, fs.ErrClosed) {
		s.countUnkept(block, epoch, info, err)
	}
	s.appended.notify()
	return err
}

// append is one try of Append. If inBudget is false, the budget has no space for the block.
func (s *Spool) append(block []byte, epoch uint32, info BlockInfo, need int64, inBudget bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if inBudget {
		s.usage.reserved = need
		defer func() {
			s.opts.Budget.used.Add(-s.usage.reserved)
			s.usage.reserved = 0
		}()
	}
	if s.closed {
		return fs.ErrClosed
	}
	defer s.publishAppendLocked()
	err := ErrFull
	if inBudget {
		err = s.appendLocked(block, epoch, info)
	}
	if err == nil {
		s.lastInFIFO.Store(true)
	}
	return err
}

// countUnkept counts a block that Append could not keep because of err.
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
	g := info.gap(reason, len(block)-BlockHeaderSize)
	s.addUnkeptLocked(g, epoch)
	s.publishLocked()
	s.reportLossLocked(g)
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func (s *Spool) appendLocked(block []byte, epoch uint32, info BlockInfo) error {
	need := int64(len(block))
	if s.gaps.unkept.Bytes > 0 {
		need += gapBlockSize
	}
	if err := s.evictForLocked(need); err != nil {
		return err
	}
	if s.gaps.unkept.Bytes > 0 {
		if err := s.appendUnkeptLocked(); err != nil {
			return err
		}
	}
	h := blockHeader{length: len(block) - BlockHeaderSize, position: s.end.Load(), epoch: epoch, kind: kindData, info: info}
	if err := s.writeBlockLocked(block, h); err != nil {
		return err
	}
	s.recovered.last = lastBlock{}
	s.reportTornLocked()
	s.active.midFrame = !info.tail.boundary()
	s.appendAddedGapsLocked()
	return nil
}

// writeBlockLocked writes a block to the active segment, or to a new one if that is full.
// A gap block is written to a full segment too: the data block before it may still be at
// the head of its FIFO, and Open looks for that block in the last segment.
func (s *Spool) writeBlockLocked(block []byte, h blockHeader) error {
	s.markUsedLocked()
	if s.active.appendable {
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
	h.before = s.active.lastBlockSize
	h.encode(block)
	seg := &s.segments[len(s.segments)-1]
	if _, err := s.active.file.WriteAt(block, seg.size); err != nil {
		// What was written of the block stays after the segment's end, because the next block
		// starts a new segment. A reader that finds the torn block continues at that segment.
		_ = s.active.file.Truncate(seg.size)
		s.sealLocked()
		return fmt.Errorf("couldn't write %q: %w", s.segmentPath(seg.base), err)
	}
	s.resizeLocked(seg, seg.size+h.diskSize())
	seg.end, seg.dirty = h.end(), true
	s.active.lastBlockSize = h.diskSize()
	s.active.maxTime = max(s.active.maxTime, h.info.MaxTime)
	if !h.info.tail.boundary() {
		// The time of the last frame may be in the next block. dockerd read its clock for it
		// before it wrote the frame, so it is not later than now.
		s.active.maxTime = max(s.active.maxTime, time.Now().UnixNano())
	}
	s.backlog.add(&h)
	s.end.Store(seg.end)
	return nil
}

// appendUnkeptLocked writes the unkept gap to the stream.
func (s *Spool) appendUnkeptLocked() error {
	if err := s.appendGapLocked(s.gaps.unkept, s.gaps.unkeptEpoch, gapHere); err != nil {
		return err
	}
	s.gaps.unkept = Gap{}
	return nil
}

// appendAddedGapsLocked writes the added gaps for which there is space, unless a frame is
// incomplete.
func (s *Spool) appendAddedGapsLocked() {
	before := len(s.gaps.added)
	for len(s.gaps.added) > 0 && !s.active.midFrame && s.gaps.unkept.Bytes == 0 && s.fitsLocked(gapBlockSize) {
		if s.appendAddedGapLocked(s.gaps.added[0]) != nil {
			break
		}
		s.gaps.added = s.gaps.added[1:]
	}
	if len(s.gaps.added) < before {
		s.storeAddedGapsLocked()
	}
}

// appendAddedGapLocked writes a gap whose data is missing elsewhere in the stream.
func (s *Spool) appendAddedGapLocked(g Gap) error { return s.appendGapLocked(g, 0, gapElsewhere) }

func (s *Spool) appendGapLocked(g Gap, epoch uint32, where byte) error {
	block := make([]byte, gapBlockSize)
	encodeGap(block[BlockHeaderSize:], g)
	block[BlockHeaderSize+1] = where
	h := blockHeader{length: gapPayloadSize, position: s.end.Load(), epoch: epoch, kind: kindGap}
	return s.writeBlockLocked(block, h)
}
