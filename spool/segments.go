package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
		s.totalBytes += size
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
		for _, d := range s.cursor.evicted {
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
	if p := s.cursor.slots[unkeptSlot]; p.gap.Bytes > 0 && p.position <= maxPosition && r.lost.Bytes == 0 {
		end = max(end, p.position) // what was before it was evicted, and a full disk took no record of that
	}
	for _, d := range s.cursor.evicted {
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
		s.cursor.forgetReported()
		s.cursor.stale = s.cursor.exists
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
	s.file, s.appendable, s.dirDirty = f, true, true
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

// segmentSize is how large a segment is at least, before the next one is begun, so that room is given back in steps
// that suit both bounds. A history of 64 KiB is not to be one segment, of which nothing is left when the next is full.
func segmentSize(maxSize, history int64) int64 {
	size := int64(maxSegmentSize)
	if maxSize > 0 {
		size = min(size, max(maxSize/16, minSegmentSize))
	}
	if history > 0 {
		size = min(size, max(history/8, minHistorySegment))
	}
	return size
}

// fullLocked is the size at which a segment is full: larger while much waits to be delivered, so that small segments
// do not become thousands of files.
func (s *Spool) fullLocked() int64 {
	return min(max(s.segmentSize, (s.totalBytes-s.deliveredBytes)/64), maxSegmentSize)
}

func (s *Spool) removeSegmentsLocked(from, to int) {
	for i, seg := range s.segments[from:to] {
		// A file that cannot be removed now is found and removed when the spool is next opened.
		s.fs.Remove(s.segmentPath(seg.base))
		s.totalBytes -= seg.size
		s.charge(-Allocated(seg.size))
		if from+i < s.deliveredCount {
			s.deliveredBytes -= seg.size
		}
	}
	s.deliveredCount -= max(0, min(to, s.deliveredCount)-from)
	s.segments = slices.Delete(s.segments, from, to)
}

// closeActiveLocked closes the file of the segment that is appended to, until it is needed again.
func (s *Spool) closeActiveLocked() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}

func (s *Spool) findLocked(base uint64) (int, bool) {
	return slices.BinarySearchFunc(s.segments, base, func(g segment, base uint64) int { return cmp.Compare(g.base, base) })
}
