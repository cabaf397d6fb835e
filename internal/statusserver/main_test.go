package statusserver

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a plugin with one report.
type source struct{ r *status.Report }

func (s source) Report() *status.Report        { return s.r }
func (s source) History(string) []status.Point { return nil }

// report returns the report of a plugin that delivers.
func report() *status.Report {
	return &status.Report{
		Time: time.Now().UTC(), Version: "v1", Region: "eu-west-1", Identity: "arn:aws:iam::123456789012:user/u", Reattached: true,
		Containers: []status.Container{{ID: "id", Name: "<script>alert(1)</script>", State: status.ContainerRunning}},
	}
}

// testLog collects a log, for tests that wait for a line.
type testLog struct {
	*slog.Logger
	set     faultlog.Set
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{}
}

func newTestLog() *testLog {
	l := &testLog{changed: make(chan struct{})}
	l.Logger = slog.New(faultlog.NewHandler(slog.NewTextHandler(l, nil), &l.set))
	return l
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(p)
}

// wait waits until the log has text.
func (l *testLog) wait(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		l.mu.Lock()
		log, changed := l.text.String(), l.changed
		l.mu.Unlock()
		if strings.Contains(log, text) {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("the log does not have %q:\n%s", text, log)
		}
	}
}

// startServers starts the servers, with a retry that a test need not wait for.
func startServers(t *testing.T, o Options) (*Servers, *testLog) {
	t.Helper()
	log := newTestLog()
	o.Log, o.retry = log.Logger, 10*time.Millisecond
	if o.Source == nil {
		o.Source = source{report()}
	}
	s := Start(o)
	t.Cleanup(s.Stop)
	return s, log
}

// waitSocket waits until the plugin answers at the socket.
func waitSocket(t *testing.T, dir string) *status.Report {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		r, err := Get(t.Context(), dir)
		if err == nil {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// ask makes a request on the socket, and returns the answer's status and body.
func ask(t *testing.T, dir, method, path string) (int, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, status.SocketName))
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, &http.Client{Transport: transport}, req)
}

func do(t *testing.T, client *http.Client, req *http.Request) (int, string) {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// stateDir returns a state directory, which does not exist yet. Its path is short enough for a socket.
func stateDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "logspool")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "state")
}
