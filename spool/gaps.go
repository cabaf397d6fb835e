package spool

// maxNotes bounds the notes that wait; those beyond it are joined to the last one.
const maxNotes = 64

// Note puts a gap of the caller's into the stream, behind what is there: something that was read and is lost on
// the way out. It becomes a block at once, or when the frame under way has come whole and there is room.
func (s *Spool) Note(g Gap) {
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
