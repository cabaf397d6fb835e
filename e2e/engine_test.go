//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/hosttest"
)

// patience bounds every wait. It is long enough that only a failure reaches it.
const patience = 90 * time.Second

// engine is a Docker engine, as the docker command speaks to it.
type engine struct {
	host string // DOCKER_HOST; empty: the default engine
}

// run runs a docker command and returns what it printed to stdout, without surrounding white space.
func (e *engine) run(args ...string) (string, error) {
	return hosttest.Docker(context.Background(), e.host, nil, args...)
}

// must is run, and fails the test on an error.
func (e *engine) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := e.run(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// container is a container of the tests' image.
type container struct {
	engine *engine
	name   string // in Docker, and by default the stream's
	id     string
}

// numbered is how many names newName has returned.
var numbered int

// newName returns a name that no other container of any run has.
func newName(t *testing.T) string {
	numbered++
	name, _, _ := strings.Cut(strings.TrimPrefix(t.Name(), "Test"), "/")
	return fmt.Sprintf("%s-%s-%s-%d", ours, runID, strings.ToLower(name), numbered)
}

// spec is a container to run. The zero value is a container that prints nothing, with the
// plugin under test.
type spec struct {
	engine *engine  // nil: the default engine
	name   string   // empty: a new one
	plain  bool     // without --log-driver
	docker []string // options of docker run
	opts   []string // log options
	args   []string // of the program
}

func (s *spec) dockerArgs(t *testing.T) []string {
	if s.engine == nil {
		s.engine = local
	}
	if s.name == "" {
		s.name = newName(t)
	}
	args := []string{"run", "-d", "--name", s.name, "--network", "none", "--label", label}
	if !s.plain {
		args = append(args, "--log-driver", tested.name)
	}
	for _, o := range s.opts {
		args = append(args, "--log-opt", o)
	}
	args = append(args, s.docker...)
	args = append(args, image, "-name", s.name)
	return append(args, s.args...)
}

// start starts a container, and removes it at the end of the test.
func start(t *testing.T, s spec) *container {
	t.Helper()
	args := s.dockerArgs(t)
	c := &container{engine: s.engine, name: s.name}
	t.Cleanup(func() {
		if _, err := c.engine.run("rm", "-fv", c.name); err != nil {
			t.Error(err)
		}
	})
	c.id = s.engine.must(t, args...)
	return c
}

// refused runs a container that must not start, and returns the error message that a user sees.
func refused(t *testing.T, s spec) string {
	t.Helper()
	args := s.dockerArgs(t)
	t.Cleanup(func() { _, _ = s.engine.run("rm", "-fv", s.name) })
	_, err := s.engine.run(args...)
	f, ok := errors.AsType[*hosttest.DockerError](err)
	if !ok || f.Code != 125 {
		t.Fatalf("docker %s: %v; want exit 125", strings.Join(args, " "), err)
	}
	return f.Stderr
}

// wait waits until the container has exited, and returns its exit status.
func (c *container) wait(t *testing.T) int {
	t.Helper()
	code, err := strconv.Atoi(c.engine.must(t, "wait", c.name))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// finish waits until the container has exited, and fails the test unless its status is 0.
func (c *container) finish(t *testing.T) {
	t.Helper()
	if code := c.wait(t); code != 0 {
		t.Fatalf("%s exited with status %d", c.name, code)
	}
}

// pid returns the ID of the container's process.
func (c *container) pid(t *testing.T) int {
	t.Helper()
	pid, err := strconv.Atoi(c.engine.must(t, "inspect", "--format", "{{.State.Pid}}", c.name))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// remote tells a container's program what to print.
type remote struct {
	t    *testing.T
	l    *net.UnixListener
	conn net.Conn
}

// newRemote makes the socket of a remote, and returns the options of docker run and of the
// program for it.
func newRemote(t *testing.T) (r *remote, docker, args []string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "control")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	r = &remote{t: t, l: l}
	t.Cleanup(func() {
		l.Close()
		if r.conn != nil {
			r.conn.Close()
		}
	})
	return r, []string{"-v", dir + ":/control"}, []string{"-control", "/control/control"}
}

// connect waits until the program has connected. It is called again after each start of the
// container.
func (r *remote) connect() {
	r.t.Helper()
	_ = r.l.SetDeadline(time.Now().Add(patience))
	conn, err := r.l.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	r.conn = conn
}

// tell sends a command, and returns how many lines the program has printed after it.
func (r *remote) tell(format string, args ...any) int {
	r.t.Helper()
	if _, err := fmt.Fprintf(r.conn, format+"\n", args...); err != nil {
		r.t.Fatal(err)
	}
	return r.printed()
}

// printed waits for the program's next answer, which is how many lines it has printed.
func (r *remote) printed() int {
	r.t.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(patience))
	var n int
	if _, err := fmt.Fscanln(r.conn, &n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// end ends the program, and returns how many lines it has printed.
func (r *remote) end() int {
	r.t.Helper()
	if err := r.conn.(*net.UnixConn).CloseWrite(); err != nil {
		r.t.Fatal(err)
	}
	return r.printed()
}
