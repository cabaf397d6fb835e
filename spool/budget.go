package spool

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Budget limits the bytes on disk of several logs together, open spools and archived logs,
// and makes space for new blocks. It alone decides what is removed, whether the budget or
// the disk is full:
//
//  1. archived logs, the oldest first;
//  2. the history of open spools, the largest history first. Whole segments go first,
//     including an active segment if everything in it is delivered; then the delivered
//     prefixes of segments;
//  3. undelivered data of the largest drop-oldest spool that is not smaller than the
//     appending one. So the container that writes much loses lines, not the one that happens
//     to write now.
//
// A drop-newest spool never loses what it has; its new blocks are refused. It is refused a
// sixteenth before the limit, unless it has less than its share of that sixteenth. So a
// container that writes little does not find the budget full of data that cannot be evicted.
//
// A file counts with the blocks of the disk that it takes. Directories and records count too.
//
// Its methods may be called from any goroutine.
//
// Lock order: reclaiming, then the locks of spools, one at a time. Append reserves space
// before it takes its spool's lock. The holder of a spool's lock may change the atomic count,
// and may close the files of other spools whose locks are free (TryLock). No other lock is
// taken while mu is held.
type Budget struct {
	limit int64 // limit is set before use.
	used  atomic.Int64

	// archivedBytes is the part of used that is archived logs.
	archivedBytes atomic.Int64

	reclaiming sync.Mutex // reclaiming is held while something is removed.

	// mu guards the logs under the budget.
	mu       sync.Mutex
	open     []*Spool
	archived []*ArchivedLog

	// filesMu guards the list of open files. It may be taken while a spool's lock is held.
	filesMu   sync.Mutex
	withFiles []*Spool // withFiles has the spools with open files, in order of opening.
	mostFiles int      // mostFiles limits the length of withFiles; 0 means no limit.
}

// ArchivedLog is the log of a spool that is not open, as a Budget counts it.
type ArchivedLog struct {
	b       *Budget
	bytes   int64
	written time.Time
	remove  func() error
	gone    atomic.Bool
}

// usage is what the Budget counts for one spool, in bytes on disk. Spool.mu guards it.
type usage struct {
	charged  int64 // charged is everything that the budget counts for the spool.
	extra    int64 // extra is the part of charged for files of CountExtra.
	other    int64 // other is the part of charged for files that a repair has set aside.
	reserved int64 // reserved is what an Append has reserved in the budget and not used yet.
	left     bool  // left says that the budget does not count the spool any more.
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Raise raises the limit to at least limit bytes. It must be called before anything is
// counted.
func (b *Budget) Raise(limit int64) { b.limit = max(b.limit, limit) }

// Limit returns the limit in bytes.
func (b *Budget) Limit() int64 { return b.limit }

// Used returns the bytes on disk of all logs under the budget. It takes no lock.
func (b *Budget) Used() int64 { return b.used.Load() }

// Archived returns the part of Used that is archived logs. It takes no lock.
func (b *Budget) Archived() int64 { return b.archivedBytes.Load() }

// AddArchived counts the log of a spool that is not open. bytes is its size on disk, and
// written is when it was last written to. The budget calls remove at most once, from within a
// call of another spool or of Retry, to remove the files. If remove returns nil, they are not
// counted any more; otherwise they are counted until Release. remove may call Release, but
// not Append. The caller of Append or Retry must hold no lock that remove takes. Call
// Release before the spool is opened, and after the files are removed.
func (b *Budget) AddArchived(bytes int64, written time.Time, remove func() error) *ArchivedLog {
	r := &ArchivedLog{b: b, bytes: bytes, written: written, remove: remove}
	b.used.Add(bytes)
	b.archivedBytes.Add(bytes)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.archived = append(b.archived, r)
	return r
}

// Release ends the counting. remove is not called after that, but a call may be in progress.
func (r *ArchivedLog) Release() {
	r.b.mu.Lock()
	r.b.archived = slices.DeleteFunc(r.b.archived, func(o *ArchivedLog) bool { return o == r })
	r.b.mu.Unlock()
	r.forget()
}

func (r *ArchivedLog) forget() {
	if r.gone.CompareAndSwap(false, true) {
		r.b.used.Add(-r.bytes)
		r.b.archivedBytes.Add(-r.bytes)
	}
}

// Retry calls f. While f fails because the disk is full (ENOSPC, EDQUOT), Retry removes an
// archived log or delivered history and calls f again. It removes nothing undelivered. The
// caller must hold no lock of a spool or of an archive.
func (b *Budget) Retry(f func() error) error {
	err := f()
	for diskFull(err) && b.reclaimDisk(nil, false) {
		err = f()
	}
	return err
}

// Trim removes archived logs and delivered history until the limit is kept. The limit may
// have been lowered since the last start.
func (b *Budget) Trim() {
	if b.used.Load() <= b.limit {
		return
	}
	b.reclaiming.Lock()
	defer b.reclaiming.Unlock()
	for b.used.Load() > b.limit && b.reclaim(nil, false) {
	}
}

// allocationUnit is the block size of the usual file systems, in bytes.
const allocationUnit = 4096

// DirSize is the number of bytes that a directory takes on the disk.
const DirSize = allocationUnit

// Allocated returns the number of bytes that a file of this size takes on the disk.
func Allocated(size int64) int64 {
	return (size + allocationUnit - 1) / allocationUnit * allocationUnit
}

func (b *Budget) join(s *Spool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = append(b.open, s)
}

// leave must be called without the spool's lock.
func (b *Budget) leave(s *Spool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = slices.DeleteFunc(b.open, func(o *Spool) bool { return o == s })
}

// leaveBudgetLocked stops the counting of the spool's bytes.
func (s *Spool) leaveBudgetLocked() {
	if !s.usage.left {
		s.usage.left = true
		s.opts.Budget.used.Add(-s.usage.charged)
		s.backlog.published.disk.Store(0)
		s.unlistFilesLocked()
	}
}

// Fits reports whether n more bytes fit without removing anything.
func (b *Budget) Fits(n int64) bool { return b.used.Load()+n <= b.limit }

// reserve reserves n bytes for s, which is not locked, and removes things to make space for
// them. It returns false if nothing more may be removed.
func (b *Budget) reserve(s *Spool, n int64) bool {
	limit := b.limit
	if s.opts.DropNewest {
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

// withinShare reports whether s with n more bytes has no more than its share of the last
// sixteenth.
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

// reclaimDisk removes one thing because the disk is full, and reports whether it did. s
// is the spool that needs space, which is not locked; nil: the caller is not a spool.
// undelivered says that undelivered data may be removed.
func (b *Budget) reclaimDisk(s *Spool, undelivered bool) bool {
	b.reclaiming.Lock()
	defer b.reclaiming.Unlock()
	return b.reclaim(s, undelivered)
}

// reclaim removes one thing for s, in the order that Budget's comment gives, and reports
// whether it did. undelivered says that undelivered data may be removed.
func (b *Budget) reclaim(s *Spool, undelivered bool) bool {
	for r := b.oldestArchived(); r != nil; r = b.oldestArchived() {
		if r.remove() == nil {
			r.forget()
			return true
		}
	}
	claims, own := b.claims(s)
	slices.SortFunc(claims, func(a, b claim) int { return cmp.Compare(b.delivered, a.delivered) })
	for _, c := range claims {
		if c.delivered > 0 && c.s.evictHistory() {
			return true
		}
	}
	for _, c := range claims {
		if c.s.evictPrefix() {
			return true
		}
	}
	if !undelivered {
		return false
	}
	slices.SortFunc(claims, func(a, b claim) int { return cmp.Compare(b.pending, a.pending) })
	for _, c := range claims {
		smaller := c.pending < own || s.opts.DropNewest && c.pending == own
		if !smaller && !c.s.opts.DropNewest && c.s.evictFor(s) {
			return true
		}
	}
	return false
}

// claim is what an open spool has.
type claim struct {
	s                  *Spool
	delivered, pending int64
}

// claims returns what the open spools have, and what s has pending.
func (b *Budget) claims(s *Spool) (claims []claim, own int64) {
	b.mu.Lock()
	open := slices.Clone(b.open)
	b.mu.Unlock()
	claims = make([]claim, 0, len(open))
	for _, o := range open {
		delivered, pending := o.sizes()
		if claims = append(claims, claim{o, delivered, pending}); o == s {
			own = pending
		}
	}
	return claims, own
}

// oldestArchived removes the oldest archived log from the list and returns it; nil: there
// is none.
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

// charge counts n more bytes on disk in the budget, or fewer if n is negative. It first uses
// what an Append has reserved.
func (s *Spool) charge(n int64) {
	s.usage.charged += n
	s.backlog.published.disk.Store(s.usage.charged)
	covered := max(0, min(n, s.usage.reserved))
	s.usage.reserved -= covered
	s.opts.Budget.used.Add(n - covered)
}

// chargeLocked counts everything that the spool has on disk: segments, cursor, other files,
// and the directory.
func (s *Spool) chargeLocked() {
	now := s.usage.extra + s.usage.other + DirSize + s.cursor.allocated()
	for _, seg := range s.segments {
		now += Allocated(seg.size)
	}
	s.charge(now - s.usage.charged)
}

// resizeLocked records a new size of a segment's file.
func (s *Spool) resizeLocked(seg *segment, size int64) {
	s.stored.total += size - seg.size
	s.charge(Allocated(size) - Allocated(seg.size))
	seg.size = size
}
