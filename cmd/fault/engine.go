package main

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

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/hosttest"
)

const (
	imageName  = "logspool-fault:latest"
	pluginName = "logspool:fault"
)

// engine is a Docker engine of the command's own, with the plugin installed and an image of this program. It has a
// network namespace to itself: an engine without a bridge of its own deletes the other one's (moby,
// daemon/daemon_unix.go, removeDefaultBridgeInterface). So has every stand-in that it is to reach.
type engine struct {
	dir    string
	host   string // DOCKER_HOST
	apart  *hosttest.Thread
	daemon *exec.Cmd
	log    tail
	ended  chan struct{}
}

func isRoot() bool { return os.Geteuid() == 0 }

// noEngine says why there can be no engine, and nothing if there can.
func (l *lab) noEngine() string {
	switch {
	case l.plugin == "":
		return "no plugin directory was named"
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

// newEngine starts an engine and installs the plugin and the image in it.
func newEngine(ctx context.Context, l *lab) (*engine, error) {
	e := &engine{dir: filepath.Join(l.dir, "engine"), ended: make(chan struct{})}
	e.host = "unix://" + filepath.Join(e.dir, "docker.sock")
	if err := os.Mkdir(e.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if e.apart, err = hosttest.NewThread(true); err != nil {
		return nil, err
	}
	if err := e.start(); err != nil {
		e.stop()
		return nil, err
	}
	if err := e.install(ctx, l.plugin); err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

// start starts dockerd and returns when it listens. awslogs takes its credentials from dockerd's environment.
func (e *engine) start() error {
	config := filepath.Join(e.dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}\n"), 0o600); err != nil {
		return err
	}
	e.daemon = exec.Command("dockerd", "--config-file", config, "--storage-driver", "vfs", // which is everywhere
		"--data-root", filepath.Join(e.dir, "data"), "--exec-root", filepath.Join(e.dir, "exec"),
		"--pidfile", filepath.Join(e.dir, "pid"), "--host", e.host,
		"--bridge", "none", "--iptables=false", "--ip6tables=false")
	e.daemon.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey,
		"AWS_REGION="+region, "AWS_EC2_METADATA_DISABLED=true")
	e.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true} // Ctrl-C is ours to answer
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	e.daemon.Stdout, e.daemon.Stderr = w, w
	e.apart.Do(func() { err = e.daemon.Start() })
	w.Close()
	if err != nil {
		r.Close()
		e.daemon = nil
		return err
	}
	listens := make(chan struct{})
	go func() {
		defer close(e.ended)
		e.log.follow(r, "API listen on", listens)
		_ = e.daemon.Wait()
	}()
	select {
	case <-listens:
		return nil
	case <-e.ended:
		return fmt.Errorf("dockerd ended: %s", e.log.last())
	case <-time.After(patience):
		return errors.New("dockerd does not listen")
	}
}

// stop ends the engine, and with it its containers and plugins. What it leaves goes with the lab's directory.
func (e *engine) stop() {
	if e.daemon != nil {
		_ = e.daemon.Process.Signal(syscall.SIGTERM)
		select {
		case <-e.ended:
		case <-time.After(30 * time.Second):
			_ = e.daemon.Process.Kill()
			<-e.ended
		}
	}
	e.apart.End()
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
	// A row's containers say where its stand-in is, with a log option.
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
		if _, err := e.docker(ctx, step.stdin, step.args...); err != nil {
			return err
		}
	}
	return nil
}

// docker runs a docker command and returns what it printed.
func (e *engine) docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	return hosttest.Docker(ctx, e.host, stdin, args...)
}

// service makes a stand-in that the engine's containers' logs can reach.
func (e *engine) service(a *account) (s *cwlocal.Server, err error) {
	e.apart.Do(func() { s, err = cwlocal.Start("127.0.0.1:0", serviceOptions(a)) })
	return s, err
}

// memory is the peak of the plugin's resident memory, in KiB; 0 if it cannot be told.
func (e *engine) memory(ctx context.Context) int {
	out, err := e.docker(ctx, nil, "plugin", "inspect", pluginName)
	var found []struct{ ID string }
	if err != nil || json.Unmarshal([]byte(out), &found) != nil || len(found) != 1 {
		return 0
	}
	if pid, ok := hosttest.PluginProcess(found[0].ID); ok {
		return peakMemory(pid)
	}
	return 0
}
