//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
)

// running is a container that prints what it is told.
func running(t *testing.T, args ...string) (*container, *remote) {
	t.Helper()
	r, docker, control := newRemote(t)
	c := start(t, spec{docker: docker, args: append(control, args...)})
	r.connect()
	return c, r
}

// Lines are printed before the plugin is disabled, while it is, and after, by a container that is told to and
// by one that never stops.
func TestDisableAndEnableInMidRun(t *testing.T) {
	told, r := running(t)
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
	to(hostName(t), told.name).has(t, printed(told.name, "stdout", 1500))
	to(hostName(t), steady.name).has(t, printed(steady.name, "stdout", n), printed(steady.name, "stderr", n))
}

// A container that ended while the plugin was disabled has its lines delivered all the same.
func TestStoppedWhileDisabled(t *testing.T) {
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

// The upgrade is a real one, from a registry, to a plugin that was built anew.
func TestUpgradeInMidRun(t *testing.T) {
	upgraded := newRegistry(t) + "/" + ours + ":" + runID
	version := newName(t)
	dir := filepath.Join(runDir, version)
	if err := copyTree(filepath.Join(runDir, "plugin"), dir); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+version, "-o", filepath.Join(dir, "rootfs", "logspool"), "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { _, _ = local.run("plugin", "rm", "-f", upgraded) })
	local.must(t, "plugin", "create", upgraded, dir)
	local.must(t, "plugin", "push", upgraded)
	local.must(t, "plugin", "rm", upgraded)

	told, r := running(t)
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
	f := startFollower(t, told, "logs", "-f")
	f.waitFor(t, "n=000899")
	if n := strings.Count(f.answer().stdout, "\n"); n != 900 {
		t.Errorf("docker logs shows %d lines from before the upgrade on, of 900", n)
	}
	s.tell("stop")
	n := s.end()
	r.end()
	to(hostName(t), told.name).has(t, printed(told.name, "stdout", 900))
	to(hostName(t), steady.name).has(t, printed(steady.name, "stdout", n), printed(steady.name, "stderr", n))
}

// dockerd starts a plugin that was killed again. Nothing is lost, and doubled is only what was under way: the
// requests of which the plugin had no answer when it was killed.
func TestKilledPluginInFlood(t *testing.T) {
	const (
		kills = 3
		// dockerd looks whether a plugin listens half a second after it has started it again, and disables one
		// that is dead by then (moby, plugin/manager_linux.go, pluginPostStart).
		apart = 2 * time.Second
		// That many requests of one stream may be under way at once.
		underWay = 4
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
	if repeated > kills*underWay {
		t.Errorf("%d requests were repeated, which is more than can have been under way", repeated)
	}
	result.Doubled = 0
	if err := result.Err(); err != nil {
		t.Error(err)
	}
	settle(s, result.Written+doubled)
}

// The service holds its answers back while the plugin is killed, so what is doubled is known: what the service
// had stored without an answer, and nothing from before.
func TestKilledPluginDoublesWhatWasUnderWay(t *testing.T) {
	c, r := running(t)
	s := to(hostName(t), c.name)
	answered := r.tell("print 1000")
	s.waitFor(t, answered)

	// Without a backlog batches of one stream are sent one after the other, so that the next one is under
	// way says that the last one was answered.
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
	settle(s, n+result.Doubled)
	result.Doubled = 0
	if err := result.Err(); err != nil {
		t.Error(err)
	}
}

// kill kills the plugin's process, which dockerd starts again.
func kill(t *testing.T, p *plugin) {
	t.Helper()
	killProcess(t, p.pid(t))
}

// killProcess kills a process and waits until it is gone.
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
			t.Fatalf("the killed process %d is not gone: %v", pid, err)
		}
		return
	}
}

// While nothing listens where the service should be, containers start and stop as quickly as ever, and what
// they print arrives once it is back.
func TestServiceDown(t *testing.T) {
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
			t.Errorf("docker run and docker stop took %v with the service down, and %v with no logs at all", took, without)
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
		t.Errorf("the lines arrived %v after the service's return; 30 s are promised", took)
	}
}
