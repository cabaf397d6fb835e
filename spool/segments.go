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
	"github.com/logspool/logspool/internal/stream"
)

// segment is a file of blocks. base never changes; size and end do as long as it is the last one.
type segment struct {
	base     uint64 // position of its first byte
	end      uint64 // position behind its last byte
	size     int64  // bytes of the file
	dirty    bool   // written to since it was last synced
	progress uint64 // delivery progress as its header records it, where that is known
}

func (s *Spool) segmentPath(base uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016x%s", base, segmentSuffix))
}

func readDir(fsys durable.FS, dir string) ([]fs.DirEntry, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("couldn't list %q: %w", dir, err)
	}
	return entries, nil
}

// eachSegment calls f for each segment among the entries of a spool's directory, in order.
func eachSegment(entries []fs.DirEntry, f func(base uint64, size int64, written time.Time)) error {
	for _, e := range entries { // in order: names are positions in hexadecimal
		base, ok := parseSegmentName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since by the process that has the spool open
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
	entries, err := readDir(s.fs, s.dir)
	if err != nil {
		return err
	}
	err = eachSegment(entries, func(base uint64, size int64, _ time.Time) {
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

// checkVersion says with ErrVersion that the last segment is of a version that is not known.
func (s *Spool) checkVersion() error {
	n := len(s.segments)
	if n == 0 {
		return nil
	}
	base := s.segments[n-1].base
	if newerSegment(s.segmentStart(base)) { // repairLast says what it means that nothing can be read
		return fmt.Errorf("%q: %w", s.segmentPath(base), ErrVersion)
	}
	return nil
}

// segmentStart returns the bytes of a segment's header, as far as they can be read.
func (s *Spool) segmentStart(base uint64) []byte {
	f, err := s.fs.OpenFile(s.segmentPath(base), os.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	p := make([]byte, segmentHeaderSize)
	n, _ := f.ReadAt(p, 0)
	return p[:n]
}

// openSegments finds out where the stream and its undelivered part begin and end. delivered is what the caller knows to be
// delivered.
func (s *Spool) openSegments(r *Repair, delivered uint64) {
	for i := range max(0, len(s.segments)-1) {
		// It ends where the next one begins, or where what followed it was evicted.
		seg := &s.segments[i]
		for _, d := range s.cursor.dropped {
			if seg.base < d.From {
				seg.end = min(seg.end, d.From)
			}
		}
	}
	if s.cursor.acked.prefix == 0 {
		s.acceptProgress() // of segments before the last one, which repairLast reads
	}
	s.repairLast(r)
	end := s.cursor.acked.end()
	if n := len(s.segments); n > 0 {
		held := s.segments[n-1].end
		if cut := held + r.lost.Bytes; r.lost.Bytes > 0 && cut <= delivered {
			held, r.lost, s.torn = cut, Gap{}, nil // damaged after its delivery
		}
		end = max(end, held)
	}
	if delivered <= maxPosition {
		end = max(end, delivered)
	}
	if p := s.cursor.reserve[pendingSlot]; p.gap.Bytes > 0 && p.position <= maxPosition && r.lost.Bytes == 0 {
		end = max(end, p.position) // what was before it was evicted, and a full disk took no record of that
	}
	for _, d := range s.cursor.dropped {
		end = max(end, d.To)
	}
	// A cursor that knows of more than the segments hold outlived them in a power cut. Positions are
	// never used twice: go on behind it, in a new segment.
	s.end.Store(end)
	if s.appendable && s.segments[len(s.segments)-1].end < end {
		s.sealLocked()
		s.lastSize = 0
	}
	if to := min(delivered, end); to > s.cursor.acked.prefix {
		s.cursor.acked.add(stream.Range{From: 0, To: to}) // in memory: the caller knows it the next time, too
		s.cursor.forgetDropped()
		s.cursor.stale = s.cursor.there
	}
	s.ackedPrefix.Store(s.cursor.acked.prefix)
	s.chargeLocked()
	s.trimHistoryLocked()
}

// acceptProgress takes over the delivery progress that the headers of segments record: the cursor was lost. A header that
// cannot be read records none.
func (s *Spool) acceptProgress() {
	for i := len(s.segments) - 2; i >= 0; i-- {
		base := s.segments[i].base
		if h, err := decodeSegmentHeader(s.segmentStart(base), base); err == nil {
			s.cursor.acked.add(stream.Range{From: 0, To: h.progress})
			return // earlier ones record less
		}
	}
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
	need := Allocated(int64(len(block))+gapBlockSize+2*segmentHeaderSize) + 3*allocationUnit
	inBudget := s.budget.take(s, need)
	err := s.append(block, epoch, info, need, inBudget)
	for evicted := 0; diskFull(err) && s.budget.reclaimDisk(s, evicted == 0); evicted++ {
		err = s.append(block, epoch, info, need, inBudget && s.budget.take(s, need))
	}
	if err != nil && !errors.Is(err, fs.ErrClosed) {
		s.lose(block, epoch, info, err)
	}
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
	}
	if err == nil {
		s.undropped.Store(true)
	}
	return err
}

// lose records that a block was not kept, and why.
func (s *Spool) lose(block []byte, epoch uint32, info BlockInfo, err error) {
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
	s.missLocked(g, epoch)
	s.lostLocked(g)
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// writeBlockLocked writes a block to the last segment, or to a new one when that is full. A gap stays where the block
// before it is, which may still stand at the head of its FIFO: Open looks for it in the last segment.
func (s *Spool) writeBlockLocked(block []byte, h blockHeader) error {
	s.useLocked()
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
	s.seenLocked(h.info)
	s.end.Store(seg.end)
	return nil
}

// openActiveLocked opens the segment that is appended to, and begins one if there is none.
func (s *Spool) openActiveLocked() error {
	if !s.appendable {
		return s.beginSegmentLocked()
	}
	if s.file != nil {
		return nil
	}
	path := s.segmentPath(s.segments[len(s.segments)-1].base)
	f, err := s.fs.OpenFile(path, os.O_RDWR, filePerm)
	if err != nil {
		return fmt.Errorf("couldn't open %q: %w", path, err)
	}
	s.file = f
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
	s.closeActiveLocked()
	s.appendable = false
}

func (s *Spool) beginSegmentLocked() error {
	base := s.end.Load()
	if n := len(s.segments); n > 0 && s.segments[n-1].base == base {
		s.removeSegmentsLocked(n-1, n) // nothing was written to it
	}
	path := s.segmentPath(base)
	f, err := s.fs.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, filePerm)
	if err != nil {
		return fmt.Errorf("couldn't create %q: %w", path, err)
	}
	h := segmentHeader{base: base, progress: s.cursor.acked.prefix, maxTime: s.maxTime}
	if _, err := f.WriteAt(h.encode(), 0); err != nil {
		f.Close()
		return errors.Join(fmt.Errorf("couldn't write %q: %w", path, err), s.fs.Remove(path))
	}
	s.file, s.appendable, s.entered = f, true, true
	s.segments = append(s.segments, segment{base: base, end: base, progress: h.progress})
	s.resizeLocked(&s.segments[len(s.segments)-1], segmentHeaderSize)
	return nil
}

// progressStep is after how many acknowledged bytes the header of the segment that is appended to is brought up to date.
const progressStep = 64 << 10

// recordProgressLocked overwrites the delivery progress in the header of the segment that is appended to: from time to
// time, and when everything is delivered. It is the second record, for when the cursor is lost, so an error is left to the
// next time.
func (s *Spool) recordProgressLocked() {
	acked := s.cursor.acked.prefix
	n := len(s.segments)
	if !s.appendable || acked > s.end.Load() {
		return
	}
	seg := &s.segments[n-1]
	if acked == seg.progress || acked-seg.progress < progressStep && acked < s.end.Load() && !s.closed {
		return
	}
	if s.openActiveLocked() != nil {
		return
	}
	var p [segmentHeaderSize]byte
	if _, err := s.file.ReadAt(p[:], 0); err != nil {
		return
	}
	h, err := decodeSegmentHeader(p[:], seg.base)
	if err != nil {
		return
	}
	h.progress = acked
	if _, err := s.file.WriteAt(h.encode(), 0); err == nil {
		seg.progress, seg.dirty = acked, true
	}
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
