package driver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// serve serves the driver's endpoints, and returns a function that posts to them.
func serve(t *testing.T, d *Driver) (post func(ctx context.Context, method, path string, body io.Reader) (int, string, error)) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.Handler().Serve(l) }()
	t.Cleanup(func() { l.Close(); <-served })
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return func(ctx context.Context, method, path string, body io.Reader) (int, string, error) {
		r, err := http.NewRequestWithContext(ctx, method, "http://plugin"+path, body)
		if err != nil {
			return 0, "", err
		}
		answer, err := (&http.Client{Transport: transport}).Do(r)
		if err != nil {
			return 0, "", err
		}
		defer answer.Body.Close()
		p, err := io.ReadAll(answer.Body)
		return answer.StatusCode, string(p), err
	}
}

// failingBody fails at its end.
type failingBody struct{ io.Reader }

func (b failingBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = errors.New("broken off")
	}
	return n, err
}

// TestEveryRequestGetsAnAnswer: every request gets an answer in the protocol's form, and
// an invalid request has no effect.
func TestEveryRequestGetsAnAnswer(t *testing.T) {
	h := newHost(t)
	h.start()
	post := serve(t, h.Driver)
	file := h.fifo("fifo")
	start := func(file, info string) io.Reader {
		return strings.NewReader(`{"File":"` + file + `","Info":` + info + `}`)
	}
	for _, tc := range []struct {
		name, method, path string
		body               io.Reader
		status             int
		want               string
	}{
		{"activate", "POST", "/Plugin.Activate", nil, 200, "LogDriver"},
		{"capabilities", "POST", "/LogDriver.Capabilities", nil, 200, `{"Cap":{"ReadLogs":true}}`},
		{"get", "GET", "/LogDriver.StartLogging", nil, 405, "POST"},
		{"no body", "POST", "/LogDriver.StartLogging", nil, 400, "no body"},
		{"no JSON", "POST", "/LogDriver.StartLogging", strings.NewReader("x"), 400, "JSON"},
		{"another type", "POST", "/LogDriver.StartLogging", strings.NewReader(`{"File":1}`), 400, "JSON"},
		{"stop without a body", "POST", "/LogDriver.StopLogging", nil, 200, `{"Err":""}`},
		{"stop what is no JSON", "POST", "/LogDriver.StopLogging", strings.NewReader("x"), 200, `{"Err":""}`},
		{"stop another type", "POST", "/LogDriver.StopLogging", strings.NewReader(`{"File":1}`), 200, `{"Err":""}`},
		{"stop what is too large", "POST", "/LogDriver.StopLogging", io.LimitReader(zeros{}, maxRequest+1), 200, `{"Err":""}`},
		{"stop the unknown", "POST", "/LogDriver.StopLogging", strings.NewReader(`{"File":"/unknown"}`), 200, `{"Err":""}`},
		{"deep", "POST", "/LogDriver.StartLogging", strings.NewReader(strings.Repeat("[", 1<<20)), 400, "JSON"},
		{"too large", "POST", "/LogDriver.StartLogging", io.LimitReader(zeros{}, maxRequest+1), 413, "larger"},
		{"no File", "POST", "/LogDriver.StartLogging", strings.NewReader(`{}`), 200, "no File"},
		{"NUL", "POST", "/LogDriver.StartLogging", start(`/a\u0000b`, `{"ContainerID":"x"}`), 200, "absolute"},
		{"long", "POST", "/LogDriver.StartLogging", start("/"+strings.Repeat("a", 5000), `{"ContainerID":"x"}`), 200, "absolute"},
		{"no container", "POST", "/LogDriver.StartLogging", start("/nowhere", "null"), 200, "not a container's ID"},
		{"a path for a container", "POST", "/LogDriver.StartLogging", start("/nowhere", `{"ContainerID":"a/../../b"}`), 200, "not a container's ID"},
		{"a dot for a container", "POST", "/LogDriver.StartLogging", start("/nowhere", `{"ContainerID":".."}`), 200, "not a container's ID"},
		{"a long ID", "POST", "/LogDriver.StartLogging", start("/nowhere", `{"ContainerID":"`+strings.Repeat("a", 129)+`"}`), 200, "not a container's ID"},
		{"no FIFO", "POST", "/LogDriver.StartLogging", start(h.dir, `{"ContainerID":"x"}`), 200, "not a FIFO"},
		{"an odd name", "POST", "/LogDriver.StartLogging", start(h.dir, `{"ContainerID":"x","ContainerName":"//n\na\u001bm\u202ee"}`), 200, "not a FIFO"},
		{"stop nothing", "POST", "/LogDriver.StopLogging", strings.NewReader("{}"), 200, `{"Err":""}`},
		{"start", "POST", "/LogDriver.StartLogging", start(file.path, `{"ContainerID":"x","ContainerName":"/x"}`), 200, `{"Err":""}`},
		{"stop", "POST", "/LogDriver.StopLogging", strings.NewReader(`{"File":"` + file.path + `"}`), 200, `{"Err":""}`},
	} {
		status, answer, err := post(t.Context(), tc.method, tc.path, tc.body)
		if err != nil || status != tc.status || !strings.Contains(answer, tc.want) || strings.Contains(strings.TrimSpace(answer), "\n") || len(answer) > 1000 {
			t.Errorf("%s: status %d, %.300q, %v; want %d and %q", tc.name, status, answer, err, tc.status, tc.want)
		}
	}
	if _, _, err := post(t.Context(), "POST", "/LogDriver.StartLogging", failingBody{strings.NewReader(`{"File":"`)}); err == nil {
		t.Error("a body that breaks off was sent")
	}
	for _, container := range []string{"x", "a/../../b", strings.Repeat("a", 12), `"/n a\\x1bm\\u202ee (x)"`} {
		if want := `msg="StartLogging failed" container=` + container + " err="; !strings.Contains(h.logged(), want) {
			t.Errorf("not logged: %s", want)
		}
	}
	file.close()
	h.gone()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestRequestsWaitForStart: a request that comes before the plugin is ready waits for it, but
// no longer than its client.
func TestRequestsWaitForStart(t *testing.T) {
	h := newHost(t)
	h.start()
	ready := h.ready
	h.ready = make(chan struct{})
	post := serve(t, h.Driver)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, _, err := post(ctx, "POST", "/LogDriver.Capabilities", nil)
		gone <- err
	}()
	cancel()
	if err := <-gone; err == nil {
		t.Error("answered")
	}
	close(h.ready)
	<-ready
	status, answer, err := post(t.Context(), "POST", "/LogDriver.Capabilities", bytes.NewReader(nil))
	if err != nil || status != 200 {
		t.Errorf("status %d, %q, %v", status, answer, err)
	}
}
