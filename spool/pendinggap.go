package spool

import (
	"encoding/binary"
	"hash/crc32"
)

// A pending gap is a loss that the stream does not record yet. There are two, and each has a slot in the cursor file's
// reserve, so that the count outlives the process and needs no new block on a full disk:
//
//   - what Append could not keep. It becomes a gap block, where it is missing, as soon as something can be written. The
//     slot says behind which position: once the gap is a block, the spool goes on behind that, and the slot is void.
//   - what was lost behind the spool (AddGap) and is not a block yet, or whose marker the service refused (HoldGap).
const (
	unkeptSlot = iota
	addedSlot
	slotCount

	slotSize = 4 + 4 + 8 + gapPayloadSize
)

// slot is a pending gap on disk: u32 checksum of all that follows, u32 epoch, u64 position, and the payload of a gap block.
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

// decodeSlot returns the zero slot for one that is torn.
func decodeSlot(p []byte) slot {
	le := binary.LittleEndian
	if le.Uint32(p) != crc32.Checksum(p[4:slotSize], castagnoli) {
		return slot{}
	}
	g, _ := decodeGap(p[16:])
	return slot{le.Uint32(p[4:]), le.Uint64(p[8:]), g}
}

func appendSlots(p []byte, reserve *[slotCount]slot) []byte {
	return appendRecord(p, recordSlots, func(p []byte) []byte {
		at := len(p)
		p = append(p, make([]byte, slotCount*slotSize)...)
		for i, s := range reserve {
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

// storeSlots writes the pending gaps in place, with one write, and makes the file if it is not there. An error means
// that a kill would lose the count.
func (c *cursor) storeSlots() error {
	if !c.exists {
		return c.rewrite()
	}
	err := c.open()
	if err == nil {
		_, err = c.file.WriteAt(appendSlots(nil, &c.slots), int64(len(cursorMagic)))
	}
	c.dirty = true
	return err
}

const gapBlockSize = BlockHeaderSize + gapPayloadSize

// maxAdded bounds the added gaps that wait in memory; those beyond it are joined to the last one.
const maxAdded = 64

// AddGap puts a gap of the caller's into the stream, behind what is there: something that was read and was lost on its
// way to the service. It becomes a block at once, or when the frame in progress is complete and there is room; until then
// it is pending, and survives a kill.
func (s *Spool) AddGap(g Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.putGapLocked(g)
	}
}

// putGapLocked adds g, and reports the gaps that became blocks.
func (s *Spool) putGapLocked(g Gap) {
	s.addGapLocked(g)
	n := s.appendAddedGapsLocked()
	s.storeAddedGapsLocked()
	if n > 0 && s.onGap != nil {
		s.onGap(n * gapPayloadSize)
	}
}

func (s *Spool) addGapLocked(g Gap) {
	if n := len(s.addedGaps); n >= maxAdded {
		s.addedGaps[n-1].join(g)
	} else {
		s.addedGaps = append(s.addedGaps, g)
	}
}

// HoldGap keeps a gap whose marker the service did not accept, until ReleaseGap puts it into the stream again. Gaps that
// are held are joined, so that a service that refuses every marker costs one gap. A held gap is pending (see Pending)
// and survives a restart.
func (s *Spool) HoldGap(g Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.heldGap == (Gap{}) {
		s.heldGap.Reason = g.Reason
	}
	s.heldGap.join(g)
	s.storeAddedGapsLocked()
}

// HoldsGap reports whether a gap is held.
func (s *Spool) HoldsGap() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heldGap != (Gap{})
}

// ReleaseGap puts the held gap into the stream, behind what is there, and reports whether there was one.
func (s *Spool) ReleaseGap() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.heldGap
	if g == (Gap{}) || s.closed {
		return false
	}
	s.heldGap = Gap{}
	s.putGapLocked(g)
	return true
}

// storeAddedGapsLocked records what waits to become a block and what is held, joined, if that has changed. A crash between a
// block's write and this one records the loss twice, never not at all.
func (s *Spool) storeAddedGapsLocked() {
	now := s.heldGap
	for _, g := range s.addedGaps {
		if now == (Gap{}) {
			now.Reason = g.Reason
		}
		now.join(g)
	}
	if stored := &s.cursor.slots[addedSlot]; stored.gap != now {
		s.markUsedLocked()
		*stored = slot{gap: now}
		_ = s.cursor.storeSlots()
	}
}
