package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/status"
)

const pluginID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// fakePlugin is a plugin in the answers of the fake docker command.
type fakePlugin struct {
	name    string
	enabled bool
	env     string // such as `"STATE_DIR=/x"`
}

// fakeDocker puts a docker command into the PATH, whose engine has these plugins and root. It
// returns the state directory of the plugin with pluginID, which does not exist yet.
func fakeDocker(t *testing.T, root string, plugins ...fakePlugin) (stateDir string) {
	t.Helper()
	var ids, inspected []string
	for i, p := range plugins {
		id := fmt.Sprint(i) + pluginID[1:]
		ids = append(ids, id)
		inspected = append(inspected, fmt.Sprintf(`{"Id":%q,"Name":%q,"Enabled":%v,"Config":{"Interface":{"Socket":"logspool.sock"}},"Settings":{"Env":[%s],"Mounts":[]}}`, id, p.name, p.enabled, p.env))
	}
	script := fmt.Sprintf(`#!/bin/sh
case "$1 $2" in
"info --format") echo '{"ServerVersion":"29.0.0","DockerRootDir":"%s"}' ;;
"plugin ls") printf '%%s\n' %s ;;
"plugin inspect") echo '[%s]' ;;
esac
`, root, strings.Join(ids, " "), strings.Join(inspected, ","))
	dockerScript(t, script)
	return filepath.Join(root, "plugins", pluginID, "propagated-mount/.state")
}

func dockerScript(t *testing.T, script string) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/bin:/usr/bin")
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestStatusFindsThePlugin(t *testing.T) {
	dir := serveReport(t, sampleReport())
	root := t.TempDir()
	state := fakeDocker(t, root, fakePlugin{name: "logspool:latest", enabled: true})
	mkdir(t, filepath.Dir(state))
	if err := os.Rename(dir, state); err != nil {
		t.Fatal(err)
	}
	if exit, out, errs := run(t, "status"); exit != 1 || !strings.Contains(out, "shop-web-1") || errs != "" {
		t.Errorf("%d, %q, %q", exit, out, errs)
	}
	if _, out, _ := run(t, "__complete", "status", ""); !strings.HasPrefix(out, "cron\ndb\nshop-api-1\n") {
		t.Errorf("completed %q", out)
	}
}

// If there is no status, one line says why, and what to do.
func TestWhyThePluginCannotBeRead(t *testing.T) {
	one := []fakePlugin{{name: "logspool:latest", enabled: true}}
	for _, test := range []struct {
		name  string
		setUp func(t *testing.T)
		want  string
	}{
		{"no docker command", func(t *testing.T) { t.Setenv("PATH", t.TempDir()) }, "there is no docker command in the PATH (with --state-dir"},
		{"engine down", func(t *testing.T) {
			dockerScript(t, "#!/bin/sh\necho 'Cannot connect to the Docker daemon.\nIs it running?' >&2\nexit 1\n")
		}, "docker info --format failed: Cannot connect to the Docker daemon. Is it running?"},
		{"no JSON", func(t *testing.T) { dockerScript(t, "#!/bin/sh\necho '<html>'\n") }, "couldn't read the answer of docker info"},
		{"no plugin", func(t *testing.T) { fakeDocker(t, t.TempDir()) }, "no logspool plugin is installed"},
		{"several", func(t *testing.T) { fakeDocker(t, t.TempDir(), fakePlugin{name: "a"}, fakePlugin{name: "b"}) }, "choose one with --plugin (a, b)"},
		{"not root", func(t *testing.T) {
			fakeDocker(t, t.TempDir(), one...)
			geteuid = func() int { return 1000 }
			t.Cleanup(func() { geteuid = os.Geteuid })
		}, "only root can read the files of the plugin logspool:latest: run this command as root"},
		{"another host", func(t *testing.T) { fakeDocker(t, t.TempDir(), one...) }, "run this command on the engine's host"},
		{"state elsewhere", func(t *testing.T) {
			root := t.TempDir()
			mkdir(t, filepath.Dir(filepath.Dir(fakeDocker(t, root, fakePlugin{name: "p", enabled: true, env: `"STATE_DIR=/data"`}))))
		}, "(STATE_DIR=/data): name the directory with --state-dir"},
		{"never enabled", func(t *testing.T) {
			root := t.TempDir()
			mkdir(t, filepath.Dir(filepath.Dir(fakeDocker(t, root, fakePlugin{name: "p"}))))
		}, "the plugin p is disabled: enable it"},
		{"disabled", func(t *testing.T) { mkdir(t, fakeDocker(t, t.TempDir(), fakePlugin{name: "p"})) }, "the plugin p is disabled: enable it (docker plugin enable --timeout 0 p); logspool spool ls shows"},
		{"no socket", func(t *testing.T) { mkdir(t, fakeDocker(t, t.TempDir(), one...)) }, "is enabled, but nothing answers at its " + status.SocketName},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.setUp(t)
			if exit, out, errs := run(t, "status"); exit != 2 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, test.want) {
				t.Errorf("%d, %q, %q", exit, out, errs)
			}
			if _, out, _ := run(t, "__complete", "status", ""); out != ":4\n" {
				t.Errorf("completed %q", out)
			}
		})
	}
}

func TestFlagsThatContradictAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"status", "--plugin", "p", "--state-dir", "/x"},
		{"spool", "ls", "--plugin", "p", "--state-dir", "/x"},
		{"spool", "ls", "--state-dir", "/x", "/y"},
	} {
		if exit, out, errs := run(t, args...); exit != 2 || out != "" || strings.Count(errs, "\n") != 1 {
			t.Errorf("%q: %d, %q, %q", args, exit, out, errs)
		}
	}
}
