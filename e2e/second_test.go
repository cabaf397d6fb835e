//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/hosttest"
)

// secondEngine is a Docker engine of the tests' own. It has a network namespace to itself, with nothing but a
// loopback interface: an engine without a bridge of its own deletes the other one's (moby,
// daemon/daemon_unix.go, removeDefaultBridgeInterface).
type secondEngine struct {
	engine
	own   *hosttest.Engine
	stand *cwlocal.Server
	port  string // of the stand-in, in the engine's network namespace
}

// newSecondEngine makes the namespace, and serves a stand-in and runs a containerd in it. The engine is not started yet.
func newSecondEngine(t *testing.T) *secondEngine {
	t.Helper()
	s := prepareSecondEngine(t)
	s.startContainerd(t)
	t.Cleanup(func() { s.end(t) })
	return s
}

// prepareSecondEngine is newSecondEngine without the containerd.
func prepareSecondEngine(t *testing.T) *secondEngine {
	t.Helper()
	for _, program := range []string{"dockerd", "containerd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no second engine: %v", err)
		}
	}
	dir, err := os.MkdirTemp(runDir, "second-")
	if err != nil {
		t.Fatal(err)
	}
	own, err := hosttest.NewEngine(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Network.End)
	s := &secondEngine{engine: engine{own.Host}, own: own, stand: cwlocal.New(standOptions())}
	var listener net.Listener
	s.own.Network.Do(func() { listener, err = net.Listen("tcp", "127.0.0.1:0") })
	if err != nil {
		t.Fatal(err)
	}
	_, s.port, _ = net.SplitHostPort(listener.Addr().String())
	server := &http.Server{Handler: s.stand}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return s
}

// start starts the engine with a daemon.json, and waits until it answers.
func (s *secondEngine) start(t *testing.T, conf map[string]any) {
	t.Helper()
	if err := s.own.Start(conf, nil, "--containerd", s.containerd()); err != nil {
		t.Fatal(err)
	}
}

// startContainerd starts a containerd for the engine: dockerd would take the machine's, if there is one, and so
// run the plugin outside the namespace.
func (s *secondEngine) startContainerd(t *testing.T) {
	t.Helper()
	config := filepath.Join(s.own.Dir, "containerd.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n",
		filepath.Join(s.own.Dir, "containerd"), filepath.Join(s.own.Dir, "tasks"), s.containerd())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	containerd := exec.Command("containerd", "--config", config)
	var err error
	s.own.Network.Do(func() { err = containerd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = containerd.Process.Signal(syscall.SIGTERM)
		_ = containerd.Wait()
	})
}

func (s *secondEngine) containerd() string { return filepath.Join(s.own.Dir, "containerd.sock") }

// end stops the engine, and with it its containers and plugins.
func (s *secondEngine) end(t *testing.T) {
	t.Helper()
	if err := s.own.Stop(); err != nil {
		t.Error(err)
	}
}

// crash kills the engine. Its containers and plugins keep running.
func (s *secondEngine) crash(*testing.T) { s.own.Kill() }

// install installs the plugin under test and the tests' image.
func (s *secondEngine) install(t *testing.T) *plugin {
	t.Helper()
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
	return p
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
	conf := storage(t)

	// dockerd does not start with log options for a driver that is not there: so first the plugin, then
	// daemon.json.
	s.start(t, conf)
	p := s.install(t)
	s.end(t)

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

// A dockerd that is killed ends the logging of its containers without a word to the plugin, and loses what it has
// read of the container's output and not handed over: at one place a line may be torn and others missing. What
// it had handed over arrives once, and a container that is started again has its lines behind that.
func TestEngineKilledInMidRun(t *testing.T) {
	s := newSecondEngine(t)
	conf := storage(t)
	s.start(t, conf)
	s.install(t)
	r, docker, args := newRemote(t)
	c := start(t, spec{engine: &s.engine, docker: docker, args: args, opts: []string{"group=killed"}})
	r.connect()
	q := stream{s.stand, region, "killed", c.name}
	before := r.tell("print 300")
	q.waitFor(t, before)

	// These are spooled and cannot be delivered when dockerd is killed.
	fault := s.stand.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable})
	n := r.tell("print 300")
	wait(t, s.stand, "a try to deliver", func() bool { return s.stand.ListFaults()[0].Taken > 0 })
	s.crash(t)
	s.stand.ClearFault(fault)
	s.start(t, conf)
	s.must(t, "start", c.name)
	r.connect()
	r.tell("print 1")
	r.end()
	c.finish(t)

	again := dockertest.Sequence{Container: c.name, Source: "stdout"}
	line := again.Next(0)
	wait(t, s.stand, "the second run's line", func() bool {
		messages := q.messages()
		return len(messages) > before && messages[len(messages)-1] == line
	})
	settle(q, int(q.events()))
	var first dockertest.Checker
	first.Written(printed(c.name, "stdout", before))
	for _, m := range q.messages()[:before] {
		first.Arrived(m)
	}
	if err := first.Result().Err(); err != nil {
		t.Error(err)
	}
	result := q.check(printed(c.name, "stdout", n))
	if torn := result.Damaged + result.Unknown; result.Doubled != 1 || result.Disordered != 0 || torn > 2 {
		t.Errorf("one line is doubled, the second run's, and two at most are torn; but %v", result.Err())
	}
	t.Logf("of %d lines, dockerd lost %d", n, result.Missing)
}
