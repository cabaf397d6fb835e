package events

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// traceCases returns the lines of a file in testdata/traces, and the events that they must
// become.
func traceCases(t *testing.T, file string) (lines, want []string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(data), "=== event\n") // a comment comes first
	for event := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n=== event\n") {
		lines = append(lines, strings.Split(event, "\n")...)
		if event != "" {
			want = append(want, event)
		}
	}
	return lines, want
}

// messagesOf returns the messages of a pipeline's events.
func messagesOf(o Options, source Source, lines []string) (messages []string) {
	p := NewPipeline(o)
	take := func() {
		for e, ok := p.Next(); ok; e, ok = p.Next() {
			if len(e.Message) > 0 {
				messages = append(messages, string(e.Message))
			}
		}
	}
	for i, line := range lines {
		p.Push(whole(source, int64(i+1), line), uint64(i), uint64(i+1), time.Unix(1, 0))
		take()
	}
	p.Close()
	take()
	p.Reset()
	return messages
}

// Real output of each runtime: each stack trace is one event with the line before it, and each
// other line is an event. The same holds with all runtimes at once, and with the carriage
// returns of a TTY.
func TestStackTraceIsOneEventWithTheLineBefore(t *testing.T) {
	files, err := filepath.Glob("testdata/traces/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	seen := map[Runtime]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		runtime := Runtime(strings.Split(name, "-")[0])
		seen[runtime] = true
		lines, want := traceCases(t, file)
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want, messagesOf(Options{Traces: []Runtime{runtime}}, Stdout, lines)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			all := messagesOf(Options{Traces: Runtimes()}, Stderr, lines)
			for i := range all {
				all[i] = strings.TrimRight(all[i], "\n") // an empty line may end traces of another runtime
			}
			if diff := cmp.Diff(want, all); diff != "" {
				t.Errorf("with all runtimes (-want +got):\n%s", diff)
			}
			tty := strings.Split(strings.Join(lines, "\r\n")+"\r", "\n")
			for i := range want {
				want[i] = strings.ReplaceAll(want[i], "\n", "\r\n") + "\r"
			}
			got := slices.DeleteFunc(messagesOf(Options{Traces: []Runtime{runtime}}, Stdout, tty), func(m string) bool { return m == "\r" })
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("with carriage returns (-want +got):\n%s", diff)
			}
		})
	}
	for _, r := range Runtimes() {
		if !seen[r] {
			t.Errorf("%s has no file in testdata/traces", r)
		}
	}
}

// Lines that only look like a part of a stack trace are events of their own.
func TestOrdinaryLinesAreEventsOfTheirOwn(t *testing.T) {
	lines := []string{
		"2026-11-30 12:00:00 ERROR java.lang.Exception: all on one line", "INFO at work (really)", "caused by: nothing",
		"Traceback of a parcel", "panic is not an option", "goroutine 7 is busy", "no error (NoError)", "x.rb:3:in haste",
		"Error handling works", "    indented text", "{", "}", "Node.js is up", "a: b", "exit status 1", "rax 0x0", "Message: hello",
		`{"level":"error","msg":"Error: x"}`, "127.0.0.1 - - \"GET / HTTP/1.1\" 200", "--- a", "+ b", "...", "fail: no",
		"/srv/data:9090", "next",
	}
	if diff := cmp.Diff(lines, messagesOf(Options{Traces: Runtimes()}, Stdout, lines)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A line that looks like the first one of a trace takes no ordinary lines after it into its
// event.
func TestOrdinaryLinesAfterAFirstLine(t *testing.T) {
	for _, c := range []struct {
		first string
		next  []string
	}{
		{"panic: not this time", []string{"[GIN] 2026/11/30 - 12:00:00 | 200 |", "[GIN] 2026/11/30 - 12:00:01 | 200 |"}},
		{"java.lang.Exception: x", []string{"[main] INFO next", "at noon"}},
		{"Error: x", []string{"[info] next", "next"}},
		{"Traceback (most recent call last):", []string{"at noon", "[info] next"}},
	} {
		lines := append([]string{"before", c.first}, c.next...)
		want := append([]string{"before\n" + c.first}, c.next...)
		if diff := cmp.Diff(want, messagesOf(Options{Traces: Runtimes()}, Stdout, lines)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// The traces of both outputs, line by line in turn, stay apart.
func TestTracesOfBothOutputsStayApart(t *testing.T) {
	lines, want := traceCases(t, "testdata/traces/java.txt")
	p := NewPipeline(Options{Traces: []Runtime{"java"}})
	got := map[Source][]string{}
	take := func() {
		for e, ok := p.Next(); ok; e, ok = p.Next() {
			got[e.Source] = append(got[e.Source], string(e.Message))
		}
	}
	at := uint64(0)
	for i, line := range lines {
		for _, src := range []Source{Stdout, Stderr} {
			p.Push(whole(src, int64(i+1), line), at, at+1, time.Unix(1, 0))
			at++
			take()
		}
	}
	p.Close()
	take()
	p.Reset()
	if diff := cmp.Diff(map[Source][]string{Stdout: want, Stderr: want}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A line that comes after the wait begins an event, also in the middle of a trace. A rewind
// forgets the trace.
func TestTraceEndsWhenItHasWaited(t *testing.T) {
	s := newScript(Options{Traces: []Runtime{"java"}, Wait: time.Minute})
	s.push(whole(Stdout, 1, "ERROR"))
	s.push(whole(Stdout, 2, "\tat a.b(C.java:1)"))
	s.push(whole(Stdout, 2+int64(time.Minute), "\tat a.b(C.java:2)"))
	s.a.Close()
	s.take()
	s.check(t, event("ERROR\n\tat a.b(C.java:1)", "stdout 1", "[0-2]"), event("\tat a.b(C.java:2)", "stdout 60000000002", "[2-3]"))
}

// The cheap tests of a lineMatcher never refuse a line that its regexp matches.
func TestCheapTestsAreImpliedByTheRegexp(t *testing.T) {
	files, _ := filepath.Glob("testdata/traces/*.txt")
	for _, file := range files {
		lines, _ := traceCases(t, file)
		for _, f := range traceFormats {
			for i := range f.rules {
				m := &f.rules[i].line
				for _, line := range append(lines, "Exception in thread \"main\" x") {
					if m.re().MatchString(line) && !m.match([]byte(line)) {
						t.Errorf("%s, rule %d: %q", f.runtime, i, line)
					}
				}
			}
		}
	}
}

func TestRuntimesAreParsed(t *testing.T) {
	got, bad := ParseRuntimes(" Java,go, java")
	if diff := cmp.Diff([]Runtime{"java", "go"}, got); diff != "" || bad != "" {
		t.Errorf("%q %s", bad, diff)
	}
	for text, want := range map[string]string{"": ",", "java,": ",", "java, Perl": "Perl"} {
		if got, bad := ParseRuntimes(text); bad != want {
			t.Errorf("%q: %v, %q", text, got, bad)
		}
	}
}
