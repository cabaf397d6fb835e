package feed

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestFeedReturnsEachEventOnce checks that a feed returns each event that is not
// acknowledged once and in order, whatever is taken back, released, rewound and
// acknowledged in between. In the end nothing is left.
func TestFeedReturnsEachEventOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newFeedRig(t)
		defer r.spool.Close()
		both := rapid.Bool().Draw(t, "one stream")
		want := map[string][]string{}
		streamOf := func(source string) string {
			if both {
				return ""
			}
			return source
		}
		feeds := map[string]*Feed{}
		if both {
			feeds[""] = New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended, Events: events.Options{}})
		} else {
			feeds["stdout"] = New(r.spool, Options{Outputs: Outputs{Stdout: true}, Ended: &r.ended, Events: events.Options{}})
			feeds["stderr"] = New(r.spool, Options{Outputs: Outputs{Stderr: true}, Ended: &r.ended, Events: events.Options{}})
		}
		got := map[string][]handed{} // handed out since the last rewind and not acknowledged
		done := map[string][]string{}
		names := slices.Sorted(func(yield func(string) bool) {
			for name := range feeds {
				if !yield(name) {
					return
				}
			}
		})
		var rest []byte // of a frame that was appended only in part
		write := func(p []byte) {
			p = append(rest, p...)
			cut := rapid.IntRange(0, len(p)).Draw(t, "cut")
			if cut > 0 {
				r.append(p[:cut])
			}
			rest = bytes.Clone(p[cut:])
		}
		pick := func() string { return rapid.SampledFrom(names).Draw(t, "feed") }
		ackSome := func(name string, n int) {
			var ranges []stream.Range
			for _, h := range got[name][:n] {
				ranges = append(ranges, h.ranges...)
				done[name] = append(done[name], h.message)
			}
			rand.Shuffle(len(ranges), func(i, j int) { ranges[i], ranges[j] = ranges[j], ranges[i] })
			got[name] = got[name][n:]
			if err := feeds[name].Ack(ranges); err != nil {
				t.Fatalf("Ack: %v", err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"lines": func(t *rapid.T) {
				var p []byte
				for range rapid.IntRange(1, 10).Draw(t, "n") {
					source := rapid.SampledFrom([]string{"stdout", "stderr"}).Draw(t, "source")
					line := rapid.SampledFrom([]string{"", "a line", "another"}).Draw(t, "line")
					if line != "" {
						line = fmt.Sprint(line, r.n)
						want[streamOf(source)] = append(want[streamOf(source)], line)
					}
					p = append(p, r.line(source, line)...)
				}
				write(p)
			},
			"long line among others": func(t *rapid.T) {
				source := rapid.SampledFrom([]string{"stdout", "stderr"}).Draw(t, "source")
				other := map[string]string{"stdout": "stderr", "stderr": "stdout"}[source]
				long := strings.Repeat(fmt.Sprintf("%07d ", r.n), rapid.IntRange(2049, 9000).Draw(t, "size"))
				var p []byte
				for i, piece := range r.pieces(source, long) {
					p = append(p, piece...)
					if i == 0 { // while the first line is unfinished
						line := fmt.Sprint("between", r.n)
						p = append(p, r.line(other, line)...)
						want[streamOf(other)] = append(want[streamOf(other)], line)
					}
				}
				want[streamOf(source)] = append(want[streamOf(source)], long)
				write(p)
			},
			"take": func(t *rapid.T) {
				name := pick()
				got[name] = append(got[name], take(feeds[name], rapid.IntRange(1, 10).Draw(t, "n"))...)
			},
			"take back": func(t *rapid.T) {
				name := pick()
				if _, ok := feeds[name].Next(someTime); ok {
					feeds[name].Unread()
				}
				if rapid.Bool().Draw(t, "release") {
					feeds[name].Release()
				}
			},
			"release": func(t *rapid.T) { feeds[pick()].Release() },
			"rewind": func(t *rapid.T) {
				name := pick()
				feeds[name].Rewind()
				got[name] = nil
			},
			"ack": func(t *rapid.T) {
				name := pick()
				ackSome(name, rapid.IntRange(0, len(got[name])).Draw(t, "n"))
			},
			"": func(t *rapid.T) {
				for name, all := range got {
					have := append(slices.Clone(done[name]), messages(all)...)
					if len(have) > len(want[name]) || !slices.Equal(have, want[name][:len(have)]) {
						t.Fatalf("%q: handed out %.60q, want %.60q", name, have, want[name])
					}
				}
			},
		})
		if len(rest) > 0 {
			r.append(rest)
		}
		r.ended.Store(true)
		for _, name := range names {
			got[name] = append(got[name], take(feeds[name], 1<<20)...)
			ackSome(name, len(got[name]))
			if !slices.Equal(done[name], want[name]) {
				t.Fatalf("%q: delivered %.60q, want %.60q", name, done[name], want[name])
			}
			if due := feeds[name].Due(); !due.IsZero() {
				t.Fatalf("%q: due at %v with nothing left", name, due)
			}
			feeds[name].Close()
		}
		if r.spool.Pending() {
			t.Fatalf("acknowledged up to %d of %d", r.spool.Acked(), r.spool.End())
		}
	})
}

// TestFeedRetriesAfterDiskError checks that a feed that cannot read the disk says when
// to call it again, and does not take the beginning of a line for the whole line.
func TestFeedRetriesAfterDiskError(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	f := New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended, Events: events.Options{}})
	defer f.Close()
	long := strings.Repeat("x", 20_000)
	pieces := r.pieces("stdout", long)
	r.append(pieces[0])
	if got := take(f, 1); len(got) > 0 {
		t.Fatalf("got %.30q", got[0].message)
	}
	f.Release()
	r.append(pieces[1])
	r.ended.Store(true)
	r.disk.Before(durabletest.Fail("ReadAt", "", syscall.EIO))
	if got := take(f, 1); len(got) > 0 || !f.Due().After(someTime) {
		t.Fatalf("got %d events, due %v", len(got), f.Due())
	}
	r.disk.Before(nil)
	if got := take(f, 10); len(got) != 1 || got[0].message != long {
		t.Errorf("got %d events", len(got))
	}
	if !f.Due().IsZero() {
		t.Errorf("due at %v", f.Due())
	}
}

// TestUnfinishedLineWaitsOnce checks that an unfinished line that has waited long enough
// is handed out at once after a rewind. Otherwise the first line of a new stream would
// wait a second time while the stream is created.
func TestUnfinishedLineWaitsOnce(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	f := New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended})
	defer f.Close()
	out, err := strings.Repeat("o", 20_000), strings.Repeat("e", 20_000)
	r.append(r.pieces("stdout", out)[0])
	if _, ok := f.Next(someTime); ok {
		t.Fatal("it did not wait")
	}
	now := someTime.Add(events.DefaultWait)
	for range 3 {
		if e, ok := f.Next(now); !ok || string(e.Message) != out[:16<<10] {
			t.Fatalf("got %.20q, %v", e.Message, ok)
		}
		if _, ok := f.Next(now); ok {
			t.Fatal("one event too many")
		}
		f.Rewind()
		f.Release()
	}
	// The line of the other output has not waited.
	r.append(r.pieces("stderr", err)[0])
	if e, ok := f.Next(now); ok {
		t.Fatalf("got %.20q before its time", e.Message)
	}
	if due := f.Due(); !due.Equal(now.Add(events.DefaultWait)) {
		t.Errorf("due at %v", due)
	}
}

// TestLostMarkerStaysPending checks that the stream records events that were lost after
// the feed read them, and that their marker stays pending if it is lost.
func TestLostMarkerStaysPending(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	f := New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended, Events: events.Options{}})
	defer f.Close()
	r.append(r.line("stdout", "refused"))
	for range 2 {
		got := take(f, 10)
		if len(got) != 1 {
			t.Fatalf("got %.150q", messages(got))
		}
		f.Lost(events.Refused, got[0].ranges, 1, 7, someTime, someTime)
		if err := f.Ack(got[0].ranges); err != nil {
			t.Fatal(err)
		}
	}
	if got := take(f, 10); len(got) != 0 || !r.spool.Pending() {
		t.Errorf("got %.150q", messages(got))
	}
}

// TestLongLineIsDividedAtSmallerLimit checks that a long line is divided at the new
// limit after SetMaxMessage and Rewind, and that nothing of it is left when its parts
// are acknowledged.
func TestLongLineIsDividedAtSmallerLimit(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	f := New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended})
	defer f.Close()
	long := strings.Repeat("0123456789", 60_000)
	r.append(slices.Concat(append(r.pieces("stdout", long), r.line("stdout", "after"))...))
	if got := take(f, 10); len(got) != 2 || got[0].message != long {
		t.Fatalf("got %d events", len(got))
	}
	const limit = 256<<10 - 26
	f.SetMaxMessage(limit)
	f.Rewind()
	got := take(f, 10)
	if len(got) != 4 || got[3].message != "after" {
		t.Fatalf("got %d events", len(got))
	}
	var whole string
	all := got[3].ranges
	for i, h := range got[:3] {
		all = append(all, h.ranges...)
		if len(h.message) > limit {
			t.Errorf("part %d has %d bytes", i+1, len(h.message))
		}
		text := strings.TrimPrefix(h.message, fmt.Sprintf("[logspool: part %d] ", i+1))
		whole += strings.TrimSuffix(text, fmt.Sprintf(" [logspool: continued in part %d]", i+2))
	}
	if whole != long {
		t.Error("the parts are not the line")
	}
	if err := f.Ack(all); err != nil || r.spool.Pending() {
		t.Errorf("acknowledged up to %d of %d, %v", r.spool.Acked(), r.spool.End(), err)
	}
}

// TestMultilineEventsComeOnce checks that each event of several lines comes once and
// whole, whatever is taken back, released and rewound, and that events that the filters
// drop are acknowledged.
func TestMultilineEventsComeOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newFeedRig(t)
		defer r.spool.Close()
		f := New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended, Events: events.Options{
			Pattern: regexp.MustCompile(`^event`), Exclude: regexp.MustCompile(`^event \d+ debug`),
		}})
		var want []string
		for i := range rapid.IntRange(0, 20).Draw(t, "events") {
			kind := rapid.SampledFrom([]string{"", " debug"}).Draw(t, "kind")
			text := fmt.Sprintf("event %d%s\n", i, kind)
			r.append(r.line("stdout", strings.TrimSuffix(text, "\n")))
			for range rapid.IntRange(0, 3).Draw(t, "more lines") {
				r.append(r.line("stdout", "  more"))
				text += "  more\n"
			}
			if kind == "" {
				want = append(want, text)
			}
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				take(f, 3)
				f.Rewind()
			case 1:
				if _, ok := f.Next(someTime); ok {
					f.Unread()
				}
				f.Release()
				f.Rewind()
			}
		}
		r.ended.Store(true)
		var got []string
		for _, h := range take(f, 1<<20) {
			got = append(got, h.message)
			if err := f.Ack(h.ranges); err != nil {
				t.Fatalf("Ack: %v", err)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("handed out %q, want %q", got, want)
		}
		f.Close()
		if r.spool.Pending() {
			t.Fatalf("acknowledged up to %d of %d", r.spool.Acked(), r.spool.End())
		}
	})
}

// TestStuckOutputDoesNotStopTheOther checks that all lines of one output are delivered
// while the other output is stuck, and that the spool keeps the events that the stuck
// feed has handed out.
func TestStuckOutputDoesNotStopTheOther(t *testing.T) {
	r := newBoundedFeedRig(t, 1<<20)
	defer r.spool.Close()
	stdout := New(r.spool, Options{Outputs: Outputs{Stdout: true}, Ended: &r.ended, Events: events.Options{}})
	stderr := New(r.spool, Options{Outputs: Outputs{Stderr: true}, Ended: &r.ended, Events: events.Options{}})
	r.append(r.line("stderr", "cannot be delivered"))
	stuck := take(stderr, 1)
	line := strings.Repeat("x", 10_000)
	delivered, markers := 0, 0
	for i := range 500 {
		r.append(r.line("stdout", line))
		if i >= 250 {
			r.append(r.line("stderr", "is evicted"))
		}
		for _, h := range take(stdout, 10) {
			if strings.HasPrefix(h.message, "[logspool] missing here:") {
				markers++
			} else if h.message == line {
				delivered++
			} else {
				t.Fatalf("handed out %.60q", h.message)
			}
			if err := stdout.Ack(h.ranges); err != nil {
				t.Fatal(err)
			}
		}
		if i < 250 {
			take(stderr, 1) // It finds nothing of its own.
		}
	}
	if delivered != 500 || markers == 0 {
		t.Fatalf("%d of 500 lines delivered, %d markers", delivered, markers)
	}
	stderr.Rewind()
	if again := take(stderr, 1); !slices.Equal(messages(again), messages(stuck)) {
		t.Fatalf("handed out %q once more, want %q", messages(again), messages(stuck))
	}
	stdout.Close()
	stderr.Close()
}

// TestSearchIsBounded checks that a feed does not search all of a long backlog that its
// filters drop at once. It asks to be called again, and acknowledges what it has
// passed.
func TestSearchIsBounded(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	for i := range 100 {
		r.append(r.line("stdout", fmt.Sprintf("debug %d", i)))
	}
	r.append(r.line("stdout", "event"))
	f := New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended, Events: events.Options{Exclude: regexp.MustCompile(`^debug`)}})
	defer f.Close()
	f.progress.search = 0
	for calls := 1; ; calls++ {
		e, ok := f.Next(someTime)
		if ok {
			if string(e.Message) != "event" || calls != 1+100/searchFrames {
				t.Errorf("%q at call %d", e.Message, calls)
			}
			return
		}
		if due := f.Due(); !due.Equal(someTime) {
			t.Fatalf("at call %d due at %v", calls, due)
		}
		if r.spool.Acked() == 0 {
			t.Error("nothing is acknowledged")
		}
	}
}

// TestSearchesOfOneBatchShareTheirTime: a feed whose filters drop most events looks for no longer
// with all calls of a batch, which have the same time, than with one.
func TestSearchesOfOneBatchShareTheirTime(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	for range 2 {
		r.append(r.line("stdout", "event"))
		for i := range 10 * searchFrames {
			r.append(r.line("stdout", fmt.Sprintf("debug %d", i)))
		}
	}
	r.append(r.line("stdout", "event"))
	f := New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended, Events: events.Options{Exclude: regexp.MustCompile(`^debug`)}})
	defer f.Close()
	f.progress.search = time.Minute
	for range 2 {
		if _, ok := f.Next(someTime); !ok {
			t.Fatal("no event")
		}
	}
	if f.progress.searched <= 0 || f.progress.searched > time.Minute {
		t.Errorf("has searched for %v", f.progress.searched)
	}
	f.progress.searched = time.Minute // that has taken long
	if _, ok := f.Next(someTime); ok {
		t.Error("the feed still searches")
	}
	if _, ok := f.Next(someTime.Add(time.Second)); !ok {
		t.Error("the feed does not search for the next batch")
	}
}

// TestReleasedFeedHoldsOnlyItsText checks that a released feed, also with an event taken
// back, holds little more of the budget than its text, and a closed feed holds nothing.
func TestReleasedFeedHoldsOnlyItsText(t *testing.T) {
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

// TestMaxMessageAppliesAfterRewind checks that a new limit for messages applies after
// the next rewind.
func TestMaxMessageAppliesAfterRewind(t *testing.T) {
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
