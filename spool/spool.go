package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

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

	// minHistorySegment bounds a segment where a small history asks for smaller ones.
	minHistorySegment = 16 << 10
)

// ErrFull says that a block was not kept because the spool may not grow.
var ErrFull = errors.New("spool is full")

// Options say where a spool lives and how large it may become.
type Options struct {
	Dir string
	FS  durable.FS // nil: durable.OS

	// MaxSize bounds the bytes on disk of what is not delivered; 0: no bound. A segment counts whole until all that
	// is in it is delivered, and the last one always. Below 16 segments of 64 KiB the bound is rounded up.
	MaxSize int64
	// History bounds the bytes on disk of what is kept although it is delivered; 0: it is removed as soon as it is.
	// Whole segments are kept, the newest, and the last one in any case.
	History int64
	// DropNewest makes a full spool refuse what is new; otherwise its oldest segments give way.
	DropNewest bool
	// Durable makes what Sync has synced survive a power cut: the cursor file is never replaced by one that
	// the disk does not have yet. Without it a crash of the process is survived, a power cut may not be.
	Durable bool
	// Budget bounds several spools together, delivered history included; nil: no bound.
	Budget *Budget
	// OnGap, if set, is called when a gap has been added to the stream by other than Append: by Ack, which made room
	// for it, or because the spool gave way to another one. It must not call the spool.
	OnGap func(bytes int)
	// OnLoss, if set, is called when something of the stream is lost in the spool: a block that could not be kept, or
	// undelivered frames that were evicted. It is called with the spool locked: it must not call the spool, nor wait.
	OnLoss func(Gap)
	// Delivered is a position up to which everything is delivered, whatever the cursor says, as for a log that was
	// archived; math.MaxUint64: all that is there.
	Delivered uint64
}

// ErrVersion says that a file was written by a version of the plugin that this one does not know. Open then changes
// nothing.
var ErrVersion = errors.New("it was written by a newer version of the plugin")

// Repair says what opening a spool had to mend.
type Repair struct {
	CutBytes       int64  // bytes after the last good block, set aside in CutFile
	CutFile        string // empty: none
	CursorCutBytes int64  // bytes after the last good record of the cursor file, given up
}

// Spool is the durable log of one container. One goroutine at a time may call Append; all other methods
// may be called from any goroutine. Methods block for the local disk only.
type Spool struct {
	dir         string
	fs          durable.FS
	maxSize     int64
	history     int64
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
	notes        []Gap        // of AddGap, that have not become blocks
	held         Gap          // of HoldGap
	midFrame     bool         // the last block ends within a frame
	closed       bool
	left         bool  // the budget counts it no more
	removed      bool  // by Remove, maybe while Sync is at it
	total        int64 // bytes on disk of all segments,
	delivered    int64 // and of the first ones, in which everything has been dealt with,
	deliveredN   int   // and how many these are
	reserved     int64 // bytes that an Append has taken in the budget and not written yet
	lastSize     int64 // bytes on disk of the last block; 0: not known
	maxTime      int64 // no frame of the stream so far is later; nanoseconds since the Unix epoch
	readers      []*Reader

	end      atomic.Uint64
	appended signal // told by each Append, and by Close

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
	s := &Spool{dir: o.Dir, fs: o.FS, maxSize: o.MaxSize, dropNewest: o.DropNewest, budget: o.Budget, onGap: o.OnGap,
		history: o.History, segmentSize: segmentSize(o.MaxSize, o.History)}
	if o.MaxSize > 0 {
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
	s.budget.join(s)
	return s, r, nil
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

// Undelivered returns the bytes of the stream that have not been acknowledged. It takes no lock.
func (s *Spool) Undelivered() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(s.end.Load() - min(s.cursor.acked.prefix, s.end.Load()))
}

// Prepare makes the files that recording a loss needs, so that a full disk is found out before a container starts. It
// blocks for the local disk.
func (s *Spool) Prepare() error { return nil }

// CountBeside counts so many bytes on disk of files beside the spool, such as the container's record, in the budget. It
// replaces what was counted before.
func (s *Spool) CountBeside(bytes int64) {}

// Fragments returns how many separate ranges have been acknowledged out of order.
func (s *Spool) Fragments() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.cursor.acked.beyond)
}

// Size returns the bytes on disk of all segments, delivered or not.
func (s *Spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// HistorySize returns the bytes on disk of the segments that are kept although everything in them is delivered.
func (s *Spool) HistorySize() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delivered
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
	for len(s.notes) > 0 && s.appendNoteLocked(s.notes[0]) == nil {
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
	if s.removed {
		s.mu.Unlock()
		return nil
	}
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed {
		return nil // there is nothing any more that could be synced
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
	defer s.budget.leave(s)
	defer s.appended.tell()
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
	s.leaveBudgetLocked()
	return errors.Join(err, s.cursor.close())
}

// Remove closes the spool and removes its files and its directory.
func (s *Spool) Remove() error {
	defer s.budget.leave(s)
	defer s.appended.tell()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.removed = true, true
	s.sealLocked()
	s.cursor.close()
	s.leaveBudgetLocked()
	s.total, s.segments, s.delivered, s.deliveredN = 0, nil, 0, 0
	// First, for without segments and cursor what it says would seem to be untold.
	if err := s.missingFile.remove(); err != nil {
		return err
	}
	return removeDir(s.fs, s.dir)
}
