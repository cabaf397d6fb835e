package spool

import (
	"slices"

	"github.com/logspool/logspool/internal/stream"
)

// ackSet is the set of acknowledged positions: all below prefix, and the ranges in beyond.
// Those are in order and disjoint, and never touch each other or the prefix.
type ackSet struct {
	prefix uint64
	beyond []stream.Range
}

// add adds r to the set, and reports whether that changed the set.
func (a *ackSet) add(r stream.Range) bool {
	r.From = max(r.From, a.prefix)
	if r.From >= r.To {
		return false
	}
	// i is the first range that r touches or that follows it; j is the first that follows
	// without touching it.
	i, _ := slices.BinarySearchFunc(a.beyond, r.From, func(x stream.Range, from uint64) int {
		if x.To < from {
			return -1
		}
		return 1
	})
	j := i
	for j < len(a.beyond) && a.beyond[j].From <= r.To {
		j++
	}
	if j == i+1 && a.beyond[i].From <= r.From && r.To <= a.beyond[i].To {
		return false
	}
	if j > i {
		r.From = min(r.From, a.beyond[i].From)
		r.To = max(r.To, a.beyond[j-1].To)
	}
	if r.From == a.prefix {
		a.prefix = r.To
		a.beyond = slices.Delete(a.beyond, 0, j)
		return true
	}
	a.beyond = slices.Replace(a.beyond, i, j, r)
	return true
}

// through returns the end of the acknowledged range that includes pos; pos if there is none.
func (a *ackSet) through(pos uint64) uint64 {
	if pos < a.prefix {
		return a.prefix
	}
	i, found := slices.BinarySearchFunc(a.beyond, pos, func(x stream.Range, pos uint64) int {
		switch {
		case x.To <= pos:
			return -1
		case x.From > pos:
			return 1
		}
		return 0
	})
	if !found {
		return pos
	}
	return a.beyond[i].To
}

// within reports whether any position of r is acknowledged.
func (a *ackSet) within(r stream.Range) bool {
	return r.From < a.prefix || slices.ContainsFunc(a.beyond, func(x stream.Range) bool { return x.From < r.To && r.From < x.To })
}

// end returns the position after everything acknowledged.
func (a *ackSet) end() uint64 {
	if n := len(a.beyond); n > 0 {
		return a.beyond[n-1].To
	}
	return a.prefix
}
