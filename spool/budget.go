package spool

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Budget bounds the bytes on disk of several logs together, spools and archived ones, and makes room. It is the one place
// that decides what is removed, for a full budget and for a full disk alike:
//
//  1. archived logs, the oldest before the others;
//  2. the history of open spools, the largest history first: whole segments, with the one that is appended to if all of it
//     is delivered, and then the delivered beginnings of segments;
//  3. what is not delivered, of the largest spool that drops its oldest and is not smaller than the one that appends: a
//     container that writes much loses lines, not the one that happens to write.
//
// A spool that drops its newest never loses what it has. It is refused where it would have to, and a sixteenth before the
// limit unless it has less than its share of that: who writes little does not find the budget full of what will not go.
//
// What is counted is what files take on the disk, by its block size, directories and records included.
//
// Its methods may be called from any goroutine.
//
// Locks: Append asks for room before it takes its spool's lock, and the holder of a spool's lock touches only the atomic
// count and, with TryLock, spools whose files it closes. So the order is reclaiming, then one spool's lock at a time; mu
// is never held while another is taken.
type Budget struct {
	limit int64
	used  atomic.Int64

	reclaiming sync.Mutex // held while room is made

	// mu guards what follows.
	mu       sync.Mutex
	open     []*Spool
	archived []*ArchivedLog

	// filesMu guards what follows. It may be taken while a spool's lock is held.
	filesMu   sync.Mutex
	withFiles []*Spool // whose files are open, in the order in which they were opened
	mostFiles int      // spools with open files; 0: no bound
}

// ArchivedLog is the log of a spool that is not open, as a Budget counts it.
type ArchivedLog struct {
	b       *Budget
	bytes   int64
	written time.Time
	remove  func() error
	gone    atomic.Bool
}

// NewBudget makes a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Raise makes the limit no less than limit bytes. It must be called before anything is under the budget.
func (b *Budget) Raise(limit int64) { b.limit = max(b.limit, limit) }

// Used returns the bytes on disk of all logs under the budget.
func (b *Budget) Used() int64 { return b.used.Load() }

// AddArchived counts the log of a spool that is not open: so many bytes on disk, last written to at written. When room is
// needed, remove is called, once, from within a call of another spool or of Retry: it removes the files. If it returns
// nil, they are counted no more; otherwise they are until Release. It may call Release, but no Append; the caller of
// Append or Retry must hold no lock that it takes. Release it before the spool is opened, and when it is removed.
func (b *Budget) AddArchived(bytes int64, written time.Time, remove func() error) *ArchivedLog {
	r := &ArchivedLog{b: b, bytes: bytes, written: written, remove: remove}
	b.used.Add(bytes)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.archived = append(b.archived, r)
	return r
}

// Release ends the counting. remove is not called from then on, though a call may be in progress.
func (r *ArchivedLog) Release() {
	r.b.mu.Lock()
	r.b.archived = slices.DeleteFunc(r.b.archived, func(o *ArchivedLog) bool { return o == r })
	r.b.mu.Unlock()
	r.forget()
}

func (r *ArchivedLog) forget() {
	if r.gone.CompareAndSwap(false, true) {
		r.b.used.Add(-r.bytes)
	}
}

// Retry calls f, and calls it again after removing archived logs and delivered history while it fails for want of space on
// the disk (ENOSPC, EDQUOT). It removes nothing undelivered. The caller must hold no lock of a spool or of an archive.
func (b *Budget) Retry(f func() error) error {
	err := f()
	for diskFull(err) && b.reclaimDisk(nil, false) {
		err = f()
	}
	return err
}

// Trim removes archived logs and delivered history until the budget is kept, as at the start when it was lowered.
func (b *Budget) Trim() {
	if b == nil || b.used.Load() <= b.limit {
		return
	}
	b.reclaiming.Lock()
	defer b.reclaiming.Unlock()
	for b.used.Load() > b.limit && b.reclaim(nil, false) {
	}
}

// Allocated returns the bytes that a file of this size takes on the disk.
func Allocated(size int64) int64 {
	return (size + allocationUnit - 1) / allocationUnit * allocationUnit
}

// allocationUnit is the block size of the usual file systems, in bytes.
const allocationUnit = 4096

func (b *Budget) join(s *Spool) {
	if b != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.open = append(b.open, s)
	}
}

// leave is called without the spool's lock.
func (b *Budget) leave(s *Spool) {
	if b != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.open = slices.DeleteFunc(b.open, func(o *Spool) bool { return o == s })
	}
}

// leaveBudgetLocked takes the spool's bytes out of the budget, once.
func (s *Spool) leaveBudgetLocked() {
	if !s.leftBudget {
		s.leftBudget = true
		s.budget.add(-s.charged)
		s.budget.filesClosed(s)
	}
}

func (b *Budget) add(n int64) {
	if b != nil {
		b.used.Add(n)
	}
}

// Fits reports whether there is room for n more bytes without removing anything. b may be nil.
func (b *Budget) Fits(n int64) bool { return b == nil || b.used.Load()+n <= b.limit }

// reserve takes n bytes for s, which is not locked, and makes room for it. False: there is no room.
func (b *Budget) reserve(s *Spool, n int64) bool {
	if b == nil {
		return true
	}
	limit := b.limit
	if s.dropNewest {
		limit -= limit / 16
	}
	if b.tryReserve(n, limit) {
		return true
	}
	b.reclaiming.Lock()
	defer b.reclaiming.Unlock()
	if limit < b.limit && b.withinShare(s, n) {
		limit = b.limit
	}
	for !b.tryReserve(n, limit) {
		if !b.reclaim(s, true) {
			return false
		}
	}
	return true
}

func (b *Budget) withinShare(s *Spool, n int64) bool {
	_, pending := s.sizes()
	b.mu.Lock()
	defer b.mu.Unlock()
	return pending+n <= b.limit/16/int64(max(1, len(b.open)))
}

func (b *Budget) tryReserve(n, limit int64) bool {
	for {
		used := b.used.Load()
		if used+n > limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// reclaimDisk removes something for s, which is not locked, or for a caller that is no spool (nil), because the disk is
// full. It reports whether it did.
func (b *Budget) reclaimDisk(s *Spool, undelivered bool) bool {
	if b == nil {
		return s != nil && s.evictHistory()
	}
	b.reclaiming.Lock()
	defer b.reclaiming.Unlock()
	return b.reclaim(s, undelivered)
}

// reclaim removes one thing in the order that Budget says, and reports whether it did. undelivered says that this may be
// undelivered data, for s.
func (b *Budget) reclaim(s *Spool, undelivered bool) bool {
	for r := b.oldestArchived(); r != nil; r = b.oldestArchived() {
		if r.remove() == nil {
			r.forget()
			return true
		}
	}
	b.mu.Lock()
	open := slices.Clone(b.open)
	b.mu.Unlock()

	type claim struct {
		s         *Spool
		delivered int64
		pending   int64
	}
	claims := make([]claim, 0, len(open))
	own := claim{s: s}
	for _, o := range open {
		delivered, pending := o.sizes()
		c := claim{o, delivered, pending}
		if o == s {
			own = c
		}
		claims = append(claims, c)
	}
	slices.SortFunc(claims, func(a, b claim) int { return cmp.Compare(b.delivered, a.delivered) })
	for _, c := range claims {
		if c.delivered > 0 && c.s.evictHistory() {
			return true
		}
	}
	for _, o := range open {
		if o.evictPrefix() {
			return true
		}
	}
	if !undelivered {
		return false
	}
	slices.SortFunc(claims, func(a, b claim) int { return cmp.Compare(b.pending, a.pending) })
	for _, c := range claims {
		smaller := c.pending < own.pending || s.dropNewest && c.pending == own.pending
		if !smaller && !c.s.dropNewest && c.s.evictFor(s) {
			return true
		}
	}
	return false
}

// oldestArchived takes the oldest archived log out of the list; nil: there is none.
func (b *Budget) oldestArchived() *ArchivedLog {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.archived) == 0 {
		return nil
	}
	oldest := slices.MinFunc(b.archived, func(a, b *ArchivedLog) int { return a.written.Compare(b.written) })
	b.archived = slices.DeleteFunc(b.archived, func(o *ArchivedLog) bool { return o == oldest })
	return oldest
}

// sizes returns the bytes of what is delivered and may be removed, and of what is not delivered.
func (s *Spool) sizes() (delivered, pending int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastDeliveredLocked() {
		return s.totalBytes, 0
	}
	return s.deliveredBytes, s.totalBytes - s.deliveredBytes
}

// evictHistory removes the oldest segment in which everything is delivered.
func (s *Spool) evictHistory() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.deliveredCount == 0 && !s.sealDeliveredLocked() {
		return false
	}
	if s.deliveredCount > 0 { // otherwise the history's own bound has removed it
		s.removeSegmentsLocked(0, 1)
	}
	return true
}

// evictFor evicts the oldest segment that is not delivered, to make room for another spool.
func (s *Spool) evictFor(other *Spool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := s.end.Load()
	if s.closed {
		return false
	}
	s.markUsedLocked()
	if !s.evictUndeliveredLocked() {
		return false
	}
	if added := s.end.Load() - end; added > 0 && s.onGap != nil && s != other {
		s.onGap(int(added))
	}
	return true
}

// charge counts n more bytes on disk in the budget, or fewer where n is negative: what an Append has taken there before
// is used first.
func (s *Spool) charge(n int64) {
	s.charged += n
	covered := max(0, min(n, s.reserved))
	s.reserved -= covered
	s.budget.add(n - covered)
}

// chargeLocked counts everything that the spool has on disk: segments, cursor, what is beside it, and its directory.
func (s *Spool) chargeLocked() {
	now := s.extraBytes + s.otherBytes + allocationUnit + s.cursor.allocated()
	for _, seg := range s.segments {
		now += Allocated(seg.size)
	}
	s.charge(now - s.charged)
}

// resizeLocked takes note of the size of a segment's file.
func (s *Spool) resizeLocked(seg *segment, size int64) {
	s.totalBytes += size - seg.size
	s.charge(Allocated(size) - Allocated(seg.size))
	seg.size = size
}
