package hosttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// engineTime bounds the start and the stop of an Engine.
const engineTime = 90 * time.Second

// Engine is a private Docker engine. Everything that belongs to it is in its directory, and
// RemoveDir removes what it leaves there. It has a network namespace of its own, with
// nothing but a loopback interface: an engine without a bridge deletes the bridge of the
// host's engine (moby, daemon/daemon_unix.go, removeDefaultBridgeInterface). What it must
// reach has to listen in that namespace.
type Engine struct {
	Dir     string
	Host    string  // Host is the engine's DOCKER_HOST.
	Network *Thread // Network is in the engine's network namespace.

	dockerd    *Program // dockerd is nil while it is not running.
	containerd *Program // containerd is nil if dockerd starts or finds one.
}

// NewEngine makes the network namespace of an engine whose directory, which exists, is
// dir. Close ends it. Both need root.
func NewEngine(dir string) (*Engine, error) {
	network, err := NewThread(true)
	if err != nil {
		return nil, err
	}
	return &Engine{Dir: dir, Host: "unix://" + filepath.Join(dir, "docker.sock"), Network: network}, nil
}

// StartContainerd starts a containerd for the engine, before Start. Otherwise dockerd uses the
// machine's, if there is one, which would run the plugins outside the namespace.
func (e *Engine) StartContainerd() error {
	config := filepath.Join(e.Dir, "containerd.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n",
		filepath.Join(e.Dir, "containerd"), filepath.Join(e.Dir, "tasks"), e.containerdSocket())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	cmd := exec.Command("containerd", "--config", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	var err error
	e.containerd, err = StartProgram("containerd", cmd, e.Network)
	return err
}

// StopContainerd stops the containerd of StartContainerd, after Stop. It does nothing if there is
// none.
func (e *Engine) StopContainerd() {
	if e.containerd != nil {
		e.containerd.terminate(engineTime)
		e.containerd = nil
	}
}

func (e *Engine) containerdSocket() string { return filepath.Join(e.Dir, "containerd.sock") }

// PID returns the ID of dockerd's process, which must be running.
func (e *Engine) PID() int { return e.dockerd.PID() }

// LogTail returns the last n lines of the log of dockerd, which must be running.
func (e *Engine) LogTail(n int) string { return e.dockerd.Log.Tail(n) }

// Start starts dockerd and waits until it listens. Conf is its daemon.json, env is added
// to the caller's environment, and args to the command line.
func (e *Engine) Start(conf map[string]any, env []string, args ...string) error {
	data, err := json.Marshal(conf)
	if err != nil {
		return err
	}
	config := filepath.Join(e.Dir, "daemon.json")
	if err := os.WriteFile(config, data, 0o600); err != nil {
		return err
	}
	if e.containerd != nil {
		args = append(args, "--containerd", e.containerdSocket())
	}
	cmd := exec.Command("dockerd", append([]string{"--config-file", config,
		"--data-root", filepath.Join(e.Dir, "data"), "--exec-root", filepath.Join(e.Dir, "exec"),
		"--pidfile", filepath.Join(e.Dir, "pid"), "--host", e.Host,
		"--bridge", "none", "--iptables=false", "--ip6tables=false"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	// The caller answers Ctrl-C, and ends dockerd.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if e.dockerd, err = StartProgram("dockerd", cmd, e.Network); err != nil {
		return err
	}
	if err := e.dockerd.WaitLogged("API listen on", engineTime); err != nil {
		return errors.Join(err, e.Stop())
	}
	return nil
}

// Stop stops dockerd, and with it its containers and plugins. It does nothing if dockerd
// is not running. It returns an error if dockerd had to be killed.
func (e *Engine) Stop() error {
	dockerd := e.dockerd
	if e.dockerd = nil; dockerd != nil && !dockerd.terminate(engineTime) {
		return fmt.Errorf("dockerd didn't stop within %v", engineTime)
	}
	return nil
}

// Kill kills dockerd. Its containers and plugins keep running if their containerd does.
func (e *Engine) Kill() {
	e.dockerd.Kill()
	e.dockerd = nil
}

// Close stops dockerd and containerd, and gives up the namespace.
func (e *Engine) Close() error {
	err := e.Stop()
	e.StopContainerd()
	e.Network.End()
	return err
}

// Docker runs a docker command on the engine, as Docker does.
func (e *Engine) Docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	return Docker(ctx, e.Host, stdin, args...)
}
