//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/hosttest"
)

const (
	imageName = ours + "-program"
	region    = "us-east-1" // of containers without a region option
	accessKey = "AKIDLOGSPOOLE2E"
	secretKey = "e2e/secret+key"
)

// What all tests share, made by setUp.
var (
	runDir string
	runID  string
	local  = &engine{} // the default engine
	tested *plugin     // the plugin under test, in local
	image  string
	stand  *cwlocal.Server
)

// plugin is an installed plugin.
type plugin struct {
	engine *engine
	name   string
}

func setUp(dir string) error {
	runDir = dir
	runID = strings.TrimPrefix(filepath.Base(dir), ours+"-")
	image = imageName + ":" + runID
	var err error
	stand, err = cwlocal.Start("127.0.0.1:0", standOptions())
	if err != nil {
		return err
	}
	tested = &plugin{local, ours + ":" + runID}
	if err := makeTarget("plugin", "PLUGIN_NAME="+ours, "PLUGIN_TAG="+runID); err != nil {
		return err
	}
	// The tests use a copy, because plugin/ may be built again while they run.
	if err := copyTree("../plugin", filepath.Join(dir, "plugin")); err != nil {
		return err
	}
	if err := tested.set(settings(stand.URL())...); err != nil {
		return err
	}
	if err := tested.enable(); err != nil {
		return err
	}
	archive := filepath.Join(dir, "image.tar")
	if err := makeImage(archive); err != nil {
		return err
	}
	return importImage(local, archive)
}

func standOptions() cwlocal.Options {
	return cwlocal.Options{Keys: map[string]string{accessKey: secretKey}, OnAccepted: batches.accepted}
}

// settings returns the settings of the plugin under test.
func settings(endpoint string) []string {
	return []string{
		"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=" + endpoint, "AWS_ENDPOINT_URL_STS=" + endpoint,
		"AWS_ACCESS_KEY_ID=" + accessKey,
		"AWS_SECRET_ACCESS_KEY=" + secretKey,
		"AWS_REGION=" + region,
		"NOEC2=1",
		"DELAY=200ms",
	}
}

// makeTarget runs make with a target of the project's Makefile.
func makeTarget(args ...string) error {
	cmd := exec.Command("make", append([]string{"-s", "-C", ".."}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// copyTree copies a directory with all modes and times.
func copyTree(from, to string) error {
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("couldn't copy %s: %w: %s", from, err, out)
	}
	return nil
}

// makeImage makes the archive of an image with the tests' program and nothing else.
func makeImage(archive string) error {
	binary := filepath.Join(runDir, "program")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./testdata/program")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("couldn't build the containers' program: %w\n%s", err, out)
	}
	image, err := hosttest.ImageTar(binary, "program")
	if err != nil {
		return err
	}
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, image)
	return errors.Join(err, f.Close())
}

func importImage(e *engine, archive string) error {
	_, err := e.run("import", "--change", `ENTRYPOINT ["/program"]`, archive, image)
	return err
}

func (p *plugin) set(settings ...string) error {
	_, err := p.engine.run(append([]string{"plugin", "set", p.name}, settings...)...)
	return err
}

func (p *plugin) enable() error {
	_, err := p.engine.run("plugin", "enable", "--timeout", "0", p.name)
	return err
}

// disable disables the plugin, also while containers use it.
func (p *plugin) disable() error {
	_, err := p.engine.run("plugin", "disable", "-f", p.name)
	return err
}

// reset disables the plugin, changes settings and enables it.
func (p *plugin) reset(settings ...string) error {
	if err := p.disable(); err != nil {
		return err
	}
	if err := p.set(settings...); err != nil {
		return err
	}
	return p.enable()
}

// with changes settings for one test. Undo has the old settings.
func (p *plugin) with(t *testing.T, settings, undo []string) {
	t.Helper()
	if err := p.reset(settings...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.reset(undo...); err != nil {
			t.Error(err)
		}
	})
}

// dir returns the plugin's directory of FIFOs and state on the host.
func (p *plugin) dir(t *testing.T) string {
	root := p.engine.must(t, "info", "--format", "{{.DockerRootDir}}")
	return filepath.Join(root, "plugins", p.id(t), "propagated-mount")
}

func (p *plugin) id(t *testing.T) string {
	return p.engine.must(t, "plugin", "inspect", "--format", "{{.Id}}", p.name)
}

// fifos returns the names of the plugin's FIFOs.
func (p *plugin) fifos(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(p.dir(t))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Type() == os.ModeNamedPipe {
			names = append(names, e.Name())
		}
	}
	return names
}

// pid returns the ID of the plugin's process.
func (p *plugin) pid(t *testing.T) int {
	t.Helper()
	id := p.id(t)
	pid, ok := hosttest.PluginProcess(id)
	if !ok {
		t.Fatalf("couldn't find the process of plugin %s", id)
	}
	return pid
}

// program returns a hash of the program that the plugin's process executes.
func (p *plugin) program(t *testing.T) string {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/exe", p.pid(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// portOf returns the TCP port of a URL.
func portOf(t *testing.T, rawURL string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}
