//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cwlocal"
)

// TestDisksBelowTheAWSDirectoryStayOutOfThePlugin: the plugin does not see file systems
// that are mounted below the source of the AWS files, before or after it is enabled, and
// does not keep them busy.
func TestDisksBelowTheAWSDirectoryStayOutOfThePlugin(t *testing.T) {
	source := t.TempDir()
	disk := func(name string) string {
		dir := filepath.Join(source, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(name, dir, "tmpfs", 0, "size=1m"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	before := disk("logspool-e2e-before")
	tested.with(t, []string{"aws.source=" + source}, []string{"aws.source=/sys/module"})
	after := disk("logspool-e2e-after")

	pid := tested.pid(t)
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{before, after} {
		if strings.Contains(string(mounts), filepath.Base(dir)) {
			t.Errorf("the plugin has %s mounted:\n%s", dir, mounts)
		}
		inside := fmt.Sprintf("/proc/%d/root/.aws/%s/file", pid, filepath.Base(dir))
		if _, err := os.Stat(inside); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want that it does not exist", inside, err)
		}
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("couldn't unmount %s: %v", dir, err)
		}
	}
}

// TestDefaultAWSDirectoryIsNoDisk: by default, the directory of the AWS files is not on a
// disk of the host.
func TestDefaultAWSDirectoryIsNoDisk(t *testing.T) {
	var got unix.Statfs_t
	if err := unix.Statfs(fmt.Sprintf("/proc/%d/root/.aws", tested.pid(t)), &got); err != nil {
		t.Fatal(err)
	}
	if got.Type != unix.SYSFS_MAGIC {
		t.Errorf("file system %x at /.aws, want sysfs", got.Type)
	}
}

// TestEmptyAWSSourceIsReported: with an empty source, runc mounts a directory of its own.
// The plugin runs, and logs what to do.
func TestEmptyAWSSourceIsReported(t *testing.T) {
	if err := tested.reset("aws.source="); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tested.reset("aws.source=/sys/module"); err != nil {
			t.Error(err)
		}
	})
	c := start(t, spec{args: []string{"-lines", "3"}})
	c.finish(t)
	to(hostName(t), c.name).has(t, printed(c.name, "stdout", 3))
	spec := fmt.Sprintf("/proc/%d/root/.aws/config.json", tested.pid(t))
	if b, err := os.ReadFile(spec); err != nil || !strings.Contains(string(b), `"ociVersion"`) {
		t.Errorf("runc mounts another directory for an empty source: %v; the plugin looks for %s", err, spec)
	}
}

// dnsServer answers every question for an IPv4 address with 127.0.0.1 (RFC 1035, section 4).
func dnsServer(conn net.PacketConn) {
	buf := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if n < 12 {
			continue
		}
		end := 12
		for end < n && buf[end] != 0 {
			end += int(buf[end]) + 1
		}
		end += 5 // the root label, type and class
		if end > n {
			continue
		}
		answer := append([]byte{}, buf[:end]...)
		copy(answer[2:], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
		if isA := buf[end-4] == 0 && buf[end-3] == 1; isA {
			answer[7] = 1
			answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1)
		}
		_, _ = conn.WriteTo(answer, from)
	}
}

// privateEtc mounts a copy of /etc for the second engine, and returns the path of its
// resolv.conf, which the test may replace.
func (s *secondEngine) privateEtc(t *testing.T) (resolvConf string) {
	t.Helper()
	etc := filepath.Join(s.own.Dir, "etc")
	if err := copyTree("/etc", etc); err != nil {
		t.Fatal(err)
	}
	var err error
	s.own.Network.Do(func() {
		err = errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount(etc, "/etc", "", unix.MS_BIND, ""))
	})
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(etc, "resolv.conf")
}

// replaceFile replaces a file as a DHCP client does.
func replaceFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// TestReplacedResolvConfReachesThePlugin: when the host replaces /etc/resolv.conf, the
// plugin still has the old file mounted. It stops, dockerd starts it again with the new
// file, and everything is delivered.
func TestReplacedResolvConfReachesThePlugin(t *testing.T) {
	s := prepareSecondEngine(t)
	resolvConf := s.privateEtc(t)
	replaceFile(t, resolvConf, "nameserver 127.0.0.2\noptions timeout:1 attempts:1\n") // no server has this address
	var dns net.PacketConn
	var err error
	s.own.Network.Do(func() { dns, err = net.ListenPacket("udp", "127.0.0.3:53") })
	if err != nil {
		t.Fatal(err)
	}
	go dnsServer(dns)
	t.Cleanup(func() { dns.Close() })
	s.startContainerd(t)
	t.Cleanup(func() { s.end(t) })
	s.start(t, storage(t))
	p := s.install(t)
	if err := p.reset("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=http://logs.example.test:" + s.port); err != nil {
		t.Fatal(err)
	}
	r, docker, args := newRemote(t)
	c := start(t, spec{engine: &s.engine, docker: docker, args: args, opts: []string{"group=dns"}})
	r.connect()
	sent := r.tell("print 300")
	first := p.pid(t)

	replaceFile(t, resolvConf, "nameserver 127.0.0.3\n")
	// The plugin does not stop in its first two minutes.
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	if err := s.stand.WaitEvents(ctx, region, "dns", c.name, int64(sent)); err != nil {
		t.Fatal(err)
	}
	if p.pid(t) == first {
		t.Error("the plugin is the same process, which cannot have the new file")
	}
	r.tell("print 300")
	n := r.end()
	c.finish(t)
	stream{s.stand, region, "dns", c.name}.has(t, printed(c.name, "stdout", n))
	if got := s.must(t, "plugin", "inspect", "--format", "{{.Enabled}}", p.name); got != "true" {
		t.Errorf("enabled: %s", got)
	}
}

// create runs scripts/plugin create on the second engine.
func (s *secondEngine) create(name string, env ...string) (string, error) {
	cmd := exec.Command("../scripts/plugin", "create", name)
	cmd.Env = append(append(os.Environ(), "DOCKER_HOST="+s.host), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestPluginWithUndeliveredLinesIsNotReplaced: scripts/plugin does not replace a plugin
// that has undelivered lines, because that deletes them.
func TestPluginWithUndeliveredLinesIsNotReplaced(t *testing.T) {
	s := newSecondEngine(t)
	s.start(t, storage(t))
	p := s.install(t)
	fault := s.stand.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable})
	c := start(t, spec{engine: &s.engine, args: []string{"-lines", "100"}, opts: []string{"group=replaced"}})
	c.finish(t)
	s.must(t, "rm", c.name)
	s.must(t, "plugin", "disable", p.name)
	out, err := s.create(p.name)
	if err == nil || strings.Count(out, "\n") != 1 || !strings.Contains(out, p.name+" has undelivered lines") || !strings.Contains(out, c.name) || !strings.Contains(out, "FORCE=1") {
		t.Errorf("%v: %s", err, out)
	}
	if err := p.enable(); err != nil {
		t.Fatalf("the plugin was removed: %v", err)
	}
	s.stand.ClearFault(fault)
	stream{s.stand, region, "replaced", c.name}.has(t, printed(c.name, "stdout", 100))
	s.must(t, "plugin", "disable", p.name)
	if out, err := s.create(p.name); err != nil {
		t.Errorf("after everything is delivered: %v: %s", err, out)
	}

	// This is another plugin, without settings. FORCE=1 deletes its undelivered lines.
	if err := p.set(settings("http://127.0.0.1:1")...); err != nil {
		t.Fatal(err)
	}
	if err := p.enable(); err != nil {
		t.Fatal(err)
	}
	c = start(t, spec{engine: &s.engine, args: []string{"-lines", "100"}})
	c.finish(t)
	s.must(t, "rm", c.name)
	s.must(t, "plugin", "disable", p.name)
	if out, err := s.create(p.name); err == nil {
		t.Errorf("replaced: %s", out)
	}
	if out, err := s.create(p.name, "FORCE=1"); err != nil {
		t.Errorf("FORCE=1: %v: %s", err, out)
	}
}

// TestPluginInUseWithoutContainers: when a container stops while the plugin is disabled,
// dockerd cannot call StopLogging, and counts the container as a user of the plugin from
// then on (moby, daemon/logger/adapter.go, Close). docs/troubleshooting.md says what to do.
func TestPluginInUseWithoutContainers(t *testing.T) {
	s := newSecondEngine(t)
	s.start(t, storage(t))
	p := s.install(t)
	r, docker, args := newRemote(t)
	c := start(t, spec{engine: &s.engine, docker: docker, args: args, opts: []string{"group=inuse"}})
	r.connect()
	n := r.tell("print 300")
	if err := p.disable(); err != nil {
		t.Fatal(err)
	}
	s.must(t, "stop", "-t", "1", c.name)
	if err := p.enable(); err != nil {
		t.Fatal(err)
	}
	stream{s.stand, region, "inuse", c.name}.has(t, printed(c.name, "stdout", n))
	s.must(t, "rm", c.name)
	if _, err := s.run("plugin", "disable", p.name); err == nil {
		t.Log("this dockerd does not have the leak: say so in docs/troubleshooting.md")
	} else if !strings.Contains(err.Error(), "is in use") {
		t.Error(err)
	}

	// The settings can still be changed.
	if err := p.reset("DELAY=300ms"); err != nil {
		t.Errorf("with -f: %v", err)
	}
	// dockerd counts the users again when it starts.
	s.end(t)
	s.start(t, storage(t))
	s.must(t, "plugin", "disable", p.name)
	s.must(t, "plugin", "rm", p.name)
}
