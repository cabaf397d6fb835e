package events

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/stream"
)

func TestStripANSIRemovesOnlySequences(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"nothing", "plain text, é, 日本, \xff", "plain text, é, 日本, \xff"},
		{"colours", "\x1b[31mred\x1b[0m \x1b[1;38;2;10;20;30mtrue\x1b[m", "red true"},
		{"a colour with colons", "\x1b[4:3mcurly\x1b[24m", "curly"},
		{"cursor", "a\x1b[2K\x1b[1Gb\x1b[?25lc\x1b[10;20Hd", "abcd"},
		{"an intermediate character", "\x1b[1 qa", "a"},
		{"a title", "\x1b]0;my title\x07text", "text"},
		{"a title with ST", "\x1b]2;日本 title\x1b\\text", "text"},
		{"a hyperlink", "\x1b]8;;https://example.com/\x1b\\link\x1b]8;;\x1b\\", "link"},
		{"two and three bytes", "\x1b7a\x1b8b\x1b(Bc\x1b=d\x1bMe", "abcde"},
		{"a device control string", "\x1bPq#0;2;0;0;0#0~~\x1b\\a\x1b_apc\x1b\\b\x1b^pm\x1b\\c\x1bXsos\x1b\\d", "abcd"},
		{"8 bit, as UTF-8", "\u009b31mred\u009b0m\u009d0;t\u009c.\u0090q\u009c", "red."},
		{"strings end with either ST", "\x1b]0;t\u009ca\u009d0;t\x1b\\b", "ab"},
		{"other C1 characters are text", "a\u0085b\u009cc\u0080", "a\u0085b\u009cc\u0080"},
		{"a lone byte 0x9b is not a control character", "\x9b31m\xe6\x9b\xb8", "\x9b31m\xe6\x9b\xb8"},
		{"° and its like", "21 °C\u00a0±1", "21 °C\u00a0±1"},
		{"control characters are text", "a\tb\rc\bd\x07\x00", "a\tb\rc\bd\x07\x00"},
		{"torn at the end", "a\x1b[31", "a\x1b[31"},
		{"an escape at the end", "a\x1b", "a\x1b"},
		{"a string without end", "a\x1b]0;title", "a\x1b]0;title"},
		{"malformed", "\x1b[3\x01m\x1b\x01\x1b[é\x1bé", "\x1b[3\x01m\x1b\x01\x1b[é\x1bé"},
		{"malformed by another one", "\x1b[3\x1b[31mred\x1b]0;t\x1b[0m.", "\x1b[3red\x1b]0;t."},
		{"what is left over is not looked at again", "\x1b\x1b[m[31m", "\x1b[31m"},
		{"JSON's escapes are text", `{"a":"\u001b[31m"}`, `{"a":"\u001b[31m"}`},
		{"longest", "\x1b]" + strings.Repeat("x", maxSequence-3) + "\x07a", "a"},
		{"too long", "\x1b]" + strings.Repeat("x", maxSequence-2) + "\x07a\x1b[0m", "\x1b]" + strings.Repeat("x", maxSequence-2) + "\x07a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := []byte(test.in)
			kept, _ := stripANSI(in)
			if got := string(in[:kept]); got != test.want {
				t.Errorf("%.100q gives %.100q, want %.100q", test.in, got, test.want)
			}
			// Divide the text at each position.
			for at := 0; at <= len(test.in); at += max(1, len(test.in)/100) {
				s := newScript(Options{StripANSI: true})
				s.a.Push(piece(Stdout, 1, test.in[:at], "i", 1), 0, 1, s.now)
				s.a.Next()
				s.a.Push(last(Stdout, 1, test.in[at:], "i", 2), 1, 2, s.now)
				if e, ok := s.a.Next(); !ok || string(e.Message) != test.want || len(e.Ranges) != 1 {
					t.Fatalf("in two pieces at %d: %.100q %v, %v", at, e.Message, e.Ranges, ok)
				}
			}
		})
	}
}

// TestStripANSIIgnoresPieceBoundaries checks that the result does not depend on where a
// line is divided into pieces, and that no frame ends before its text.
func TestStripANSIIgnoresPieceBoundaries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom(texts), 0, 40).Draw(t, "line"), ""))
		want := bytes.Clone(line)
		kept, _ := stripANSI(want)
		var got text
		for rest := line; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			got.add(rest[:n], true)
			got.mark(stream.Range{From: uint64(len(line) - len(rest)), To: uint64(len(line) - len(rest) + n)}, 0)
			rest = rest[n:]
			for i := 1; i < len(got.marks); i++ {
				if got.marks[i-1].end > got.marks[i].end || got.marks[i].end > len(got.data) {
					t.Fatalf("marks %v of %d bytes", got.marks, len(got.data))
				}
			}
		}
		if !bytes.Equal(got.data, want[:kept]) {
			t.Fatalf("%q in pieces gives %q, whole %q", line, got.data, want[:kept])
		}
	})
}

// TestSequenceIsNeverDivided checks that a sequence is never divided between parts, and
// does not count towards the length of a part.
func TestSequenceIsNeverDivided(t *testing.T) {
	s := newScript(Options{StripANSI: true, MaxBytes: 128})
	s.push(piece(Stdout, 1, xs(96)+"\x1b[31", "i", 1))
	s.push(piece(Stdout, 1, "m"+xs(32)+"\x1b]0;", "i", 2))
	s.check(t)
	s.push(last(Stdout, 1, strings.Repeat("y", 200)+"\x07", "i", 3))
	s.check(t, `stdout 1 "`+xs(128)+`" [0-3]`)
	s.push(whole(Stdout, 1, xs(90)+strings.Repeat("\x1b[31m", 50)+xs(100)))
	s.check(t, `stdout 1 "`+xs(96)+` [logspool: continued in part 2]" []`, `stdout 1 "[logspool: part 2] `+xs(94)+`" [3-4]`)
	s.push(whole(Stdout, 1, "\x1b[0m"))
	s.check(t, `stdout 1 "" [4-5]`)
}

// TestUnfinishedSequenceIsBounded: at most maxSequence bytes wait for the rest of a
// sequence.
func TestUnfinishedSequenceIsBounded(t *testing.T) {
	p := NewPipeline(Options{StripANSI: true})
	got := 0
	for i := range uint64(200) {
		p.Push(piece(Stdout, 1, "\x1b]"+strings.Repeat("x", pieceBytes-2), "i", 1), i, i+1, newScript(Options{}).now)
		for e, ok := p.Next(); ok; e, ok = p.Next() {
			got += len(e.Message)
		}
		if l := &p.stage.(*assembler).lines[Stdout]; len(l.data)-l.sure > maxSequence {
			t.Fatalf("%d bytes wait", len(l.data)-l.sure)
		}
	}
	if got < 200*pieceBytes-2*MaxBytes {
		t.Errorf("the events have only %d bytes", got)
	}
}

func BenchmarkStripANSI(b *testing.B) {
	for _, k := range []struct{ name, text string }{
		{"plain", xs(1000)},
		{"colours", strings.Repeat("\x1b[31mred\x1b[0m and \x1b[1mbold\x1b[0m text, ", 30)},
		{"hostile", strings.Repeat("\x1b]", 500)},
		{"hostile C1", strings.Repeat("\u009d", 500)},
		{"hostile CSI", strings.Repeat("\x1b[1", 333)},
	} {
		b.Run(k.name, func(b *testing.B) {
			buf := make([]byte, len(k.text))
			b.SetBytes(int64(len(k.text)))
			for b.Loop() {
				copy(buf, k.text)
				stripANSI(buf)
			}
		})
	}
}
