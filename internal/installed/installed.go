// Package installed finds the logspool plugin that is installed in this host's Docker engine:
// its settings, its mounts, and where its files are on the host.
//
// It runs the docker command, which knows the engine's address (DOCKER_HOST, contexts).
//
// The package must not know what the settings mean.
package installed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Plugin is a logspool plugin as the engine describes it (Docker Engine API, PluginInspect).
type Plugin struct {
	ID      string
	Name    string // Name is the reference, such as "logspool:latest".
	Enabled bool
	// Env has the settings by name. A setting that is not set is empty.
	Env map[string]string
	// Mounts has the sources of the mounts by name.
	Mounts map[string]string
	// Dir is the plugin's directory on the host, which only root can read. It is empty if
	// the engine is on another host.
	Dir string
}

// Environ returns the settings as an environment.
func (p *Plugin) Environ() []string {
	var environ []string
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		environ = append(environ, name+"="+p.Env[name])
	}
	return environ
}

// Engine is what the Docker engine says about itself.
type Engine struct {
	Version string
	// Root is the data root, such as /var/lib/docker.
	Root string
}

// pluginSocket is the socket of config.json, by which a plugin is known as logspool under any
// name.
const pluginSocket = "logspool.sock"

// propagated is the directory of the plugin's propagated mount, below Plugin.Dir (moby,
// plugin/manager_linux.go). In the plugin, it is fifoDir.
const (
	propagated = "propagated-mount"
	fifoDir    = "/run/docker/logging"
)

// ErrNone says that no logspool plugin is installed.
var ErrNone = errors.New("no logspool plugin is installed in this Docker engine")

// Find returns the plugin of that name. If name is empty, it returns the only logspool
// plugin, whatever its name is. The error is ErrNone if there is none. It blocks for the
// docker command, but no longer than ctx.
func Find(ctx context.Context, name string) (*Plugin, *Engine, error) {
	engine, err := engineInfo(ctx)
	if err != nil {
		return nil, nil, err
	}
	var ids []string
	if name != "" {
		ids = []string{name}
	} else {
		out, err := docker(ctx, "plugin", "ls", "--no-trunc", "--quiet")
		if err != nil {
			return nil, engine, err
		}
		ids = strings.Fields(string(out))
	}
	if len(ids) == 0 {
		return nil, engine, ErrNone
	}
	out, err := docker(ctx, append([]string{"plugin", "inspect", "--"}, ids...)...)
	if err != nil {
		return nil, engine, err
	}
	found, err := decode(out, name == "")
	if err != nil {
		return nil, engine, err
	}
	switch len(found) {
	case 0:
		return nil, engine, ErrNone
	case 1:
		p := found[0]
		if dir := filepath.Join(engine.Root, "plugins", p.ID); isDir(dir) {
			p.Dir = dir
		}
		return p, engine, nil
	}
	var names []string
	for _, p := range found {
		names = append(names, p.Name)
	}
	return nil, engine, fmt.Errorf("%d logspool plugins are installed: choose one with --plugin (%s)", len(found), strings.Join(names, ", "))
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// decode reads the answer of docker plugin inspect. onlyOurs leaves out other plugins.
func decode(out []byte, onlyOurs bool) ([]*Plugin, error) {
	var answer []struct {
		ID      string `json:"Id"`
		Name    string
		Enabled bool
		Config  struct{ Interface struct{ Socket string } }
		Setting struct {
			Env    []string
			Mounts []struct {
				Name   string
				Source *string
			}
		} `json:"Settings"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("couldn't read the answer of docker plugin inspect: %w", err)
	}
	var all []*Plugin
	for _, a := range answer {
		if a.Config.Interface.Socket != pluginSocket {
			if onlyOurs {
				continue
			}
			return nil, fmt.Errorf("%s is not a logspool plugin", a.Name)
		}
		p := &Plugin{ID: a.ID, Name: a.Name, Enabled: a.Enabled, Env: map[string]string{}, Mounts: map[string]string{}}
		for _, kv := range a.Setting.Env {
			key, value, _ := strings.Cut(kv, "=")
			p.Env[key] = value
		}
		for _, m := range a.Setting.Mounts {
			if m.Source != nil {
				p.Mounts[m.Name] = *m.Source
			}
		}
		all = append(all, p)
	}
	return all, nil
}

// StateDir returns the state directory on the host. It is empty if STATE_DIR is outside the
// propagated mount, or if the plugin's directory is not known.
func (p *Plugin) StateDir() string {
	dir := p.Env["STATE_DIR"]
	if dir == "" {
		dir = fifoDir + "/.state"
	}
	within, ok := strings.CutPrefix(filepath.Clean(dir), fifoDir)
	if p.Dir == "" || !ok || within != "" && within[0] != '/' {
		return ""
	}
	return filepath.Join(p.Dir, propagated, within)
}

func engineInfo(ctx context.Context) (*Engine, error) {
	out, err := docker(ctx, "info", "--format", "{{json .}}")
	if err != nil {
		return nil, err
	}
	var info struct {
		ServerVersion, DockerRootDir string
		ServerErrors                 []string
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return nil, fmt.Errorf("couldn't read the answer of docker info: %w", err)
	}
	if len(info.ServerErrors) > 0 {
		return nil, fmt.Errorf("the Docker engine does not answer: %s", strings.Join(info.ServerErrors, "; "))
	}
	return &Engine{Version: info.ServerVersion, Root: info.DockerRootDir}, nil
}

// waitDelay is how long docker waits for the output after it has killed the command. The
// command's own children, such as ssh for DOCKER_HOST=ssh://, may keep the output open.
const waitDelay = time.Second

// docker runs the docker command and returns its output.
func docker(ctx context.Context, args ...string) ([]byte, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, waitDelay
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("the Docker engine did not answer docker %s in time", args[0])
	case errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("there is no docker command in the PATH")
	case err != nil:
		text := strings.Join(strings.Fields(errs.String()), " ")
		if text == "" {
			text = err.Error()
		}
		return nil, fmt.Errorf("docker %s failed: %s", strings.Join(args[:min(2, len(args))], " "), strings.TrimPrefix(text, "Error response from daemon: "))
	}
	return out.Bytes(), nil
}
