package events

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestFiltersDropEvents(t *testing.T) {
	error, health := regexp.MustCompile(`ERROR`), regexp.MustCompile(`health$`)
	for _, test := range []struct {
		name  string
		o     Options
		lines []string
		want  []string
	}{
		{
			name:  "include",
			o:     Options{Include: error},
			lines: []string{"an ERROR", "fine", ""},
			want:  []string{`stdout 0 "an ERROR" [0-1]`, `stdout 1 "" [1-2]`, `stdout 2 "" [2-3]`},
		}, {
			name:  "exclude",
			o:     Options{Exclude: health},
			lines: []string{"GET /health", "GET /health 200", ""},
			want:  []string{`stdout 0 "" [0-1]`, `stdout 1 "GET /health 200" [1-2]`, `stdout 2 "" [2-3]`},
		}, {
			name:  "both",
			o:     Options{Include: error, Exclude: health},
			lines: []string{"ERROR", "ERROR health", "health"},
			want:  []string{`stdout 0 "ERROR" [0-1]`, `stdout 1 "" [1-2]`, `stdout 2 "" [2-3]`},
		}, {
			name:  "a whole event of several lines, without its last newline",
			o:     Options{Include: error, Exclude: health, Pattern: beginning},
			lines: []string{"BEGIN a", "at ERROR", "", "BEGIN b", "at", "BEGIN ERROR c", "health"},
			want:  []string{`stdout 0 "BEGIN a\nat ERROR\n\n" [0-3]`, `stdout 3 "" [3-5]`, `stdout 5 "" [5-7]`},
		}, {
			name:  "what is left of control sequences",
			o:     Options{Include: error, Exclude: health, StripANSI: true},
			lines: []string{"\x1b[31mER\x1b[0mROR", "ERROR health\x1b[0m"},
			want:  []string{`stdout 0 "ERROR" [0-1]`, `stdout 1 "" [1-2]`},
		}, {
			name:  "the text, not the JSON object of it",
			o:     Options{Exclude: regexp.MustCompile("container_id|log"), Include: regexp.MustCompile(`^{"a":"<ERROR`), JSON: &JSON{}},
			lines: []string{`{"a":"<ERROR>"}`, "ERROR"},
			want:  []string{event(`{"log":{"a":"<ERROR>"},"source":"stdout","host":"","container_id":"","container_name":"","image_name":""}`, "stdout 0", "[0-1]"), `stdout 1 "" [1-2]`},
		}, {
			name:  "the first part decides",
			o:     Options{Include: error, MaxBytes: 128},
			lines: []string{"ERROR" + xs(200), xs(128) + "ERROR", xs(123) + "ERROR" + xs(3)},
			want: []string{
				event("ERROR"+xs(91)+" [logspool: continued in part 2]", "stdout 0", "[]"), event("[logspool: part 2] "+xs(109), "stdout 0", "[0-1]"),
				`stdout 1 "" []`, `stdout 1 "" [1-2]`,
				event(xs(96)+" [logspool: continued in part 2]", "stdout 2", "[]"), event("[logspool: part 2] "+xs(123-96)+"ERROR"+xs(3), "stdout 2", "[2-3]"),
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(test.o)
			for i, line := range test.lines {
				s.push(whole(Stdout, int64(i), line))
			}
			s.a.Close()
			s.take()
			s.check(t, test.want...)
		})
	}
}

// TestPatternSeesStrippedText checks that the pattern matches a coloured first line.
func TestPatternSeesStrippedText(t *testing.T) {
	s := newScript(Options{Pattern: beginning, StripANSI: true})
	for i, line := range []string{"\x1b[32mBEGIN\x1b[0m a", "\x1b[31mat\x1b[0m", "\x1b[32mBEGIN\x1b[0m b"} {
		s.push(whole(Stdout, int64(i), line))
	}
	s.check(t, `stdout 0 "BEGIN a\nat\n" [0-2]`)
}

type kind struct {
	o     Options
	lines []string
}

func (k kind) frames() (all []Frame) {
	for _, line := range k.lines {
		all = append(all, whole(Stdout, 1, line))
	}
	return all
}

// pipelines are options, with lines that they affect.
var pipelines = map[string]kind{
	"nothing":   {Options{}, []string{xs(100)}},
	"include":   {Options{Include: regexp.MustCompile("ERROR")}, []string{xs(90) + "ERROR yes"}},
	"traces":    {Options{Traces: Runtimes()}, []string{"2026-11-23 12:00:00 INFO " + xs(75)}},
	"strip":     {Options{StripANSI: true}, []string{"\x1b[32m2026-11-23\x1b[0m " + xs(80)}},
	"json":      {Options{JSON: &JSON{ContainerID: strings.Repeat("c", 64), ContainerName: "web", ImageName: "nginx:1"}}, []string{xs(100)}},
	"object":    {Options{JSON: &JSON{ContainerID: strings.Repeat("c", 64)}}, []string{`{"level":"info","n":1,"message":"` + xs(67) + `"}`}},
	"multiline": {Options{Pattern: beginning}, []string{"BEGIN" + xs(95), xs(100), xs(100), xs(100)}},
}

func BenchmarkPipeline(b *testing.B) {
	for name, k := range pipelines {
		b.Run(name, func(b *testing.B) {
			p := NewPipeline(k.o)
			frames := k.frames()
			b.SetBytes(int64(len(k.lines[0])))
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				p.Push(frames[i%uint64(len(frames))], i, i+1, time.Time{})
				for _, ok := p.Next(); ok; _, ok = p.Next() {
				}
			}
		})
	}
}

// TestPartMarks checks the wording of the package comment and the docs.
func TestPartMarks(t *testing.T) {
	for _, test := range []struct {
		mark string
		part int
		want string
	}{
		{PartMark, 2, "[logspool: part 2] "},
		{ContinuedMark, 2, " [logspool: continued in part 2]"},
		{PartMark, 10, "[logspool: part 10] "},
		{ContinuedMark, 12345, " [logspool: continued in part 12345]"},
	} {
		if got := string(appendMark(nil, test.mark, test.part)); got != test.want || markLen(test.mark, test.part) != len(got) {
			t.Errorf("got %q of %d bytes, want %q", got, markLen(test.mark, test.part), test.want)
		}
	}
}

// TestShorterPartIsFoundFromItsEnd checks that shorter, which looks only at the end of a
// part, has the same result as counting from the beginning.
func TestShorterPartIsFoundFromItsEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l text
		l.add(rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.SliceOf(rapid.SampledFrom([]byte("a\xe6\x97\xa5\xf0\x9f\x98\x80\xff"))),
			rapid.SliceOf(rapid.SampledFrom([]byte("\x97\xa5")))).Draw(t, "text"), false)
		limit := rapid.IntRange(0, 100).Draw(t, "limit")
		if !l.fill(limit, false) {
			return
		}
		less := limit - rapid.IntRange(0, limit).Draw(t, "less")
		if want, got := plainFit(l.part(), less), l.shorter(less); got != want {
			t.Fatalf("%q, %d within %d, is %d bytes within %d, want %d", l.part(), l.counted, limit, got, less, want)
		}
	})
}

// TestSlowRegexpIsBounded checks that a regexp that was built to take minutes for one
// long event sees only its beginning, and that a usual regexp sees all of it.
func TestSlowRegexpIsBounded(t *testing.T) {
	// It counts as slow, and takes next to no time for a text without x.
	hard := regexp.MustCompile(`^(?:a*|x` + strings.Repeat(`(?:a?){900}`, 4) + `)[yz]`)
	line := strings.Repeat("a", 1<<20-100)
	for _, test := range []struct {
		include *regexp.Regexp
		text    string
		want    bool
	}{
		{hard, line[:4096] + "z", true},
		{hard, line + "z", false},
		{regexp.MustCompile(`a[yz]$`), line + "z", true},
	} {
		p := NewPipeline(Options{Include: test.include, Pattern: hard})
		p.Push(whole(Stdout, 1, test.text), 0, 1, time.Time{})
		p.Next()
		p.Close()
		if e, ok := p.Next(); !ok || len(e.Message) > 0 != test.want {
			t.Errorf("%d bytes: %d are sent, %v", len(test.text), len(e.Message), ok)
		}
	}
	if n := instructions(hard); n < 7000 || n > 8000 {
		t.Errorf("%d instructions", n)
	}
}
