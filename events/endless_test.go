package events

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestEndlessLineGoesOutInParts checks that a line that always gets one more piece goes
// out in parts. The first goes out 12 times Wait after the first piece. Each frame is
// acknowledged with the part that has its end.
func TestEndlessLineGoesOutInParts(t *testing.T) {
	for _, test := range []struct {
		name string
		o    Options
		want []string // of 24 pieces, and the last
	}{
		{"text", Options{}, []string{
			`stdout 1 "` + xs(20) + ` [logspool: continued in part 2]" [0-20]`,
			`stdout 1 "[logspool: part 2] ` + xs(4) + `y" [20-25]`,
		}},
		{"json", Options{JSON: &JSON{}}, []string{
			`stdout 1 "{\"log\":\"` + xs(20) + `\",\"part\":1,\"continued\":true,\"source\":\"stdout\",\"host\":\"\",\"container_id\":\"\",\"container_name\":\"\",\"image_name\":\"\"}" [0-20]`,
			`stdout 1 "{\"log\":\"` + xs(4) + `y\",\"part\":2,\"source\":\"stdout\",\"host\":\"\",\"container_id\":\"\",\"container_name\":\"\",\"image_name\":\"\"}" [20-25]`,
		}},
		{"multi-line", Options{Pattern: regexp.MustCompile("^BEGIN")}, []string{
			`stdout 1 "` + xs(20) + ` [logspool: continued in part 2]" [0-20]`,
			`stdout 1 "[logspool: part 2] ` + xs(4) + `y\n" [20-25]`,
		}},
		{"unwanted", Options{Exclude: regexp.MustCompile("^xxxx")}, []string{`stdout 1 "" [0-20]`, `stdout 1 "" [20-25]`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(test.o)
			begun := s.now
			for i := range 24 {
				s.push(piece(Stdout, 1, "x", "i", int32(i+1)))
				if due := s.a.Due(); due.After(begun.Add(12*DefaultWait)) && i < 20 {
					t.Fatalf("after piece %d due %v after the first", i+1, due.Sub(begun))
				}
				s.now = s.now.Add(3 * time.Second)
				s.a.Flush(s.now)
				s.take()
				if i < 19 && len(s.got) > 0 || i == 19 && len(s.got) != 1 {
					t.Fatalf("after piece %d: %q", i+1, s.got)
				}
			}
			s.push(last(Stdout, 1, "y", "i", 25))
			s.a.Close()
			s.take()
			s.check(t, test.want...)
			if !s.a.Due().IsZero() {
				t.Error("something is due")
			}
		})
	}
}

// TestContinuedPartIsFollowed checks that another part follows a part with the continued
// mark, even if it has no text.
func TestContinuedPartIsFollowed(t *testing.T) {
	s := newScript(Options{Wait: 20 * time.Second})
	for i := range 13 {
		s.push(piece(Stdout, 1, "x", "i", int32(i+1)))
		s.now = s.now.Add(19 * time.Second)
	}
	s.a.Flush(s.now)
	s.take()
	s.check(t, `stdout 1 "`+xs(13)+` [logspool: continued in part 2]" [0-13]`)
	s.push(last(Stdout, 1, "", "i", 14))
	s.check(t, `stdout 1 "[logspool: part 2] " [13-14]`)
}

// TestBacklogOfEndlessLineIsDividedAlike checks that a line that is read late is divided
// as if it had been read at once, as far as the times of the other output show it.
func TestBacklogOfEndlessLineIsDividedAlike(t *testing.T) {
	s := newScript(Options{})
	s.push(piece(Stdout, 1e9, "a", "i", 1))
	s.push(whole(Stderr, 60e9, "before"))
	s.push(whole(Stderr, 61e9, "after"))
	s.push(last(Stdout, 1e9, "b", "i", 2))
	s.check(t, `stderr 60000000000 "before" [1-2]`,
		`stdout 1000000000 "a [logspool: continued in part 2]" [0-1]`, `stderr 61000000000 "after" [2-3]`,
		`stdout 1000000000 "[logspool: part 2] b" [3-4]`)
}

// TestFiltersSeeWhatTheTerminalShows checks that the filters see what a terminal shows
// of a line, that the pattern of an event's first line sees its bytes, and that the
// event keeps them.
func TestFiltersSeeWhatTheTerminalShows(t *testing.T) {
	one, ends := regexp.MustCompile(`^one$`), regexp.MustCompile(`(?m)one$`)
	first := regexp.MustCompile(`^B`)
	for _, test := range []struct {
		o    Options
		text string
		want string
	}{
		{Options{Exclude: one}, "one", ""},
		{Options{Exclude: one}, "one\r", ""},
		{Options{Exclude: one}, "one\r\r", ""},
		{Options{Exclude: one}, "one\rtwo\r", "one\rtwo\r"},
		{Options{Include: one}, "one\r", "one\r"},
		{Options{Include: one}, "one \r", ""},
		{Options{Include: ends, Pattern: first}, "Begin\r|one\r|two\r", "Begin\r|one\r|two\r|"},
		{Options{Exclude: ends, Pattern: first}, "Begin\r|two\r|one\r", ""},
		{Options{Pattern: regexp.MustCompile(`^Begin$`)}, "a|Begin\r", "a|Begin\r|"}, // as with awslogs
	} {
		s := newScript(test.o)
		p := s.a
		for i, line := range strings.Split(test.text, "|") {
			p.Push(whole(Stdout, 1, line), uint64(i), uint64(i+1), s.now)
			if test.o.Pattern == nil {
				break
			}
			if e, ok := p.Next(); ok {
				t.Errorf("%q: %q comes alone", test.text, e.Message)
			}
		}
		p.Close()
		e, ok := p.Next()
		if got := strings.ReplaceAll(string(e.Message), "\n", "|"); !ok || got != test.want {
			t.Errorf("%q: got %q, want %q", test.text, got, test.want)
		}
	}
}
