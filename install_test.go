package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// host has release/install.sh with a stand-in for the docker command, whose engine has at most
// one plugin. The state of the engine is in files.
type installHost struct {
	t   *testing.T
	dir string
}

// dockerScript answers what install.sh and the command spool ask. DIR/fail has the commands
// that fail, and DIR/signal the command in which install.sh gets a SIGTERM.
const dockerScript = `#!/bin/sh
cd "%s"
echo "$*" >>calls
[ ! -e fail ] || ! grep -qxF "$1 $2" fail || { echo "Error response from daemon: no" >&2; exit 1; }
[ ! -e signal ] || ! grep -qxF "$1 $2" signal || kill -TERM $PPID
id=$(printf '%%064d' 7)
needs_disabled() { [ "$(cat enabled)" = false ] || { echo "plugin is enabled" >&2; exit 1; }; }
set_values() {
	for kv; do
		case $kv in
		*.source=*) grep -v "^${kv%%%%=*}=" mounts >m; echo "$kv" >>m; mv m mounts ;;
		*) grep -v "^${kv%%%%=*}=" env >e; echo "$kv" >>e; mv e env ;;
		esac
	done
}
case "$*" in
"info --format {{.DockerRootDir}}") pwd ;;
"info --format"*) echo "{\"ServerVersion\":\"24.0\",\"DockerRootDir\":\"$PWD\"}" ;;
"plugin install "*)
	while [ "${1#127}" = "$1" ]; do shift; done
	shift
	mkdir -p plugins/$id/rootfs; cp program plugins/$id/rootfs/logspool
	echo false >enabled; echo logspool.sock >socket; echo aws.source=/sys/module >mounts; echo DELAY= >env
	set_values "$@" ;;
"plugin upgrade "*) needs_disabled; cp program plugins/$id/rootfs/logspool; echo aws.source=/sys/module >mounts ;;
"plugin set "*) needs_disabled; shift 3; set_values "$@" ;;
"plugin enable "*) grep -q missing mounts && exit 1; echo true >enabled; mkdir -p plugins/$id/propagated-mount/.state ;;
"plugin disable "*) echo false >enabled ;;
"plugin rm "*) rm -rf enabled plugins ;;
"plugin inspect "*)
	[ -e enabled ] || { echo "Error: No such plugin" >&2; exit 1; }
	case "$*" in
	*.Id*) echo $id ;;
	*.Enabled*) cat enabled ;;
	*.Socket*) cat socket ;;
	*range*) cat env mounts ;;
	*) echo "[{\"Id\":\"$id\",\"Name\":\"logspool:latest\",\"Enabled\":$(cat enabled),\"Config\":{\"Interface\":{\"Socket\":\"$(cat socket)\"}}}]" ;;
	esac ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
`

func newInstallHost(t *testing.T) *installHost {
	t.Helper()
	if testing.Short() {
		t.Skip("runs many processes")
	}
	h := &installHost{t, t.TempDir()}
	h.write("bin/docker", fmt.Sprintf(dockerScript, h.dir))
	h.write("bin/id", "#!/bin/sh\necho 0\n")
	h.write("program", "1")
	h.write("release/logspool", fmt.Sprintf("#!/bin/sh\nLOGSPOOL_TEST_RUN=1 exec %s \"$@\"\n", os.Args[0]))
	for to, from := range map[string]string{"release/install.sh": "release/install.sh", "release/plugin/config.json": "config.json"} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		h.write(to, string(b))
	}
	h.write("release/plugin/rootfs/logspool", "1")
	return h
}

func (h *installHost) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		h.t.Fatal(err)
	}
}

// read returns a file of the engine, or "" if there is none.
func (h *installHost) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(h.dir, name))
	return strings.TrimSpace(string(b))
}

// newVersion makes the release another version than the plugin that is installed.
func (h *installHost) newVersion(version string) {
	h.write("program", version)
	h.write("release/plugin/rootfs/logspool", version)
}

// install runs install.sh, and fails the test if the exit status is not want.
func (h *installHost) install(want int, args ...string) (output string) {
	h.t.Helper()
	cmd := exec.Command(filepath.Join(h.dir, "release/install.sh"), args...)
	cmd.Env = append(os.Environ(), "PATH="+h.dir+"/bin:"+os.Getenv("PATH"), "BIN_DIR="+h.dir+"/usr/bin", "WAIT=0", "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != want {
		h.t.Fatalf("install.sh %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// runs checks that the plugin is enabled, and has a mount and a version.
func (h *installHost) runs(mount, version string) {
	h.t.Helper()
	program := h.read("plugins/" + strings.Repeat("0", 63) + "7/rootfs/logspool")
	if h.read("enabled") != "true" || !strings.Contains(h.read("mounts"), "aws.source="+mount) || program != version {
		h.t.Errorf("enabled %s, %s, version %s; want %s and %s", h.read("enabled"), h.read("mounts"), program, mount, version)
	}
}

func TestInstallAndUpgradeKeepSettings(t *testing.T) {
	h := newInstallHost(t)
	h.install(0, "aws.source=/my files", `LOG_OPTS={"group":"it's $x"}`)
	h.runs("/my files", "1")
	if out := h.install(0, `LOG_OPTS={"group":"it's $x"}`); !strings.Contains(out, "up to date") {
		t.Errorf("the second run printed %q", out)
	}
	h.newVersion("2")
	h.install(0, "DELAY=8")
	h.runs("/my files", "2")
	if env := h.read("env"); !strings.Contains(env, `LOG_OPTS={"group":"it's $x"}`) || !strings.Contains(env, "DELAY=8") {
		t.Errorf("the settings are %s", env)
	}
	h.install(0, "uninstall")
	h.install(0, "uninstall")
	if h.read("enabled") != "" || h.read("usr/bin/logspool") != "" {
		t.Error("something is left")
	}
}

// A run that ended between the installation and the start of the plugin is repeated.
func TestInstallContinuesAfterAnInterruptedRun(t *testing.T) {
	h := newInstallHost(t)
	h.write("fail", "plugin enable")
	h.install(1)
	h.write("fail", "")
	h.install(0)
	h.runs("/sys/module", "1")
}

// A plugin that was never enabled has no lines.
func TestUninstallOfAPluginThatNeverRan(t *testing.T) {
	h := newInstallHost(t)
	h.write("fail", "plugin enable")
	h.install(1)
	h.write("fail", "")
	h.install(0, "uninstall")
	if h.read("enabled") != "" {
		t.Error("the plugin is still installed")
	}
}

// Whatever fails after the plugin was stopped, it runs again afterwards.
func TestPluginRunsAfterAFailedUpgrade(t *testing.T) {
	for name, c := range map[string]struct {
		file, command, version string
		args                   []string
	}{
		"upgrade fails":   {"fail", "plugin upgrade", "1", nil},
		"settings fail":   {"fail", "plugin set", "2", []string{"DELAY=8"}},
		"SIGTERM":         {"signal", "plugin upgrade", "2", nil},
		"mount is absent": {"none", "", "2", []string{"aws.source=/missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newInstallHost(t)
			h.install(0, "aws.source=/mine")
			h.newVersion("2")
			h.write(c.file, c.command)
			status := 1
			if c.file == "signal" {
				status = 130
			}
			out := h.install(status, c.args...)
			if c.command != "plugin set" { // then the mounts cannot be set either
				h.runs("/mine", c.version)
			} else if h.read("enabled") != "true" {
				t.Errorf("the plugin is disabled\n%s", out)
			}
		})
	}
}

// A mistake in the arguments, or a plugin that is not logspool, changes nothing.
func TestMistakesChangeNothing(t *testing.T) {
	h := newInstallHost(t)
	h.install(0)
	h.write("calls", "")
	for _, args := range [][]string{{"unistall"}, {"DELAYS=8"}, {"=8"}, {"uninstall", "--dorp"}, {"uninstall", "logspool", "x"}, {"--drop"}} {
		h.install(1, args...)
	}
	if out := h.install(0, "--help"); !strings.Contains(out, "KEY=VALUE") {
		t.Errorf("--help printed %q", out)
	}
	h.write("socket", "other.sock")
	for _, args := range [][]string{nil, {"uninstall"}, {"uninstall", "--drop"}} {
		if out := h.install(1, args...); !strings.Contains(out, "is another plugin") {
			t.Errorf("%q: %s", args, out)
		}
	}
	for _, call := range []string{"enable", "disable", "set", "upgrade", "rm", "install"} {
		if strings.Contains(h.read("calls"), "plugin "+call) {
			t.Errorf("docker was called:\n%s", h.read("calls"))
		}
	}
}
