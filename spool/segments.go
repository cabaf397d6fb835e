package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/logspool/logspool/internal/durable"
)

// segment is a file of blocks. base never changes; size and end do as long as it is the last one.
type segment struct {
	base  uint64 // position of its first byte
	end   uint64 // position behind its last byte
	size  int64  // bytes on disk
	dirty bool   // written to since it was last synced
}

func (s *Spool) segmentPath(base uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016x%s", base, segmentSuffix))
}

// eachSegment calls f for each segment in dir, in order.
func eachSegment(fsys durable.FS, dir string, f func(base uint64, size int64, written time.Time)) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("couldn't list %q: %w", dir, err)
	}
	for _, e := range entries { // in order: names are positions in hexadecimal
		base, ok := parseSegmentName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since by whoever has the spool open
		}
		if err != nil {
			return fmt.Errorf("couldn't look at %q: %w", e.Name(), err)
		}
		f(base, info.Size(), info.ModTime())
	}
	return nil
}

// listSegments finds the segments on disk. Each ends where the next one begins, and the last one no further away than
// its bytes reach.
func (s *Spool) listSegments() error {
	err := eachSegment(s.fs, s.dir, func(base uint64, size int64, _ time.Time) {
		s.segments = append(s.segments, segment{base: base, size: size})
		s.total += size
	})
	if err != nil {
		return err
	}
	for i := range s.segments {
		seg := &s.segments[i]
		seg.end = seg.base + uint64(max(0, seg.size-segmentHeaderSize))
		if i+1 < len(s.segments) {
			seg.end = s.segments[i+1].base
		}
	}
	return nil
}

func (s *Spool) openSegments(r *Repair) error {
	if err := s.listSegments(); err != nil {
		return err
	}
	for i := range max(0, len(s.segments)-1) {
		// It ends where the next one begins, or where what stood between them gave way.
		seg := &s.segments[i]
		for _, d := range s.cursor.dropped {
			if seg.base < d.From {
				seg.end = min(seg.end, d.From)
			}
		}
	}
	s.budget.add(s.total)
	s.repairLast(r)
	end := s.cursor.acked.end()
	if n := len(s.segments); n > 0 {
		end = max(end, s.segments[n-1].end)
	}
	for _, d := range s.cursor.dropped {
		end = max(end, d.To)
	}
	// A cursor that knows of more than the segments hold outlived them in a power cut. Positions are
	// never used twice: go on behind it, in a new segment.
	s.end.Store(end)
	if s.active != nil && s.segments[len(s.segments)-1].end < end {
		s.sealLocked()
		s.lastSize = 0
	}
	s.reclaimLocked()
	return nil
}

func parseSegmentName(name string) (base uint64, ok bool) {
	hex, found := cutSuffixName(name, segmentSuffix)
	if !found || len(hex) != 16 {
		return 0, false
	}
	base, err := strconv.ParseUint(hex, 16, 64)
	return base, err == nil && base <= maxPosition
}

func cutSuffixName(name, suffix string) (string, bool) {
	if filepath.Ext(name) != suffix {
		return "", false
	}
	return name[:len(name)-len(suffix)], true
}

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
	need := int64(len(block)) + gapBlockSize + 2*segmentHeaderSize
	inBudget := s.budget.take(s, need)
	err := s.append(block, epoch, info, need, inBudget)
	s.appended.tell()
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
		for diskFull(err) && s.deliveredN > 0 {
			s.removeSegmentsLocked(0, 1) // what is delivered is the first to go there, too
			err = s.appendLocked(block, epoch, info)
		}
	}
	if err != nil {
		reason := Unwritable
		if errors.Is(err, ErrFull) {
			reason = Full
		}
		if s.missing.Frames == 0 && s.missing.Bytes == 0 {
			s.missing.Reason = reason
		}
		s.missing.add(Gap{
			Frames: uint64(info.Frames), Bytes: uint64(len(block) - BlockHeaderSize), MinTime: info.MinTime, MaxTime: info.MaxTime,
		})
		s.missingEpoch = epoch
		s.missingFile.store(s.missing, epoch, s.end.Load())
	}
	return err
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// writeBlockLocked writes a block to the last segment, or to a new one when that is full. A gap stays where the block
// before it is, which may still stand at the head of its FIFO: Open looks for it in the last segment.
func (s *Spool) writeBlockLocked(block []byte, h blockHeader) error {
	if s.active != nil {
		full := s.fullLocked()
		if h.kind == kindGap {
			full += MaxPayload
		}
		if s.segments[len(s.segments)-1].size >= full {
			s.sealLocked()
		}
	}
	if s.active == nil {
		if err := s.beginSegmentLocked(); err != nil {
			return err
		}
	}
	h.before = s.lastSize
	h.encode(block)
	seg := &s.segments[len(s.segments)-1]
	if _, err := s.active.WriteAt(block, seg.size); err != nil {
		// What was written of it stays behind the segment's end: the next block goes into a new one,
		// and a reader that finds the torn block finds the next segment's first position as well.
		_ = s.active.Truncate(seg.size)
		s.sealLocked()
		return fmt.Errorf("couldn't write %q: %w", s.segmentPath(seg.base), err)
	}
	seg.size += h.diskSize()
	seg.end, seg.dirty = h.end(), true
	s.lastSize = h.diskSize()
	s.seenLocked(h.info)
	s.growLocked(h.diskSize())
	s.end.Store(seg.end)
	return nil
}

// seenLocked takes note of the times of a block that is appended.
func (s *Spool) seenLocked(info BlockInfo) {
	s.maxTime = max(s.maxTime, info.MaxTime)
	if !info.tail.boundary() {
		// The time of its last frame may be in the next block. dockerd took it before it wrote the frame.
		s.maxTime = max(s.maxTime, time.Now().UnixNano())
	}
}

// sealLocked ends the last segment; the next block begins a new one.
func (s *Spool) sealLocked() {
	if s.active != nil {
		s.active.Close()
		s.active = nil
	}
}

func (s *Spool) beginSegmentLocked() error {
	base := s.end.Load()
	if n := len(s.segments); n > 0 && s.segments[n-1].base == base {
		s.removeSegmentsLocked(n-1, n) // nothing came to be in it
	}
	path := s.segmentPath(base)
	f, err := s.fs.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, filePerm)
	if err != nil {
		return fmt.Errorf("couldn't create %q: %w", path, err)
	}
	if _, err := f.WriteAt(segmentHeader{base, time.Now().UnixNano(), s.maxTime}.encode(), 0); err != nil {
		f.Close()
		return errors.Join(fmt.Errorf("couldn't write %q: %w", path, err), s.fs.Remove(path))
	}
	s.active = f
	s.segments = append(s.segments, segment{base: base, end: base, size: segmentHeaderSize})
	s.growLocked(segmentHeaderSize)
	return nil
}

func removeDir(fsys durable.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := fsys.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return fsys.Remove(dir)
}
