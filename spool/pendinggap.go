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
	pendingSlot = iota
	heldSlot
	slots

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

func appendReserve(p []byte, reserve *[slots]slot) []byte {
	return appendRecord(p, recordReserve, func(p []byte) []byte {
		at := len(p)
		p = append(p, make([]byte, slots*slotSize)...)
		for i, s := range reserve {
			s.encode(p[at+i*slotSize:])
		}
		return p
	})
}

// readReserve reads the record at the beginning of p.
func (c *cursor) readReserve(p []byte) {
	for i := range c.reserve {
		c.reserve[i] = decodeSlot(p[cursorRecordHead+i*slotSize:])
	}
}

// storeReserve writes the pending gaps in place, with one write, and makes the file if it is not there. An error means
// that a kill would lose the count.
func (c *cursor) storeReserve() error {
	if !c.there {
		return c.rewrite()
	}
	err := c.open()
	if err == nil {
		_, err = c.file.WriteAt(appendReserve(nil, &c.reserve), int64(len(cursorMagic)))
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
	n := s.appendAddedLocked()
	s.storeHeldLocked()
	if n > 0 && s.onGap != nil {
		s.onGap(n * gapPayloadSize)
	}
}

func (s *Spool) addGapLocked(g Gap) {
	if n := len(s.added); n >= maxAdded {
		s.added[n-1].add(g)
	} else {
		s.added = append(s.added, g)
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
	if s.held == (Gap{}) {
		s.held.Reason = g.Reason
	}
	s.held.add(g)
	s.storeHeldLocked()
}

// HoldsGap reports whether a gap is held.
func (s *Spool) HoldsGap() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held != (Gap{})
}

// ReleaseGap puts the held gap into the stream, behind what is there, and reports whether there was one.
func (s *Spool) ReleaseGap() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.held
	if g == (Gap{}) || s.closed {
		return false
	}
	s.held = Gap{}
	s.putGapLocked(g)
	return true
}

// storeHeldLocked records what waits to become a block and what is held, joined, if that has changed. A crash between a
// block's write and this one records the loss twice, never not at all.
func (s *Spool) storeHeldLocked() {
	now := s.held
	for _, g := range s.added {
		if now == (Gap{}) {
			now.Reason = g.Reason
		}
		now.add(g)
	}
	if stored := &s.cursor.reserve[heldSlot]; stored.gap != now {
		s.useLocked()
		*stored = slot{gap: now}
		_ = s.cursor.storeReserve()
	}
}
