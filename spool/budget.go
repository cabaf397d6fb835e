package spool

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Budget bounds the bytes on disk of several spools together, open and at rest. When it is full,
//
//   - history at rest gives way first, the oldest before the others;
//   - then the history of open spools, of the largest history first;
//   - then what is not delivered, of the largest spool that drops its oldest and is not smaller than the one
//     that appends: who writes much loses lines, not who happens to write.
//
// A spool that drops its newest does not give way. It is refused where it would, and a sixteenth before the limit unless
// it has less than its share of that: who writes little does not find the budget full of what will not go.
//
// Its methods may be called from any goroutine.
//
// Locks: Append asks for room before it takes its spool's lock, and whoever holds a spool's lock touches the atomic
// count alone. So the order is reclaiming, then one spool's lock at a time; mu is never held while another is taken.
type Budget struct {
	limit int64
	used  atomic.Int64

	reclaiming sync.Mutex // held while others are made to give way

	// mu guards what follows.
	mu      sync.Mutex
	open    []*Spool
	resting []*Resting
}

// Resting is the history of a spool that is not open, as a Budget counts it.
type Resting struct {
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

// Used returns the bytes on disk of all spools under the budget.
func (b *Budget) Used() int64 { return b.used.Load() }

// Rest counts the history of a spool that is not open: so many bytes, last written to at written. When room is needed,
// remove is called, once, from within the Append of another spool: it removes the files. If it returns nil, they are
// counted no more; otherwise they are until Release. It may call Release, but no Append, and whoever appends must hold no
// lock that it takes. Release it before the spool is opened, and when it is removed.
func (b *Budget) Rest(bytes int64, written time.Time, remove func() error) *Resting {
	r := &Resting{b: b, bytes: bytes, written: written, remove: remove}
	b.used.Add(bytes)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resting = append(b.resting, r)
	return r
}

// Release ends the counting. remove is not called from then on, though it may be under way.
func (r *Resting) Release() {
	r.b.mu.Lock()
	r.b.resting = slices.DeleteFunc(r.b.resting, func(o *Resting) bool { return o == r })
	r.b.mu.Unlock()
	r.forget()
}

func (r *Resting) forget() {
	if r.gone.CompareAndSwap(false, true) {
		r.b.used.Add(-r.bytes)
	}
}

// Retry calls f, and calls it again after removing archived logs and delivered history while it fails for want of space on
// the disk (ENOSPC, EDQUOT). The caller must hold no lock of a spool or of an archive.
func (b *Budget) Retry(f func() error) error { return f() }

// Run closes the files of spools that have not been used for some seconds, so that an idle container holds none. It
// returns when ctx is done.
func (b *Budget) Run(ctx context.Context) { <-ctx.Done() }

// LimitFiles bounds how many spools have their files open at once.
func (b *Budget) LimitFiles(spools int) {}

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
	if !s.left {
		s.left = true
		s.budget.add(-s.total)
	}
}

func (b *Budget) add(n int64) {
	if b != nil {
		b.used.Add(n)
	}
}

// Fits reports whether there is room for n more bytes, without anything giving way. b may be nil.
func (b *Budget) Fits(n int64) bool { return b == nil || b.used.Load()+n <= b.limit }

// take takes n bytes for s, which is not locked, and makes others give way for it. False: there is no room.
func (b *Budget) take(s *Spool, n int64) bool {
	if b == nil {
		return true
	}
	limit := b.limit
	if s.dropNewest {
		limit -= limit / 16
	}
	if b.tryTake(n, limit) {
		return true
	}
	b.reclaiming.Lock()
	defer b.reclaiming.Unlock()
	if limit < b.limit && b.withinShare(s, n) {
		limit = b.limit
	}
	for !b.tryTake(n, limit) {
		if !b.reclaim(s) {
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

func (b *Budget) tryTake(n, limit int64) bool {
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

// reclaim makes one give way to s, and reports whether one did.
func (b *Budget) reclaim(s *Spool) bool {
	for {
		r := b.oldestResting()
		if r == nil {
			break
		}
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
		if c.delivered > 0 && c.s.dropHistory() {
			return true
		}
	}
	slices.SortFunc(claims, func(a, b claim) int { return cmp.Compare(b.pending, a.pending) })
	for _, c := range claims {
		smaller := c.pending < own.pending || s.dropNewest && c.pending == own.pending
		if !smaller && !c.s.dropNewest && c.s.giveWay(s) {
			return true
		}
	}
	return false
}

// oldestResting takes the oldest history at rest out of the list; nil: there is none.
func (b *Budget) oldestResting() *Resting {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.resting) == 0 {
		return nil
	}
	oldest := slices.MinFunc(b.resting, func(a, b *Resting) int { return a.written.Compare(b.written) })
	b.resting = slices.DeleteFunc(b.resting, func(o *Resting) bool { return o == oldest })
	return oldest
}

// sizes returns the bytes of what is delivered and of what is not.
func (s *Spool) sizes() (delivered, pending int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delivered, s.total - s.delivered
}

// dropHistory removes the oldest segment in which everything is delivered.
func (s *Spool) dropHistory() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.deliveredN == 0 {
		return false
	}
	s.removeSegmentsLocked(0, 1)
	return true
}

// giveWay gives up the oldest segment that is not delivered, for want of room elsewhere.
func (s *Spool) giveWay(to *Spool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := s.end.Load()
	if s.closed || !s.dropOldestLocked() {
		return false
	}
	if added := s.end.Load() - end; added > 0 && s.onGap != nil && s != to {
		s.onGap(int(added))
	}
	return true
}
