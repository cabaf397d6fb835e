//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cwlocal"
)

// secondEngine is a Docker engine of the tests' own. It has a network namespace to itself, with nothing but a
// loopback interface: an engine without a bridge of its own deletes the other one's (moby,
// daemon/daemon_unix.go, removeDefaultBridgeInterface).
type secondEngine struct {
	engine
	dir    string
	stand  *cwlocal.Server
	port   string // of the stand-in, in the namespace
	netns  *os.File
	daemon *exec.Cmd
	ended  chan error
}

// newSecondEngine makes the namespace and serves a stand-in in it. The engine is not started yet.
func newSecondEngine(t *testing.T) *secondEngine {
	t.Helper()
	if _, err := exec.LookPath("dockerd"); err != nil {
		t.Skipf("no second engine: %v", err)
	}
	dir := filepath.Join(runDir, "second")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := &secondEngine{dir: dir, stand: cwlocal.New(standOptions())}
	s.host = "unix://" + filepath.Join(dir, "docker.sock")
	netns, listener, err := newNamespace()
	if err != nil {
		t.Fatal(err)
	}
	s.netns = netns
	_, s.port, _ = net.SplitHostPort(listener.Addr().String())
	server := &http.Server{Handler: s.stand}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		<-served
		netns.Close()
	})
	return s
}

// newNamespace makes a network namespace with a loopback interface and listens there.
func newNamespace() (netns *os.File, l net.Listener, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		if netns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return
		}
		if err = upLoopback(); err == nil {
			l, err = net.Listen("tcp", "127.0.0.1:0")
		}
	}()
	<-done
	return netns, l, err
}

func upLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// start starts the engine with a daemon.json, and waits until it answers.
func (s *secondEngine) start(t *testing.T, conf map[string]any) {
	t.Helper()
	data, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(s.dir, "daemon.json")
	if err := os.WriteFile(config, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s.daemon = exec.Command("dockerd", "--config-file", config,
		"--data-root", filepath.Join(s.dir, "data"), "--exec-root", filepath.Join(s.dir, "exec"),
		"--pidfile", filepath.Join(s.dir, "pid"), "--host", s.host,
		"--bridge", "none", "--iptables=false", "--ip6tables=false")
	out, err := s.daemon.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the child is born in this thread's namespace
		if err := unix.Setns(int(s.netns.Fd()), unix.CLONE_NEWNET); err != nil {
			started <- err
			return
		}
		started <- s.daemon.Start()
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	answers := make(chan struct{})
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.follow(out, answers) }()
	select {
	case <-answers:
	case err := <-s.ended:
		s.daemon = nil
		t.Fatalf("the second engine ended: %v", err)
	case <-time.After(patience):
		t.Fatal("the second engine does not answer")
	}
}

// follow reads what the engine logs, closes answers when it says that it listens, and returns its last lines
// when it has ended.
func (s *secondEngine) follow(out io.Reader, answers chan<- struct{}) error {
	var last []string
	in := bufio.NewScanner(out)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		last = append(last[max(0, len(last)-20):], in.Text())
		if answers != nil && strings.Contains(in.Text(), "API listen on") {
			close(answers)
			answers = nil
		}
	}
	_, _ = io.Copy(io.Discard, out)
	return fmt.Errorf("%v, after\n%s", s.daemon.Wait(), strings.Join(last, "\n"))
}

// stop ends the engine, and with it its containers and plugins.
func (s *secondEngine) stop(t *testing.T) {
	t.Helper()
	if s.daemon == nil {
		return
	}
	_ = s.daemon.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Errorf("the second engine does not end")
		_ = s.daemon.Process.Kill()
		<-s.ended
	}
	s.daemon = nil
}

// storage is the part of daemon.json that makes the second engine keep images as the first one does.
func storage(t *testing.T) map[string]any {
	t.Helper()
	conf := map[string]any{"storage-driver": local.must(t, "info", "--format", "{{.Driver}}")}
	if strings.Contains(local.must(t, "info", "--format", "{{.DriverStatus}}"), "io.containerd.snapshotter") {
		conf["features"] = map[string]any{"containerd-snapshotter": true}
	}
	return conf
}

func TestDefaultDriver(t *testing.T) {
	s := newSecondEngine(t)
	t.Cleanup(func() { s.stop(t) })
	conf := storage(t)

	// dockerd does not start with log options for a driver that is not there: so first the plugin, then
	// daemon.json.
	s.start(t, conf)
	p := &plugin{&s.engine, tested.name}
	s.must(t, "plugin", "create", p.name, filepath.Join(runDir, "plugin"))
	if err := p.set(settings("http://127.0.0.1:" + s.port)...); err != nil {
		t.Fatal(err)
	}
	if err := p.enable(); err != nil {
		t.Fatal(err)
	}
	if err := importImage(&s.engine, filepath.Join(runDir, "image.tar")); err != nil {
		t.Fatal(err)
	}
	s.stop(t)

	conf["log-driver"] = p.name
	conf["log-opts"] = map[string]string{"group": "daemon.json/{{.Name}}", "delay": "300ms"}
	s.start(t, conf)
	c := start(t, spec{engine: &s.engine, plain: true, args: []string{"-lines", "100"}})
	c.finish(t)
	stream{s.stand, region, "daemon.json/" + c.name, c.name}.has(t, printed(c.name, "stdout", 100))

	// A container's own options come before daemon.json's.
	c = start(t, spec{engine: &s.engine, plain: true, opts: []string{"group=own"}, args: []string{"-lines", "100"}})
	c.finish(t)
	stream{s.stand, region, "own", c.name}.has(t, printed(c.name, "stdout", 100))
}

// removeRunDir removes a run's directory, what still runs of its second engine, and what is mounted there.
func removeRunDir(dir string) error {
	for _, pid := range engineProcesses(dir) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			points = append(points, fields[1])
		}
	}
	slices.Sort(points)
	for _, point := range slices.Backward(points) {
		err = errors.Join(err, unix.Unmount(point, unix.MNT_DETACH))
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// engineProcesses are the processes that have a run's directory in their arguments, and their descendants: the
// second engine, its containerd, the shims and what they run.
func engineProcesses(dir string) []int {
	all := processes()
	mine := map[int]bool{}
	for found := true; found; {
		found = false
		for pid, p := range all {
			if mine[pid] || !mine[p.parent] && !slices.ContainsFunc(p.args, func(a string) bool { return strings.Contains(a, dir+"/second") }) {
				continue
			}
			mine[pid], found = true, true
		}
	}
	var pids []int
	for pid := range mine {
		pids = append(pids, pid)
	}
	return pids
}
