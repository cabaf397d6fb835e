package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary run as the program, so that a test can send it a signal.
func TestMain(m *testing.M) {
	if os.Getenv("CWLOCAL_TEST_MAIN") != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// start runs the program inside the test. It returns the program's URL, the rest of its
// output, and a function that stops it and returns its exit status.
func start(t *testing.T, args ...string) (url string, lines *bufio.Scanner, stop func() int) {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		status := run(ctx, append([]string{"-listen", "127.0.0.1:0"}, args...), w, &stderr)
		w.Close()
		done <- status
	}()
	lines = bufio.NewScanner(r)
	stopped := false
	stop = func() int {
		stopped = true
		cancel()
		r.Close()
		return <-done
	}
	t.Cleanup(func() {
		if !stopped {
			stop()
		}
	})
	if !lines.Scan() {
		t.Fatalf("the program printed nothing: %s", stderr.String())
	}
	m := regexp.MustCompile(`^cwlocal: listening on (http://127\.0\.0\.1:[0-9]+)$`).FindStringSubmatch(lines.Text())
	if m == nil {
		t.Fatalf("the first line is %q", lines.Text())
	}
	return m[1], lines, stop
}

func TestRunEndsWhenItsContextEnds(t *testing.T) {
	url, _, stop := start(t, "-quotas", "-keep", "-1", "-sequence", "-keys", "ID:SECRET", "-keys", "OTHER:SEC:RET")
	resp, err := http.Get(url + "/_cwlocal/stats")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if status := stop(); status != 0 {
		t.Errorf("status %d", status)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("the program still listens")
	}
}

func TestSIGTERMStopsTheProgram(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "CWLOCAL_TEST_MAIN=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "cwlocal: listening on ") {
		t.Errorf("got %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program ended with %v", err)
	}
}

func TestBadArgumentsAreReported(t *testing.T) {
	for _, tc := range []struct {
		args   string
		status int
		stderr string
	}{
		{"-h", 0, "cwlocal is a strict stand-in for Amazon CloudWatch Logs."},
		{"-h", 0, "kinds: throttle, 500, 503,"},
		{"-keys ID", 2, `invalid value "ID" for flag -keys: it must be ID:SECRET`},
		{"-keys :SECRET", 2, "it must be ID:SECRET"},
		{"-role logs", 2, `invalid value "logs" for flag -role: it must be ARN or ARN=EXTERNAL-ID`},
		{"-keep many", 2, `invalid value "many" for flag -keep`},
		{"start", 2, `cwlocal: "start" is not a flag; see cwlocal -h`},
		{"-listen 127.0.0.1:none", 1, "cwlocal: couldn't listen: "},
	} {
		var stdout, stderr bytes.Buffer
		status := run(context.Background(), strings.Fields(tc.args), &stdout, &stderr)
		if status != tc.status || !strings.Contains(stderr.String(), tc.stderr) || stdout.Len() > 0 {
			t.Errorf("%s: status %d, %s%s", tc.args, status, stdout.String(), stderr.String())
		}
	}
}
