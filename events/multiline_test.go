package events

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

var beginning = regexp.MustCompile(`^(BEGIN|\d{4}-\d\d-\d\d |{)`)

// event returns an event as script writes it.
func event(text, head, ranges string) string { return fmt.Sprintf("%s %q %s", head, text, ranges) }

const (
	java = `2026-11-23 10:00:00 ERROR Servlet failed
java.lang.IllegalStateException: no
	at com.example.A.f(A.java:10)
	at com.example.B.g(B.java:20)
Caused by: java.io.IOException: disk

	... 2 more`
	python = `2026-11-23 10:00:01 Traceback (most recent call last):
  File "a.py", line 1, in <module>
    f()
    ~^^
ValueError: nö`
	golang = `2026-11-23 10:00:02 panic: runtime error

goroutine 1 [running]:
main.main()
	/src/main.go:5 +0x1d
exit status 2`
)

// TestTracesOfBothOutputsAreSeparate interleaves stack traces of both outputs with
// other lines.
func TestTracesOfBothOutputsAreSeparate(t *testing.T) {
	s := newScript(Options{Pattern: beginning})
	outputs := map[Source][]string{
		Stdout: strings.Split(java+"\n2026-11-23 10:00:03 INFO ok\n"+golang, "\n"),
		Stderr: strings.Split(python+"\n"+golang+"\n"+java, "\n"),
	}
	for i := 0; len(outputs[Stdout])+len(outputs[Stderr]) > 0; i++ {
		for _, src := range []Source{Stdout, Stderr} {
			if lines := outputs[src]; len(lines) > 0 {
				s.push(whole(src, int64(i), lines[0]))
				outputs[src] = lines[1:]
			}
		}
	}
	s.a.Close()
	s.take()
	var got []string
	for _, e := range s.got {
		got = append(got, e[:strings.LastIndex(e, " [")])
	}
	s.got = got
	q := func(head, text string) string { return fmt.Sprintf("%s %q", head, text+"\n") }
	s.check(t, q("stderr 0", python), q("stdout 0", java), q("stdout 7", "2026-11-23 10:00:03 INFO ok"),
		q("stderr 5", golang), q("stdout 8", golang), q("stderr 11", java))
}

func TestLinesAreJoinedByPattern(t *testing.T) {
	for _, test := range []struct {
		name   string
		frames []Frame
		want   []string // events before Close
		close  []string // events after Close
	}{
		{
			name:   "an event has the time of its first line, and a newline after each",
			frames: []Frame{whole(Stdout, 1, "BEGIN"), whole(Stdout, 2, "a"), whole(Stdout, 3, "BEGIN"), whole(Stdout, 4, "BEGIN")},
			want:   []string{`stdout 1 "BEGIN\na\n" [0-2]`, `stdout 3 "BEGIN\n" [2-3]`},
			close:  []string{`stdout 4 "BEGIN\n" [3-4]`},
		}, {
			name:   "lines before the first that matches",
			frames: []Frame{whole(Stdout, 1, "a"), whole(Stdout, 2, "b"), whole(Stdout, 3, "BEGIN")},
			want:   []string{`stdout 1 "a\nb\n" [0-2]`},
			close:  []string{`stdout 3 "BEGIN\n" [2-3]`},
		}, {
			name:   "empty lines",
			frames: []Frame{whole(Stdout, 1, ""), whole(Stdout, 2, "BEGIN"), whole(Stdout, 3, ""), whole(Stdout, 4, "a"), whole(Stdout, 5, "")},
			want:   []string{`stdout 1 "\n" [0-1]`},
			close:  []string{`stdout 2 "BEGIN\n\na\n\n" [1-5]`},
		}, {
			name:   "the sources do not mix",
			frames: []Frame{whole(Stdout, 1, "BEGIN"), whole(Stderr, 2, "x"), whole(Stdout, 3, "a"), whole(Stderr, 4, "BEGIN"), whole(Stdout, 5, "b")},
			want:   []string{`stderr 2 "x\n" [1-2]`},
			close:  []string{`stdout 1 "BEGIN\na\nb\n" [0-1 2-3 4-5]`, `stderr 4 "BEGIN\n" [3-4]`},
		}, {
			name: "pieces are joined before",
			frames: []Frame{piece(Stdout, 1, "BEG", "i", 1), last(Stdout, 1, "IN", "i", 2), piece(Stdout, 2, "a", "j", 1), last(Stdout, 2, "BEGIN", "j", 2),
				piece(Stdout, 3, "BEGI", "k", 1)},
			close: []string{`stdout 1 "BEGIN\naBEGIN\nBEGI\n" [0-5]`},
		}, {
			name:   "a carriage return stays",
			frames: []Frame{whole(Stdout, 1, "BEGIN\r"), whole(Stdout, 2, "a\r")},
			close:  []string{`stdout 1 "BEGIN\r\na\r\n" [0-2]`},
		}, {
			name:   "a line that was written when the event had gone out",
			frames: []Frame{whole(Stdout, 1, "BEGIN"), whole(Stdout, 5e9, "a"), whole(Stdout, 10e9, "b"), whole(Stdout, 11e9, "c")},
			want:   []string{`stdout 1 "BEGIN\na\n" [0-2]`},
			close:  []string{`stdout 10000000000 "b\nc\n" [2-4]`},
		}, {
			name: "an event with always one more line",
			frames: func() (all []Frame) {
				for i := range int64(17) {
					all = append(all, whole(Stdout, i*4e9, "a"))
				}
				return all
			}(),
			want:  []string{event(strings.Repeat("a\n", 15), "stdout 0", "[0-15]")},
			close: []string{`stdout 60000000000 "a\na\n" [15-17]`},
		}, {
			name: "nothing more of its source, and a backlog of the other",
			frames: []Frame{whole(Stdout, 1, "BEGIN"), whole(Stdout, 2, "a"), whole(Stderr, 5e9, "BEGIN"), piece(Stderr, 5e9+2, "BEGIN", "i", 1),
				whole(Stderr, 70e9, "BEGIN")},
			want:  []string{`stdout 1 "BEGIN\na\n" [0-2]`, `stderr 5000000000 "BEGIN\n" [2-3]`, `stderr 5000000002 "BEGIN\n" [3-4]`},
			close: []string{`stderr 70000000000 "BEGIN\n" [4-5]`},
		}, {
			name:   "the clock goes back",
			frames: []Frame{whole(Stdout, 9e18, "BEGIN"), whole(Stdout, 1, "a")},
			close:  []string{`stdout 9000000000000000000 "BEGIN\na\n" [0-2]`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(Options{Pattern: beginning})
			for _, f := range test.frames {
				s.push(f)
			}
			s.check(t, test.want...)
			s.a.Close()
			s.take()
			s.check(t, test.close...)
			if due := s.a.Due(); !due.IsZero() {
				t.Errorf("Due after Close: %v", due)
			}
		})
	}
}

func TestLongMultilineEventGoesOutInParts(t *testing.T) {
	const (
		to2, in2 = ` [logspool: continued in part 2]`, `[logspool: part 2] `
		first    = 128 - len(to2)
	)
	for _, test := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{
			name:  "an event that fits is not touched",
			lines: []string{"BEGIN", xs(128 - 7)},
			want:  []string{event("BEGIN\n"+xs(128-7)+"\n", "stdout 0", "[0-2]")},
		}, {
			name:  "the last newline is left out if it does not fit",
			lines: []string{"BEGIN", xs(128 - 6), "BEGIN"},
			want:  []string{event("BEGIN\n"+xs(128-6), "stdout 0", "[0-2]"), event("BEGIN\n", "stdout 2", "[2-3]")},
		}, {
			name:  "it is divided between lines",
			lines: []string{"BEGIN", xs(30), xs(40), xs(60)},
			want:  []string{event("BEGIN\n"+xs(30)+"\n"+xs(40)+"\n"+to2, "stdout 0", "[0-3]"), event(in2+xs(60)+"\n", "stdout 0", "[3-4]")},
		}, {
			name:  "even before a line that must be divided itself",
			lines: []string{"BEGIN", xs(200), "a"},
			want: []string{event("BEGIN\n"+to2, "stdout 0", "[0-1]"), event(in2+xs(77)+" [logspool: continued in part 3]", "stdout 0", "[]"),
				event("[logspool: part 3] "+xs(77)+" [logspool: continued in part 4]", "stdout 0", "[]"),
				event("[logspool: part 4] "+xs(200-2*77)+"\na\n", "stdout 0", "[1-3]")},
		}, {
			name:  "a line that is divided belongs to one event",
			lines: []string{"BEGIN" + xs(123) + "BEGIN", "a", "BEGIN"},
			want: []string{event("BEGIN"+xs(first-5)+to2, "stdout 0", "[]"),
				event(in2+xs(123+5-first)+"BEGIN\na\n", "stdout 0", "[0-2]"), event("BEGIN\n", "stdout 2", "[2-3]")},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(Options{Pattern: beginning, MaxBytes: 128})
			for i, line := range test.lines {
				s.push(whole(Stdout, int64(i), line))
			}
			s.a.Close()
			s.take()
			s.check(t, test.want...)
		})
	}
}

func TestFlushEndsEventThatWaited(t *testing.T) {
	s := newScript(Options{Pattern: beginning, Wait: time.Minute})
	start := s.now
	at := func(seconds int) { s.now = start.Add(time.Duration(seconds) * time.Second) }
	due := func(seconds int) {
		t.Helper()
		if got := s.a.Due(); !got.Equal(start.Add(time.Duration(seconds) * time.Second)) {
			t.Errorf("due after %v, want %d s", got.Sub(start), seconds)
		}
	}
	flush := func() { s.a.Flush(s.now); s.take() }

	s.push(whole(Stdout, 1, "BEGIN"))
	due(60)
	at(50)
	s.push(whole(Stdout, 2, "a")) // A trace that is still being written is not divided.
	due(110)
	at(60)
	flush()
	s.check(t)
	at(109)
	flush()
	s.check(t)
	at(110)
	flush()
	s.check(t, `stdout 1 "BEGIN\na\n" [0-2]`)
	if !s.a.Due().IsZero() {
		t.Error("something is due")
	}
	s.push(whole(Stdout, 3, "late")) // an event of its own, with its own time
	due(170)

	// An unfinished line of the same source may belong to the event. One of the other
	// source does not.
	at(160)
	s.push(piece(Stdout, 4, "pie", "i", 1))
	due(220)
	s.push(whole(Stderr, 4, "BEGIN"))
	s.push(piece(Stderr, 4, "x", "j", 1))
	at(219)
	flush()
	s.check(t)
	at(220)
	flush()
	s.check(t, `stdout 3 "late\npie\n" [2-4]`, `stderr 4 "BEGIN\nx\n" [4-6]`)

	// An event that always gets one more line ends after 12 minutes.
	at(1000)
	for i := range 13 {
		at(1000 + i*59)
		s.push(whole(Stdout, 5, "a"))
		flush()
	}
	due(1000 + 720)
	s.check(t)
	at(1720)
	flush()
	s.check(t, event(strings.Repeat("a\n", 13), "stdout 5", "[6-19]"))
}

// TestInterleavedEventHasFewRanges checks that an event of lines that are not adjacent
// goes out in parts before it needs much more memory than its text.
func TestInterleavedEventHasFewRanges(t *testing.T) {
	p := NewPipeline(Options{Pattern: beginning})
	var ranges, events, longest int
	var all strings.Builder
	take := func() {
		for e, ok := p.Next(); ok; e, ok = p.Next() {
			ranges += len(e.Ranges)
			longest = max(longest, len(e.Ranges))
			events++
			all.Write(e.Message)
		}
	}
	for i := range uint64(5000) {
		p.Push(whole(Stdout, 1, "x"), i*10, i*10+1, time.Time{})
		take()
	}
	p.Close()
	take()
	want := ""
	for part := range 5 {
		if part > 0 {
			want += fmt.Sprintf("[logspool: part %d] ", part+1)
		}
		if part < 4 {
			want += strings.Repeat("x\n", maxRanges) + fmt.Sprintf(" [logspool: continued in part %d]", part+2)
		} else {
			want += strings.Repeat("x\n", 5000-4*maxRanges)
		}
	}
	if ranges != 5000 || longest != maxRanges || events != 5 || all.String() != want {
		t.Errorf("%d ranges in %d events, at most %d at once: %.100q…", ranges, events, longest, all.String())
	}

	o := jsonOptions()
	o.Pattern = beginning
	s := newScript(o)
	for i := range uint64(maxRanges + 1) {
		s.a.Push(whole(Stdout, 1, "x"), i*10, i*10+1, time.Time{})
		for e, ok := s.a.Next(); ok; e, ok = s.a.Next() {
			s.got = append(s.got, string(e.Message))
		}
	}
	s.check(t, `{"log":"`+strings.Repeat(`x\n`, maxRanges)+`","part":1,"continued":true`+rest)

	// Adjacent lines need very few ranges.
	for i := range uint64(100_000) {
		p.Push(whole(Stdout, 1, "x"), i, i+1, time.Time{})
		take()
	}
	if n := len(p.stage.(*multiline).events[Stdout].marks); n > 200 {
		t.Errorf("%d ranges are held", n)
	}
}

// TestEndlessEventNeedsTwoMessagesOfMemory checks that an event without end needs no
// more memory than two messages.
func TestEndlessEventNeedsTwoMessagesOfMemory(t *testing.T) {
	p := NewPipeline(Options{Pattern: beginning})
	line := xs(10_000)
	parts := 0
	for i := range uint64(1000) {
		p.Push(whole(Stdout, 1, line), i, i+1, time.Time{})
		for e, ok := p.Next(); ok; e, ok = p.Next() {
			parts++
			if len(e.Ranges) != 1 || len(e.Message) > MaxBytes {
				t.Fatalf("%d bytes, ranges %v", len(e.Message), e.Ranges)
			}
		}
		ev := &p.stage.(*multiline).events[Stdout]
		if ev.made != nil {
			t.Fatal("the last part's buffer is kept")
		}
		if n := cap(ev.data); n > 3*MaxBytes {
			t.Fatalf("%d bytes are kept", n)
		}
	}
	if parts < 9 {
		t.Errorf("%d parts of 10 MB", parts)
	}
}

func TestResetForgetsUnfinishedEvents(t *testing.T) {
	s := newScript(Options{Pattern: beginning, MaxBytes: 128})
	s.push(whole(Stdout, 1, "BEGIN"))
	s.push(piece(Stdout, 2, "ab", "i", 1))
	s.a.Push(whole(Stderr, 2, xs(1000)), 20, 30, s.now)
	s.a.Next()
	s.a.Close()
	s.a.Next()
	s.a.Reset()
	s.take()
	s.check(t)
	if !s.a.Due().IsZero() {
		t.Error("something is due after Reset")
	}
	s.push(last(Stdout, 3, "x", "j", 2))
	s.a.Close()
	s.take()
	s.check(t, `stdout 3 "x\n" [2-3]`)

	// Reset while a line waits until the event before it has gone out.
	s.push(whole(Stdout, 4, "BEGIN"))
	s.a.Push(whole(Stdout, 5, "BEGIN again"), 40, 50, s.now)
	s.a.Next()
	s.a.Reset()
	s.push(whole(Stdout, 6, "after"))
	s.a.Close()
	s.take()
	s.check(t, `stdout 6 "after\n" [4-5]`)

	// Reset after a part that went out early.
	s = newScript(Options{Pattern: beginning})
	for i := range uint64(maxRanges + 1) {
		s.a.Push(whole(Stdout, 7, "x"), 100+i*10, 100+i*10+1, s.now)
		if _, ok := s.a.Next(); ok != (i == maxRanges) {
			t.Fatalf("after %d frames: %v", i+1, ok)
		}
	}
	s.a.Reset()
	s.push(whole(Stdout, 8, "whole"))
	s.a.Close()
	s.take()
	s.check(t, `stdout 8 "whole\n" [0-1]`)
}

// TestMultilineKeepsOnlyUnfinishedText checks that a Pipeline keeps nothing of an event
// that went out, and that Release loses nothing of an event that did not.
func TestMultilineKeepsOnlyUnfinishedText(t *testing.T) {
	p := NewPipeline(Options{Pattern: beginning})
	p.Push(whole(Stdout, 1, "BEGIN"), 0, 1, time.Time{})
	p.Next()
	p.Push(whole(Stderr, 1, "open"), 1, 2, time.Time{})
	p.Next()
	p.Push(piece(Stdout, 1, "BEGIN", "i", 1), 2, 3, time.Time{})
	p.Next()
	p.Push(last(Stdout, 1, " 2", "i", 2), 3, 4, time.Time{})
	if e, ok := p.Next(); !ok || string(e.Message) != "BEGIN\n" {
		t.Fatalf("got %q, %v", e.Message, ok)
	}
	p.Release() // The line that ended the event has not been joined yet.
	if p.stage.(*multiline).events[Stdout].buf != nil {
		t.Error("the event's buffer is kept")
	}
	if _, ok := p.Next(); ok {
		t.Error("the event comes twice")
	}
	p.Close()
	var got []string
	for e, ok := p.Next(); ok; e, ok = p.Next() {
		got = append(got, string(e.Message))
	}
	if want := "[open\n BEGIN 2\n]"; fmt.Sprint(got) != want {
		t.Errorf("got %q", got)
	}
	m := p.stage.(*multiline)
	for i := range m.events {
		if ev, l := &m.events[i], &m.lines.lines[i]; ev.buf != nil || ev.made != nil || l.buf != nil || l.made != nil {
			t.Errorf("source %d keeps a buffer", i)
		}
	}
}
