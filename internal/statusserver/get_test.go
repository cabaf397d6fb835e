package statusserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/status"
)

// oneLine checks that err is one line that has each of the texts.
func oneLine(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 2000 {
		t.Errorf("not one line: %q", err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not have %q", err, text)
		}
	}
}

func TestGetSaysWhatIsWrongWithTheDirectory(t *testing.T) {
	dir := stateDir(t)
	_, err := Get(t.Context(), dir)
	oneLine(t, err, "there is no directory "+dir)
	_, err = Get(t.Context(), dir+"\n\x1b[31m")
	oneLine(t, err, "there is no directory ")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = Get(t.Context(), dir)
	oneLine(t, err, "there is no "+dir+"/status.sock", "not running", "older")
	leave(t, dir)
	_, err = Get(t.Context(), dir)
	oneLine(t, err, "nobody answers at "+dir+"/status.sock", "killed or is disabled")
	file := filepath.Join(dir, status.SocketName)
	_, err = Get(t.Context(), file)
	oneLine(t, err, "is not a directory")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Get(t.Context(), dir)
	oneLine(t, err, "is not a socket")
	if err := errors.Join(os.Remove(file), os.Symlink("/dev/log", file)); err != nil {
		t.Fatal(err)
	}
	_, err = Get(t.Context(), dir)
	oneLine(t, err, "is not a socket")
}

func TestGetTellsAnotherUserToBecomeRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, which can become another user")
	}
	dir := stateDir(t)
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	startServers(t, Options{StateDir: dir})
	waitSocket(t, dir)
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		_ = unix.Setfsuid(65534)
		_, err := Get(t.Context(), dir)
		failed <- err
	}()
	oneLine(t, <-failed, "no permission", "run as root")
}

// answering serves whatever answer writes.
func answering(t *testing.T, answer func(net.Conn)) (dir string) {
	t.Helper()
	dir = stateDir(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := listenAt(t, filepath.Join(dir, status.SocketName))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			answer(c)
			c.Close()
		}
	}()
	return dir
}

const head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"

func TestGetRefusesTheAnswerOfAnotherProgram(t *testing.T) {
	newer, err := json.Marshal(map[string]any{"time": []int{1}, "version": "v9"})
	if err != nil {
		t.Fatal(err)
	}
	for answer, want := range map[string]string{
		"":                               "was closed before the answer",
		"SSH-2.0-OpenSSH_9\x1b[31m\r\n":  "is not the status of logspool",
		head + "<html>\n\x1b[31m</html>": "is not a report",
		head + "{}":                      "no version",
		head + "null":                    "no version",
		head + `{"version":"v1","time":`: "is not a report",
		head + string(newer):             "not a report that this version knows",
		"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n":                       "status 404",
		"HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\n\r\n":               "status 302",
		"HTTP/1.1 200 " + strings.Repeat("x\x1b", 1000) + "\r\n\r\n":                "",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n":        "is not the status of logspool",
		"HTTP/1.1 500 " + strings.Repeat("\x1b[31m", 500) + "\r\n\r\nmore\nlines\n": "status 500",
	} {
		dir := answering(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096)) // the request
			_, _ = io.WriteString(c, answer)
		})
		_, err := Get(t.Context(), dir)
		oneLine(t, err, want)
	}
}

func TestGetReadsABoundedAnswer(t *testing.T) {
	dir := answering(t, func(c net.Conn) {
		chunk := bytes.Repeat([]byte(" "), 64<<10)
		_, err := io.WriteString(c, head)
		for err == nil { // for ever
			_, err = c.Write(chunk)
		}
	})
	s, err := openSocket(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	_, _, err = s.get(t.Context(), 1<<20)
	oneLine(t, err, "longer than 1048576 bytes")
}

func TestGetEndsWithItsContext(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	dir := answering(t, func(net.Conn) { close(asked); <-release })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err := Get(ctx, dir)
	oneLine(t, err, "did not answer", "in time")
}

// A newer plugin has more fields.
func TestGetReadsTheReportOfANewerPlugin(t *testing.T) {
	dir := answering(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		fmt.Fprintf(c, `%s{"version":"v9","time":%q,"more":{"x":[1]}}`, head, time.Now().Format(time.RFC3339))
	})
	if r, err := Get(t.Context(), dir); err != nil || r.Version != "v9" {
		t.Errorf("%+v, %v", r, err)
	}
}
