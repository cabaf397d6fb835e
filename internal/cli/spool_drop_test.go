package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/driver/archive"
)

// dropWith runs logspool spool drop with an answer to its question.
func dropWith(t *testing.T, answer string, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	c := New("test")
	c.SetArgs(append([]string{"spool", "drop"}, args...))
	c.SetIn(strings.NewReader(answer))
	c.SetOut(&out)
	c.SetErr(&errs)
	if err := c.Execute(); err != nil {
		return 2, out.String(), err.Error()
	}
	return 0, out.String(), errs.String()
}

func TestDropAsksFirst(t *testing.T) {
	dir := makeState(t)
	before := tree(t, dir)
	for _, answer := range []string{"", "\n", "n\n", "no\n", "maybe"} {
		if exit, out, errs := dropWith(t, answer, "--state-dir", dir, "web"); exit != 2 || out != "" || errs != "nothing was dropped" {
			t.Errorf("%q: %d, %q, %q", answer, exit, out, errs)
		}
	}
	for _, args := range [][]string{{`<db>\x1b`}, {oldID}} {
		if exit, out, _ := dropWith(t, "", append(args, "--state-dir", dir)...); exit != 0 || !strings.Contains(out, "has no undelivered lines") {
			t.Errorf("%q: %d, %q", args, exit, out)
		}
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("files have changed: %s", diff)
	}
	exit, out, errs := dropWith(t, "y\n", "--state-dir", dir, "web")
	if exit != 0 || !strings.HasPrefix(out, "web (aaaa00000000): dropped 2 lines (") || !strings.HasPrefix(errs, "Give up 2 lines (") {
		t.Errorf("%d, %q, %q", exit, out, errs)
	}
	if exit, out, errs := run(t, "spool", "ls", "-uq", dir); exit != 0 || out != "" || errs != "" {
		t.Errorf("%d, %q, %q", exit, out, errs)
	}
	if _, out, _ := run(t, "spool", "cat", "--state-dir", dir, "web"); out != "one\nthree\n" {
		t.Errorf("the history is %q", out)
	}
}

// drop refuses while the plugin runs, and if that is not known.
func TestDropRefusesWhilePluginRuns(t *testing.T) {
	check := func(want, answer string, args ...string) {
		t.Helper()
		if exit, out, errs := dropWith(t, answer, args...); exit != 2 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%d, %q, %q; want %q", exit, out, errs, want)
		}
	}
	running := serveReport(t, sampleReport())
	makeLog(t, running, archive.LiveDir, webID, "web", 1)
	check("the plugin runs with ", "", "--yes", "--state-dir", running, "web")

	root := t.TempDir()
	state := fakeDocker(t, root, fakePlugin{name: "logspool:latest", enabled: true})
	makeLog(t, state, archive.LiveDir, webID, "web", 1)
	before := tree(t, state)
	check("the plugin logspool:latest is enabled: disable it first (docker plugin disable -f logspool:latest)", "", "--yes", "web")
	check("is enabled: disable it first", "", "--yes", "--state-dir", state, "web")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(state, link); err != nil {
		t.Fatal(err)
	}
	check("is enabled: disable it first", "", "--yes", "--state-dir", link, "web")
	dockerScript(t, "#!/bin/sh\necho 'Cannot connect' >&2\nexit 1\n")
	check("couldn't check that the plugin is disabled", "", "--yes", "--state-dir", state, "web")
	if diff := cmp.Diff(before, tree(t, state)); diff != "" {
		t.Errorf("files have changed: %s", diff)
	}

	dockerScript(t, `#!/bin/sh
case "$1" in
info) echo '{}' ;;
*) echo 'Error response from daemon: plugin "x" not found' >&2; exit 1 ;;
esac
`)
	if exit, out, errs := dropWith(t, "", "--yes", "--state-dir", state, "web"); exit != 0 || !strings.Contains(out, "dropped 2 lines") {
		t.Errorf("of a removed plugin: %d, %q, %q", exit, out, errs)
	}
	fakeDocker(t, root, fakePlugin{name: "logspool:latest"})
	if exit, out, errs := dropWith(t, "", "web"); exit != 0 || !strings.Contains(out, "has no undelivered lines") {
		t.Errorf("of a disabled plugin: %d, %q, %q", exit, out, errs)
	}
}

func TestDropRefusesNewerSpool(t *testing.T) {
	dir := t.TempDir()
	web := makeLog(t, dir, archive.LiveDir, webID, "web", 1)
	flipByte(t, filepath.Join(web, archive.SpoolName, "0000000000000000.seg"), 7)
	if exit, out, errs := dropWith(t, "", "--yes", "--state-dir", dir, "web"); exit != 2 || out != "" || !strings.Contains(errs, "a newer version of the plugin wrote its spool") {
		t.Errorf("%d, %q, %q", exit, out, errs)
	}
}
