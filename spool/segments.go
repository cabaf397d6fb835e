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
	"strings"
	"time"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/stream"
)

const (
	segmentSuffix = ".seg"

	// maxSegmentSize and minSegmentSize bound a segment, which is the unit of eviction. A
	// quarter of a small spool would be too much to evict at once; a thousandth would be
	// too many files.
	maxSegmentSize = 4 << 20
	minSegmentSize = 64 << 10

	// MinSize is the smallest limit of a spool, in bytes. Open raises a smaller one to it.
	MinSize = 16 * minSegmentSize

	// minHistorySegment is the lower bound if a small history asks for smaller segments.
	minHistorySegment = 16 << 10

	// progressStep is the number of acknowledged bytes after which the header of the
	// active segment is updated.
	progressStep = 64 << 10
)

// segment is a file of blocks. size and end change only while it is the last segment.
type segment struct {
	base     uint64 // base is the position of the segment's first byte.
	end      uint64 // end is the position after the segment's last byte.
	size     int64  // size is the length of the file, in bytes.
	dirty    bool   // dirty says that the file was written after it was last synced.
	progress uint64 // progress is the delivery progress in the header, or 0 if unknown.
}

// segmentSize returns the least size of a full segment, which suits both limits. It divides a
// history of 64 KiB, because such a history would be empty if its only segment were evicted.
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

// fullLocked returns the size at which a segment is full. It grows with the undelivered
// data, so that a small segment size does not result in thousands of files.
func (s *Spool) fullLocked() int64 {
	return min(max(s.segmentSize, (s.stored.total-s.stored.delivered)/64), maxSegmentSize)
}

func (s *Spool) segmentPath(base uint64) string {
	return filepath.Join(s.opts.Dir, fmt.Sprintf("%016x%s", base, segmentSuffix))
}

func parseSegmentName(name string) (base uint64, ok bool) {
	hex, found := strings.CutSuffix(name, segmentSuffix)
	if !found || len(hex) != 16 {
		return 0, false
	}
	base, err := strconv.ParseUint(hex, 16, 64)
	return base, err == nil && base <= maxPosition
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
	for _, e := range entries { // in order, because names are positions in hexadecimal
		base, ok := parseSegmentName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // the process that has the spool open has removed it
		}
		if err != nil {
			return fmt.Errorf("couldn't look at %q: %w", e.Name(), err)
		}
		f(base, info.Size(), info.ModTime())
	}
	return nil
}

// listSegments finds the segments on disk. Each ends where the next one begins. The last
// one ends where its size allows at most.
func (s *Spool) listSegments() error {
	entries, err := readDir(s.opts.FS, s.opts.Dir)
	if err != nil {
		return err
	}
	err = eachSegment(entries, func(base uint64, size int64, _ time.Time) {
		s.segments = append(s.segments, segment{base: base, size: size})
		s.stored.total += size
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

// checkVersion returns ErrVersion if the last segment is of an unknown version.
func (s *Spool) checkVersion() error {
	n := len(s.segments)
	if n == 0 {
		return nil
	}
	base := s.segments[n-1].base
	if newerSegment(s.segmentStart(base)) { // repairLast handles a header that cannot be read
		return fmt.Errorf("%q: %w", s.segmentPath(base), ErrVersion)
	}
	return nil
}

// segmentStart returns the bytes of a segment's header, as far as they can be read.
func (s *Spool) segmentStart(base uint64) []byte {
	f, err := s.opts.FS.OpenFile(s.segmentPath(base), os.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	p := make([]byte, segmentHeaderSize)
	n, _ := f.ReadAt(p, 0)
	return p[:n]
}

// openSegments determines where the stream ends and how much of it is delivered. The
// caller knows that everything before delivered is.
func (s *Spool) openSegments(r *Repair, delivered uint64) {
	for i := range max(0, len(s.segments)-1) {
		// The segment ends where the next one begins, or earlier if what followed it was
		// evicted.
		seg := &s.segments[i]
		for _, e := range s.cursor.evicted {
			if seg.base < e.From {
				seg.end = min(seg.end, e.From)
			}
		}
	}
	if s.cursor.acked.prefix == 0 {
		s.acceptProgress() // from the earlier segments; repairLast reads the last one
	}
	s.repairLast(r)
	end := s.cursor.acked.end()
	if n := len(s.segments); n > 0 {
		stored := s.segments[n-1].end
		if cut := stored + r.lost.Bytes; r.lost.Bytes > 0 && cut <= delivered {
			// It was damaged after its delivery.
			stored, r.lost, s.recovered.torn = cut, Gap{}, nil
		}
		end = max(end, stored)
	}
	if delivered <= maxPosition {
		end = max(end, delivered)
	}
	if p := s.cursor.slots[unkeptSlot]; p.gap.Bytes > 0 && p.position <= maxPosition && r.lost.Bytes == 0 {
		// What came before was evicted, and the disk was too full to record it.
		end = max(end, p.position)
	}
	for _, e := range s.cursor.evicted {
		end = max(end, e.To)
	}
	// After a power cut, the cursor may know of positions that the segments do not hold.
	// Positions are never used twice, so the stream continues after them in a new
	// segment.
	s.end.Store(end)
	if s.active.appendable && s.segments[len(s.segments)-1].end < end {
		s.sealLocked()
		s.active.lastBlockSize = 0
	}
	if to := min(delivered, end); to > s.cursor.acked.prefix {
		// This is not on disk: the caller says so each time.
		s.cursor.acked.add(stream.Range{From: 0, To: to})
		s.cursor.forgetReported()
		s.cursor.file.stale = s.cursor.file.exists
	}
	s.ackedPrefix.Store(s.cursor.acked.prefix)
	s.chargeLocked()
	s.trimHistoryLocked()
}

// acceptProgress takes the delivery progress from the headers of the segments, because
// the cursor is lost. A header that cannot be read records no progress.
func (s *Spool) acceptProgress() {
	for i := len(s.segments) - 2; i >= 0; i-- {
		base := s.segments[i].base
		if h, err := decodeSegmentHeader(s.segmentStart(base), base); err == nil {
			s.cursor.acked.add(stream.Range{From: 0, To: h.progress})
			return // earlier headers record less
		}
	}
}

// findLocked returns the index of the segment that begins at base, or where it would be
// inserted.
func (s *Spool) findLocked(base uint64) (int, bool) {
	return slices.BinarySearchFunc(s.segments, base, func(g segment, base uint64) int { return cmp.Compare(g.base, base) })
}

// openActiveLocked opens the file of the active segment, and starts a new segment if none is
// appendable.
func (s *Spool) openActiveLocked() error {
	if !s.active.appendable {
		return s.beginSegmentLocked()
	}
	if s.active.file != nil {
		return nil
	}
	path := s.segmentPath(s.segments[len(s.segments)-1].base)
	f, err := s.opts.FS.OpenFile(path, os.O_RDWR, durable.FilePerm)
	if err != nil {
		return fmt.Errorf("couldn't open %q: %w", path, err)
	}
	s.active.file = f
	return nil
}

// closeActiveLocked closes the file of the active segment until it is needed again.
func (s *Spool) closeActiveLocked() {
	if s.active.file != nil {
		s.active.file.Close()
		s.active.file = nil
	}
}

// sealLocked ends the active segment. The next block starts a new one.
func (s *Spool) sealLocked() {
	s.closeActiveLocked()
	s.active.appendable = false
}

func (s *Spool) beginSegmentLocked() error {
	base := s.end.Load()
	if n := len(s.segments); n > 0 && s.segments[n-1].base == base {
		s.removeSegmentsLocked(n-1, n) // nothing was written to it
	}
	path := s.segmentPath(base)
	f, err := s.opts.FS.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, durable.FilePerm)
	if err != nil {
		return fmt.Errorf("couldn't create %q: %w", path, err)
	}
	h := segmentHeader{base: base, progress: s.cursor.acked.prefix, maxTime: s.active.maxTime}
	if _, err := f.WriteAt(h.encode(), 0); err != nil {
		f.Close()
		return errors.Join(fmt.Errorf("couldn't write %q: %w", path, err), s.opts.FS.Remove(path))
	}
	s.active.file, s.active.appendable, s.dirDirty = f, true, true
	s.segments = append(s.segments, segment{base: base, end: base, progress: h.progress})
	s.resizeLocked(&s.segments[len(s.segments)-1], segmentHeaderSize)
	return nil
}

// recordProgressLocked overwrites the delivery progress in the header of the active
// segment: after every progressStep bytes, when everything is delivered, and when the
// spool is closed. This is the second record, for the case that the cursor is lost, so an
// error is left to the next call.
func (s *Spool) recordProgressLocked() {
	acked := s.cursor.acked.prefix
	n := len(s.segments)
	if !s.active.appendable || acked > s.end.Load() {
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
	if _, err := s.active.file.ReadAt(p[:], 0); err != nil {
		return
	}
	h, err := decodeSegmentHeader(p[:], seg.base)
	if err != nil {
		return
	}
	h.progress = acked
	if _, err := s.active.file.WriteAt(h.encode(), 0); err == nil {
		seg.progress, seg.dirty = acked, true
	}
}

// removeSegmentsLocked removes the segments from index from to before index to.
func (s *Spool) removeSegmentsLocked(from, to int) {
	for i, seg := range s.segments[from:to] {
		// A file that cannot be removed now is found and removed when the spool is next
		// opened.
		s.opts.FS.Remove(s.segmentPath(seg.base))
		s.stored.total -= seg.size
		s.charge(-Allocated(seg.size))
		if from+i < s.stored.deliveredSegments {
			s.stored.delivered -= seg.size
		}
	}
	s.stored.deliveredSegments -= max(0, min(to, s.stored.deliveredSegments)-from)
	s.segments = slices.Delete(s.segments, from, to)
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
