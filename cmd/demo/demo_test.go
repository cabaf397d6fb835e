package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// buildPlugin builds the plugin's binary.
func buildPlugin(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "logspool")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "../..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// TestDemoFailsOnAnyDifference runs the whole demo without a Docker engine, and demos
// that must fail.
func TestDemoFailsOnAnyDifference(t *testing.T) {
	t.Parallel()
	binary := buildPlugin(t)
	quick := slices.Clone(scenes)
	for i := range quick {
		quick[i].outage = min(quick[i].outage, time.Second)
	}
	outages := slices.DeleteFunc(slices.Clone(quick), func(s scene) bool { return s.outage == 0 })
	withoutOutage := slices.DeleteFunc(slices.Clone(scenes), func(s scene) bool { return s.outage > 0 })
	tests := []struct {
		name   string
		scenes []scene
		// spoil changes what a container prints, and not what is expected.
		spoil func(*scene)
		want  string // in the error; empty: no error
	}{
		{"all well", quick, func(*scene) {}, ""},
		{"another line", withoutOutage, func(s *scene) {
			if s.name == "demo-worker" {
				s.lines = printed("job 1 done", "job 3 done")
			}
		}, "group HOST, stream staging-demo-worker: 1 of 2 lines are missing; 0 arrived twice, and 1 were never printed"},
		{"a line twice at the end", withoutOutage, func(s *scene) {
			if s.name == "shop-api-1" {
				s.lines = append(slices.Clone(s.lines), s.lines[2])
			}
		}, "group shop, stream api/shop-api-1: 0 of 3 lines are missing; 1 arrived twice, and 0 were never printed"},
		{"a line that never arrives", scenes[:1], func(s *scene) { s.lines = s.lines[:2] }, "of 3 lines arrived, and no more in 1s"},
		{"docker logs has less", outages, func(s *scene) { s.lines = s.lines[1:] }, "docker logs demo-outage: 1 of 3 lines are missing"},
		{"a long line cut short", withoutOutage, func(s *scene) {
			if s.name == "demo-long" {
				s.lines = printed("before", numbered(longLine)[:longLine-1], "after")
			}
		}, "group demo/long, stream demo-long: 1 of 3 lines are missing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			patience := patience
			if strings.Contains(test.want, "and no more in") {
				patience = time.Second // too little arrives, however long it waits
			}
			host := newSimulatedHost(binary)
			var out bytes.Buffer
			d := demonstration{host: spoiledHost{host, test.spoil}, command: binary, scenes: test.scenes, patience: patience, out: &out}
			err := d.run(context.Background())
			if test.want == "" {
				if err != nil {
					t.Fatalf("%v\n%s", err, &out)
				}
				checkTranscripts(t, host.hostname, out.String())
			} else if want := strings.ReplaceAll(test.want, "HOST", host.hostname); err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("error %v, want one with %q", err, want)
			}
			if said := strings.Contains(out.String(), "lines arrived, each one once"); said != (err == nil) {
				t.Errorf("the demo says that all lines arrived: %v; its error: %v", said, err)
			}
			if _, err := os.Stat(host.dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left behind (%v)", host.dir, err)
			}
			select {
			case <-host.plugin.Exited():
			default:
				t.Error("the plugin is left behind")
			}
		})
	}
}

// checkTranscripts holds the transcripts of the README and of docs/demo.md to what was printed.
func checkTranscripts(t *testing.T, hostname, printed string) {
	t.Helper()
	for _, page := range []string{"README.md", "docs/demo.md"} {
		checkTranscript(t, page, hostname, printed)
	}
}

// checkTranscript holds a page's transcript to what was printed: each of its lines, in order, with something left out
// only where it says […].
func checkTranscript(t *testing.T, page, hostname, printed string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", page))
	if err != nil {
		t.Fatal(err)
	}
	_, transcript, found := strings.Cut(string(text), "$ make demo\n")
	transcript, _, ends := strings.Cut(transcript, "\n```")
	if !found || !ends {
		t.Fatalf("%s has no transcript of make demo", page)
	}
	// The first lines are about the engine, which is another one here.
	if _, after, ok := strings.Cut(transcript, "\nservice "); ok {
		transcript = after
	} else if !strings.HasPrefix(transcript, "[…]\n") {
		t.Fatalf("the transcript of %s leaves out the first lines without saying so", page)
	}
	got := fixed(printed)
	for _, shown := range strings.Split(fixed(strings.ReplaceAll("\n"+transcript, "myhost", hostname)), "\n[…]\n") {
		shown = strings.TrimSpace(shown)
		at := strings.Index(got, shown)
		if at < 0 {
			t.Errorf("the transcript of %s has\n%s\n\nand the demo printed\n%s", page, shown, got)
			return
		}
		got = got[at+len(shown):]
	}
	if strings.TrimSpace(got) != "" {
		t.Errorf("the transcript of %s ends before the demo does, which went on with\n%s", page, got)
	}
}

// fixed replaces what differs from run to run: times, the port, and the order and width of
// a table that has the host's name.
func fixed(text string) string {
	for _, r := range []struct{ pattern, by string }{
		{`\d\d:\d\d:\d\d\.\d{3}`, "TIME"},
		{`127\.0\.0\.1:\d+`, "ADDRESS"},
		{`(?s)\$ logspool status\n.*?\n +the status page`, "$ logspool status, and the status page"},
		{`for the next \S+,`, "for a while,"},
		{`arrived \S+ s after`, "arrived some time after"},
		{` +`, " "},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.by)
	}
	lines := strings.Split(text, "\n")
	for begin := 0; begin < len(lines); begin++ {
		if !strings.HasPrefix(lines[begin], " group stream events") {
			continue
		}
		end := begin + 1
		for end < len(lines) && lines[end] != "" {
			end++
		}
		slices.Sort(lines[begin:end])
	}
	return strings.Join(lines, "\n")
}

// spoiledHost is a host whose containers print something else than expected.
type spoiledHost struct {
	host
	spoil func(*scene)
}

func (h spoiledHost) start(ctx context.Context, s scene) error {
	h.spoil(&s)
	return h.host.start(ctx, s)
}

// TestInterruptedDemoLeavesNothingBehind: an interrupted demo fails, and leaves nothing
// behind.
func TestInterruptedDemoLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	host := newSimulatedHost(buildPlugin(t))
	why := errors.New("Ctrl-C")
	ctx, cancel := context.WithCancelCause(context.Background())
	h := spoiledHost{host, func(s *scene) {
		if s.name == scenes[1].name {
			cancel(why)
		}
	}}
	var out bytes.Buffer
	d := demonstration{host: h, command: host.binary, scenes: scenes, patience: patience, out: &out}
	if err := d.run(ctx); !errors.Is(err, why) {
		t.Fatalf("error %v, want %v", err, why)
	}
	if _, err := os.Stat(host.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left behind (%v)", host.dir, err)
	}
	<-host.plugin.Exited()
}

func TestCompareFindsEveryDifference(t *testing.T) {
	a, b := address{"g", "a"}, address{"g", "b"}
	want := contents{a: {"1", "2", "2", "3"}}
	tests := []struct {
		name string
		have contents
		want string // empty: no difference
	}{
		{"the same", contents{a: {"1", "2", "2", "3"}}, ""},
		{"nothing", contents{}, "4 of 4 lines are missing; 0 arrived twice, and 0 were never printed"},
		{"one missing", contents{a: {"1", "2", "2"}}, "1 of 4 lines are missing; 0 arrived twice, and 0 were never printed"},
		{"one of two equal lines missing", contents{a: {"1", "2", "3"}}, "1 of 4 lines are missing; 0 arrived twice, and 0 were never printed"},
		{"one doubled", contents{a: {"1", "2", "2", "3", "3"}}, "0 of 4 lines are missing; 1 arrived twice, and 0 were never printed"},
		{"one more", contents{a: {"1", "2", "2", "3", "4"}}, "0 of 4 lines are missing; 0 arrived twice, and 1 were never printed"},
		{"one cut short", contents{a: {"1", "2", "2", ""}}, "1 of 4 lines are missing; 0 arrived twice, and 1 were never printed"},
		{"another order", contents{a: {"2", "1", "2", "3"}}, "not in order"},
		{"elsewhere", contents{b: {"1", "2", "2", "3"}}, "stream b: this stream should not exist"},
		{"an empty stream too many", contents{a: {"1", "2", "2", "3"}, b: nil}, "stream b: this stream should not exist"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := compare(want, test.have)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestShownCommandIsTheOneThatRuns(t *testing.T) {
	for _, s := range scenes {
		cmd := exec.Command("sh", "-c", `docker() { printf '%s\n' "$@"; }; `+strings.TrimPrefix(s.command(), "$ "))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", s.command(), err)
		}
		if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); !slices.Equal(got, s.args()) {
			t.Errorf("the command\n%s\nmeans %q, and what is run is %q", s.command(), got, s.args())
		}
	}
}
