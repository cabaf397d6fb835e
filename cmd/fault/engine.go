package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/hosttest"
)

const (
	imageName  = "logspool-fault:latest"
	pluginName = "logspool:fault"
)

// engine is a private Docker engine with the plugin installed and an image of this program.
// A stand-in that it must reach listens in its network namespace.
type engine struct{ *hosttest.Engine }

func isRoot() bool { return os.Geteuid() == 0 }

// noEngine returns why there can be no engine, and nothing if there can be one.
func (l *lab) noEngine() string {
	switch {
	case l.pluginDir == "":
		return "there is no -plugin directory"
	case !isRoot():
		return "needs root"
	}
	for _, program := range []string{"dockerd", "docker"} {
		if _, err := exec.LookPath(program); err != nil {
			return "there is no " + program
		}
	}
	return ""
}

// newEngine starts an engine and installs the plugin and the image in it. What the engine
// leaves is removed with the lab's directory.
func newEngine(ctx context.Context, l *lab) (*engine, error) {
	dir := filepath.Join(l.dir, "engine")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	own, err := hosttest.NewEngine(dir)
	if err != nil {
		return nil, err
	}
	e := &engine{own}
	// awslogs takes its credentials from dockerd's environment. Every kernel has vfs.
	err = e.Start(map[string]any{}, []string{"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey,
		"AWS_REGION=" + region, "AWS_EC2_METADATA_DISABLED=true"}, "--storage-driver", "vfs")
	if err == nil {
		err = e.install(ctx, l.pluginDir)
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (e *engine) install(ctx context.Context, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	image, err := hosttest.ImageTar(self, "fault")
	if err != nil {
		return err
	}
	// A row's containers give the address of its stand-in in a log option.
	settings := append([]string{"plugin", "set", pluginName}, pluginSettings("http://127.0.0.1:1")...)
	for _, step := range []struct {
		stdin io.Reader
		args  []string
	}{
		{image, []string{"import", "--change", `ENTRYPOINT ["/fault"]`, "-", imageName}},
		{nil, []string{"plugin", "create", pluginName, dir}},
		{nil, settings},
		{nil, []string{"plugin", "enable", "--timeout", "0", pluginName}},
	} {
		if _, err := e.Docker(ctx, step.stdin, step.args...); err != nil {
			return err
		}
	}
	return nil
}

// service starts a stand-in that the engine can reach.
func (e *engine) service(a *account) (s *cwlocal.Server, err error) {
	e.Network.Do(func() { s, err = cwlocal.Start("127.0.0.1:0", serviceOptions(a)) })
	return s, err
}

// memory returns the peak of the plugin's resident memory in KiB, and 0 if it is unknown.
func (e *engine) memory(ctx context.Context) int {
	out, err := e.Docker(ctx, nil, "plugin", "inspect", pluginName)
	var found []struct{ ID string }
	if err != nil || json.Unmarshal([]byte(out), &found) != nil || len(found) != 1 {
		return 0
	}
	if pid, ok := hosttest.PluginProcess(found[0].ID); ok {
		return peakMemory(pid)
	}
	return 0
}
