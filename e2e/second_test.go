//go:build e2e

package e2e

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/hosttest"
)

// secondEngine is a private Docker engine, with a stand-in for the service in its network
// namespace.
type secondEngine struct {
	engine
	own   *hosttest.Engine
	stand *cwlocal.Server
	port  string // of the stand-in, in the engine's network namespace
}

// newSecondEngine makes the network namespace, and starts a stand-in and a containerd in
// it. It does not start the engine.
func newSecondEngine(t *testing.T) *secondEngine {
	t.Helper()
	s := prepareSecondEngine(t)
	s.startContainerd(t)
	t.Cleanup(func() { s.end(t) })
	return s
}

// prepareSecondEngine is newSecondEngine without containerd.
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
	_, s.port, _ = net.SplitHostPort(s.serve(t, "127.0.0.1:0", s.stand))
	return s
}

// serve serves in the engine's network namespace, and returns the address.
func (s *secondEngine) serve(t *testing.T, address string, h http.Handler) string {
	t.Helper()
	var l net.Listener
	var err error
	s.own.Network.Do(func() { l, err = net.Listen("tcp", address) })
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return l.Addr().String()
}

// start starts the engine with a daemon.json, and waits until it listens.
func (s *secondEngine) start(t *testing.T, conf map[string]any) {
	t.Helper()
	if err := s.own.Start(conf, nil); err != nil {
		t.Fatal(err)
	}
}

// startContainerd starts a containerd for the engine.
func (s *secondEngine) startContainerd(t *testing.T) {
	t.Helper()
	if err := s.own.StartContainerd(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.own.StopContainerd)
}

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

// storage returns the part of daemon.json with which the second engine stores images as the
// default engine does.
func storage(t *testing.T) map[string]any {
	t.Helper()
	conf := map[string]any{"storage-driver": local.must(t, "info", "--format", "{{.Driver}}")}
	if strings.Contains(local.must(t, "info", "--format", "{{.DriverStatus}}"), "io.containerd.snapshotter") {
		conf["features"] = map[string]any{"containerd-snapshotter": true}
	}
	return conf
}

// TestPluginCanBeTheDefaultDriver: the plugin can be the default driver in daemon.json.
func TestPluginCanBeTheDefaultDriver(t *testing.T) {
	s := newSecondEngine(t)
	conf := storage(t)

	// dockerd does not start with log options for a driver that does not exist, so the
	// plugin comes first.
	s.start(t, conf)
	p := s.install(t)
	s.end(t)

	conf["log-driver"] = p.name
	conf["log-opts"] = map[string]string{"group": "daemon.json/{{.Name}}", "delay": "300ms"}
	s.start(t, conf)
	c := start(t, spec{engine: &s.engine, plain: true, args: []string{"-lines", "100"}})
	c.finish(t)
	stream{s.stand, region, "daemon.json/" + c.name, c.name}.has(t, printed(c.name, "stdout", 100))

	// A container's own options take precedence over those in daemon.json.
	c = start(t, spec{engine: &s.engine, plain: true, opts: []string{"group=own"}, args: []string{"-lines", "100"}})
	c.finish(t)
	stream{s.stand, region, "own", c.name}.has(t, printed(c.name, "stdout", 100))
}

// TestKilledDockerdLosesOnlyItsBuffer: a killed dockerd sends no StopLogging. It loses what
// it has read of a container's output and not written to the FIFO: at one place, lines may
// be missing, and one may be cut off. What it had written arrives once, and the lines of
// the container's next run follow.
func TestKilledDockerdLosesOnlyItsBuffer(t *testing.T) {
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

	// These lines are spooled and undelivered when dockerd is killed.
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
	expectFinal(q, int(q.events()))
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
		t.Errorf("want one line twice, the second run's, and at most two cut off: %v", result.Err())
	}
	t.Logf("of %d lines, dockerd lost %d", n, result.Missing)
}
