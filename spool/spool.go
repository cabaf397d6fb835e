package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/stream"
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
	// for it, by AddGap or ReleaseGap, or because the spool gave way to another one. It is called with the spool locked:
	// it must not call the spool, nor wait.
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

// Repair says what opening a spool had to repair.
type Repair struct {
	CutBytes       int64  // bytes after the last good block, set aside in CutFile
	CutFile        string // empty: none
	CursorCutBytes int64  // bytes after the last good record of the cursor file, given up
	NewerCursor    string // the file where a cursor of a newer version is kept; empty: there was none

	lost Gap // what was cut off and had not been acknowledged
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
	onLoss      func(Gap)

	// mu guards what follows. It is held while a block is written, so that whoever sees a block's end
	// can read it.
	mu             sync.Mutex
	segments       []segment    // in order; the last one is appended to
	appendable     bool         // the last segment takes more; otherwise the next block begins a new one
	file           durable.File // of the last segment while it is appendable; nil: closed
	filesUsed      bool         // the files were used since the budget last looked
	filesListed    bool         // the budget knows that files are open
	lastBlock      lastBlock
	torn           *Torn // nil, too, once another block has been appended
	beforeTorn     Gap   // what was missing without it
	tornGap        Gap   // what is lost with it, not reported yet
	cursor         *cursor
	unkept         Gap // what has not been kept since the last block; becomes a block when there is room
	unkeptEpoch    uint32
	addedGaps      []Gap // gaps of AddGap that have not become blocks
	heldGap        Gap   // the gap of HoldGap
	midFrame       bool  // the last block ends within a frame
	closed         bool
	leftBudget     bool   // the budget counts the spool no more
	removed        bool   // Remove was called, maybe while Sync runs
	dirDirty       bool   // a segment was made since the directory was last synced
	totalBytes     int64  // bytes of all segments
	deliveredBytes int64  // bytes of the first segments, in which everything is acknowledged
	deliveredCount int    // the number of those segments
	charged        int64  // bytes that the budget counts for the spool
	extraBytes     int64  // bytes of CountExtra, part of charged
	otherBytes     int64  // bytes on disk of files that a repair has set aside, part of charged
	reserved       int64  // bytes that an Append has taken in the budget and not used yet
	lastSize       int64  // bytes on disk of the last block; 0: not known
	prefixTriedAt  uint64 // delivered up to here, evictBeginning found nothing to remove
	maxTime        int64  // no frame of the stream so far is later; nanoseconds since the Unix epoch
	readers        []*Reader

	end         atomic.Uint64
	ackedPrefix atomic.Uint64 // the cursor's
	lastInFIFO  atomic.Bool   // the last block may still be at the head of its FIFO
	appended    signal        // told by each Append, and by Close

	syncing sync.Mutex // held by Sync, before mu
}

// lastBlock is the last block that Open found; nothing once another has been appended.
type lastBlock struct {
	header  blockHeader
	payload []byte
}

// Open opens the spool in o.Dir, makes the directory when there is none, and repairs what a crash has left: blocks that
// were not written whole are cut off and set aside. It reads the last segment and the cursor. Where less may be
// undelivered than is, it evicts. An error that is ErrVersion means that nothing was changed.
func Open(o Options) (*Spool, Repair, error) {
	if o.FS == nil {
		o.FS = durable.OS
	}
	s := &Spool{dir: o.Dir, fs: o.FS, maxSize: o.MaxSize, dropNewest: o.DropNewest, budget: o.Budget, onGap: o.OnGap, onLoss: o.OnLoss,
		history: o.History, segmentSize: segmentSize(o.MaxSize, o.History)}
	if o.MaxSize > 0 {
		s.maxSize = max(o.MaxSize, 16*minSegmentSize)
	}
	if err := s.fs.MkdirAll(s.dir, dirPerm); err != nil {
		return nil, Repair{}, fmt.Errorf("couldn't make %q: %w", s.dir, err)
	}
	if err := s.listSegments(); err != nil {
		return nil, Repair{}, err
	}
	if err := s.checkVersion(); err != nil {
		return nil, Repair{}, err
	}
	_ = durable.RemoveTemp(s.fs, s.dir) // the next WriteFile begins it again
	var err error
	if s.cursor, err = openCursor(s.fs, s.dir, o.Durable); err != nil {
		return nil, Repair{}, err
	}
	r := s.cursor.repaired
	s.openSegments(&r, o.Delivered)
	s.openPendingGaps(r.lost)
	entries, _ := readDir(s.fs, s.dir)
	s.otherBytes = otherAllocated(entries)
	s.otherBytes = max(0, s.otherBytes-s.cursor.allocated())
	s.chargeLocked()
	s.cursor.resized = func() {
		if !s.leftBudget {
			s.chargeLocked()
		}
	}
	s.budget.join(s)
	s.mu.Lock()
	s.trimLocked()
	s.closeFilesLocked()
	s.mu.Unlock()
	s.budget.Trim()
	return s, r, nil
}

// Ack says that the ranges are delivered or accounted for, and removes the segments that are not needed any more.
// On return it survives a crash of the process. ranges may come in any order and may have been
// acknowledged before; they are sorted in place. An error means that a crash could make readers
// return them once more; the next Ack records them when it can.
func (s *Spool) Ack(ranges []stream.Range) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fs.ErrClosed
	}
	s.markUsedLocked()
	err := s.cursor.ack(ranges)
	s.ackedPrefix.Store(s.cursor.acked.prefix)
	before := s.totalBytes
	if s.trimHistoryLocked(); err != nil && s.totalBytes < before {
		err = s.cursor.rewrite() // there may be room now
	}
	s.recordProgressLocked()
	added := 0
	if s.unkept.Bytes > 0 && s.fitsLocked(gapBlockSize) && s.appendUnkeptLocked() == nil {
		added++
	}
	added += s.appendAddedGapsLocked()
	if added > 0 && s.onGap != nil {
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

// Undelivered returns the bytes of the stream from the first one that has not been acknowledged to the end. It takes no
// lock.
func (s *Spool) Undelivered() int64 {
	acked := s.ackedPrefix.Load() // first: it never passes the end
	return int64(s.end.Load() - acked)
}

// Prepare makes the file that records losses, so that a full disk is found out before a container starts and not when
// its first line comes. It blocks for the local disk.
func (s *Spool) Prepare() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fs.ErrClosed
	}
	return s.cursor.create()
}

// CountExtra counts so many bytes on disk of files beside the spool, such as the container's record, in the budget. It
// replaces what was counted before.
func (s *Spool) CountExtra(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.extraBytes = bytes
		s.chargeLocked()
	}
}

// Fragments returns how many separate ranges have been acknowledged out of order.
func (s *Spool) Fragments() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.cursor.acked.beyond)
}

// Size returns the bytes of all segments, delivered or not.
func (s *Spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totalBytes
}

// HistorySize returns the bytes on disk of the segments that are kept although everything in them is delivered.
func (s *Spool) HistorySize() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deliveredBytes
}

// LastBlock returns the payload of the last block, its description and epoch, as found when the spool
// was opened; false when there was none or something has been appended since. It does so once: the payload
// is the caller's.
func (s *Spool) LastBlock() (payload []byte, info BlockInfo, epoch uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lastBlock
	s.lastBlock = lastBlock{}
	return l.payload, l.header.info, l.header.epoch, l.payload != nil
}

// Pending reports whether there is something that has not been acknowledged. When everything else is, what was not kept,
// and the added gaps that wait, are put into the stream, room or not: nothing is left to make room for them. While the
// disk does not take them, and while a gap is held, they are pending.
func (s *Spool) Pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.cursor.acked.prefix < s.end.Load() {
		return true
	}
	if s.unkept.Bytes == 0 && len(s.addedGaps) == 0 {
		return s.heldGap != (Gap{})
	}
	s.reportTornLocked()
	if s.unkept.Bytes > 0 && s.appendUnkeptLocked() != nil {
		return true
	}
	s.midFrame = false // the rest of the frame will not come
	for len(s.addedGaps) > 0 && s.appendAddedGapLocked(s.addedGaps[0]) == nil {
		s.addedGaps = s.addedGaps[1:]
	}
	s.storeAddedGapsLocked()
	return true
}

// Dropped says that the last block has been dropped from its FIFO: nobody will look for it there any more.
func (s *Spool) Dropped() { s.lastInFIFO.Store(false) }

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
	if s.cursor.stale {
		err = s.cursor.rewrite()
	}
	cursorDirty, entered := s.cursor.dirty, s.dirDirty || s.cursor.dirDirty
	s.cursor.dirty, s.cursor.dirDirty, s.dirDirty = false, false, false
	s.mu.Unlock()

	for _, base := range dirty {
		if syncErr := s.syncFile(s.segmentPath(base)); syncErr != nil {
			err = errors.Join(err, syncErr)
			s.mu.Lock()
			if n := len(s.segments); n > 0 && s.segments[n-1].base == base {
				s.sealLocked()
			}
			s.mu.Unlock()
		}
	}
	if entered {
		if dirErr := s.fs.SyncDir(s.dir); dirErr != nil {
			err = errors.Join(err, dirErr)
			s.mu.Lock()
			s.dirDirty = true
			s.mu.Unlock()
		}
	}
	if cursorDirty {
		if syncErr := s.syncFile(s.cursor.path); syncErr != nil {
			err = errors.Join(err, syncErr)
			s.mu.Lock()
			s.cursor.stale = true
			s.mu.Unlock()
		}
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

// Close closes the spool. With Options.Durable it syncs it first. What is pending stays on disk.
func (s *Spool) Close() error {
	defer s.budget.leave(s)
	defer s.appended.notify()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.recordProgressLocked()
	s.mu.Unlock()
	var err error
	if s.cursor.durable {
		err = s.sync()
	}
	s.syncing.Lock() // the directory may be moved or removed after Close
	defer s.syncing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealLocked()
	s.leaveBudgetLocked()
	if s.cursor.stale {
		err = errors.Join(err, s.cursor.rewrite())
	}
	return errors.Join(err, s.cursor.close())
}

// Remove closes the spool and removes its files and its directory.
func (s *Spool) Remove() error {
	defer s.budget.leave(s)
	defer s.appended.notify()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.removed = true, true
	s.sealLocked()
	s.cursor.close()
	s.leaveBudgetLocked()
	s.totalBytes, s.segments, s.deliveredBytes, s.deliveredCount = 0, nil, 0, 0
	return removeDir(s.fs, s.dir)
}
