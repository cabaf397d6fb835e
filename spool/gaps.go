package spool

// maxNotes bounds the notes that wait; those beyond it are joined to the last one.
const maxNotes = 64

// AddGap puts a gap of the caller's into the stream, behind what is there: something that was read and was lost on its
// way to the service. It becomes a block at once, or when the frame in progress is complete and there is room.
func (s *Spool) AddGap(g Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if n := len(s.notes); n >= maxNotes {
		s.notes[n-1].add(g)
	} else {
		s.notes = append(s.notes, g)
	}
	if n := s.appendNotesLocked(); n > 0 && s.onGap != nil {
		s.onGap(n * gapPayloadSize)
	}
}

// appendNotesLocked writes the notes that wait, and returns how many it wrote.
func (s *Spool) appendNotesLocked() (n int) {
	for len(s.notes) > 0 && !s.midFrame && s.missing.Bytes == 0 && s.fitsLocked(gapBlockSize) {
		if s.appendNoteLocked(s.notes[0]) != nil {
			break
		}
		s.notes = s.notes[1:]
		n++
	}
	return n
}

const gapBlockSize = BlockHeaderSize + gapPayloadSize

// appendMissingLocked writes what has not been kept as a gap.
func (s *Spool) appendMissingLocked() error {
	if err := s.appendGapLocked(s.missing, s.missingEpoch, gapHere); err != nil {
		return err
	}
	s.missing = Gap{}
	return nil
}

// appendNoteLocked writes a gap that tells of something lost elsewhere.
func (s *Spool) appendNoteLocked(g Gap) error { return s.appendGapLocked(g, 0, gapElsewhere) }

func (s *Spool) appendGapLocked(g Gap, epoch uint32, where byte) error {
	block := make([]byte, gapBlockSize)
	encodeGap(block[BlockHeaderSize:], g)
	block[BlockHeaderSize+1] = where
	h := blockHeader{length: gapPayloadSize, position: s.end.Load(), epoch: epoch, kind: kindGap}
	return s.writeBlockLocked(block, h)
}

// HoldGap keeps a gap whose marker the service did not accept, until ReleaseGap puts it into the stream again. Gaps that
// are held are joined, so that a service that refuses every marker costs one gap. A held gap is pending (see Pending)
// and survives a restart.
func (s *Spool) HoldGap(g Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held.Reason == 0 {
		s.held.Reason = g.Reason
	}
	s.held.add(g)
}

// HoldsGap reports whether a gap is held.
func (s *Spool) HoldsGap() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held.Bytes > 0 || s.held.Frames > 0
}

// ReleaseGap puts the held gap into the stream, behind what is there, and reports whether there was one.
func (s *Spool) ReleaseGap() bool {
	s.mu.Lock()
	g := s.held
	s.held = Gap{}
	s.mu.Unlock()
	if g.Bytes == 0 && g.Frames == 0 {
		return false
	}
	s.AddGap(g)
	return true
}
