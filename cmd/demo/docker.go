package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/hosttest"
)

// dockerHost is this machine's Docker engine. The demo's containers and its image have a
// label of this run, by which they are removed, so that nothing else is.
type dockerHost struct {
	dir      string // dir is the argument of docker plugin create.
	hostname string
	label    string
	plugin   bool     // plugin says that the plugin was created.
	started  []string // started has the names of the containers that were started.
}

func newDockerHost(dir string) *dockerHost {
	return &dockerHost{dir: dir, label: "logspool.demo=" + dockertest.NewID()[:12]}
}

// docker runs the docker command and returns what it printed. A command that makes
// something must have a context that Ctrl-C does not end: if it were interrupted, nobody
// would know what to remove.
func docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	return hosttest.Docker(ctx, "", stdin, args...)
}

// engineVersion returns the version of this machine's engine, and an error if none answers.
func engineVersion(ctx context.Context) (string, error) {
	if _, err := exec.LookPath("docker"); err != nil {
		return "", errors.New("there is no docker command")
	}
	// The plugin must reach the stand-in, which listens on this machine's loopback address.
	endpoint := os.Getenv("DOCKER_HOST")
	if endpoint != "" && !strings.HasPrefix(endpoint, "unix://") {
		return "", errors.New("DOCKER_HOST is an engine on another machine")
	}
	return docker(ctx, nil, "version", "--format", "{{.Server.Version}}")
}

func (h *dockerHost) install(ctx context.Context, settings []string) (err error) {
	if h.hostname, err = docker(ctx, nil, "info", "--format", "{{.Name}}"); err != nil {
		return err
	}
	if err := h.namesAreFree(ctx); err != nil {
		return err
	}
	dir, err := h.ownPlugin()
	defer os.RemoveAll(dir)
	if err != nil {
		return err
	}
	whole := context.WithoutCancel(ctx)
	if _, err := docker(whole, nil, "plugin", "create", pluginName, dir); err != nil {
		return err
	}
	h.plugin = true
	if _, err := docker(whole, nil, append([]string{"plugin", "set", pluginName}, settings...)...); err != nil {
		return err
	}
	if _, err := docker(whole, nil, "plugin", "enable", "--timeout", "0", pluginName); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	image, err := hosttest.ImageTar(self, "demo")
	if err != nil {
		return err
	}
	_, err = docker(whole, image, "import", "--change", "LABEL "+h.label, "--change", `ENTRYPOINT ["/demo"]`, "-", imageName)
	return err
}

// namesAreFree returns an error if the engine has something with one of the demo's names
// already. A killed demo may have left it, but it may as well belong to somebody else.
func (h *dockerHost) namesAreFree(ctx context.Context) error {
	taken := func(kind, name string) bool {
		_, err := docker(ctx, nil, kind, "inspect", name)
		return err == nil
	}
	var there, remove []string
	for _, s := range scenes {
		if taken("container", s.name) {
			there, remove = append(there, "the container "+s.name), append(remove, "docker rm -f "+s.name)
		}
	}
	if taken("image", imageName) {
		there, remove = append(there, "the image "+imageName), append(remove, "docker rmi "+imageName)
	}
	if taken("plugin", pluginName) {
		there, remove = append(there, "the plugin "+pluginName), append(remove, "docker plugin rm -f "+pluginName)
	}
	if there != nil {
		return fmt.Errorf("the demo needs these names, which are in use: %s; if a killed demo left them, run: %s", strings.Join(there, ", "), strings.Join(remove, "; "))
	}
	return context.Cause(ctx)
}

// ownPlugin copies the plugin's directory and adds a file with the label, because dockerd
// makes no second plugin from a root file system that it has already, such as that of the
// plugin under its usual name.
func (h *dockerHost) ownPlugin() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "logspool-demo-"); err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, os.DirFS(h.dir)); err != nil {
		return dir, fmt.Errorf("couldn't copy the plugin's directory: %w", err)
	}
	return dir, os.WriteFile(filepath.Join(dir, "rootfs", "demo"), []byte(h.label+"\n"), 0o644)
}

func (h *dockerHost) name() string { return h.hostname }

func (h *dockerHost) start(ctx context.Context, s scene) error {
	_, err := docker(context.WithoutCancel(ctx), nil, s.args()...)
	if err == nil {
		h.started = append(h.started, s.name)
	}
	return err
}

func (h *dockerHost) logs(ctx context.Context, s scene) (string, error) {
	return docker(ctx, nil, "logs", "-f", s.name)
}

func (h *dockerHost) finish(ctx context.Context) error {
	for _, name := range h.started {
		status, err := docker(ctx, nil, "wait", name)
		if err != nil {
			return err
		}
		if status != "0" {
			return fmt.Errorf("the container %s ended with status %s", name, status)
		}
	}
	whole := context.WithoutCancel(ctx)
	if err := h.removeContainers(whole); err != nil {
		return err
	}
	_, err := docker(whole, nil, "plugin", "disable", pluginName)
	return err
}

func (h *dockerHost) removeContainers(ctx context.Context) error {
	return removeListed(ctx, []string{"ps", "-aq", "--filter", "label=" + h.label}, "rm", "-f")
}

// removeListed removes, with one command, what another command lists.
func removeListed(ctx context.Context, list []string, remove ...string) error {
	ids, err := docker(ctx, nil, list...)
	if err != nil || ids == "" {
		return err
	}
	_, err = docker(ctx, nil, append(remove, strings.Fields(ids)...)...)
	return err
}

func (h *dockerHost) remove() error {
	ctx := context.Background()
	errs := []error{
		h.removeContainers(ctx),
		removeListed(ctx, []string{"images", "-q", "--filter", "label=" + h.label}, "rmi"),
	}
	if h.plugin {
		_, err := docker(ctx, nil, "plugin", "rm", "-f", pluginName)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("not everything was removed (see docker ps -a, docker images and docker plugin ls): %w", err)
	}
	return nil
}

func (h *dockerHost) find() []string { return []string{"--plugin", pluginName} }

func (h *dockerHost) help() string {
	if !h.plugin {
		return ""
	}
	return "\nthe plugin's log is part of dockerd's log (journalctl -u docker); its lines have plugin="
}
