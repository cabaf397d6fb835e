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
	"syscall"
	"time"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"golang.org/x/sync/errgroup"

	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/hosttest"
)

// simulatedHost runs the plugin's binary as a process on this machine, and stands in for
// dockerd.
type simulatedHost struct {
	binary, dir, hostname string

	plugin     *hosttest.Program
	daemon     *dockertest.Daemon
	containers errgroup.Group
	infos      map[string]dockertest.Info // infos has the facts about the containers by name.
}

// stopTime is how long the plugin may take to stop. dockerd kills it after the same time.
const stopTime = 10 * time.Second

func newSimulatedHost(binary string) *simulatedHost {
	return &simulatedHost{binary: binary, infos: map[string]dockertest.Info{}}
}

func (h *simulatedHost) install(_ context.Context, settings []string) (err error) {
	if h.hostname, err = os.Hostname(); err != nil {
		return err
	}
	if h.dir, err = os.MkdirTemp("", "logspool-demo-"); err != nil {
		return err
	}
	socket := filepath.Join(h.dir, "plugin.sock")
	h.daemon, err = dockertest.NewDaemon(dockertest.Options{
		Socket: socket, Dir: filepath.Join(h.dir, "fifos"), Backoff: 200 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	plugin := exec.Command(h.binary)
	plugin.Env = append([]string{"PLUGIN_SOCKET=" + socket, "STATE_DIR=" + filepath.Join(h.dir, "state"), "HOME=" + h.dir}, settings...)
	plugin.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the demo answers Ctrl-C
	h.plugin, err = hosttest.StartProgram("the plugin", plugin, nil)
	return err
}

func (h *simulatedHost) name() string { return h.hostname }

func (h *simulatedHost) start(ctx context.Context, s scene) error {
	c, err := h.daemon.Start(ctx, dockertest.Info{
		Config:              s.options,
		ContainerID:         dockertest.NewID(),
		ContainerName:       "/" + s.name,
		ContainerEntrypoint: "/demo",
		ContainerArgs:       []string{"say", s.name},
		ContainerImageName:  imageName,
		ContainerCreated:    time.Now(),
		ContainerEnv:        s.env,
		ContainerLabels:     s.labels,
		DaemonName:          "docker",
	})
	if err != nil {
		return fmt.Errorf("container %s: %w", s.name, err)
	}
	h.infos[s.name] = c.Info
	h.containers.Go(func() error {
		if err := s.play(c.Write); err != nil {
			return fmt.Errorf("container %s: %w", s.name, err)
		}
		return c.Stop(ctx)
	})
	return nil
}

func (h *simulatedHost) logs(ctx context.Context, s scene) (string, error) {
	body, err := h.daemon.ReadLogs(ctx, h.infos[s.name], dockertest.ReadConfig{Tail: -1, Follow: true})
	if err != nil {
		return "", err
	}
	defer body.Close()
	var text strings.Builder
	for entries := logdriver.NewLogEntryDecoder(body); ; {
		var e logdriver.LogEntry
		if err := entries.Decode(&e); errors.Is(err, io.EOF) {
			return text.String(), nil
		} else if err != nil {
			return "", err
		}
		text.Write(e.Line)
	}
}

func (h *simulatedHost) finish(context.Context) error {
	if err := h.containers.Wait(); err != nil {
		return err
	}
	return h.plugin.Stop(stopTime)
}

func (h *simulatedHost) remove() error {
	if h.daemon != nil {
		h.daemon.Kill() // unblocks the containers' writes
	}
	if h.plugin != nil {
		h.plugin.Kill()
	}
	_ = h.containers.Wait() // finish has returned its error
	return os.RemoveAll(h.dir)
}

func (h *simulatedHost) find() []string {
	return []string{"--state-dir", filepath.Join(h.dir, "state")}
}

func (h *simulatedHost) help() string {
	if h.plugin == nil {
		return ""
	}
	return "\nthe plugin's log:\n" + strings.TrimSpace(h.plugin.Log.String())
}
