package feed

import (
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// TestUnfinishedTextGoesOutAtTheEnd checks that unfinished text is handed out when the
// container has stopped, that a marker records the beginning of a frame, and that both
// come again after a rewind.
func TestUnfinishedTextGoesOutAtTheEnd(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	f := New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended, Events: events.Options{}})
	defer f.Close()
	r.append(slices.Concat(r.line("stdout", "whole"), r.pieces("stderr", strings.Repeat("y", 20_000))[0], r.line("stdout", "cut")[:9]))
	if got := messages(take(f, 10)); !slices.Equal(got, []string{"whole"}) {
		t.Fatalf("got %.50q", got)
	}
	if f.Due().IsZero() {
		t.Error("nothing is due")
	}
	r.ended.Store(true)
	for range 3 {
		f.Rewind()
		f.Release()
		got := take(f, 10)
		if len(got) != 3 || got[0].message != "whole" || !strings.HasPrefix(got[1].message+got[2].message, "[logspool] missing here: 1 lines, 9 bytes") {
			t.Fatalf("got %.150q", messages(got))
		}
	}
	var all []stream.Range
	f.Rewind()
	for _, h := range take(f, 10) {
		all = append(all, h.ranges...)
	}
	if err := f.Ack(all); err != nil || r.spool.Pending() {
		t.Errorf("acknowledged up to %d of %d, %v", r.spool.Acked(), r.spool.End(), err)
	}
}

// TestFeedEndsBeforeItsLimit checks that a feed ends before its limit, with the
// unfinished text there, and that the next feed reads what is after it.
func TestFeedEndsBeforeItsLimit(t *testing.T) {
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

// TestEndAtEndsOpenFeed checks that a feed that EndAt ends while it is open does not
// read what is written after its end.
func TestEndAtEndsOpenFeed(t *testing.T) {
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

// TestLastWriteBeforeTheEndIsRead checks that the feed reads the rest of a frame, or of
// a line, that is written just before the log ends.
func TestLastWriteBeforeTheEndIsRead(t *testing.T) {
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
