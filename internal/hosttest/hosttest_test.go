package hosttest

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeDocker replaces the docker command by a shell script.
func fakeDocker(t *testing.T, script string) { fakeCommand(t, "docker", script) }

func fakeCommand(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestDockerPassesHostArgumentsAndInput(t *testing.T) {
	fakeDocker(t, `echo "$DOCKER_HOST|$DOCKER_CONTENT_TRUST|$*|$(cat)"; echo ignored >&2`)
	t.Setenv("DOCKER_HOST", "the user's")
	for host, want := range map[string]string{"": "the user's|0|run x|in", "unix:///s": "unix:///s|0|run x|in"} {
		if got, err := Docker(t.Context(), host, strings.NewReader("in"), "run", "x"); got != want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

func TestDockerFails(t *testing.T) {
	check := func(ctx context.Context, want DockerError, text string, args ...string) {
		t.Helper()
		_, err := Docker(ctx, "", nil, args...)
		got, ok := errors.AsType[*DockerError](err)
		if !ok || *got != want || err.Error() != text {
			t.Errorf("%+v; want %+v, %s", err, want, text)
		}
	}
	fakeDocker(t, `printf 'no\nSee --help\n' >&2; exit 125`)
	check(t.Context(), DockerError{"docker plugin set", 125, "no\nSee --help"}, "docker plugin set: exit 125: no; See --help", "plugin", "set", "SECRET=x")
	fakeDocker(t, `exec sleep 1000`)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the reason"))
	check(ctx, DockerError{"docker ps", -1, "the reason"}, "docker ps: exit -1: the reason", "ps")
	t.Setenv("PATH", t.TempDir())
	if _, err := Docker(t.Context(), "", nil, "ps"); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("without the command: %v", err)
	}
}

func TestImageTarHoldsOnlyTheProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(path, []byte("the program"), 0o600); err != nil {
		t.Fatal(err)
	}
	image, err := ImageTar(path, "name")
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(image)
	h, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	program, err := io.ReadAll(r)
	if h.Name != "name" || h.Mode != 0o755 || string(program) != "the program" || err != nil {
		t.Errorf("%+v, %q, %v", h, program, err)
	}
	if h, err := r.Next(); err != io.EOF {
		t.Errorf("and %+v, %v", h, err)
	}
	if _, err := ImageTar(path+"x", "name"); err == nil {
		t.Error("no error for a program that does not exist")
	}
}

// TestRemoveDir: RemoveDir kills a process that has the directory among its arguments and
// the process's child, and unmounts what is mounted there. It does not kill the caller or
// the caller's other child.
func TestRemoveDir(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	if err := os.Mkdir(in, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := unix.Mount("x", in, "tmpfs", 0, ""); err != nil {
			t.Logf("couldn't mount: %v", err)
		}
	}
	other := exec.Command("cat")
	to, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	other.Stdout = &said
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	mine := exec.Command("sh", "-c", `sleep 1000 & echo ready; wait`, in)
	out, err := mine.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := mine.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	if p := Processes()[mine.Process.Pid]; p.Parent != os.Getpid() || !slices.Equal(p.Args, mine.Args) {
		t.Errorf("the process is %+v", p)
	}
	if err := RemoveDir(dir); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(out); len(rest) > 0 || err != nil { // both processes had it open
		t.Errorf("%q, %v", rest, err)
	}
	if err := mine.Wait(); err == nil {
		t.Error("the process exited with status 0")
	}
	_, err = io.WriteString(to, "alive")
	if err := errors.Join(err, to.Close(), other.Wait()); err != nil || said.String() != "alive" {
		t.Errorf("the other process printed %q, %v", said.String(), err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory still exists: %v", err)
	}
	if pids := processesOf(filepath.Dir(os.Args[0])); slices.Contains(pids, os.Getpid()) {
		t.Errorf("%q would kill itself", os.Args)
	}
	if pid, ok := PluginProcess("none"); ok {
		t.Errorf("a plugin that does not exist has the process %d", pid)
	}
}

// TestThreadHasItsOwnNetwork: a socket on a thread with its own network cannot be reached
// from other threads.
func TestThreadHasItsOwnNetwork(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	thread, err := NewThread(true)
	if err != nil {
		t.Skipf("couldn't make a network namespace: %v", err)
	}
	defer thread.End()
	var l net.Listener
	thread.Do(func() { l, err = net.Listen("tcp", "127.0.0.1:0") })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial := func() error {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := dial(); err == nil {
		t.Error("reached from outside")
	}
	thread.Do(func() { err = dial() })
	if err != nil {
		t.Errorf("not reached on the thread: %v", err)
	}
}

// TestEngineStartsAgainAfterKill starts, kills and stops a shell script in the place of
// dockerd.
func TestEngineStartsAgainAfterKill(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	e, err := NewEngine(t.TempDir())
	if err != nil {
		t.Skipf("couldn't make a network namespace: %v", err)
	}
	defer e.Close()
	fakeCommand(t, "dockerd", `trap 'echo "stopped" >>"$REPORT"; exit 0' TERM
echo "$*" >"$REPORT"; cat "$2" >>"$REPORT"
echo 'msg="API listen on /s"' >&2
while :; do sleep 0.01 >/dev/null 2>&1; done`)
	report := filepath.Join(e.Dir, "report")
	start := func() {
		t.Helper()
		if err := e.Start(map[string]any{"live-restore": true}, []string{"REPORT=" + report}, "--storage-driver", "vfs"); err != nil {
			t.Fatal(err)
		}
	}
	start()
	e.Kill()
	start()
	if err := e.Stop(); err != nil {
		t.Error(err)
	}
	if err := e.Stop(); err != nil {
		t.Errorf("the second Stop: %v", err)
	}
	got, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	want := "--config-file " + filepath.Join(e.Dir, "daemon.json") + " --data-root " + filepath.Join(e.Dir, "data")
	if text := string(got); !strings.HasPrefix(text, want) || !strings.Contains(text, "--host "+e.Host) ||
		!strings.HasSuffix(text, " --storage-driver vfs\n{\"live-restore\":true}stopped\n") {
		t.Errorf("dockerd reports %q", text)
	}
	fakeCommand(t, "dockerd", `echo "no such file" >&2; exit 1`)
	if err := e.Start(nil, nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("dockerd that fails: %v", err)
	}
}
