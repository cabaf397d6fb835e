package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/durable"
)

const (
	filePerm = 0o600
	dirPerm  = 0o700

	segmentSuffix = ".seg"
	cutSuffix     = ".cut"

	// maxSegmentSize and minSegmentSize bound a segment, the unit in which room is given back. A
	// quarter of a small spool would be too coarse a step to give way by; a thousandth, too many files.
	maxSegmentSize = 4 << 20
	minSegmentSize = 64 << 10
)

// ErrFull says that a block was not kept because the spool may not grow.
var ErrFull = errors.New("spool is full")

// Options say where a spool lives and how large it may become.
type Options struct {
	Dir string
	FS  durable.FS // nil: durable.OS

	// MaxSize bounds the bytes on disk; 0: no bound. Below 16 segments of 64 KiB the bound is rounded up.
	MaxSize int64
	// DropNewest makes a full spool refuse what is new; otherwise its oldest segments give way.
	DropNewest bool
	// Durable makes what Sync has synced survive a power cut: the cursor file is never replaced by one that
	// the disk does not have yet. Without it a crash of the process is survived, a power cut may not be.
	Durable bool
	// Budget bounds several spools together; nil: no bound.
	Budget *Budget
	// OnGap, if set, is called when a gap has been added to the stream by Ack, which made room for it, rather
	// than by Append. It must not call the spool.
	OnGap func(bytes int)
}

// Budget bounds the bytes on disk of several spools together. Its methods may be called from any goroutine.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// NewBudget makes a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Used returns the bytes on disk of all spools under the budget.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) add(n int64) {
	if b != nil {
		b.used.Add(n)
	}
}

func (b *Budget) fits(n int64) bool { return b == nil || b.used.Load()+n <= b.limit }

// Repair says what opening a spool had to mend.
type Repair struct {
	CutBytes       int64  // bytes after the last good block, set aside in CutFile
	CutFile        string // empty: none
	CursorCutBytes int64  // bytes after the last good record of the cursor file, given up
}

// segment is a file of blocks. base never changes; size and end do as long as it is the last one.
type segment struct {
	base  uint64 // position of its first byte
	end   uint64 // position behind its last byte
	size  int64  // bytes on disk
	dirty bool   // written to since it was last synced
}

// Spool is the durable log of one container. One goroutine at a time may call Append; all other methods
// may be called from any goroutine. Methods block for the local disk only.
type Spool struct {
	dir         string
	fs          durable.FS
	maxSize     int64
	segmentSize int64
	dropNewest  bool
	budget      *Budget
	onGap       func(bytes int)

	// mu guards what follows. It is held while a block is written, so that whoever sees a block's end
	// can read it.
	mu           sync.Mutex
	segments     []segment    // in order; the last one is appended to
	active       durable.File // of the last segment; nil: begin a new one at the next Append
	last         lastBlock
	cursor       *cursor
	missing      Gap // what has not been kept since the last block; becomes a block when there is room
	missingEpoch uint32
	missingFile  *missingFile // has missing on disk
	notes        []Gap        // of Note, that have not become blocks
	midFrame     bool         // the last block ends within a frame
	closed       bool
	total        int64 // bytes on disk of all segments
	readers      []*Reader

	end atomic.Uint64

	syncing sync.Mutex // held by Sync, before mu
}

// lastBlock is the last block that Open found; nothing once another has been appended.
type lastBlock struct {
	header  blockHeader
	payload []byte
}

// Open opens the spool in o.Dir, makes it when there is none, and mends what a crash has left: blocks
// that were not written whole are cut off and set aside. It reads the last segment and the cursor.
func Open(o Options) (*Spool, Repair, error) {
	if o.FS == nil {
		o.FS = durable.OS
	}
	s := &Spool{dir: o.Dir, fs: o.FS, maxSize: o.MaxSize, dropNewest: o.DropNewest, budget: o.Budget, onGap: o.OnGap}
	s.segmentSize = maxSegmentSize
	if o.MaxSize > 0 {
		s.segmentSize = min(max(o.MaxSize/16, minSegmentSize), maxSegmentSize)
		s.maxSize = max(o.MaxSize, 16*minSegmentSize)
	}
	if err := s.fs.MkdirAll(s.dir, dirPerm); err != nil {
		return nil, Repair{}, fmt.Errorf("couldn't make %q: %w", s.dir, err)
	}
	_ = durable.RemoveTemp(s.fs, s.dir) // the next WriteFile begins it anew
	var r Repair
	var err error
	if s.cursor, r.CursorCutBytes, err = openCursor(s.fs, s.dir, o.Durable); err != nil {
		return nil, r, err
	}
	if err := s.openSegments(&r); err != nil {
		s.cursor.close()
		return nil, r, err
	}
	var missing Gap
	var position uint64
	s.missingFile, missing, s.missingEpoch, position = openMissing(s.fs, s.dir)
	if position == s.end.Load() { // otherwise the gap is a block already
		s.missing = missing
	}
	return s, r, nil
}

func (s *Spool) segmentPath(base uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016x%s", base, segmentSuffix))
}

func (s *Spool) openSegments(r *Repair) error {
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("couldn't list %q: %w", s.dir, err)
	}
	for _, e := range entries { // in order: names are positions in hexadecimal
		base, ok := parseSegmentName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("couldn't look at %q: %w", e.Name(), err)
		}
		s.segments = append(s.segments, segment{base: base, end: base, size: info.Size()})
		s.total += info.Size()
	}
	for i := range len(s.segments) - 1 {
		s.segments[i].end = s.segments[i+1].base
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fs.ErrClosed
	}
	err := s.appendLocked(block, epoch, info)
	if err != nil {
		reason := Unwritable
		if errors.Is(err, ErrFull) {
			reason = Full
		}
		if s.missing.Frames == 0 && s.missing.Bytes == 0 {
			s.missing.Reason = reason
		}
		s.missing.add(Gap{Frames: uint64(info.Frames), Bytes: uint64(length), MinTime: info.MinTime, MaxTime: info.MaxTime})
		s.missingEpoch = epoch
		s.missingFile.store(s.missing, epoch, s.end.Load())
	}
	return err
}

func (s *Spool) appendLocked(block []byte, epoch uint32, info BlockInfo) error {
	need := int64(len(block))
	if s.missing.Bytes > 0 {
		need += gapBlockSize
	}
	if err := s.makeRoomLocked(need); err != nil {
		return err
	}
	if s.missing.Bytes > 0 {
		if err := s.appendMissingLocked(); err != nil {
			return err
		}
	}
	h := blockHeader{length: len(block) - BlockHeaderSize, position: s.end.Load(), epoch: epoch, kind: kindData, info: info}
	if err := s.writeBlockLocked(block, h); err != nil {
		return err
	}
	s.last = lastBlock{}
	s.midFrame = !info.tail.boundary()
	s.appendNotesLocked()
	return nil
}

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
		if s.appendGapLocked(s.notes[0], 0) != nil {
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
	if err := s.appendGapLocked(s.missing, s.missingEpoch); err != nil {
		return err
	}
	s.missing = Gap{}
	return nil
}

func (s *Spool) appendGapLocked(g Gap, epoch uint32) error {
	block := make([]byte, gapBlockSize)
	encodeGap(block[BlockHeaderSize:], g)
	h := blockHeader{length: gapPayloadSize, position: s.end.Load(), epoch: epoch, kind: kindGap}
	return s.writeBlockLocked(block, h)
}

// writeBlockLocked writes a block to the last segment, or to a new one when that is full. A gap stays where the block
// before it is, which may still stand at the head of its FIFO: Open looks for it in the last segment.
func (s *Spool) writeBlockLocked(block []byte, h blockHeader) error {
	if s.active != nil {
		full := s.segmentSize
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
	s.total += h.diskSize()
	s.budget.add(h.diskSize())
	s.end.Store(seg.end)
	return nil
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
	if _, err := f.WriteAt(encodeSegmentHeader(base, time.Now().UnixNano()), 0); err != nil {
		f.Close()
		return errors.Join(fmt.Errorf("couldn't write %q: %w", path, err), s.fs.Remove(path))
	}
	s.active = f
	s.segments = append(s.segments, segment{base: base, end: base, size: segmentHeaderSize})
	s.total += segmentHeaderSize
	s.budget.add(segmentHeaderSize)
	return nil
}

// makeRoomLocked sees to it that n more bytes fit, or returns ErrFull.
func (s *Spool) makeRoomLocked(n int64) error {
	for !s.fitsLocked(n) {
		if s.dropNewest || !s.dropOldestLocked() {
			return ErrFull
		}
	}
	return nil
}

// fitsLocked reports whether n more bytes, and the header of a segment that they may begin, fit.
func (s *Spool) fitsLocked(n int64) bool {
	n += segmentHeaderSize
	return (s.maxSize == 0 || s.total+n <= s.maxSize) && s.budget.fits(n)
}

// dropOldestLocked gives up the oldest segment that no reader stands in or has passed: what readers have
// been given may be under way, and is gone or kept exactly as it turns out. It notes what of the segment
// had not been dealt with, and returns false when there is no such segment.
func (s *Spool) dropOldestLocked() bool {
	held := uint64(0)
	for _, r := range s.readers {
		held = max(held, r.held)
	}
	i, _ := s.findLocked(held)
	if i >= len(s.segments) {
		return false
	}
	if i == len(s.segments)-1 {
		s.sealLocked()
	}
	seg := s.segments[i]
	d := dropped{Range: Range{max(seg.base, s.cursor.acked.prefix), seg.end}, Gap: Gap{Reason: Full}}
	if d.From < d.To {
		r := &Reader{s: s, locked: true, pos: d.From, limit: d.To, acked: s.cursor.acked, lost: d.From == seg.base}
		for {
			item, ok := r.Next()
			if !ok {
				if item, ok = r.GiveUp(); !ok {
					break
				}
			}
			if item.Gap != nil {
				d.Gap.add(*item.Gap)
				continue
			}
			t := frameTime(item.Frame)
			d.Gap.add(Gap{Frames: 1, Bytes: item.To - item.From, MinTime: t, MaxTime: t})
		}
		d.Gap.add(Gap{Bytes: d.To - min(r.pos, d.To)}) // what could not be read
		r.Release()
		// One note for one stretch, however long it becomes, until a reader has told of it.
		for _, before := range s.cursor.dropped {
			if before.To == d.From && before.From >= held {
				d.From = before.From
				d.Gap.add(before.Gap)
				break
			}
		}
		// When the note cannot be written now, the cursor is written anew at the next change: room on the
		// disk is what is wanted first.
		_ = s.cursor.drop(d)
	}
	s.removeSegmentsLocked(i, i+1)
	return true
}

// reclaimLocked removes the segments in which everything has been dealt with.
func (s *Spool) reclaimLocked() {
	n := 0
	for n < len(s.segments) && s.segments[n].end <= s.cursor.acked.prefix && !(s.active != nil && n == len(s.segments)-1) {
		n++
	}
	s.removeSegmentsLocked(0, n)
}

func (s *Spool) removeSegmentsLocked(from, to int) {
	for _, seg := range s.segments[from:to] {
		// A file that cannot be removed now is found and removed when the spool is next opened.
		s.fs.Remove(s.segmentPath(seg.base))
		s.total -= seg.size
		s.budget.add(-seg.size)
	}
	s.segments = slices.Delete(s.segments, from, to)
}

// Ack says that the ranges have been dealt with, and removes the segments that are not needed any more.
// On return it survives a crash of the process. ranges may come in any order and may have been
// acknowledged before; they are sorted in place. An error means that a crash could make readers
// give them once more; the next Ack mends that when it can.
func (s *Spool) Ack(ranges []Range) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fs.ErrClosed
	}
	err := s.cursor.ack(ranges)
	before := s.total
	if s.reclaimLocked(); err != nil && s.total < before {
		err = s.cursor.rewrite() // there may be room now
	}
	added := 0
	if s.missing.Bytes > 0 && s.fitsLocked(gapBlockSize) && s.appendMissingLocked() == nil {
		added++
	}
	if added += s.appendNotesLocked(); added > 0 && s.onGap != nil {
		s.onGap(added * gapPayloadSize)
	}
	return err
}

// End returns the position behind the last block.
func (s *Spool) End() uint64 { return s.end.Load() }

// Acked returns the first position that has not been dealt with; End when there is none.
func (s *Spool) Acked() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor.acked.prefix
}

// Fragments returns how many separate ranges have been acknowledged out of order.
func (s *Spool) Fragments() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.cursor.acked.beyond)
}

// Size returns the bytes on disk of all segments.
func (s *Spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// LastBlock returns the payload of the last block, its description and epoch, as found when the spool
// was opened; false when there was none or something has been appended since. It does so once: the payload
// is the caller's.
func (s *Spool) LastBlock() (payload []byte, info BlockInfo, epoch uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.last
	s.last = lastBlock{}
	return l.payload, l.header.info, l.header.epoch, l.payload != nil
}

// Pending reports whether there is something that has not been dealt with. When that is so of nothing else, what was
// not kept, and the notes that wait, are put into the stream, room or not: nothing is left to make room for them.
// While the disk does not take them, they are pending.
func (s *Spool) Pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.cursor.acked.prefix < s.end.Load() || s.missing.Bytes == 0 && len(s.notes) == 0 {
		return s.cursor.acked.prefix < s.end.Load()
	}
	if s.missing.Bytes > 0 && s.appendMissingLocked() != nil {
		return true
	}
	s.midFrame = false // the frame was given up
	for len(s.notes) > 0 && s.appendGapLocked(s.notes[0], 0) == nil {
		s.notes = s.notes[1:]
	}
	return true
}

// Sync makes everything that has been appended and acknowledged before survive a power cut. It blocks for as long
// as the disk takes, and Append does not wait for it. A file whose sync failed is given up: the next block begins a
// new one.
func (s *Spool) Sync() error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return fs.ErrClosed
	}
	return s.sync()
}

func (s *Spool) sync() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	var err error
	s.mu.Lock()
	var dirty []uint64
	for i := range s.segments {
		if seg := &s.segments[i]; seg.dirty {
			dirty = append(dirty, seg.base)
			seg.dirty = false
		}
	}
	if s.cursor.file == nil {
		err = s.cursor.rewrite()
	}
	missing := s.missingFile.dirty
	s.missingFile.dirty = false
	s.mu.Unlock()

	for _, base := range dirty {
		syncErr := s.syncFile(s.segmentPath(base))
		if syncErr == nil {
			continue
		}
		err = errors.Join(err, syncErr)
		s.mu.Lock()
		if n := len(s.segments); n > 0 && s.segments[n-1].base == base {
			s.sealLocked()
		}
		s.mu.Unlock()
	}
	if missing {
		err = errors.Join(err, s.syncFile(s.missingFile.path))
	}
	err = errors.Join(err, s.fs.SyncDir(s.dir))
	if syncErr := s.syncFile(s.cursor.path); syncErr != nil {
		err = errors.Join(err, syncErr)
		s.mu.Lock()
		s.cursor.close() // to be written anew
		s.mu.Unlock()
	}
	return err
}

// syncFile syncs a file; one that is gone needs it no more. A descriptor of its own does it as well as the one that
// was written to (fsync(2) is about the file), and nobody closes it meanwhile.
func (s *Spool) syncFile(path string) error {
	f, err := s.fs.OpenFile(path, os.O_RDWR, filePerm)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = f.Sync()
		f.Close()
	}
	if err != nil {
		return fmt.Errorf("couldn't sync %q: %w", path, err)
	}
	return nil
}

// Close syncs the spool and closes it. What has not been kept for want of room is noted, room or not.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var err error
	if s.missing.Bytes > 0 {
		err = s.appendMissingLocked()
	}
	s.appendNotesLocked()
	s.mu.Unlock()
	err = errors.Join(err, s.sync())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealLocked()
	s.missingFile.close()
	s.budget.add(-s.total)
	return errors.Join(err, s.cursor.close())
}

// Remove closes the spool and removes its files and its directory.
func (s *Spool) Remove() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.sealLocked()
	s.cursor.close()
	s.budget.add(-s.total)
	s.total, s.segments = 0, nil
	// First, for without segments and cursor what it says would seem to be untold.
	if err := s.missingFile.remove(); err != nil {
		return err
	}
	return removeDir(s.fs, s.dir)
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
