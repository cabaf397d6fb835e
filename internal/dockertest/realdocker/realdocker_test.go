package realdocker

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"github.com/docker/docker/daemon/logger"

	"github.com/logspool/logspool/internal/dockertest"
)

// outputs are outputs of a container.
var outputs = map[string]string{
	"nothing":                      "",
	"lines":                        "one\ntwo\nthree\n",
	"empty lines":                  "\n\na\n\n",
	"no newline at the end":        "one\ntwo",
	"carriage returns":             "one\r\n\r\ntwo\r",
	"a TTY":                        "\x1b[31mred\x1b[0m\r\n$ \b\b \r\n\x00",
	"invalid UTF-8":                "\xff\xfe\n\xe6\x97\n\xe6\x97\xa5\n",
	"one byte below the buffer":    strings.Repeat("x", 16383) + "\nend\n",
	"as long as the buffer":        strings.Repeat("x", 16384) + "\nend\n",
	"one byte above the buffer":    strings.Repeat("x", 16385) + "\nend\n",
	"twice the buffer":             strings.Repeat("x", 2*16384) + "\nend\n",
	"1 MiB":                        strings.Repeat("0123456789abcde\u00e9", 1<<20/17) + "\nend\n",
	"buffer without a newline":     strings.Repeat("x", 16384),
	"a long one without a newline": "one\n" + strings.Repeat("x", 40000),
	"long after short":             strings.Repeat("short\n", 3000) + strings.Repeat("x", 16384) + "\n" + strings.Repeat("y", 16000) + "\n",
	"long after long":              strings.Repeat(strings.Repeat("x", 20000)+"\n", 5),
}

// readers split the same output differently.
var readers = map[string]func(io.Reader) io.Reader{
	"in one read":  func(r io.Reader) io.Reader { return r },
	"in halves":    iotest.HalfReader,
	"data and EOF": iotest.DataErrReader,
}

// TestDockertestWritesTheSame: dockertest sends the same requests and writes the same
// frames as moby's code, byte for byte, except for times and IDs.
func TestDockertestWritesTheSame(t *testing.T) {
	for name, output := range outputs {
		for split, reader := range readers {
			t.Run(name+" "+split, func(t *testing.T) {
				want := throughMoby(t, output, reader)
				got := throughDockertest(t, output)
				if len(want.frames) != len(got.frames) {
					t.Fatalf("%d frames, moby writes %d", len(got.frames), len(want.frames))
				}
				for i := range want.frames {
					if got.frames[i] != want.frames[i] {
						t.Fatalf("frame %d:\n got %.200q\nwant %.200q", i, got.frames[i], want.frames[i])
					}
				}
				if g, w := fmt.Sprint(got.requests), fmt.Sprint(want.requests); g != w {
					t.Errorf("requests:\n got %s\nwant %s", g, w)
				}
			})
		}
	}
}

// record is what a plugin received, with fixed names of FIFOs, IDs and times.
type record struct {
	requests []dockertest.Request
	frames   []string
}

// newRecorder starts a Recorder in a new directory, which has the socket and the FIFOs.
func newRecorder(t *testing.T) (rec *dockertest.Recorder, dir string) {
	t.Helper()
	dir = t.TempDir()
	rec, err := dockertest.NewRecorder(socketIn(dir), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rec.Close)
	return rec, dir
}

func socketIn(dir string) string { return filepath.Join(dir, "s") }

// newDriver returns a Driver for the plugin whose socket and FIFOs are in dir.
func newDriver(t *testing.T, dir string) *Driver {
	t.Helper()
	d, err := NewDriver(socketIn(dir), dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var created = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

func throughMoby(t *testing.T, output string, reader func(io.Reader) io.Reader) record {
	t.Helper()
	rec, dir := newRecorder(t)
	d := newDriver(t, dir)
	c, err := d.Start(logger.Info{
		Config: map[string]string{"group": "g"}, ContainerID: "0123", ContainerName: "/c1", ContainerArgs: []string{"-c", "<&>"},
		ContainerCreated: created, ContainerLabels: map[string]string{},
	}, map[string]io.Reader{"stdout": reader(strings.NewReader(output))})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%d files are left in the socket's directory", len(left)-1)
	}
	return recorded(t, rec)
}

func throughDockertest(t *testing.T, output string) record {
	t.Helper()
	rec, dir := newRecorder(t)
	d, err := dockertest.NewDaemon(dockertest.Options{Socket: socketIn(dir), Dir: dir, Scope: FIFODir})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Start(t.Context(), dockertest.Info{
		Config: map[string]string{"group": "g"}, ContainerID: "0123", ContainerName: "/c1", ContainerArgs: []string{"-c", "<&>"},
		ContainerCreated: created, ContainerLabels: map[string]string{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(dockertest.Stdout, output); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.Kill()
	return recorded(t, rec)
}

// recorded returns what a Recorder has received of one container.
func recorded(t *testing.T, rec *dockertest.Recorder) record {
	t.Helper()
	var r record
	fifo := fifoOf(t, rec)
	for _, req := range rec.Requests() {
		req.Body = strings.ReplaceAll(req.Body, fifo, "FIFO")
		req.Header.Del("Content-Length")
		r.requests = append(r.requests, req)
	}
	stream, err := rec.Stream(fifo)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	var line *logdriver.LogEntry // the first piece of an incomplete line
	for rest := bytes.NewReader(stream); rest.Len() > 0; {
		at := len(stream) - rest.Len()
		var e logdriver.LogEntry
		// The decoder does not read ahead.
		if err := logdriver.NewLogEntryDecoder(rest).Decode(&e); err != nil {
			t.Fatal(err)
		}
		raw := stream[at : len(stream)-rest.Len()]
		var again bytes.Buffer
		if err := logdriver.NewLogEntryEncoder(&again).Encode(&e); err != nil || !bytes.Equal(again.Bytes(), raw) {
			t.Errorf("a frame is not encoded as moby does: %.80q", raw)
		}
		if age := time.Since(time.Unix(0, e.TimeNano)); age < 0 || age > time.Hour {
			t.Errorf("a frame's time is %v ago", age)
		}
		if m := e.PartialLogMetadata; m != nil {
			if len(m.Id) != 64 || strings.Trim(m.Id, "0123456789abcdef") != "" {
				t.Errorf("a piece's ID is %q", m.Id)
			}
			if line != nil && (line.PartialLogMetadata.Id != m.Id || line.TimeNano != e.TimeNano) {
				t.Errorf("a line's pieces differ: %v and %v", line.PartialLogMetadata, m)
			}
			if line == nil {
				line = &logdriver.LogEntry{TimeNano: e.TimeNano, PartialLogMetadata: &logdriver.PartialLogEntryMetadata{Id: m.Id}}
			}
			m.Id = fmt.Sprint("line ", lines)
			if m.Last {
				line = nil
			}
		}
		if line == nil {
			lines++
		}
		e.TimeNano = 1
		r.frames = append(r.frames, fmt.Sprintf("%d %s", len(raw), e.String()))
	}
	return r
}

// fifoOf returns the name of the FIFO that a Recorder has received.
func fifoOf(t *testing.T, rec *dockertest.Recorder) string {
	t.Helper()
	for _, req := range rec.Requests() {
		if rest, ok := strings.CutPrefix(req.Body, `{"File":"`+FIFODir+"/"); ok {
			fifo, _, _ := strings.Cut(rest, `"`)
			return fifo
		}
	}
	t.Fatal("no request has a FIFO")
	return ""
}

// TestProxy: a plugin without a mount namespace gets the real directory of the FIFOs.
func TestProxy(t *testing.T) {
	rec, dir := newRecorder(t)
	p, err := NewProxy(filepath.Join(dir, "proxy"), socketIn(dir), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	d, err := NewDriver(filepath.Join(dir, "proxy"), dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Start(logger.Info{ContainerID: FIFODir}, map[string]io.Reader{"stderr": strings.NewReader("hello\n")})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, req := range rec.Requests()[1:] {
		if !strings.HasPrefix(req.Body, `{"File":"`+dir+"/") {
			t.Errorf("%s: %s", req.Method, req.Body)
		}
	}
	if body := rec.Requests()[1].Body; !strings.Contains(body, `"ContainerID":"`+FIFODir+`"`) {
		t.Errorf("the proxy changed more than the file: %s", body)
	}
}
