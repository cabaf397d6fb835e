package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"sync"
	"sync/atomic"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/stream"
)

// ErrFull means that a block was not kept because the spool has reached its limit.
var ErrFull = errors.New("spool is full")

// ErrVersion means that a file was written by a version of the plugin that this one does not
// know. Open then changes nothing.
var ErrVersion = errors.New("it was written by a newer version of the plugin")

// Options are the settings of a spool.
//
// Undelivered data counts with all bytes of its segment until everything in the segment is
// delivered, and the last segment always counts. Of delivered data, the newest whole segments
// are kept, and the last segment in any case.
//
// OnGap and OnLoss are called with the spool locked. They must not call the spool and must
// not block. A nil function is not called.
type Options struct {
	Dir string
	// FS is the file system of Dir; nil means durable.OS.
	FS durable.FS

	// MaxSize limits the bytes on disk of undelivered data, to at least 16 segments of 64 KiB;
	// 0 means no limit.
	MaxSize int64
	// History limits the bytes on disk of delivered data; 0 means that delivered data is
	// removed at once.
	History int64
	// DropNewest makes a full spool refuse new blocks instead of evicting its oldest segments.
	DropNewest bool
	// Durable makes what Sync has synced survive a power cut and not only a crash of the
	// process, so the cursor file is never replaced by one that is not on the disk yet.
	Durable bool
	// Budget limits the bytes on disk of several spools together, history included; nil means
	// no limit.
	Budget *Budget
	// OnGap is called with the size of the gaps that Ack, AddGap, ReleaseGap or an eviction for
	// another spool added to the stream.
	OnGap func(bytes int)
	// OnLoss is called when the spool loses data: a block that could not be kept, or
	// undelivered frames that were evicted.
	OnLoss func(Gap)
	// Delivered is a position before which everything is delivered, whatever the cursor says;
	// math.MaxUint64, as for an archived log, means everything.
	Delivered uint64
}

// Repair reports what Open had to repair.
type Repair struct {
	// CutBytes is the number of bytes that were cut off after the last good block.
	CutBytes int64
	// CutFile is the file in which the cut bytes were set aside, or empty if there is none.
	CutFile string
	// CursorCutBytes is the number of bytes that were discarded after the last good record of
	// the cursor file.
	CursorCutBytes int64
	// NewerCursor is where a cursor of a newer version is kept, or empty if there was none.
	NewerCursor string

	// lost is what was cut off and had not been acknowledged.
	lost Gap
}

// Spool is the durable log of one container. Append is for one goroutine at a time; all other
// methods may be called from any goroutine. Methods block for the local disk only.
type Spool struct {
	// Open sets these fields, and nothing changes them.
	opts        Options
	segmentSize int64 // segmentSize is the least size of a full segment, in bytes.

	// syncing is held by Sync and Close, and is taken before mu.
	syncing sync.Mutex

	// mu guards the fields below, up to the atomic ones. Append holds it while it writes a
	// block, so a goroutine that sees a block's end can read the block.
	mu        sync.Mutex
	segments  []segment // segments are in the order of the stream; the last one is active.
	stored    storedBytes
	active    activeSegment
	recovered recovered
	gaps      pendingGaps
	backlog   backlog
	cursor    *cursor
	usage     usage
	files     fileUse
	readers   []*Reader
	closed    bool
	removed   bool   // removed says that Remove was called, perhaps during a Sync.
	dirDirty  bool   // dirDirty says that the directory must be synced for a new segment.
	triedAt   uint64 // triedAt is the delivered position at which evictPrefix last tried.

	// These fields are read without mu. They are written with mu held, except by Dropped.
	end         atomic.Uint64 // end is the position after the last block.
	ackedPrefix atomic.Uint64 // ackedPrefix is the cursor's acknowledged prefix, as last published.
	lastInFIFO  atomic.Bool   // lastInFIFO says that the last block may be in its FIFO.

	// appended wakes the readers that wait for the next Append or for Close.
	appended signal
}

// storedBytes counts the bytes of the segments. A segment is delivered when everything in it
// is acknowledged. Spool.mu guards it.
type storedBytes struct {
	total             int64 // total is the size of all segments, in bytes.
	delivered         int64 // delivered is the size of the first deliveredSegments segments.
	deliveredSegments int   // deliveredSegments is the number of leading delivered segments.
}

// activeSegment is the state of the last segment, to which Append writes. Spool.mu guards it.
type activeSegment struct {
	appendable    bool         // appendable is false if the next block starts a new segment.
	file          durable.File // file is nil if it is closed or not appendable.
	midFrame      bool         // midFrame says that the last block ends within a frame.
	lastBlockSize int64        // lastBlockSize is the last block's disk size, or 0 if unknown.
	maxTime       int64        // maxTime is not before any frame so far, in Unix nanoseconds.
}

// recovered is what Open found at the end of the stream. Spool.mu guards it.
type recovered struct {
	last         lastBlock
	torn         *Torn // torn is the torn block, until another block is appended, or nil.
	tornGap      Gap   // tornGap is the loss of the torn block, until it is reported.
	unkeptBefore Gap   // unkeptBefore is pendingGaps.unkept without the torn block.
}

// lastBlock is the last block that Open found; empty after another one was appended.
type lastBlock struct {
	header  blockHeader
	payload []byte
}

// pendingGaps are the losses that no block of the stream records yet. Spool.mu guards them.
type pendingGaps struct {
	unkept      Gap    // unkept is what Append could not keep after the last block.
	unkeptEpoch uint32 // unkeptEpoch identifies the FIFO of the unkept bytes.
	added       []Gap  // added has the gaps of AddGap that are not blocks yet.
	held        Gap    // held is the gap of HoldGap.
}

// Open opens the spool in o.Dir and makes the directory if there is none. It reads the
// cursor and the end of the last segment, and repairs what a crash left: it cuts off blocks
// that were not written whole and sets them aside. It evicts undelivered data beyond
// o.MaxSize. If the error is ErrVersion, Open changed nothing.
func Open(o Options) (*Spool, Repair, error) {
	if o.FS == nil {
		o.FS = durable.OS
	}
	if o.Budget == nil {
		o.Budget = NewBudget(math.MaxInt64)
	}
	s := &Spool{opts: o, segmentSize: segmentSize(o.MaxSize, o.History)}
	if o.MaxSize > 0 {
		s.opts.MaxSize = max(o.MaxSize, MinSize)
	}
	if err := s.opts.FS.MkdirAll(s.opts.Dir, durable.DirPerm); err != nil {
		return nil, Repair{}, fmt.Errorf("couldn't make %q: %w", s.opts.Dir, err)
	}
	if err := s.listSegments(); err != nil {
		return nil, Repair{}, err
	}
	if err := s.checkVersion(); err != nil {
		return nil, Repair{}, err
	}
	// What stays is overwritten by the next WriteFile.
	_ = durable.RemoveTemp(s.opts.FS, s.opts.Dir)
	var err error
	if s.cursor, err = openCursor(s.opts.FS, s.opts.Dir, o.Durable); err != nil {
		return nil, Repair{}, err
	}
	r := s.cursor.repaired
	s.openSegments(&r, o.Delivered)
	s.openPendingGaps(r.lost)
	entries, _ := readDir(s.opts.FS, s.opts.Dir)
	s.usage.other = max(0, otherAllocated(entries)-s.cursor.allocated())
	s.chargeLocked()
	s.cursor.file.resized = func() {
		if !s.usage.left {
			s.chargeLocked()
		}
	}
	s.opts.Budget.join(s)
	s.mu.Lock()
	s.backlog.since = s.end.Load()
	s.trimLocked()
	s.closeFilesLocked()
	s.publishLocked()
	s.mu.Unlock()
	s.opts.Budget.Trim()
	return s, r, nil
}

// Ack acknowledges ranges: their frames are delivered or accounted for. It removes
// segments that are no longer needed. When Ack returns nil, the acknowledgement survives
// a crash of the process. The ranges may come in any order, and may have been
// acknowledged before; Ack sorts them in place. After an error, a crash could make
// readers return the ranges again; the next Ack retries.
func (s *Spool) Ack(ranges []stream.Range) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fs.ErrClosed
	}
	defer s.publishLocked()
	s.markUsedLocked()
	err := s.cursor.ack(ranges)
	s.ackedPrefix.Store(s.cursor.acked.prefix)
	before := s.stored.total
	if s.trimHistoryLocked(); err != nil && s.stored.total < before {
		err = s.cursor.rewrite() // the removed segments may have made space
	}
	s.recordProgressLocked()
	end := s.end.Load()
	if s.gaps.unkept.Bytes > 0 && s.fitsLocked(gapBlockSize) {
		_ = s.appendUnkeptLocked() // after an error, it stays pending
	}
	s.appendAddedGapsLocked()
	s.reportGapsLocked(int(s.end.Load() - end))
	return err
}

// End returns the position after the last block. It takes no lock.
func (s *Spool) End() uint64 { return s.end.Load() }

// Acked returns the first position that has not been acknowledged; End if there is none. It
// takes no lock.
func (s *Spool) Acked() uint64 { return s.ackedPrefix.Load() }

// Undelivered returns the number of bytes from the first position that has not been
// acknowledged to the end of the stream. What was evicted counts until its marker is
// acknowledged; see Backlog. It takes no lock.
func (s *Spool) Undelivered() int64 {
	acked := s.ackedPrefix.Load() // before the end, which it never passes
	return int64(s.end.Load() - acked)
}

// Prepare creates the cursor file, which records losses. So a full disk is found before a
// container starts, and not when it writes its first line.
func (s *Spool) Prepare() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fs.ErrClosed
	}
	if s.cursor.file.exists {
		return nil
	}
	return s.cursor.rewrite()
}

// CountExtra charges the budget with bytes, the size on disk of files outside the spool's
// directory, such as the container's record. The number replaces that of the previous call.
func (s *Spool) CountExtra(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.usage.extra = bytes
		s.chargeLocked()
	}
}

// Fragments returns the number of separate ranges that have been acknowledged out of order.
func (s *Spool) Fragments() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.cursor.acked.beyond)
}

// Size returns the bytes of all segments, delivered or not.
func (s *Spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored.total
}

// LastBlock returns the payload of the last block that Open found, its description and
// its epoch. ok is false if there was none, if another block has been appended, and after
// the first call. The caller owns the payload.
func (s *Spool) LastBlock() (payload []byte, info BlockInfo, epoch uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.recovered.last
	s.recovered.last = lastBlock{}
	return l.payload, l.header.info, l.header.epoch, l.payload != nil
}

// Pending reports whether something has not been acknowledged. If only unkept and added
// gaps are left, Pending appends them to the stream even beyond the limit, because no
// eviction can make space for them. Gaps that the disk does not take are pending, and so
// is a held gap.
func (s *Spool) Pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.cursor.acked.prefix < s.end.Load() {
		return true
	}
	if s.gaps.unkept.Bytes == 0 && len(s.gaps.added) == 0 {
		return s.gaps.held != (Gap{})
	}
	defer s.publishLocked()
	s.reportTornLocked()
	if s.gaps.unkept.Bytes > 0 && s.appendUnkeptLocked() != nil {
		return true
	}
	s.active.midFrame = false // the rest of the frame will not come
	for len(s.gaps.added) > 0 && s.appendAddedGapLocked(s.gaps.added[0]) == nil {
		s.gaps.added = s.gaps.added[1:]
	}
	s.storeAddedGapsLocked()
	return true
}

// Dropped reports to the spool that the last block has been removed from its FIFO, so the next
// start will not look for it there.
func (s *Spool) Dropped() { s.lastInFIFO.Store(false) }

// Sync makes everything that was appended and acknowledged before the call survive a
// power cut. It blocks for as long as the disk takes; Append does not wait for it. If the
// sync of a segment fails, the segment is abandoned: the next block starts a new one.
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
	segments, dir, cursor, err := s.takeDirty()
	for _, base := range segments {
		if failed := s.syncFile(s.segmentPath(base)); failed != nil {
			err = errors.Join(err, failed)
			s.mu.Lock()
			if n := len(s.segments); n > 0 && s.segments[n-1].base == base {
				s.sealLocked()
			}
			s.mu.Unlock()
		}
	}
	var dirErr, cursorErr error
	if dir {
		dirErr = s.opts.FS.SyncDir(s.opts.Dir)
	}
	if cursor {
		cursorErr = s.syncFile(s.cursor.path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirDirty = s.dirDirty || dirErr != nil
	s.cursor.file.stale = s.cursor.file.stale || cursorErr != nil
	if s.removed {
		return nil // nothing is left to be synced
	}
	return errors.Join(err, dirErr, cursorErr)
}

// takeDirty returns what is to be synced and marks it clean. It rewrites a stale cursor first.
func (s *Spool) takeDirty() (segments []uint64, dir, cursor bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed {
		return nil, false, false, nil
	}
	for i := range s.segments {
		if seg := &s.segments[i]; seg.dirty {
			segments = append(segments, seg.base)
			seg.dirty = false
		}
	}
	file := &s.cursor.file
	if file.stale {
		err = s.cursor.rewrite()
	}
	dir, cursor = s.dirDirty || file.dirDirty, file.dirty
	file.dirty, file.dirDirty, s.dirDirty = false, false, false
	return segments, dir, cursor, err
}

// syncFile syncs a file, unless it has been removed. It uses a descriptor of its own,
// which syncs the same file (fsync(2)) and which nothing closes meanwhile.
func (s *Spool) syncFile(path string) error {
	f, err := s.opts.FS.OpenFile(path, os.O_RDWR, durable.FilePerm)
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

// Close closes the spool. With Options.Durable, it syncs the spool first. What is pending
// stays on the disk.
func (s *Spool) Close() error {
	defer s.opts.Budget.leave(s)
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
	s.syncing.Lock() // the caller may move or remove the directory after Close
	defer s.syncing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealLocked()
	s.leaveBudgetLocked()
	if s.cursor.file.stale {
		err = errors.Join(err, s.cursor.rewrite())
	}
	return errors.Join(err, s.cursor.close())
}

// Remove closes the spool and removes its files and its directory.
func (s *Spool) Remove() error {
	defer s.opts.Budget.leave(s)
	defer s.appended.notify()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.removed = true, true
	s.sealLocked()
	s.cursor.close()
	s.leaveBudgetLocked()
	s.segments, s.stored = nil, storedBytes{}
	return removeDir(s.opts.FS, s.opts.Dir)
}
