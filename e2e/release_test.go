//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/cwlocal"
)

// makeRelease makes a release for this machine's architecture from a tree, and returns its
// directory.
func makeRelease(t *testing.T, tree, version string) (dist string) {
	t.Helper()
	dist = filepath.Join(t.TempDir(), "dist")
	cmd := exec.Command(filepath.Join(tree, "scripts", "release"), version, dist)
	cmd.Env = append(os.Environ(), "ARCHITECTURES="+runtime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("scripts/release: %v\n%s", err, out)
	}
	return dist
}

// unpack unpacks a release's tarball and returns its directory.
func unpack(t *testing.T, dist, version string) (dir string) {
	t.Helper()
	name := "logspool-" + version + "-linux-" + runtime.GOARCH
	to := t.TempDir()
	if out, err := exec.Command("tar", "-xzf", filepath.Join(dist, name+".tar.gz"), "-C", to).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	return filepath.Join(to, name)
}

// released is a plugin that a release's install.sh installs.
type released struct {
	plugin
	bin string
}

// install runs install.sh in dir, and returns what it printed. It fails the test if the exit
// status is not want.
func (r *released) install(t *testing.T, want int, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("./install.sh", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PLUGIN="+r.name, "BIN_DIR="+r.bin, "WAIT=5")
	out, err := cmd.CombinedOutput()
	if status := cmd.ProcessState.ExitCode(); status != want {
		t.Fatalf("install.sh %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func newReleased(t *testing.T) *released {
	r := &released{plugin{local, ours + ":" + newName(t)}, t.TempDir()}
	t.Cleanup(func() { _, _ = local.run("plugin", "rm", "-f", r.name) })
	return r
}

// mostInstallTime is how long it may take from the unpacked tarball to the first line in the
// log stream. It takes about two seconds.
const mostInstallTime = 30 * time.Second

// TestReleaseInstallsUpgradesAndUninstalls: the tarball's install.sh works on a machine that
// has only Docker. An upgrade keeps the settings, and loses and repeats no line of a running
// container. Nothing that is undelivered is removed unless the user says so.
func TestReleaseInstallsUpgradesAndUninstalls(t *testing.T) {
	one := unpack(t, makeRelease(t, "..", "1.0.0-"+runID), "1.0.0-"+runID)
	two := unpack(t, makeRelease(t, "..", "1.1.0-"+runID), "1.1.0-"+runID)
	r := newReleased(t)
	mounted := t.TempDir()

	begun := time.Now()
	r.install(t, 0, one, append(settings(stand.URL()), "aws.source="+mounted)...)
	first := start(t, spec{docker: []string{"--log-driver", r.name}, plain: true, args: []string{"-lines", "1"}})
	to(hostName(t), first.name).waitFor(t, 1)
	if took := time.Since(begun); took > mostInstallTime {
		t.Errorf("it took %v from the tarball to the first delivered line", took)
	}
	first.finish(t)
	if out := r.install(t, 0, one); !strings.Contains(out, "is up to date") {
		t.Errorf("the second run of install.sh printed %q", out)
	}
	if out, err := exec.Command(filepath.Join(r.bin, "logspool"), "--version").Output(); err != nil || !bytes.Contains(out, []byte("1.0.0-"+runID)) {
		t.Errorf("logspool --version: %v, %q", err, out)
	}

	remote, docker, control := newRemote(t)
	c := start(t, spec{docker: append(docker, "--log-driver", r.name), plain: true, args: control})
	remote.connect()
	remote.tell("print 300")
	settingsOf := func() string {
		return local.must(t, "plugin", "inspect", "--format", "{{.Settings.Env}} {{range .Settings.Mounts}}{{.Name}}={{.Source}} {{end}}", r.name)
	}
	before, program := settingsOf(), r.program(t)
	r.install(t, 0, two)
	remote.tell("print 300")
	if diff := cmp.Diff(before, settingsOf()); diff != "" {
		t.Errorf("the upgrade changed settings (-before +after):\n%s", diff)
	}
	if r.program(t) == program {
		t.Error("the upgraded plugin runs the same program as before")
	}
	r.install(t, 0, two, "DELAY=300ms")
	if after := settingsOf(); !strings.Contains(after, "DELAY=300ms") {
		t.Errorf("install.sh DELAY=300ms: the settings are %s", after)
	}
	remote.tell("print 300")
	if out := r.install(t, 1, two, "uninstall"); !strings.Contains(out, "is in use") {
		t.Errorf("uninstalling a plugin in use printed %q", out)
	}
	remote.end()
	to(hostName(t), c.name).has(t, printed(c.name, "stdout", 900))

	r.refusesToLoseLines(t, two)
	if names := local.must(t, "plugin", "ls", "--format", "{{.Name}}"); strings.Contains(names, r.name) {
		t.Errorf("the plugin is still installed: %s", names)
	}
	if entries, err := os.ReadDir(r.bin); err != nil || len(entries) > 0 {
		t.Errorf("the command is still installed: %v, %v", entries, err)
	}
	r.install(t, 0, two, "uninstall") // once more changes nothing
}

// refusesToLoseLines checks that uninstall refuses while lines are undelivered, that it can be
// told to drop them, and that it works after they are delivered.
func (r *released) refusesToLoseLines(t *testing.T, dir string) {
	id := stand.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable})
	defer stand.ClearFault(id)
	c := start(t, spec{docker: []string{"--log-driver", r.name}, plain: true, args: []string{"-lines", "5"}})
	c.finish(t)
	local.must(t, "rm", "-f", c.name)
	if out := r.install(t, 1, dir, "uninstall"); !strings.Contains(out, c.name) || !strings.Contains(out, "not delivered") {
		t.Errorf("uninstall with undelivered lines printed %q", out)
	}
	stand.ClearFault(id)
	to(hostName(t), c.name).waitFor(t, 5)
	r.install(t, 0, dir, "uninstall")
}

// TestReleasesAreIdentical: two builds of one version, in different directories, have the same
// bytes.
func TestReleasesAreIdentical(t *testing.T) {
	other := filepath.Join(t.TempDir(), "tree")
	if out, err := exec.Command("git", "clone", "--quiet", "..", other).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var sums [2]string
	for i, tree := range []string{"..", other} {
		if i == 0 && dirty(t) {
			t.Skip("the working tree has changes, so its clone is another version")
		}
		b, err := os.ReadFile(filepath.Join(makeRelease(t, tree, "2.0.0"), "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = string(b)
	}
	if diff := cmp.Diff(sums[0], sums[1]); diff != "" {
		t.Errorf("two builds differ:\n%s", diff)
	}
}

func dirty(t *testing.T) bool {
	out, err := exec.Command("git", "-C", "..", "status", "--porcelain").Output()
	if err != nil {
		t.Fatal(err)
	}
	return len(out) > 0
}

// TestPluginLivesInARegistry: push, install, use, upgrade, disable and remove work with
// Docker's own registry, as docs/operating.md describes them.
func TestPluginLivesInARegistry(t *testing.T) {
	repository := newRegistry(t) + "/" + ours
	push := func(version string) (reference string) {
		reference = repository + ":" + version
		pushBuild(t, reference, version)
		return reference
	}
	first, second := push("1"), push("2")
	r := newReleased(t)
	local.must(t, append([]string{"plugin", "install", "--alias", r.name, "--grant-all-permissions", first}, settings(stand.URL())...)...)
	remote, docker, control := newRemote(t)
	c := start(t, spec{docker: append(docker, "--log-driver", r.name), plain: true, args: control})
	remote.connect()
	remote.tell("print 100")
	to(hostName(t), c.name).waitFor(t, 100)
	before := r.program(t)
	if err := r.disable(); err != nil {
		t.Fatal(err)
	}
	remote.tell("print 100")
	local.must(t, "plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", r.name, second)
	if err := r.enable(); err != nil {
		t.Fatal(err)
	}
	remote.tell("print 100")
	if r.program(t) == before {
		t.Error("the upgraded plugin runs the same program as before")
	}
	remote.end()
	to(hostName(t), c.name).has(t, printed(c.name, "stdout", 300))
	local.must(t, "rm", "-f", c.name)
	local.must(t, "plugin", "disable", r.name)
	local.must(t, "plugin", "rm", r.name)
}

// pushBuild builds the plugin with a version, and pushes it to a registry under a reference. It
// leaves no plugin in the engine.
func pushBuild(t *testing.T, reference, version string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "plugin")
	if err := copyTree(filepath.Join(runDir, "plugin"), dir); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+version, "-o", filepath.Join(dir, "rootfs", "logspool"), "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { _, _ = local.run("plugin", "rm", "-f", reference) })
	local.must(t, "plugin", "create", reference, dir)
	local.must(t, "plugin", "push", reference)
	local.must(t, "plugin", "rm", reference)
}
