//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
)

// handbook runs commands of the documents as they are written there, except for names: the
// documents' plugin, container and image are those of the test.
//
// They use a stand-in of their own, because logspool check sends a request that CloudWatch
// refuses, to see the time of the answer.
type handbook struct {
	*released
	cw        *cwlocal.Server
	container string            // container is the container that the documents call hello.
	env       []string          // env is the environment of the commands.
	rename    *strings.Replacer // rename replaces the names of files.
}

// dockerScript stands in for the docker command. It replaces names, and the program that the
// documents run in a container.
const dockerScript = `#!/bin/bash
args=()
[[ $1 != run ]] || { args=(run --network none --label '%s'); shift; }
for a; do
	case $a in
	logspool) args+=("$PLUGIN") ;;
	hello) args+=('%s') ;;
	busybox) args+=('%s' -name hello -lines 3 -hold); break ;;
	*) args+=("$a") ;;
	esac
done
exec '%s' "${args[@]}"
`

// newHandbook returns a handbook. renamed are pairs of a name in the documents and the test's.
func newHandbook(t *testing.T, renamed ...string) *handbook {
	t.Helper()
	docker, err := exec.LookPath("docker")
	if err != nil {
		t.Fatal(err)
	}
	cw, err := cwlocal.Start("127.0.0.1:0", standOptions())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cw.Close() })
	h := &handbook{released: newReleased(t), cw: cw, container: newName(t), rename: strings.NewReplacer(renamed...)}
	stubs := t.TempDir()
	for name, script := range map[string]string{
		"docker":   fmt.Sprintf(dockerScript, label, h.container, image, docker),
		"logspool": "#!/bin/bash\nexec \"$BIN_DIR/logspool\" \"$@\" --plugin \"$PLUGIN\"\n",
	} {
		if err := os.WriteFile(filepath.Join(stubs, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.env = append(os.Environ(), "PATH="+stubs+":"+os.Getenv("PATH"), "PLUGIN="+h.name, "BIN_DIR="+h.bin, "WAIT=5")
	return h
}

// run runs commands in a directory, and fails the test unless each of them succeeds.
func (h *handbook) run(t *testing.T, dir, commands string) (stdout string) {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", h.rename.Replace(commands))
	cmd.Dir, cmd.Env, cmd.Stderr = dir, h.env, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s\nin the commands\n%s", err, out, stderr.String(), commands)
	}
	return string(out)
}

// uninstall removes what install.sh in dir has installed, at the end of the test.
func (h *handbook) uninstall(t *testing.T, dir string) {
	t.Cleanup(func() {
		if _, err := os.Stat(dir); err == nil {
			h.install(t, 0, dir, "uninstall", "--drop")
		}
	})
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documentsRelease is the name of a release in the documents, and thisRelease that of the test's.
func documentsRelease(version string) string { return "logspool-" + version + "-linux-amd64" }

func thisRelease(version string) string {
	return "logspool-" + version + "-" + runID + "-linux-" + runtime.GOARCH
}

// TestFleetCommandsWork runs the commands of docs/fleet.md that are marked with run, in their
// order: an image is made, booted, upgraded, rolled back and given a proxy. A container prints
// all the time, and none of its lines is lost or repeated.
func TestFleetCommandsWork(t *testing.T) {
	marked := regexp.MustCompile("(?m)^<!-- run: (.+) -->\n```sh\n((?:.*\n)*?)```$")
	blocks := map[string]string{}
	for _, m := range marked.FindAllStringSubmatch(readPage(t, "docs/fleet.md"), -1) {
		blocks[m[1]] = m[2]
	}
	first := unpack(t, makeRelease(t, "..", "1.0.0-"+runID), "1.0.0-"+runID)
	second := unpack(t, makeRelease(t, "..", "1.1.0-"+runID), "1.1.0-"+runID)
	h := newHandbook(t, "/opt/"+documentsRelease("1.0.0"), first)
	step := func(name, dir string) {
		t.Helper()
		if blocks[name] == "" {
			t.Fatalf("docs/fleet.md has no block %q", name)
		}
		h.run(t, dir, blocks[name])
		delete(blocks, name)
	}

	h.uninstall(t, first)
	step("golden image", first)
	if entries, err := os.ReadDir(filepath.Join(h.dir(t), ".state")); !os.IsNotExist(err) {
		t.Errorf("the image has the state of a plugin: %v, %v", entries, err)
	}
	if err := h.set(settings(h.cw.URL())...); err != nil {
		t.Fatal(err)
	}
	step("first boot", first)
	booted := h.program(t)

	remote, docker, control := newRemote(t)
	c := start(t, spec{docker: append(docker, "--log-driver", h.name), plain: true, args: control})
	remote.connect()
	remote.tell("print 100")
	s := stream{h.cw, region, "/docker/web", c.name}
	s.waitFor(t, 100)
	step("canary", second)
	if h.program(t) == booted {
		t.Error("the upgraded plugin runs the same program as before")
	}
	remote.tell("print 100")
	step("rollback", second)
	if h.program(t) != booted {
		t.Error("after the rollback, the plugin does not run the first program")
	}
	remote.tell("print 100")
	step("proxy", first)
	if env := local.must(t, "plugin", "inspect", "--format", "{{.Settings.Env}}", h.name); !strings.Contains(env, "HTTPS_PROXY=http://proxy.example.com:3128") {
		t.Errorf("the plugin's settings have no proxy: %s", env)
	}
	remote.tell("print 100")
	remote.end()
	s.waitFor(t, 400)
	if err := s.check(printed(c.name, "stdout", 400)).Err(); err != nil {
		t.Errorf("%v: %v", s, err)
	}
	for name := range blocks {
		t.Errorf("docs/fleet.md says that the tests run %q, but they do not", name)
	}
}

// TestREADMELeadsToTheFirstLine follows the README, from the tarball to the first line and
// back, on a host that has Docker and the AWS CLI's files.
func TestREADMELeadsToTheFirstLine(t *testing.T) {
	const version = "1.0.0"
	_, section, _ := strings.Cut(readPage(t, "README.md"), "\n## Install\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, commands, found := strings.Cut(section, "```sh\n")
	commands, _, _ = strings.Cut(commands, "```\n")
	if !found {
		t.Fatal("the README does not say how to install")
	}
	dist := makeRelease(t, "..", version+"-"+runID)
	h := newHandbook(t, documentsRelease(version), thisRelease(version))
	home := t.TempDir()
	for name, text := range map[string]string{
		"credentials": "[default]\naws_access_key_id = " + accessKey + "\naws_secret_access_key = " + secretKey + "\n",
		"config":      "[default]\nendpoint_url = " + h.cw.URL() + "\n",
	} {
		if err := os.MkdirAll(filepath.Join(home, ".aws"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, ".aws", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.env = append(h.env, "HOME="+home)
	unpacked := filepath.Join(dist, thisRelease(version))
	h.uninstall(t, unpacked)
	t.Cleanup(func() { _, _ = local.run("rm", "-fv", h.container) })

	begun := time.Now()
	out := h.run(t, dist, commands)
	s := stream{h.cw, "eu-central-1", hostName(t), h.container}
	s.waitFor(t, 3)
	if took := time.Since(begun); took > mostInstallTime {
		t.Errorf("it took %v from the tarball to the first delivered line", took)
	}
	if !strings.Contains(out, "\nhealthy: ") || !strings.Contains(out, h.container) {
		t.Errorf("logspool status does not say that all is well:\n%s", out)
	}

	for _, command := range []string{"docker rm -f hello", "./install.sh uninstall"} {
		if !strings.Contains(section, "`"+command+"`") {
			t.Errorf("the README does not say to run %s", command)
		}
		h.run(t, unpacked, command)
	}
	if names := local.must(t, "plugin", "ls", "--format", "{{.Name}}"); strings.Contains(names, h.name) {
		t.Errorf("the plugin is still installed: %s", names)
	}
}
