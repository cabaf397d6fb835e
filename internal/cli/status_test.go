package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mattn/go-runewidth"

	"github.com/logspool/logspool/internal/status"
)

func fmtInt(fd uintptr) string { return fmt.Sprint(fd) }

func run(t *testing.T, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	exit = Run("test", args, &out, &errs)
	return exit, out.String(), errs.String()
}

// The README and docs/commands.md show what the command prints.
func TestSamplesInDocumentsAreTheOutput(t *testing.T) {
	for _, test := range []struct {
		page   string
		report *status.Report
		exit   int
	}{
		{"README.md", firstReport(), 0},
		{"docs/commands.md", sampleReport(), 1},
	} {
		dir := serveReport(t, test.report)
		exit, out, errs := run(t, "status", "--state-dir", dir)
		if exit != test.exit || errs != "" {
			t.Errorf("%s: exit status %d, %q", test.page, exit, errs)
		}
		page, err := os.ReadFile(filepath.Join("../..", test.page))
		if err != nil {
			t.Fatal(err)
		}
		_, sample, _ := strings.Cut(string(page), "```text\n$ logspool status\n")
		sample, _, _ = strings.Cut(sample, "```\n")
		if diff := cmp.Diff(out, sample); diff != "" {
			t.Errorf("the sample of logspool status in %s differs (-output +sample):\n%s\n%s", test.page, diff, out)
		}
	}
}

func TestStatusExitsAsAProbe(t *testing.T) {
	dir := serveReport(t, sampleReport())
	for _, test := range []struct {
		args []string
		exit int
	}{
		{[]string{"status"}, 1},
		{[]string{"status", "--max-age", "1h"}, 0},
		{[]string{"status", "shop-api-1"}, 1},
		{[]string{"status", "db"}, 0},
		{[]string{"status", "--json"}, 1},
		{[]string{"status", "db", "--json"}, 0},
		{[]string{"status", "nosuch"}, 2},
		{[]string{"status", "--max-age", "soon"}, 2},
		{[]string{"status", "--max-age", "-1s"}, 2},
		{[]string{"status", "--watch", "--interval", "0"}, 2},
		{[]string{"status", "a", "b"}, 2},
	} {
		exit, out, errs := run(t, append(test.args, "--state-dir", dir)...)
		if exit != test.exit || (errs != "") != (exit == 2) || (out == "") != (exit == 2) || strings.Count(errs, "\n") > 1 {
			t.Errorf("%q: %d, want %d; %q, %q", test.args, exit, test.exit, out, errs)
		}
	}
}

// The first line says what is wrong and what to do.
func TestFirstLineIsTheVerdict(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(r *status.Report)
		maxAge time.Duration
		want   string
	}{
		{"late", func(*status.Report) {}, 5 * time.Minute, "unhealthy: shop-api-1"},
		{"only a fault", func(r *status.Report) { r.Faults = r.Faults[1:] }, time.Hour, "attention: a setting is invalid: DELAY: 'soon' is not a duration"},
		{"a fault with a remedy", func(*status.Report) {}, time.Hour, "attention: sending to the log group failed; the plugin keeps trying: operation error"},
		{"nothing", func(r *status.Report) { r.Faults = nil }, time.Hour, "healthy: no line has been undelivered for longer than 1h\n"},
		{"starting", func(r *status.Report) { r.Faults, r.Containers, r.Reattached = nil, nil, false }, time.Hour, "starting: the plugin still opens"},
		{"stopping", func(r *status.Report) { r.Faults, r.Stopping = nil, r.Time }, time.Hour, "stopping: undelivered lines are kept"},
		{"no container", func(r *status.Report) { r.Faults, r.Containers = nil, nil }, time.Hour, "healthy: no container uses the plugin\n"},
	} {
		r := sampleReport()
		test.change(r)
		var out bytes.Buffer
		if err := writeStatus(&out, r, test.maxAge, 0); err != nil || !strings.HasPrefix(out.String(), test.want) {
			t.Errorf("%s: %v, %s", test.name, err, out.String())
		}
	}
}

// Each distinct error is explained once, with all its containers.
func TestErrorsAreExplainedOnce(t *testing.T) {
	var out bytes.Buffer
	r := sampleReport()
	removeRequestIDs(r)
	if err := writeStatus(&out, r, time.Hour, 0); err != nil {
		t.Fatal(err)
	}
	_, below, _ := strings.Cut(out.String(), "CONTAINER")
	if n := strings.Count(below, "not authorized"); n != 1 || !strings.Contains(below, "[1] AccessDeniedException since 2026-11-30 02:52:00Z (20m): shop-api-1, shop-web-1\n") {
		t.Errorf("%d explanations:\n%s", n, below)
	}
	if strings.Contains(out.String(), "fault: ") {
		t.Errorf("the fault that the note explains is listed too:\n%s", out.String())
	}
}

func TestStatesOfServicesAndContainers(t *testing.T) {
	r := sampleReport()
	r.Faults = []status.Fault{{What: "a setting is invalid", Err: "KMS_KEY_ID is bad", Remedy: "set a key", Since: sampleTime, Attrs: map[string]string{"setting": "KMS_KEY_ID"}}}
	r.Services = []status.Service{
		{Region: "eu-central-1", State: status.ServiceThrottled, Since: before(time.Minute), Error: "slow down", Remedy: "raise the quota"},
		{Region: "us-east-1", Endpoint: "https://logs.example.com", Role: "arn:r", Credentials: "credentials-endpoint", State: status.ServiceUnreachable, Error: "no route", Remedy: "check the network"},
	}
	r.Containers[0] = status.Container{ID: "e", Name: "held", State: status.ContainerHeld, Held: "KMS_KEY_ID is bad"}
	r.Containers[2].Streams = append(r.Containers[2].Streams, r.Containers[2].Streams[0])
	r.Containers[2].Streams[0].Output, r.Containers[2].Streams[1].Output = "stdout", "stderr"
	var out bytes.Buffer
	if err := writeStatus(&out, r, time.Hour, 0); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"service eu-central-1: throttled since 2026-11-30 03:11:00Z (1m): see [",
		"service us-east-1, endpoint https://logs.example.com, role arn:r, credentials-endpoint: unreachable: no route; check the network\n",
		"] throttled\n", "] held\n", "stdout: shop-api-1", "stderr: shop-api-1", "remedy: set a key\n", "remedy: raise the quota\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestStartAndStopAreShown(t *testing.T) {
	r := sampleReport()
	for _, want := range []string{"up 3d4h, host", "up 3d4h, starting, host", "up 3d4h, stopping, host"} {
		if got := plugin(r); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if r.Reattached {
			r.Reattached = false
		} else {
			r.Stopping = sampleTime
		}
	}
}

func TestOldestUndeliveredIsFirst(t *testing.T) {
	table := containerTable(sampleReport(), new(notes))
	var names []string
	for _, r := range table.rows {
		names = append(names, r[0])
	}
	if diff := cmp.Diff([]string{"shop-api-1", "shop-web-1", "db", "cron"}, names); diff != "" {
		t.Error(diff)
	}
}

// Whatever the width is, no line of the table is wider, and nothing panics.
func TestStatusFitsTheTerminal(t *testing.T) {
	r := sampleReport()
	r.Containers[1].Name = strings.Repeat("日本語", 30)
	r.Containers[1].Streams[0].Group = strings.Repeat("g", 500)
	for _, width := range []int{1, 20, 60, 80, 100, 120, 200} {
		var out bytes.Buffer
		if err := writeStatus(&out, r, time.Minute, width); err != nil {
			t.Fatal(err)
		}
		if width < 80 {
			continue // the narrowest table
		}
		_, table, _ := strings.Cut(out.String(), "\n\n")
		table, _, _ = strings.Cut(table, "\n\n")
		for line := range strings.Lines(table) {
			if n := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("width %d: %d: %s", width, n, line)
			}
		}
	}
}

// Names and errors come from outside. They cannot change the terminal or add a line.
func TestOutsideTextIsPrintable(t *testing.T) {
	const evil = "<script>\x1b[31m\nunhealthy: x\r\u202e\xff"
	var r status.Report
	sample, err := json.Marshal(sampleReport())
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{"shop-api-1", "/prod/shop", "not authorized", "ip-10-0-0-1", "eu-central-1", "AWS_REGION", "1.2.0", "spool_full", "AccessDeniedException", "healthz"} {
		encoded, err := json.Marshal(evil)
		if err != nil {
			t.Fatal(err)
		}
		sample = bytes.ReplaceAll(sample, []byte(old), encoded[1:len(encoded)-1])
	}
	if err := json.Unmarshal(sample, &r); err != nil {
		t.Fatal(err)
	}
	var all, one bytes.Buffer
	if err := errors.Join(writeStatus(&all, &r, time.Minute, 120), writeContainer(&one, &r, &r.Containers[2], time.Minute, 0)); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{all.String(), one.String()} {
		if strings.ContainsAny(out, "\x1b\r\u202e") || strings.Contains(out, "\nunhealthy: x") || !strings.Contains(out, "<script>") {
			t.Errorf("got\n%q", out)
		}
	}
}

func TestStatusOfOneContainerIsComplete(t *testing.T) {
	dir := serveReport(t, sampleReport())
	for _, arg := range []string{"shop-api-1", "cccc5e2a7d1c0000", "cc"} {
		_, out, errs := run(t, "status", "--state-dir", dir, arg)
		for _, want := range []string{
			"unhealthy: shop-api-1: ", "shop-api-1 (cccc5e2a7d1c)", "filtered:", "exclude-pattern=healthz", "group:", "/prod/shop   from: log option", "from: default",
			"the oldest 20m ago", "3 lines, 300B, spool_full (the spool was full)", "1 loss that no marker has reported yet", "at most 256MiB of undelivered lines (drop-oldest) and 20MiB of history",
			"remedy:     allow logs:PutLogEvents", "exclude-pattern   healthz      label", "last batch: none yet",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s%s", arg, want, out, errs)
			}
		}
	}
}

func TestAmbiguousContainerIsAnError(t *testing.T) {
	r := sampleReport()
	r.Containers = append(r.Containers, status.Container{ID: "cccc0000", Name: "db"})
	dir := serveReport(t, r)
	for arg, want := range map[string]string{
		"db":   `"db" is the name of 2 containers`,
		"cccc": "shop-api-1 (cccc5e2a7d1c), db (cccc0000)",
		"":     `there is no such container: ""`,
		"\x1b": `there is no such container: "\x1b": logspool status lists`,
	} {
		if exit, out, errs := run(t, "status", "--state-dir", dir, arg); arg != "" && (exit != 2 || out != "" || !strings.Contains(errs, want)) {
			t.Errorf("%q: %d, %q, %q", arg, exit, out, errs)
		}
	}
}

// A newer plugin's report has other fields. JSON shows them, and the table ignores them.
func TestReportOfNewerPlugin(t *testing.T) {
	dir := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"time":"2026-11-30T03:12:00Z","started":"2026-11-30T03:00:00Z","version":"9","reattached":true,"future":{"a":1},"containers":[{"id":"x","name":"n","later":[1]}]}`)
	}))
	if exit, out, errs := run(t, "status", "--state-dir", dir); exit != 0 || !strings.HasPrefix(out, "healthy") || errs != "" {
		t.Errorf("%d, %q, %q", exit, out, errs)
	}
	if exit, out, errs := run(t, "status", "--json", "--state-dir", dir); exit != 0 || !strings.Contains(out, `"future"`) || errs != "" {
		t.Errorf("%d, %q, %q", exit, out, errs)
	}
}

// Whatever is at the socket's path, there is one clear line.
func TestWithoutAReportThereIsOneLine(t *testing.T) {
	answer := func(status int, body string) func(*testing.T) string {
		return func(t *testing.T) string {
			return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, body) }))
		}
	}
	file := func(make func(path string) error) func(*testing.T) string {
		return func(t *testing.T) string {
			dir := t.TempDir()
			if err := make(filepath.Join(dir, status.SocketName)); err != nil {
				t.Fatal(err)
			}
			return dir
		}
	}
	for _, test := range []struct {
		name string
		dir  func(t *testing.T) string
		want string
	}{
		{"no directory", func(t *testing.T) string { return filepath.Join(t.TempDir(), "missing") }, "couldn't read the state directory"},
		{"a file", func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}, "it is not a directory"},
		{"no socket", func(t *testing.T) string { return t.TempDir() }, "the plugin is not running"},
		{"stale socket", file(func(path string) error {
			l, err := net.Listen("unix", path)
			if err != nil {
				return err
			}
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			return l.Close()
		}), "nobody answers at "},
		{"a file instead of a socket", file(func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }), "is not a socket"},
		{"a directory instead of a socket", file(func(path string) error { return os.Mkdir(path, 0o700) }), "is not a socket"},
		{"a socket that closes", func(t *testing.T) string {
			return serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
		}, "was closed before the answer"},
		{"not found", answer(404, "{}"), "is not the status of logspool"},
		{"no JSON", answer(200, "<html>"), "is not the status of logspool"},
		{"empty", answer(200, ""), "is not the status of logspool"},
		{"other JSON", answer(200, `{"hello":"world"}`), "is not the status of logspool"},
		{"null", answer(200, `null`), "is not the status of logspool"},
		{"cut JSON", answer(200, `{"time":"2026-11-30T03:12:00Z","started"`), "is not the status of logspool"},
		{"another type", answer(200, `{"time":"2026-11-30T03:12:00Z","containers":{}}`), "not a report that this version knows"},
		{"nulls", answer(200, `{"time":"2026-11-30T03:12:00Z","version":"1","started":"2026-11-30T03:12:00Z","containers":null,"faults":null,"services":null,"disk":null}`), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			exit, out, errs := run(t, "status", "--state-dir", test.dir(t))
			if test.want == "" {
				if exit != 0 || out == "" || errs != "" {
					t.Errorf("%d, %q, %q", exit, out, errs)
				}
			} else if exit != 2 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, test.want) {
				t.Errorf("%d, %q, %q; want %q", exit, out, errs, test.want)
			}
		})
	}
}
