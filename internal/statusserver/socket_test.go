package statusserver

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/status"
)

func TestSocketServesTheReportForItsOwner(t *testing.T) {
	dir := stateDir(t)
	want := report()
	servers, _ := startServers(t, Options{StateDir: dir, Source: source{want}})
	if diff := cmp.Diff(want, waitSocket(t, dir)); diff != "" {
		t.Errorf("the report has changed on its way (-want +got):\n%s", diff)
	}
	file := filepath.Join(dir, status.SocketName)
	for path, mode := range map[string]os.FileMode{dir: os.ModeDir | 0o700, file: os.ModeSocket | 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: mode %v, want %v (%v)", path, info.Mode(), mode, err)
		}
	}
	servers.Stop()
	if _, err := os.Lstat(file); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestSocketAnswersOtherRequestsWithOneLine(t *testing.T) {
	dir := stateDir(t)
	startServers(t, Options{StateDir: dir})
	waitSocket(t, dir)
	for _, tc := range []struct {
		method, path string
		status       int
	}{
		{"POST", "/status", 405}, {"DELETE", "/status", 405}, {"GET", "/", 404}, {"GET", "/status/", 404}, {"PUT", "/x", 404},
		{"GET", "/metrics", 404},
	} {
		code, body := ask(t, dir, tc.method, tc.path)
		if code != tc.status || strings.Count(strings.TrimSpace(body), "\n") > 0 || len(body) > 200 {
			t.Errorf("%s %.40s: status %d, want %d: %q", tc.method, tc.path, code, tc.status, body)
		}
	}
	if code, body := ask(t, dir, "GET", "/status"); code != 200 || strings.Contains(body, "<script>") || !strings.Contains(body, `\u003cscript\u003e`) {
		t.Errorf("status %d: %s", code, body)
	}
	if code, body := ask(t, dir, "GET", "/debug/pprof/"); code != 200 || !strings.Contains(body, "goroutine") {
		t.Errorf("pprof: status %d: %s", code, body)
	}
	if code, body := ask(t, dir, "GET", "/debug/pprof/goroutine?debug=1"); code != 200 || !strings.Contains(body, "statusserver") {
		t.Errorf("goroutines: status %d: %s", code, body)
	}
}

// leave makes a socket at which nobody listens.
func leave(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := listenAt(t, filepath.Join(dir, status.SocketName))
	l.SetUnlinkOnClose(false)
	l.Close()
}

func listenAt(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestStaleSocketIsReplaced(t *testing.T) {
	dir := stateDir(t)
	leave(t, dir)
	startServers(t, Options{StateDir: dir})
	waitSocket(t, dir)
}

// The path of the state directory may be longer than that of a socket.
func TestSocketIsServedInADirectoryWithALongPath(t *testing.T) {
	dir := filepath.Join(stateDir(t), strings.Repeat("x", 120), strings.Repeat("y", 120))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	servers, _ := startServers(t, Options{StateDir: dir})
	waitSocket(t, dir)
	servers.Stop()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What keeps the plugin from listening is a fault with a remedy, and ends when the cause ends.
func TestSocketIsServedWhenItsObstacleIsGone(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(t *testing.T, dir string) (remove func())
		err  string
		hint string
	}{
		{"the state directory cannot be made", func(t *testing.T, dir string) func() {
			if err := os.WriteFile(dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return func() { os.Remove(dir) }
		}, "not a directory", "make the state directory writable"},
		{"another process listens", func(t *testing.T, dir string) func() {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			l := listenAt(t, filepath.Join(dir, status.SocketName))
			l.SetUnlinkOnClose(false)
			return func() { l.Close() }
		}, "another process answers", "end the other process"},
		{"a file", func(t *testing.T, dir string) func() {
			file := filepath.Join(dir, status.SocketName)
			if err := os.MkdirAll(file, 0o700); err != nil {
				t.Fatal(err)
			}
			return func() { os.Remove(file) }
		}, "is not a socket", "remove the file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := stateDir(t)
			remove := tc.make(t, dir)
			_, log := startServers(t, Options{StateDir: dir})
			log.wait(t, "cannot serve the status socket")
			faults := log.set.Ongoing()
			if len(faults) != 1 || !strings.Contains(faults[0].Attrs["err"], tc.err) || !strings.Contains(faults[0].Attrs["hint"], tc.hint) {
				t.Errorf("faults: %+v", faults)
			}
			remove()
			log.wait(t, "the status socket is served again")
			waitSocket(t, dir)
			if faults := log.set.Ongoing(); len(faults) > 0 {
				t.Errorf("the fault remains: %+v", faults)
			}
		})
	}
}

// A plugin that was started meanwhile has its own socket at the same path.
func TestStopKeepsTheSocketOfAnotherProcess(t *testing.T) {
	dir := stateDir(t)
	servers, _ := startServers(t, Options{StateDir: dir})
	waitSocket(t, dir)
	if err := os.Remove(filepath.Join(dir, status.SocketName)); err != nil {
		t.Fatal(err)
	}
	leave(t, dir)
	servers.Stop()
	if _, err := os.Lstat(filepath.Join(dir, status.SocketName)); err != nil {
		t.Error(err)
	}
}
