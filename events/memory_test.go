//go:build !race

// One goroutine scans gigabytes in these tests, which takes minutes with the race
// detector.

package events

import (
	"bytes"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/stream"
)

// numbered is a container that prints one text of numbered pieces, and checks the events.
type numbered struct {
	p      *Pipeline
	pushed int
	pos    int // end of the last event in the text
	parts  int
	ranges []stream.Range
}

var (
	frameText = append(bytes.Repeat([]byte("x"), pieceBytes), '\n')
	wantText  = bytes.Clone(frameText)
)

// numberedPiece writes the text of piece i, and a newline, into to.
func numberedPiece(to []byte, i int) []byte {
	to[0], to[1] = byte('0'+i/10%10), byte('0'+i%10)
	return to
}

// take checks that each event begins where the one before ended. newline follows each
// piece: it is empty without a pattern.
func (n *numbered) take(t *testing.T, newline string) {
	t.Helper()
	for n.takeOne(t, newline) {
	}
}

func (n *numbered) takeOne(t *testing.T, newline string) bool {
	t.Helper()
	e, ok := n.p.Next()
	if ok {
		text := e.Message
		if n.parts++; n.parts > 1 {
			text = bytes.TrimPrefix(text, fmt.Appendf(nil, PartMark, n.parts))
		}
		text = bytes.TrimSuffix(text, fmt.Appendf(nil, ContinuedMark, n.parts+1))
		for _, r := range e.Ranges {
			n.ranges = addRange(n.ranges, r)
		}
		for len(text) > 0 {
			size := pieceBytes + len(newline)
			rest := numberedPiece(wantText, n.pos/size)[n.pos%size : size]
			rest = rest[:min(len(rest), len(text))]
			if !bytes.Equal(text[:len(rest)], rest) {
				t.Fatalf("at %d: %.50q, want %.50q", n.pos, text, rest)
			}
			n.pos += len(rest)
			text = text[len(rest):]
		}
	}
	return ok
}

// TestUnfinishedTextStaysWithinBudget checks that a thousand containers in the middle of
// a line or event of 1 MB need no more memory than the budget. Nothing is lost, and
// text goes out whole as long as there is memory.
func TestUnfinishedTextStaysWithinBudget(t *testing.T) {
	const pieces = 1_000_000 / pieceBytes
	never := regexp.MustCompile(`^never`)
	for _, test := range []struct {
		name       string
		o          Options
		containers int
		whole      bool
	}{
		{"lines", Options{}, 1000, false},
		{"events", Options{Pattern: never}, 1000, false},
		{"a few lines", Options{}, 20, true},
		{"a few events", Options{Pattern: never}, 20, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			newline := ""
			if test.o.Pattern != nil {
				newline = "\n"
			}
			before := liveHeap()
			test.o.Budget = NewBudget(BudgetBytes)
			all := make([]numbered, test.containers)
			for i := range all {
				all[i].p = NewPipeline(test.o)
			}
			push := func(n *numbered, last bool) {
				f := Frame{Source: Stdout, Time: 1, Line: numberedPiece(frameText, n.pushed)[:pieceBytes], Partial: newline == "", PartialID: []byte("id"), Last: last}
				n.p.Push(f, uint64(n.pushed), uint64(n.pushed+1), time.Time{})
				n.pushed++
				n.take(t, newline)
			}
			for range pieces - 1 {
				for i := range all {
					push(&all[i], false)
				}
			}
			for i := range all {
				all[i].p.Release()
			}
			if used := test.o.Budget.Used(); used > BudgetBytes {
				t.Errorf("%d bytes are charged", used)
			}
			if live := liveHeap() - before; live > BudgetBytes+int64(test.containers)*2*smallBytes {
				t.Errorf("%d bytes are live", live)
			}
			for i := range all {
				n := &all[i]
				push(n, true)
				n.p.Close()
				n.take(t, newline)
				if n.pos != pieces*(pieceBytes+len(newline)) || len(n.ranges) != 1 || n.ranges[0] != (stream.Range{From: 0, To: pieces}) {
					t.Fatalf("container %d: %d bytes, acknowledged %v", i, n.pos, n.ranges)
				}
				if (n.parts == 1) != test.whole {
					t.Errorf("container %d: %d parts", i, n.parts)
				}
			}
			if used := test.o.Budget.Used(); used != 0 {
				t.Errorf("%d bytes are charged in the end", used)
			}
		})
	}
}

// TestHandedOutTextStaysWithinBudget checks that the events that are handed out, one per
// container, need no more memory than the budget. The backlogs of many containers with
// long lines are read at the same time.
func TestHandedOutTextStaysWithinBudget(t *testing.T) {
	const containers, pieces = 1000, 1_000_000 / pieceBytes
	before := liveHeap()
	budget := NewBudget(BudgetBytes)
	all := make([]numbered, containers)
	push := func(n *numbered) {
		f := Frame{Source: Stdout, Time: 1, Line: numberedPiece(frameText, n.pushed)[:pieceBytes], Partial: true, PartialID: []byte("id"), Last: n.pushed == pieces-1}
		n.p.Push(f, uint64(n.pushed), uint64(n.pushed+1), time.Time{})
		n.pushed++
	}
	for i := range all {
		n := &all[i]
		n.p = NewPipeline(Options{Budget: budget})
		for push(n); !n.takeOne(t, ""); push(n) {
		}
		n.p.Keep()
	}
	if live := liveHeap() - before; live > BudgetBytes+containers*3*pieceBytes {
		t.Errorf("%d bytes are live", live)
	}
	for i := range all {
		n := &all[i]
		for n.take(t, ""); n.pushed < pieces; n.take(t, "") {
			push(n)
		}
		if n.pos != pieces*pieceBytes {
			t.Fatalf("container %d: %d bytes", i, n.pos)
		}
	}
	if used := budget.Used(); used != 0 {
		t.Errorf("%d bytes are charged in the end", used)
	}
}

// liveHeap returns how much of the heap is in use, without the contents of sync.Pools.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestIdleLineKeepsSmallBuffer checks that a short unfinished line does not occupy the
// buffer of a long one.
func TestIdleLineKeepsSmallBuffer(t *testing.T) {
	b := NewBudget(BudgetBytes)
	p := NewPipeline(Options{Budget: b})
	push := func(f Frame) {
		p.Push(f, 0, 1, time.Time{})
		for _, ok := p.Next(); ok; _, ok = p.Next() {
		}
	}
	push(piece(Stdout, 1, strings.Repeat("x", MaxBytes-1), "i", 1))
	push(last(Stdout, 1, "y", "i", 2))
	push(piece(Stdout, 2, strings.Repeat("x", pieceBytes), "j", 1))
	if used := b.Used(); used > 2*pieceBytes {
		t.Errorf("a line of %d bytes holds %d", pieceBytes, used)
	}
	push(piece(Stdout, 2, strings.Repeat("x", MaxBytes), "j", 2)) // The end does not fit, and stays.
	p.Release()
	if used := b.Used(); used > 3*pieceBytes {
		t.Errorf("the end of a long line holds %d", used)
	}
}

// TestRangesAreCharged checks that the ranges of an event of many short lines count
// towards the budget if lines of the other output are between them.
func TestRangesAreCharged(t *testing.T) {
	b := NewBudget(BudgetBytes)
	p := NewPipeline(Options{Budget: b, Pattern: regexp.MustCompile(`^never`)})
	for i := range uint64(1000) {
		p.Push(whole(Source(1+i%2), 1, "x"), i, i+1, time.Time{})
		for _, ok := p.Next(); ok; _, ok = p.Next() {
		}
	}
	if used := b.Used(); used < 2*500*24 {
		t.Errorf("%d bytes are charged", used)
	}
	p.Reset()
	p.Release()
	if used := b.Used(); used != 0 {
		t.Errorf("%d bytes are charged in the end", used)
	}
}
