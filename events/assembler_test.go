package events

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/stream"
)

// script pushes adjacent frames, each 10 bytes long in the stream.
type script struct {
	a   *Pipeline
	pos uint64
	now time.Time
	got []string
}

func newScript(o Options) *script {
	return &script{a: NewPipeline(o), now: time.Unix(1000, 0)}
}

// push pushes a frame and takes the events. It writes them as
// "source time message [from-to from-to]", with positions in frames.
func (s *script) push(f Frame) {
	s.a.Push(f, s.pos*10, s.pos*10+10, s.now)
	s.pos++
	s.take()
}

func (s *script) take() {
	for e, ok := s.a.Next(); ok; e, ok = s.a.Next() {
		var ranges []string
		for _, r := range e.Ranges {
			ranges = append(ranges, fmt.Sprintf("%d-%d", r.From/10, r.To/10))
		}
		s.got = append(s.got, fmt.Sprintf("%s %d %q %v", e.Source, e.Time, e.Message, ranges))
	}
}

func (s *script) check(t *testing.T, want ...string) {
	t.Helper()
	if d := gocmp.Diff(want, s.got); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
	s.got = nil
}

func whole(src Source, time int64, text string) Frame {
	return Frame{Source: src, Time: time, Line: []byte(text)}
}

func piece(src Source, time int64, text, id string, ordinal int32) Frame {
	return Frame{Source: src, Time: time, Line: []byte(text), Partial: true, PartialID: []byte(id), Ordinal: ordinal}
}

func last(src Source, time int64, text, id string, ordinal int32) Frame {
	f := piece(src, time, text, id, ordinal)
	f.Last = true
	return f
}

func TestPiecesAreJoined(t *testing.T) {
	full := strings.Repeat("x", pieceBytes)
	for _, test := range []struct {
		name   string
		frames []Frame
		want   []string // events before Close
		close  []string // events after Close
	}{
		{
			name:   "complete lines",
			frames: []Frame{whole(Stdout, 1, "one"), whole(Stderr, 2, "two\r"), whole(Unknown, 3, "\xff")},
			want:   []string{`stdout 1 "one" [0-1]`, `stderr 2 "two\r" [1-2]`, `unknown 3 "\xff" [2-3]`},
		}, {
			name:   "an empty line is an event without a message",
			frames: []Frame{whole(Stdout, 1, ""), whole(Stdout, 2, "a")},
			want:   []string{`stdout 1 "" [0-1]`, `stdout 2 "a" [1-2]`},
		}, {
			name:   "pieces are joined",
			frames: []Frame{piece(Stdout, 1, "ab", "i", 1), piece(Stdout, 1, "cd", "i", 2), last(Stdout, 1, "e", "i", 3), whole(Stdout, 2, "f")},
			want:   []string{`stdout 1 "abcde" [0-3]`, `stdout 2 "f" [3-4]`},
		}, {
			name:   "the last piece may be empty",
			frames: []Frame{piece(Stdout, 1, "ab", "i", 1), last(Stdout, 1, "", "i", 2)},
			want:   []string{`stdout 1 "ab" [0-2]`},
		}, {
			name: "the sources do not mix",
			frames: []Frame{piece(Stdout, 1, "ab", "i", 1), piece(Stderr, 2, "AB", "j", 1), whole(Unknown, 3, "?"),
				last(Stdout, 1, "c", "i", 2), last(Stderr, 2, "C", "j", 2)},
			want: []string{`unknown 3 "?" [2-3]`, `stdout 1 "abc" [0-1 3-4]`, `stderr 2 "ABC" [1-2 4-5]`},
		}, {
			name:   "a piece of another line ends the unfinished one",
			frames: []Frame{piece(Stdout, 1, "ab", "i", 1), piece(Stdout, 2, "cd", "j", 1), last(Stdout, 2, "e", "j", 2)},
			want:   []string{`stdout 1 "ab" [0-1]`, `stdout 2 "cde" [1-3]`},
		}, {
			name:   "a complete line ends the unfinished one",
			frames: []Frame{piece(Stdout, 1, "ab", "i", 1), whole(Stdout, 2, "cd")},
			want:   []string{`stdout 1 "ab" [0-1]`, `stdout 2 "cd" [1-2]`},
		}, {
			name:   "an empty line ends the unfinished one",
			frames: []Frame{piece(Stdout, 1, "ab", "i", 1), whole(Stdout, 2, "")},
			want:   []string{`stdout 1 "ab" [0-1]`, `stdout 2 "" [1-2]`},
		}, {
			name:   "output that ends without a newline",
			frames: []Frame{piece(Stderr, 1, "ab", "i", 1), piece(Stdout, 2, "cd", "j", 1)},
			close:  []string{`stderr 1 "ab" [0-1]`, `stdout 2 "cd" [1-2]`},
		}, {
			name:   "pieces that have lost their beginning",
			frames: []Frame{piece(Stdout, 1, "cd", "i", 2), last(Stdout, 1, "e", "i", 3), last(Stdout, 2, "z", "j", 9)},
			want:   []string{`stdout 1 "cde" [0-2]`, `stdout 2 "z" [2-3]`},
		}, {
			name: "Docker 17.03: pieces without metadata, the last not marked",
			frames: []Frame{piece(Stdout, 1, full, "", 0), whole(Stderr, 2, "E"), piece(Stdout, 3, full, "", 0), whole(Stdout, 4, "b"),
				whole(Stdout, 5, "c")},
			want: []string{`stderr 2 "E" [1-2]`, fmt.Sprintf(`stdout 1 "%sb" [0-1 2-4]`, full+full), `stdout 5 "c" [4-5]`},
		}, {
			name: "Docker 18.09: pieces without metadata, the last marked too",
			frames: []Frame{piece(Stdout, 1, full, "", 0), piece(Stdout, 1, "b", "", 0), whole(Stdout, 2, "c"),
				piece(Stdout, 3, full, "", 0), piece(Stdout, 3, "", "", 0), whole(Stdout, 4, "d")},
			want: []string{fmt.Sprintf(`stdout 1 "%sb" [0-2]`, full), `stdout 2 "c" [2-3]`,
				fmt.Sprintf(`stdout 3 "%s" [3-5]`, full), `stdout 4 "d" [5-6]`},
		}, {
			name:   "pieces with metadata after pieces without",
			frames: []Frame{piece(Stdout, 1, full, "", 0), piece(Stdout, 2, "b", "i", 1), piece(Stdout, 3, full, "", 0)},
			want:   []string{fmt.Sprintf(`stdout 1 "%s" [0-1]`, full), `stdout 2 "b" [1-2]`},
			close:  []string{fmt.Sprintf(`stdout 3 "%s" [2-3]`, full)},
		}, {
			name:   "nothing but empty pieces",
			frames: []Frame{piece(Stdout, 1, "", "i", 1), last(Stdout, 1, "", "i", 2)},
			want:   []string{`stdout 1 "" [0-2]`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(Options{})
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

// xs returns n bytes of text.
func xs(n int) string { return strings.Repeat("x", n) }

func TestLongLineGoesOutInParts(t *testing.T) {
	const ( // the marks of a part, and the room that they leave in 128 bytes
		to2, in2 = ` [logspool: continued in part 2]`, `[logspool: part 2] `
		to3, in3 = ` [logspool: continued in part 3]`, `[logspool: part 3] `
		first    = 128 - len(to2)
		middle   = 128 - len(in2) - len(to3)
		final    = 128 - len(in2)
	)
	for _, test := range []struct {
		name   string
		max    int // 128 if zero
		frames []Frame
		want   []string
		close  []string
	}{
		{
			name:   "a line that fits is not touched",
			frames: []Frame{whole(Stdout, 1, xs(128))},
			want:   []string{`stdout 1 "` + xs(128) + `" [0-1]`},
		}, {
			name:   "a complete line; its range goes with the last part",
			frames: []Frame{whole(Stdout, 1, xs(129)), whole(Stdout, 2, "abcd")},
			want:   []string{`stdout 1 "` + xs(first) + to2 + `" []`, `stdout 1 "` + in2 + xs(129-first) + `" [0-1]`, `stdout 2 "abcd" [1-2]`},
		}, {
			name: "pieces; a divided one belongs to the last part that has some of it",
			frames: []Frame{piece(Stdout, 1, xs(first-1), "i", 1), piece(Stdout, 1, "abc", "i", 2), piece(Stdout, 1, xs(50), "i", 3),
				last(Stdout, 1, "", "i", 4)},
			want: []string{`stdout 1 "` + xs(first-1) + `a` + to2 + `" [0-1]`, `stdout 1 "` + in2 + `bc` + xs(50) + `" [1-4]`},
		}, {
			name:   "a part that the line turns out to end in has room for more",
			frames: []Frame{whole(Stdout, 1, xs(first+middle+1)), whole(Stdout, 2, xs(first+final)), whole(Stdout, 3, xs(first+final+1))},
			want: []string{
				`stdout 1 "` + xs(first) + to2 + `" []`, `stdout 1 "` + in2 + xs(middle+1) + `" [0-1]`,
				`stdout 2 "` + xs(first) + to2 + `" []`, `stdout 2 "` + in2 + xs(final) + `" [1-2]`,
				`stdout 3 "` + xs(first) + to2 + `" []`, `stdout 3 "` + in2 + xs(middle) + to3 + `" []`, `stdout 3 "` + in3 + xs(final+1-middle) + `" [2-3]`,
			},
		}, {
			name:   "pieces go out before the line has ended",
			frames: []Frame{piece(Stdout, 1, xs(100), "i", 1), piece(Stdout, 1, xs(50), "i", 2), piece(Stdout, 1, "abc", "i", 3)},
			want:   []string{`stdout 1 "` + xs(first) + to2 + `" []`},
			close:  []string{`stdout 1 "` + in2 + xs(150-first) + `abc" [0-3]`},
		}, {
			name:   "characters are not divided",
			frames: []Frame{whole(Stdout, 1, xs(first-2)+"日"+xs(40))},
			want:   []string{`stdout 1 "` + xs(first-2) + to2 + `" []`, `stdout 1 "` + in2 + `日` + xs(40) + `" [0-1]`},
		}, {
			name: "nor those that dockerd divided",
			frames: []Frame{piece(Stdout, 1, xs(first-1)+"\xe6", "i", 1), piece(Stdout, 1, "\x97", "i", 2),
				last(Stdout, 1, "\xa5"+xs(40), "i", 3)},
			want: []string{`stdout 1 "` + xs(first-1) + to2 + `" []`, `stdout 1 "` + in2 + `日` + xs(40) + `" [0-3]`},
		}, {
			name:   "an invalid byte counts as three",
			frames: []Frame{whole(Stdout, 1, xs(125)+"\xff"), whole(Stdout, 2, xs(126)+"\xff"), whole(Stdout, 3, xs(126)+"\uFFFD")},
			want: []string{`stdout 1 "` + xs(125) + `\xff" [0-1]`,
				`stdout 2 "` + xs(first) + to2 + `" []`, `stdout 2 "` + in2 + xs(126-first) + `\xff" [1-2]`,
				`stdout 3 "` + xs(first) + to2 + `" []`, `stdout 3 "` + in2 + xs(126-first) + `�" [2-3]`},
		}, {
			name:   "the beginning of a character that never ends counts byte by byte",
			frames: []Frame{piece(Stdout, 1, xs(120)+"\xf0\x9f\x98", "i", 1)},
			close:  []string{`stdout 1 "` + xs(first) + to2 + `" []`, `stdout 1 "` + in2 + xs(120-first) + `\xf0\x9f\x98" [0-1]`},
		}, {
			name:   "a limit that has no room for the marks",
			max:    1,
			frames: []Frame{whole(Stdout, 1, xs(128)), whole(Stdout, 2, xs(129))},
			want: []string{`stdout 1 "` + xs(128) + `" [0-1]`,
				`stdout 2 "` + xs(first) + to2 + `" []`, `stdout 2 "` + in2 + xs(129-first) + `" [1-2]`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(Options{MaxBytes: cmp.Or(test.max, 128)})
			for _, f := range test.frames {
				s.push(f)
			}
			s.check(t, test.want...)
			s.a.Close()
			s.take()
			s.check(t, test.close...)
		})
	}
}

func TestDefaultLimitIsMaxBytes(t *testing.T) {
	text := bytes.Repeat([]byte("é"), 600_000) // 1,200,000 bytes.
	p := NewPipeline(Options{})
	var got [][]byte
	for pos, n := 0, int32(1); pos < len(text); n++ {
		upto := min(pos+pieceBytes-1, len(text))
		f := piece(Stdout, 1, string(text[pos:upto]), "i", n)
		f.Last = upto == len(text)
		p.Push(f, uint64(pos), uint64(upto), time.Time{})
		for e, ok := p.Next(); ok; e, ok = p.Next() {
			got = append(got, bytes.Clone(e.Message))
		}
		pos = upto
	}
	if len(got) != 2 || len(got[0]) != MaxBytes {
		t.Fatalf("got %d events, the first of %d bytes", len(got), len(got[0]))
	}
	got[0] = bytes.TrimSuffix(got[0], []byte(" [logspool: continued in part 2]"))
	got[1] = bytes.TrimPrefix(got[1], []byte("[logspool: part 2] "))
	if !bytes.Equal(bytes.Join(got, nil), text) {
		t.Error("the text has changed")
	}
}

func TestFlushEndsLineThatWaited(t *testing.T) {
	s := newScript(Options{Wait: time.Minute})
	start := s.now
	if !s.a.Due().IsZero() {
		t.Error("something is due at the start")
	}
	s.push(piece(Stdout, 1, "ab", "i", 1))
	s.now = start.Add(10 * time.Second)
	s.push(piece(Stderr, 2, "AB", "j", 1))
	if got := s.a.Due(); !got.Equal(start.Add(time.Minute)) {
		t.Errorf("Due is %v", got)
	}
	s.now = start.Add(20 * time.Second)
	s.push(piece(Stdout, 1, "c", "i", 2)) // the wait begins again
	if got := s.a.Due(); !got.Equal(start.Add(70 * time.Second)) {
		t.Errorf("Due is %v", got)
	}

	s.a.Flush(start.Add(70*time.Second - 1))
	s.take()
	s.check(t)
	s.a.Flush(start.Add(70 * time.Second))
	s.take()
	s.check(t, `stderr 2 "AB" [1-2]`)
	if got := s.a.Due(); !got.Equal(start.Add(80 * time.Second)) {
		t.Errorf("Due is %v", got)
	}
	s.a.Flush(start.Add(time.Hour))
	s.take()
	s.check(t, `stdout 1 "abc" [0-1 2-3]`)
	if !s.a.Due().IsZero() {
		t.Error("something is due at the end")
	}

	s.push(last(Stdout, 1, "d", "i", 3)) // too late: an event of its own
	s.check(t, `stdout 1 "d" [3-4]`)
}

func TestResetForgetsUnfinishedLines(t *testing.T) {
	s := newScript(Options{MaxBytes: 128})
	s.push(piece(Stdout, 1, "ab", "i", 1))
	s.a.Push(piece(Stdout, 2, xs(1000), "j", 1), 10, 20, s.now)
	s.a.Next()
	s.a.Next()
	s.a.Reset()
	s.take()
	s.check(t)
	if !s.a.Due().IsZero() {
		t.Error("something is due after Reset")
	}
	s.push(last(Stdout, 2, "x", "j", 2))
	s.check(t, `stdout 2 "x" [1-2]`)
}

// TestEndlessLineNeedsOneEventOfMemory checks that a line without end needs no more
// memory than one event.
func TestEndlessLineNeedsOneEventOfMemory(t *testing.T) {
	p := NewPipeline(Options{})
	f := piece(Stdout, 1, strings.Repeat("x", pieceBytes), "i", 1)
	events := 0
	for i := range uint64(1000) {
		p.Push(f, i, i+1, time.Time{})
		for _, ok := p.Next(); ok; _, ok = p.Next() {
			events++
		}
		if l := &p.stage.(*assembler).lines[Stdout]; len(l.data) > MaxBytes+pieceBytes || cap(l.data) > 3*MaxBytes/2 {
			t.Fatalf("%d bytes are kept, in %d", len(l.data), cap(l.data))
		}
	}
	if want := 1000 * pieceBytes / (MaxBytes - 60); events != want { // each has two marks of about 30 bytes
		t.Errorf("%d events before the line's end, want %d", events, want)
	}
}

// TestEndlessLineHasFewRanges checks that pieces of one byte, which dockerd does not
// write, do not make a line need much more memory than its text.
func TestEndlessLineHasFewRanges(t *testing.T) {
	p := NewPipeline(Options{})
	var ranges, longest int
	for i := range uint64(5000) {
		p.Push(piece(Stdout, 1, "x", "i", 1), i*10, i*10+1, time.Time{})
		for e, ok := p.Next(); ok; e, ok = p.Next() {
			ranges += len(e.Ranges)
			longest = max(longest, len(e.Ranges))
		}
	}
	p.Close()
	for e, ok := p.Next(); ok; e, ok = p.Next() {
		ranges += len(e.Ranges)
	}
	if ranges != 5000 || longest != maxRanges {
		t.Errorf("%d ranges, at most %d at once", ranges, longest)
	}
}

// TestCompleteLineIsNotCopied checks that a complete line costs neither a copy nor an
// allocation.
func TestCompleteLineIsNotCopied(t *testing.T) {
	p := NewPipeline(Options{})
	f := whole(Stdout, 1, "an ordinary line")
	var pos uint64
	push := func() {
		p.Push(f, pos, pos+1, time.Time{})
		pos++
		e, ok := p.Next()
		if !ok || &e.Message[0] != &f.Line[0] || !slices.Equal(e.Ranges, []stream.Range{{From: pos - 1, To: pos}}) {
			t.Fatalf("got %v, %v", e, ok)
		}
		if _, ok := p.Next(); ok {
			t.Fatal("two events of one line")
		}
	}
	push()
	if n := testing.AllocsPerRun(100, push); n != 0 {
		t.Errorf("%v allocations per line", n)
	}
}

// TestIdlePipelineKeepsNoText checks that an idle Pipeline keeps neither the text of its
// last line nor the memory for it.
func TestIdlePipelineKeepsNoText(t *testing.T) {
	p := NewPipeline(Options{})
	p.Push(piece(Stdout, 1, strings.Repeat("x", MaxBytes-1), "i", 1), 0, 1, time.Time{})
	if _, ok := p.Next(); ok {
		t.Fatal("the line went out before its end")
	}
	p.Push(last(Stdout, 1, "y", "i", 2), 1, 2, time.Time{})
	if e, ok := p.Next(); !ok || len(e.Message) != MaxBytes {
		t.Fatalf("got %d bytes, %v", len(e.Message), ok)
	}
	if _, ok := p.Next(); ok {
		t.Fatal("the line went out twice")
	}
	asm := p.stage.(*assembler)
	for i := range asm.lines {
		if l := &asm.lines[i]; l.data != nil || l.buf != nil {
			t.Errorf("line %d keeps %d bytes", i, cap(l.data))
		}
	}
	if asm.whole.data != nil || asm.frame.Line != nil {
		t.Error("the frame's text is kept")
	}
}

func TestPushBeforeNextPanics(t *testing.T) {
	p := NewPipeline(Options{})
	p.Push(whole(Stdout, 1, "a"), 0, 1, time.Time{})
	defer func() {
		if recover() == nil {
			t.Error("Push lost a frame silently")
		}
	}()
	p.Push(whole(Stdout, 1, "b"), 1, 2, time.Time{})
}

func BenchmarkAssembler(b *testing.B) {
	b.Run("lines", func(b *testing.B) {
		p := NewPipeline(Options{})
		f := whole(Stdout, 1, strings.Repeat("x", 100))
		b.SetBytes(100)
		for i := uint64(0); b.Loop(); i++ {
			p.Push(f, i, i+1, time.Time{})
			for _, ok := p.Next(); ok; _, ok = p.Next() {
			}
		}
	})
	b.Run("pieces", func(b *testing.B) {
		p := NewPipeline(Options{})
		f := piece(Stdout, 1, strings.Repeat("x", pieceBytes), "i", 1)
		b.SetBytes(pieceBytes)
		for i := uint64(0); b.Loop(); i++ {
			p.Push(f, i, i+1, time.Time{})
			for _, ok := p.Next(); ok; _, ok = p.Next() {
			}
		}
	})
}
