package spool

import (
	"encoding/binary"
	"hash/crc32"
)

// A pending gap is a loss that no block of the stream records yet. There are two kinds.
// Each has a slot in the first record of the cursor file, so the count survives the
// process and needs no new block on a full disk:
//
//   - unkeptSlot: what Append could not keep. It becomes a gap block at its place in the
//     stream as soon as something can be written. The slot holds the position of that
//     place. When the gap is a block, the stream continues after that position, and the
//     slot is void.
//   - addedSlot: the sum of the gaps of AddGap that are not blocks yet, and of the gap of
//     HoldGap.
const (
	unkeptSlot = iota
	addedSlot
	slotCount

	slotSize = 4 + 4 + 8 + gapPayloadSize
)

// slot is a pending gap on disk: u32 checksum of the rest, u32 epoch, u64 position, and
// the payload of a gap block.
type slot struct {
	epoch    uint32
	position uint64
	gap      Gap
}

func (s slot) encode(p []byte) {
	le := binary.LittleEndian
	le.PutUint32(p[4:], s.epoch)
	le.PutUint64(p[8:], s.position)
	encodeGap(p[16:], s.gap)
	le.PutUint32(p, crc32.Checksum(p[4:slotSize], castagnoli))
}

// decodeSlot returns the zero slot for a torn one.
func decodeSlot(p []byte) slot {
	le := binary.LittleEndian
	if le.Uint32(p) != crc32.Checksum(p[4:slotSize], castagnoli) {
		return slot{}
	}
	g, _ := decodeGap(p[16:])
	return slot{le.Uint32(p[4:]), le.Uint64(p[8:]), g}
}

func appendSlots(p []byte, slots *[slotCount]slot) []byte {
	return appendRecord(p, recordSlots, func(p []byte) []byte {
		at := len(p)
		p = append(p, make([]byte, slotCount*slotSize)...)
		for i, s := range slots {
			s.encode(p[at+i*slotSize:])
		}
		return p
	})
}

// readSlots reads the record at the beginning of p.
func (c *cursor) readSlots(p []byte) {
	for i := range c.slots {
		c.slots[i] = decodeSlot(p[cursorRecordHead+i*slotSize:])
	}
}

// storeSlots overwrites the slots with one write, and creates the file if there is none.
// After an error, a kill of the process would lose the count.
func (c *cursor) storeSlots() error {
	if !c.file.exists {
		return c.rewrite()
	}
	err := c.open()
	if err == nil {
		_, err = c.file.handle.WriteAt(appendSlots(nil, &c.slots), int64(len(cursorMagic)))
	}
	c.file.dirty = true
	return err
}

const gapBlockSize = BlockHeaderSize + gapPayloadSize

// openPendingGaps takes over the pending gaps on disk, and adds what the repair lost.
func (s *Spool) openPendingGaps(lost Gap) {
	// An unkept gap before the end of the stream is a block already.
	if p := s.cursor.slots[unkeptSlot]; p.position >= s.end.Load() {
		s.gaps.unkept, s.gaps.unkeptEpoch = p.gap, p.epoch
	}
	s.gaps.held = s.cursor.slots[addedSlot].gap
	s.recovered.unkeptBefore = s.gaps.unkept
	if lost.Bytes > 0 {
		s.addUnkeptLocked(lost, s.gaps.unkeptEpoch)
		if s.recovered.tornGap = lost; s.recovered.torn == nil {
			s.reportTornLocked()
		}
	}
}

// addUnkeptLocked adds g to what could not be kept after the last block.
func (s *Spool) addUnkeptLocked(g Gap, epoch uint32) {
	s.gaps.unkept.join(g)
	s.gaps.unkeptEpoch = epoch
	s.storeUnkeptLocked()
}

func (s *Spool) storeUnkeptLocked() {
	s.markUsedLocked()
	s.cursor.slots[unkeptSlot] = slot{s.gaps.unkeptEpoch, s.end.Load(), s.gaps.unkept}
	_ = s.cursor.storeSlots()
}

// reportTornLocked reports the loss of the torn block, which is not in its FIFO. It does
// so once.
func (s *Spool) reportTornLocked() {
	s.reportLossLocked(s.recovered.tornGap)
	s.recovered.torn, s.recovered.tornGap = nil, Gap{}
}

// reportLossLocked reports a loss in the spool to Options.OnLoss.
func (s *Spool) reportLossLocked(g Gap) {
	if s.opts.OnLoss != nil && (g.Frames > 0 || g.Bytes > 0) {
		s.opts.OnLoss(g)
	}
}

// maxAdded limits how many added gaps wait in memory. Further ones are joined to the last one.
const maxAdded = 64

// AddGap appends a gap of the caller to the stream: something that was read, and was lost
// on its way to CloudWatch. The gap becomes a block at once, or when the frame in
// progress is complete and there is space. Until then it is pending, and it survives a
// kill.
func (s *Spool) AddGap(g Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.putGapLocked(g)
		s.publishLocked()
	}
}

// putGapLocked adds g, and reports the gaps that became blocks.
func (s *Spool) putGapLocked(g Gap) {
	end := s.end.Load()
	s.addGapLocked(g)
	s.appendAddedGapsLocked()
	s.storeAddedGapsLocked()
	s.reportGapsLocked(int(s.end.Load() - end))
}

func (s *Spool) addGapLocked(g Gap) {
	if n := len(s.gaps.added); n >= maxAdded {
		s.gaps.added[n-1].join(g)
	} else {
		s.gaps.added = append(s.gaps.added, g)
	}
}

// reportGapsLocked reports new gap blocks to Options.OnGap. bytes is their size in the
// stream.
func (s *Spool) reportGapsLocked(bytes int) {
	if bytes > 0 && s.opts.OnGap != nil {
		s.opts.OnGap(bytes)
	}
}

// HoldGap keeps a gap whose marker CloudWatch rejected, until ReleaseGap appends it to
// the stream again. Held gaps are joined: however many markers CloudWatch rejects, one
// gap is held. A held gap is pending (see Pending) and survives a restart.
func (s *Spool) HoldGap(g Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.gaps.held.join(g)
		s.storeAddedGapsLocked()
		s.publishLocked()
	}
}

// HoldsGap reports whether a gap is held.
func (s *Spool) HoldsGap() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gaps.held != (Gap{})
}

// ReleaseGap appends the held gap to the stream, and reports whether there was one.
func (s *Spool) ReleaseGap() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gaps.held
	if g == (Gap{}) || s.closed {
		return false
	}
	s.gaps.held = Gap{}
	s.putGapLocked(g)
	s.publishLocked()
	return true
}

// storeAddedGapsLocked records the sum of the added and held gaps, if it has changed. It is
// called after the write of a gap block: a crash between the two records the loss twice, but
// never drops it.
func (s *Spool) storeAddedGapsLocked() {
	sum := s.gaps.held
	for _, g := range s.gaps.added {
		sum.join(g)
	}
	if stored := &s.cursor.slots[addedSlot]; stored.gap != sum {
		s.markUsedLocked()
		*stored = slot{gap: sum}
		_ = s.cursor.storeSlots()
	}
}
