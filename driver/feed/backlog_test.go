package feed

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// TestBacklog holds that the oldest time is exact at the beginning and after a rewind,
// is never younger than the truth and never older by more than two checkpoints, and is
// zero when nothing waits.
func TestBacklog(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	f := New(r.spool, Options{Outputs: BothOutputs, Name: "web (1f2e3d4c5b6a)"})
	defer f.Close()
	check := func(want int64) {
		t.Helper()
		name, bytes, oldest := f.Backlog()
		if name != "web (1f2e3d4c5b6a)" || bytes != int64(r.spool.End()-r.spool.Acked()) {
			t.Fatalf("%q, %d bytes", name, bytes)
		}
		got := int64(0)
		if !oldest.IsZero() {
			got = oldest.UnixNano()
		}
		if got > want || want-got > max(2*int64(checkpointTime), (f.progress.latest-want)/16) || (got == 0) != (want == 0) {
			t.Fatalf("oldest %d, want %d", got, want)
		}
	}
	check(0)
	const lines = 20_000
	times := map[uint64]int64{}
	line := strings.Repeat("x", 100)
	var block []byte
	var at int64 = 1e9
	for i := range lines {
		at += rand.Int64N(2e7)
		times[r.spool.End()+uint64(len(block))] = at
		if block = append(block, fakeFrame("stdout", at, line, nil)...); len(block) > 60_000 || i == lines-1 {
			r.append(block)
			block = nil
		}
	}
	oldest := func() int64 { return times[r.spool.Acked()] }
	for left := lines; left > 0; {
		all := take(f, 1+rand.IntN(2*left))
		check(oldest())
		switch rand.IntN(3) {
		case 0:
			f.Rewind()
			check(oldest())
			f.Next(someTime)
			f.Unread()
			if _, _, got := f.Backlog(); got.UnixNano() != oldest() {
				t.Fatalf("oldest %d after a rewind, want %d", got.UnixNano(), oldest())
			}
			f.Rewind()
		default:
			left -= len(all)
			order := rand.IntN(2)
			rand.Shuffle(len(all)*order, func(i, j int) { all[i], all[j] = all[j], all[i] })
			for part := range slices.Chunk(all, max(len(all)/3, 1)) {
				var ranges []stream.Range
				for _, h := range part {
					ranges = append(ranges, h.ranges...)
				}
				if err := f.Ack(ranges); err != nil {
					t.Fatal(err)
				}
				if r.spool.Acked() < f.reader.Position() { // else nothing is known of what has not been read
					check(oldest())
				}
			}
			if left > 0 {
				f.Next(someTime)
				f.Unread()
			}
			check(oldest())
		}
	}
	check(0)
	if n := testing.AllocsPerRun(100, func() { f.Backlog() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestLimit holds that a feed ends before its limit, with what is unfinished there, and
// that what is behind it is another's.
func TestLimit(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	cut := r.line("stdout", "cut off")[:13]
	run1 := slices.Concat(r.line("stdout", "one"), r.pieces("stderr", strings.Repeat("y", 20_000))[0], cut)
	r.append(run1)
	limit := r.spool.End()
	var tracker spool.Tracker // of another FIFO
	run2 := r.line("stdout", "two")
	if err := r.spool.Append(append(make([]byte, spool.BlockHeaderSize), run2...), 2, tracker.All(run2)); err != nil {
		t.Fatal(err)
	}
	first := New(r.spool, Options{Outputs: BothOutputs, Limit: limit})
	for range 2 {
		got := messages(take(first, 10))
		if len(got) != 3 || got[0] != "one" || !slices.Contains(got, strings.Repeat("y", 16<<10)) || !strings.HasPrefix(got[1]+got[2], missing+"1 lines, 13 bytes") {
			t.Fatalf("got %.100q", got)
		}
		if due := first.Due(); !due.IsZero() {
			t.Errorf("due at %v", due)
		}
		first.Rewind()
	}
	for _, h := range take(first, 10) {
		if err := first.Ack(h.ranges); err != nil {
			t.Fatal(err)
		}
	}
	first.Close()
	if r.spool.Acked() != limit {
		t.Errorf("acknowledged up to %d of %d", r.spool.Acked(), limit)
	}
	second := New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended})
	defer second.Close()
	if got := messages(take(second, 10)); !slices.Equal(got, []string{"two"}) {
		t.Errorf("got %.100q", got)
	}
}

// TestFeedGivesMemoryBack holds that neither a released feed with an event taken back
// nor a closed one keeps more of the budget than its text.
func TestFeedGivesMemoryBack(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	budget := events.NewBudget(events.BudgetBytes)
	f := New(r.spool, Options{Outputs: BothOutputs, Events: events.Options{Budget: budget}})
	long := strings.Repeat("z", 1_000_000)
	r.append(slices.Concat(r.pieces("stdout", long)...))
	r.append(slices.Concat(r.pieces("stdout", long)[:60]...))
	if got := take(f, 1); len(got) != 1 || got[0].message != long {
		t.Fatalf("got %d events", len(got))
	}
	f.Unread()
	f.Release()
	if used := budget.Used(); used > 1<<20+64<<10 {
		t.Errorf("an event of %d bytes holds %d", len(long), used)
	}
	if got := take(f, 2); len(got) != 1 || got[0].message != long {
		t.Fatalf("got %d events", len(got))
	}
	f.Release()
	if used := budget.Used(); used > 1<<20+64<<10 {
		t.Errorf("60 pieces hold %d", used)
	}
	f.Close()
	if used := budget.Used(); used != 0 {
		t.Errorf("a closed feed holds %d", used)
	}
}

// TestMaxMessage holds that a bound for messages holds after the next rewind.
func TestMaxMessage(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	f := New(r.spool, Options{Outputs: BothOutputs})
	defer f.Close()
	r.append(slices.Concat(r.pieces("stdout", strings.Repeat("z", 40_000))...))
	take(f, 1)
	f.SetMaxMessage(30_000)
	f.Rewind()
	got := messages(take(f, 10))
	if len(got) != 2 || len(got[0]) > 30_000 || !strings.HasPrefix(got[1], "[logspool: part 2] ") {
		t.Errorf("%d events", len(got))
	}
}

// TestEndAt holds that a feed which is ended while it is open does not read what is
// written behind its end.
func TestEndAt(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	f := New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended})
	defer f.Close()
	r.append(slices.Concat(r.line("stdout", "one"), r.pieces("stderr", strings.Repeat("y", 20_000))[0]))
	if got := messages(take(f, 10)); !slices.Equal(got, []string{"one"}) {
		t.Fatalf("got %.50q", got)
	}
	f.EndAt(r.spool.End())
	r.append(r.line("stderr", "two"))
	if got := messages(take(f, 10)); !slices.Equal(got, []string{strings.Repeat("y", 16<<10)}) || !f.Due().IsZero() {
		t.Errorf("got %.50q, due %v", got, f.Due())
	}
}

// TestEndWhileReading holds that the end of a frame, or of a line, that is written just
// before the end of the log is read.
func TestEndWhileReading(t *testing.T) {
	for range 300 {
		r := newFeedRig(t)
		f := New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended})
		pieces := r.pieces("stdout", strings.Repeat("x", 17_000))
		frame := r.line("stdout", "whole")
		parts := [][]byte{pieces[0], pieces[1], frame[:9], frame[9:]}
		r.append(parts[0])
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, p := range parts[1:] {
				r.append(p)
			}
			r.ended.Store(true)
		}()
		var got []string
		for ended := false; !ended; {
			select {
			case <-done:
				ended = true
			default:
			}
			got = append(got, messages(take(f, 10))...)
		}
		if len(got) != 2 || len(got[0]) != 17_000 || got[1] != "whole" {
			t.Fatalf("got %.60q", got)
		}
		f.Close()
		r.spool.Close()
	}
}
