package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

// repairLast finds the end of the last segment, cuts off what stands behind its last good block, and
// remembers that block. Earlier segments are not looked at: damage there costs the block that has it,
// when it is read.
//
// The last segment may stand so:
//   - it ends with a good block: a clean stop, or a crash between two writes;
//   - it ends within a block: a crash of the machine, or a write that failed;
//   - its header is not whole: a crash while it was begun, with nothing in it.
func (s *Spool) repairLast(r *Repair) error {
	n := len(s.segments)
	if n == 0 {
		return nil
	}
	seg := &s.segments[n-1]
	path := s.segmentPath(seg.base)
	f, err := s.fs.OpenFile(path, os.O_RDWR, filePerm)
	if err != nil {
		return fmt.Errorf("couldn't open %q: %w", path, err)
	}
	data := make([]byte, seg.size) // a segment and a block at most
	if _, err := f.ReadAt(data, 0); err != nil {
		f.Close()
		return fmt.Errorf("couldn't read %q: %w", path, err)
	}
	if checkSegmentHeader(data, seg.base) != nil {
		// Blocks carry their positions themselves, so only a header that nothing follows is given up.
		if blocks, _, _ := goodBlocks(data, seg.base); blocks == 0 {
			f.Close()
			if err := s.setAside(r, seg.base, data); err != nil {
				return err
			}
			if err := s.fs.Remove(path); err != nil {
				return fmt.Errorf("couldn't remove %q: %w", path, err)
			}
			s.total -= seg.size
			s.segments = s.segments[:n-1]
			return nil
		}
	}
	_, good, last := goodBlocks(data, seg.base)
	if last.length > 0 {
		seg.end = last.end()
		if last.kind == kindData {
			s.last = lastBlock{header: last, payload: bytes.Clone(data[good-last.length : good])}
		}
	}
	if cut := data[good:]; len(cut) > 0 {
		if err := s.setAside(r, seg.end, cut); err != nil {
			f.Close()
			return err
		}
		if err := f.Truncate(int64(good)); err != nil {
			f.Close()
			return fmt.Errorf("couldn't cut %q: %w", path, err)
		}
		s.total -= int64(len(cut))
		seg.size = int64(good)
	}
	if seg.end < s.cursor.acked.end() {
		return f.Close() // outlived by the cursor: a new segment follows
	}
	s.active = f
	return nil
}

// goodBlocks walks over the blocks in data, a whole segment, and over damaged ones in between. It
// returns how many are good, where the last one ends, and its header.
func goodBlocks(data []byte, base uint64) (blocks, good int, last blockHeader) {
	good = min(segmentHeaderSize, len(data))
	position := base
	for off := good; off < len(data); {
		h, err := decodeHeader(data[off:])
		if err == nil {
			err = h.verify(data[off:])
		}
		if err != nil || h.position < position {
			next := nextBlock(data[off+1:])
			if next < 0 {
				break
			}
			off += 1 + next
			continue
		}
		blocks++
		off += int(h.diskSize())
		good, position, last = off, h.end(), h
	}
	return blocks, good, last
}

var blockMagicBytes = binary.LittleEndian.AppendUint32(nil, blockMagic)

// nextBlock returns the offset of the next place in p where a block may begin, and -1 when there is none.
func nextBlock(p []byte) int { return bytes.Index(p, blockMagicBytes) }

// maxCutFiles bounds what damage can leave behind: the oldest are kept, they are nearest to the cause.
const maxCutFiles = 8

// setAside keeps bytes that were cut off in a file of their own, for whoever wants to know what happened.
func (s *Spool) setAside(r *Repair, at uint64, cut []byte) error {
	if len(cut) == 0 {
		return nil
	}
	r.CutBytes += int64(len(cut))
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("couldn't list %q: %w", s.dir, err)
	}
	files := 0
	for _, e := range entries {
		if filepath.Ext(e.Name()) == cutSuffix {
			files++
		}
	}
	if files >= maxCutFiles {
		return nil
	}
	path := filepath.Join(s.dir, fmt.Sprintf("%016x%s", at, cutSuffix))
	f, err := s.fs.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, filePerm)
	if err != nil {
		return fmt.Errorf("couldn't create %q: %w", path, err)
	}
	defer f.Close()
	if _, err := f.WriteAt(cut, 0); err != nil {
		// Not worth failing for: a full disk must not keep the spool from opening.
		return s.fs.Remove(path)
	}
	r.CutFile = path
	return nil
}
