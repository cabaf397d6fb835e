//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
)

// running starts a container that prints what the remote tells it.
func running(t *testing.T, args ...string) (*container, *remote) {
	t.Helper()
	r, docker, control := newRemote(t)
	c := start(t, spec{docker: docker, args: append(control, args...)})
	r.connect()
	return c, r
}

// TestDisableAndEnableLoseNothing: every line arrives that is printed before, while and
// after the plugin is disabled. One container prints at known moments, and another one all
// the time.
func TestDisableAndEnableLoseNothing(t *testing.T) {
	onDemand, r := running(t)
	steady, s := running(t, "-to", "stdout,stderr")
	s.tell("flood 500")
	r.tell("print 300")
	to(hostName(t), steady.name).waitFor(t, 200)
	for range 2 {
		if err := tested.disable(); err != nil {
			t.Fatal(err)
		}
		r.tell("print 300")
		if err := tested.enable(); err != nil {
			t.Fatal(err)
		}
		r.tell("print 300")
	}
	s.tell("stop")
	n := s.end()
	r.end()
	to(hostName(t), onDemand.name).has(t, printed(onDemand.name, "stdout", 1500))
	to(hostName(t), steady.name).has(t, printed(steady.name, "stdout", n), printed(steady.name, "stderr", n))
}

// TestExitWhileDisabledLosesNothing: the lines of a container that exits while the plugin
// is disabled are delivered when it is enabled.
func TestExitWhileDisabledLosesNothing(t *testing.T) {
	c, r := running(t)
	if err := tested.disable(); err != nil {
		t.Fatal(err)
	}
	r.tell("print 300")
	r.end()
	if err := tested.enable(); err != nil {
		t.Fatal(err)
	}
	c.finish(t)
	to(hostName(t), c.name).has(t, printed(c.name, "stdout", 300))
}

// TestUpgradeLosesNothing: every line arrives that is printed before, during and after
// docker plugin upgrade, which gets another build of the plugin from a registry.
func TestUpgradeLosesNothing(t *testing.T) {
	upgraded := newRegistry(t) + "/" + ours + ":" + runID
	pushBuild(t, upgraded, newName(t))

	onDemand, r := running(t)
	steady, s := running(t, "-to", "stdout,stderr")
	s.tell("flood 500")
	r.tell("print 300")
	to(hostName(t), steady.name).waitFor(t, 200)
	before := tested.program(t)
	if err := tested.disable(); err != nil {
		t.Fatal(err)
	}
	r.tell("print 300")
	local.must(t, "plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", tested.name, upgraded)
	if err := tested.enable(); err != nil {
		t.Fatal(err)
	}
	r.tell("print 300")
	if tested.program(t) == before {
		t.Errorf("the upgraded plugin runs the same program as before")
	}
	f := startFollower(t, onDemand, "logs", "-f")
	f.waitFor(t, "n=000899")
	if n := strings.Count(f.answer().stdout, "\n"); n != 900 {
		t.Errorf("docker logs shows %d lines of 900, some of them from before the upgrade", n)
	}
	s.tell("stop")
	n := s.end()
	r.end()
	to(hostName(t), onDemand.name).has(t, printed(onDemand.name, "stdout", 900))
	to(hostName(t), steady.name).has(t, printed(steady.name, "stdout", n), printed(steady.name, "stderr", n))
}

// TestKilledPluginLosesNothing: when the plugin is killed, dockerd starts it again. No line
// is lost, and lines arrive twice only if their request had no answer yet.
func TestKilledPluginLosesNothing(t *testing.T) {
	const (
		kills = 3
		// Half a second after dockerd has started the plugin again, it disables the plugin
		// if it does not listen (moby, plugin/manager_linux.go, pluginPostStart).
		apart = 2 * time.Second
		// inFlight is how many requests of one stream may be in flight at once.
		inFlight = 4
	)
	group := newName(t)
	r, docker, args := newRemote(t)
	c := start(t, spec{docker: docker, args: append(args, "-to", "stdout,stderr"), opts: []string{"group=" + group}})
	r.connect()
	s := to(group, c.name)
	r.tell("flood 0")
	var killed time.Time
	for range kills {
		before := s.events()
		wait(t, stand, "the next moment to kill the plugin", func() bool {
			return s.events() >= before+50_000 && time.Since(killed) > apart
		})
		kill(t, tested)
		killed = time.Now()
	}
	r.tell("stop")
	n := r.end()
	c.finish(t)
	sequences := []dockertest.Sequence{printed(c.name, "stdout", n), printed(c.name, "stderr", n)}
	wait(t, stand, "all lines", func() bool {
		return s.events() >= int64(2*n) && s.check(sequences...).Missing == 0
	})
	result := s.check(sequences...)
	doubled, repeated := result.Doubled, s.repeated(t)
	t.Logf("%d lines, %d of them doubled in %d requests by %d kills", result.Written, doubled, repeated, kills)
	if repeated > kills*inFlight {
		t.Errorf("%d requests were repeated, which is more than can have been in flight", repeated)
	}
	result.Doubled = 0
	if err := result.Err(); err != nil {
		t.Error(err)
	}
	expectFinal(s, result.Written+doubled)
}

// TestKilledPluginRepeatsOnlyInFlight: the service does not answer while the plugin is
// killed. The lines that arrive twice are exactly those that the service had stored without
// an answer.
func TestKilledPluginRepeatsOnlyInFlight(t *testing.T) {
	c, r := running(t)
	s := to(hostName(t), c.name)
	answered := r.tell("print 1000")
	s.waitFor(t, answered)

	// Without a backlog, the plugin sends a stream's batches one after the other. When the
	// next batch arrives, the plugin has had the answer to the last one.
	fault := stand.AddFault(cwlocal.Fault{Kind: cwlocal.HangAfter, Operation: "PutLogEvents", Group: s.group, Stream: s.stream})
	t.Cleanup(func() { stand.ClearFault(fault) })
	r.tell("print 500")
	s.waitFor(t, answered+1)
	kill(t, tested)
	stored := s.events()
	stand.ClearFault(fault)
	r.tell("print 500")
	n := r.end()
	c.finish(t)

	q := printed(c.name, "stdout", n)
	wait(t, stand, "all lines", func() bool { return s.check(q).Missing == 0 })
	result := s.check(q)
	if want := int(stored) - answered; result.Doubled != want {
		t.Errorf("%d lines are doubled; %d were stored and not answered", result.Doubled, want)
	}
	s.repeated(t)
	expectFinal(s, n+result.Doubled)
	result.Doubled = 0
	if err := result.Err(); err != nil {
		t.Error(err)
	}
}

// kill kills the plugin's process. dockerd starts it again.
func kill(t *testing.T, p *plugin) {
	t.Helper()
	killProcess(t, p.pid(t))
}

// killProcess kills a process, and waits until it has ended.
func killProcess(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	gone := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(gone, int(patience.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if n == 0 {
			t.Fatalf("the killed process %d has not ended: %v", pid, err)
		}
		return
	}
}

// TestContainersDoNotWaitForTheService: while nothing listens on the service's port,
// containers start and stop as quickly as without logging. What they print arrives when the
// service is back.
func TestContainersDoNotWaitForTheService(t *testing.T) {
	down, err := cwlocal.Start("127.0.0.1:0", standOptions())
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + portOf(t, down.URL())
	if err := down.Close(); err != nil {
		t.Fatal(err)
	}

	timed := func(s spec) (*container, time.Duration) {
		begun := time.Now()
		c := start(t, s)
		c.engine.must(t, "stop", c.name)
		return c, time.Since(begun)
	}
	args := []string{"-lines", "200", "-hold"}
	_, without := timed(spec{plain: true, docker: []string{"--log-driver", "none"}, args: args})
	var containers []*container
	for range 3 {
		c, took := timed(spec{opts: []string{"endpoint=http://" + address}, args: args})
		if took > without+2*time.Second {
			t.Errorf("docker run and docker stop took %v with the service down, and %v without logging", took, without)
		}
		containers = append(containers, c)
	}
	back, err := cwlocal.Start(address, standOptions())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { back.Close() })
	returned := time.Now()
	for _, c := range containers {
		stream{back, region, hostName(t), c.name}.has(t, printed(c.name, "stdout", 200))
	}
	if took := time.Since(returned); took > 30*time.Second {
		t.Errorf("the lines arrived %v after the service was back, and not within 30 s", took)
	}
}
