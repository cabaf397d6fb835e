package dockertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup starts a Recorder, and a Daemon that talks to it.
func setup(t *testing.T, o Options) (*Daemon, *Recorder) {
	t.Helper()
	dir := t.TempDir()
	o.Socket, o.Dir = filepath.Join(dir, "s"), filepath.Join(dir, "fifos")
	d, err := NewDaemon(o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewRecorder(o.Socket, o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Kill()
		r.Close()
	})
	return d, r
}

func start(t *testing.T, d *Daemon, info Info) *Container {
	t.Helper()
	c, err := d.Start(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// entriesOf decodes what the Recorder has read from a container's FIFO.
func entriesOf(t *testing.T, r *Recorder, c *Container) []logdriver.LogEntry {
	t.Helper()
	b, err := r.Stream(c.File)
	must(t, err)
	dec := logdriver.NewLogEntryDecoder(bytes.NewReader(b))
	var all []logdriver.LogEntry
	for {
		var e logdriver.LogEntry
		if err := dec.Decode(&e); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

// TestRequests: the requests have the order and the bytes of a real dockerd's.
func TestRequests(t *testing.T) {
	d, r := setup(t, Options{Scope: "/run/docker/logging"})
	c := start(t, d, Info{
		ContainerID: "0123", ContainerName: "/c1", ContainerEnv: []string{"A=b"},
		ContainerCreated: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	})
	must(t, c.Stop(t.Context()))
	if _, err := os.Stat(c.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the FIFO is still there: %v", err)
	}
	if err := c.Stop(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("the second Stop: %v", err)
	}
	must(t, d.StopLogging(t.Context(), c.File)) // a second time
	must(t, d.StopLogging(t.Context(), "/run/docker/logging/unknown"))

	info := `{"Config":null,"ContainerID":"0123","ContainerName":"/c1","ContainerEntrypoint":"","ContainerArgs":null,` +
		`"ContainerImageID":"","ContainerImageName":"","ContainerCreated":"2026-01-02T03:04:05.000000006Z",` +
		`"ContainerEnv":["A=b"],"ContainerLabels":null,"LogPath":"","DaemonName":""}`
	stop := `{"File":"` + c.File + `"}` + "\n"
	want := []Request{
		{Method: "LogDriver.Capabilities"},
		{Method: "LogDriver.StartLogging", Body: `{"File":"` + c.File + `","Info":` + info + "}\n"},
		{Method: "LogDriver.StopLogging", Body: stop},
		{Method: "LogDriver.StopLogging", Body: stop},
		{Method: "LogDriver.StopLogging", Body: `{"File":"/run/docker/logging/unknown"}` + "\n"},
	}
	got := r.Requests()
	for i := range got {
		h := got[i].Header
		if _, ok := h["Content-Type"]; ok || h.Get("Accept") == "" || len(h["Accept-Encoding"]) != 0 {
			t.Errorf("headers of %s: %v", got[i].Method, h)
		}
		got[i].Header = nil
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
	if name := strings.TrimPrefix(c.File, "/run/docker/logging/"); len(name) != 64 || name != filepath.Base(c.Path) {
		t.Errorf("the FIFO is %q, and %q to the plugin", c.Path, c.File)
	}
}

func TestRefusalIsReturnedAsError(t *testing.T) {
	d, r := setup(t, Options{})
	answers := map[string]string{}
	status := http.StatusOK
	r.Answer = func(method string, _ []byte) (int, string) {
		if a := answers[method]; a != "" {
			return status, a
		}
		return 0, ""
	}
	answers["LogDriver.StartLogging"] = `{"Err":"no such option"}`
	_, err := d.Start(t.Context(), Info{})
	var refused *Error
	if !errors.As(err, &refused) || refused.Msg != "no such option" || !strings.HasPrefix(err.Error(), "error creating logger: ") {
		t.Errorf("Start: %v", err)
	}
	if left, _ := os.ReadDir(d.opt.Dir); len(left) != 1 {
		t.Errorf("%d FIFOs are left behind; dockerd leaves one", len(left))
	}
	delete(answers, "LogDriver.StartLogging")

	c := start(t, d, Info{})
	answers["LogDriver.StopLogging"] = "a failure"
	status = http.StatusInternalServerError
	if err := c.Stop(t.Context()); !errors.As(err, &refused) || refused.Msg != "a failure" || refused.Status != status {
		t.Errorf("Stop: %v", err)
	}
	must(t, c.Write(Stdout, "still open\n"))
	delete(answers, "LogDriver.StopLogging")
	must(t, c.Stop(t.Context()))

	answers["LogDriver.Capabilities"] = "{}"
	c = start(t, d, Info{}) // dockerd does without capabilities
	must(t, c.Stop(t.Context()))

	answers["LogDriver.StopLogging"], status = "nonsense", http.StatusOK
	if err := d.StopLogging(t.Context(), "x"); err == nil {
		t.Error("no error for an answer that is not JSON")
	}
}

// TestRetryAfterTimeoutSendsAnEmptyBody: as dockerd, the Daemon sends an empty body when it tries
// again after a timeout, and the whole body when it could not connect.
func TestRetryAfterTimeoutSendsAnEmptyBody(t *testing.T) {
	d, r := setup(t, Options{Timeout: 200 * time.Millisecond, Backoff: 50 * time.Millisecond})
	var tries atomic.Int32
	release := make(chan struct{})
	r.Answer = func(string, []byte) (int, string) {
		if tries.Add(1) == 1 {
			<-release
		}
		return http.StatusBadRequest, `{"Err":"empty body"}`
	}
	var refused *Error
	if err := d.StopLogging(t.Context(), "f"); !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
		t.Errorf("StopLogging: %v", err)
	}
	close(release)
	var bodies []string
	for _, req := range r.Requests() {
		bodies = append(bodies, req.Body)
	}
	if want := []string{`{"File":"f"}` + "\n", ""}; len(bodies) < 2 || !cmp.Equal(bodies[:2], want) {
		t.Errorf("bodies %q, want %q", bodies, want)
	}

	// A plugin that listens late.
	dir := t.TempDir()
	late, err := NewDaemon(Options{Socket: filepath.Join(dir, "s"), Dir: dir, Backoff: time.Millisecond})
	must(t, err)
	defer late.Kill()
	if err := late.StopLogging(t.Context(), "f"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no plugin: %v", err)
	}
	late.opt.Backoff = 20 * time.Millisecond
	done := make(chan error)
	go func() { done <- late.StopLogging(t.Context(), "f") }()
	lr, err := NewRecorder(filepath.Join(dir, "s"), dir)
	must(t, err)
	defer lr.Close()
	must(t, <-done)
	if got := lr.Requests(); len(got) != 1 || got[0].Body != `{"File":"f"}`+"\n" {
		t.Errorf("requests: %v", got)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := late.StopLogging(ctx, "f"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestPostReturnsStatusAndAnswer(t *testing.T) {
	d, r := setup(t, Options{})
	status, answer, err := d.Post(t.Context(), "LogDriver.StartLogging", []byte("{"))
	if err != nil || status != http.StatusBadRequest || !json.Valid(answer) {
		t.Errorf("got %d %q %v", status, answer, err)
	}
	if got := r.Requests(); len(got) != 1 || got[0].Body != "{" {
		t.Errorf("requests: %v", got)
	}
}

func TestReadLogs(t *testing.T) {
	d, r := setup(t, Options{})
	r.Answer = func(method string, body []byte) (int, string) { return http.StatusOK, "frames" }
	stream, err := d.ReadLogs(t.Context(), Info{ContainerID: "0123"}, ReadConfig{Tail: -1, Follow: true})
	must(t, err)
	got, err := io.ReadAll(stream)
	stream.Close()
	if string(got) != "frames" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	want := `"Config":{"Since":"0001-01-01T00:00:00Z","Until":"0001-01-01T00:00:00Z","Tail":-1,"Follow":true}}` + "\n"
	if body := r.Requests()[0].Body; !strings.HasSuffix(body, want) {
		t.Errorf("request: %s", body)
	}
	r.Answer = func(string, []byte) (int, string) { return http.StatusInternalServerError, `{"Err":"no"}` }
	var refused *Error
	if _, err := d.ReadLogs(t.Context(), Info{}, ReadConfig{}); !errors.As(err, &refused) || refused.Msg != "no" {
		t.Errorf("refused: %v", err)
	}
}

// TestLinesAreCutLikeDockerd checks where lines are cut, and the metadata of the pieces.
// Package realdocker compares them with moby's.
func TestLinesAreCutLikeDockerd(t *testing.T) {
	type frame struct {
		line    string
		time    int64
		ordinal int32 // 0 if the frame is not a piece
		last    bool
	}
	x := func(n int) string { return strings.Repeat("x", n) }
	at := time.Unix(0, 1000)
	for _, test := range []struct {
		name   string
		writes []string // each a nanosecond later
		want   []frame
	}{
		{"lines", []string{"a\nb\r\n\n"}, []frame{{line: "a", time: 1000}, {line: "b\r", time: 1000}, {line: "", time: 1000}}},
		{"a line in parts", []string{"a", "b", "c\nd", "\n"}, []frame{{line: "abc", time: 1002}, {line: "d", time: 1003}}},
		{"no newline at the end", []string{"a\nb"}, []frame{{line: "a", time: 1000}, {line: "b", time: 5000, ordinal: 1}}},
		{"one less than the buffer", []string{x(16383) + "\n"}, []frame{{line: x(16383), time: 1000}}},
		{"as long as the buffer", []string{x(16384), "\n"},
			[]frame{{line: x(16384), time: 1000, ordinal: 1}, {line: "", time: 1000, ordinal: 2, last: true}}},
		{"longer, in parts", []string{x(10000), x(10000), x(20000) + "\ny\n"},
			[]frame{{line: x(16384), time: 1001, ordinal: 1}, {line: x(16384), time: 1001, ordinal: 2},
				{line: x(40000 - 2*16384), time: 1001, ordinal: 3, last: true}, {line: "y", time: 1002}}},
		{"longer, without a newline", []string{x(16385)},
			[]frame{{line: x(16384), time: 1000, ordinal: 1}, {line: "x", time: 1000, ordinal: 2}}},
		{"as long as the buffer, without a newline", []string{x(16384)}, []frame{{line: x(16384), time: 1000, ordinal: 1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, r := setup(t, Options{})
			c := start(t, d, Info{})
			for i, w := range test.writes {
				must(t, c.WriteAt(at.Add(time.Duration(i)), Stderr, w))
			}
			c.mu.Lock()
			if s := c.outputs[Stderr]; s != nil {
				must(t, s.end(func() time.Time { return time.Unix(0, 5000) }))
			}
			c.mu.Unlock()
			must(t, c.Stop(t.Context()))

			var got []frame
			var id string
			for _, e := range entriesOf(t, r, c) {
				f := frame{line: string(e.Line), time: e.TimeNano}
				if m := e.PartialLogMetadata; m != nil {
					f.ordinal, f.last = m.Ordinal, m.Last
					if m.Ordinal > 1 && m.Id != id || len(m.Id) != 64 {
						t.Errorf("piece %d has ID %q after %q", m.Ordinal, m.Id, id)
					}
					id = m.Id
				}
				if e.Source != "stderr" || e.Partial != (f.ordinal > 0) {
					t.Errorf("source %q, partial %v, piece %d", e.Source, e.Partial, f.ordinal)
				}
				got = append(got, f)
			}
			if d := cmp.Diff(test.want, got, cmp.AllowUnexported(frame{})); d != "" {
				t.Errorf("frames (-want +got):\n%s", d)
			}
		})
	}
}

func TestSourcesAndRestart(t *testing.T) {
	d, r := setup(t, Options{})
	c := start(t, d, Info{ContainerID: "0123"})
	must(t, c.Write(Stdout, "out"))
	must(t, c.Write(Stderr, "err\n"))
	must(t, c.Write(Stdout, "put\nrest"))
	must(t, c.End(Stdout))
	must(t, c.WriteRaw([]byte{0, 0, 0, 4, 0x1a, 2, 'h', 'i'}))
	must(t, c.WriteEntry(&logdriver.LogEntry{Source: "stdout", Line: []byte("old"), Partial: true}))
	must(t, c.Write(Stdout, "forgotten"))
	next, err := c.Restart(t.Context())
	must(t, err)
	if next.File == c.File || next.Info.ContainerID != "0123" {
		t.Errorf("the new FIFO is %q", next.File)
	}
	if _, err := os.Stat(c.Path); err != nil {
		t.Errorf("the old FIFO is gone: %v", err)
	}
	if err := c.Write(Stdout, "x\n"); !errors.Is(err, ErrClosed) {
		t.Errorf("a write after the kill: %v", err)
	}
	var got []string
	for _, e := range entriesOf(t, r, c) {
		got = append(got, e.Source+" "+string(e.Line))
	}
	if want := []string{"stderr err", "stdout output", "stdout rest", " hi", "stdout old"}; !cmp.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	must(t, next.Write(Stdout, "again\n"))
	must(t, next.Stop(t.Context()))
	if got := entriesOf(t, r, next); len(got) != 1 || string(got[0].Line) != "again" {
		t.Errorf("after the restart: %v", got)
	}
}

// TestBlockedWriter: a write to a FIFO that nobody reads is blocked, LongestWrite includes
// it, and Kill unblocks it.
func TestBlockedWriter(t *testing.T) {
	d, r := setup(t, Options{})
	r.Answer = func(method string, _ []byte) (int, string) { return http.StatusOK, "{}" } // reads no FIFO
	c := start(t, d, Info{})
	must(t, c.Write(Stdout, "fits\n"))
	done := make(chan error)
	go func() { done <- c.Write(Stdout, strings.Repeat("x\n", 1<<20)) }()
	deadline := time.After(10 * time.Second)
	for c.LongestWrite() < 50*time.Millisecond {
		select {
		case err := <-done:
			t.Fatalf("the write ended: %v", err)
		case <-deadline:
			t.Fatal("the write does not count as waiting")
		case <-time.After(time.Millisecond):
		}
	}
	c.Kill()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("the blocked write: %v", err)
	}
	if w := c.LongestWrite(); w < 50*time.Millisecond {
		t.Errorf("the longest write was forgotten: %v", w)
	}
}

// TestOneWritePerFrame: each frame is one write(2), so that a frame of up to PIPE_BUF bytes
// is in the FIFO either whole or not at all (pipe(7)).
func TestOneWritePerFrame(t *testing.T) {
	d, r := setup(t, Options{})
	r.Answer = func(method string, _ []byte) (int, string) { return http.StatusOK, "{}" }
	c := start(t, d, Info{})
	// In packet mode, each read returns one write (pipe2(2), O_DIRECT). A FIFO holds 16 of them.
	in, err := unix.Open(c.Path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	must(t, err)
	defer unix.Close(in)
	if _, err := unix.FcntlInt(c.fifo.Fd(), unix.F_SETFL, unix.O_RDWR|unix.O_NONBLOCK|unix.O_DIRECT); err != nil {
		t.Skip("no packet mode: ", err)
	}
	for n := range 10 {
		must(t, c.Write(Stdout, fmt.Sprintf("line %d\n", n)))
	}
	buf := make([]byte, 4096)
	for n := range 10 {
		size, err := unix.Read(in, buf)
		must(t, err)
		var e logdriver.LogEntry
		must(t, logdriver.NewLogEntryDecoder(bytes.NewReader(buf[:size])).Decode(&e))
		if string(e.Line) != fmt.Sprintf("line %d", n) {
			t.Errorf("write %d: %q", n, e.Line)
		}
	}
}
