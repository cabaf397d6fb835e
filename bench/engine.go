package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/hosttest"
)

const engineImage = "logspool-bench:latest"

// lab is a private Docker engine with the plugins that are compared, and a stand-in for
// CloudWatch Logs that they reach.
type lab struct {
	*hosttest.Engine
	service   *cwlocal.Server
	delivered delivered // delivered counts the bytes of the events that were accepted.
	version   string    // version is dockerd's.
	runs      int       // runs counts the runs, for the names of the containers.
	profile   string    // profile is the prefix of the names of profiles, and empty for none.
}

// driver is a log driver, with its options and settings, in a lab.
type driver struct {
	name     string
	plugin   string            // plugin is the directory for docker plugin create; empty means one of dockerd's own drivers.
	settings []string          // settings are those of the plugin.
	options  map[string]string // options are the containers' log options.
	local    bool              // local says that the driver delivers nothing.
	latency  time.Duration     // latency is how long the stand-in waits before each answer.

	seldom bool // seldom says that no row needs the driver, so that every second turn is enough.

	pid   int    // pid is the plugin's process, and 0 without a plugin.
	state string // state is the plugin's state directory, as this program sees it.
}

// noEngine returns why there can be no engine, and nothing if there can be one.
func (b *bench) noEngine() string {
	switch {
	case b.plugin == "" || b.yardstick == "":
		return "the flag -plugin or -yardstick is missing"
	case os.Geteuid() != 0:
		return "a Docker engine needs root"
	}
	for _, program := range []string{"dockerd", "containerd", "docker"} {
		if _, err := exec.LookPath(program); err != nil {
			return "there is no " + program
		}
	}
	return ""
}

// newLab starts an engine with the drivers that have the names. The caller must close it.
func (b *bench) newLab(ctx context.Context, names []string) (l *lab, drivers []*driver, err error) {
	if why := b.noEngine(); why != "" {
		return nil, nil, errors.New(why)
	}
	if drivers, err = b.drivers(names); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "engine-")
	if err != nil {
		return nil, nil, err
	}
	own, err := hosttest.NewEngine(dir)
	if err != nil {
		return nil, nil, err
	}
	l = &lab{Engine: own, profile: b.profile}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	own.Network.Do(func() {
		l.service, err = cwlocal.Start("127.0.0.1:0", cwlocal.Options{
			Keys: map[string]string{accessKey: secretKey}, Keep: cwlocal.KeepNone, OnAccepted: func(_, _, _ string, events []cwlocal.Event) {
				n := 0
				for _, e := range events {
					n += len(e.Message)
				}
				l.delivered.add(n)
			}})
	})
	if err == nil {
		err = own.StartContainerd()
	}
	if err != nil {
		return l, nil, err
	}
	// awslogs takes its credentials from dockerd's environment. Every kernel has vfs.
	if err = own.Start(map[string]any{}, []string{"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey,
		"AWS_REGION=" + engineRegion, "AWS_EC2_METADATA_DISABLED=true"}, "--storage-driver", "vfs"); err != nil {
		return l, nil, err
	}
	return l, drivers, l.install(ctx, drivers)
}

const engineRegion = "eu-central-1"

// install installs the plugins, and an image for the containers. The program of the
// containers is mounted, so that the image is small.
func (l *lab) install(ctx context.Context, drivers []*driver) (err error) {
	if l.version, err = l.Docker(ctx, nil, "version", "--format", "{{.Server.Version}}"); err != nil {
		return err
	}
	empty := filepath.Join(l.Dir, "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		return err
	}
	image, err := hosttest.ImageTar(empty, "empty")
	if err != nil {
		return err
	}
	if _, err := l.Docker(ctx, image, "import", "-", engineImage); err != nil {
		return err
	}
	for i, d := range drivers {
		if d.plugin == "" {
			continue
		}
		if err := l.installPlugin(ctx, d, i); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}

// installPlugin installs one of the plugins. dockerd makes no second plugin from a root file
// system that it has already, so each has a file of its own there.
func (l *lab) installPlugin(ctx context.Context, d *driver, number int) error {
	dir := filepath.Join(l.Dir, fmt.Sprint("plugin", number))
	if err := os.CopyFS(dir, os.DirFS(d.plugin)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "rootfs", "number"), fmt.Appendln(nil, number), 0o644); err != nil {
		return err
	}
	name := d.ref()
	settings := append([]string{"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=" + l.service.URL(), "AWS_REGION=" + engineRegion,
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "LOGSPOUT_GROUP=bench"}, d.settings...)
	for _, args := range [][]string{
		{"plugin", "create", name, dir},
		append([]string{"plugin", "set", name}, settings...),
		{"plugin", "enable", "--timeout", "0", name},
	} {
		if _, err := l.Docker(ctx, nil, args...); err != nil {
			return err
		}
	}
	id, err := l.Docker(ctx, nil, "plugin", "inspect", "--format", "{{.Id}}", name)
	if err != nil {
		return err
	}
	var found bool
	if d.pid, found = hosttest.PluginProcess(id); !found {
		return errors.New("the plugin does not run")
	}
	// The path on the host would be too long for a socket's address.
	d.state = fmt.Sprintf("/proc/%d/root/run/docker/logging/.state", d.pid)
	return os.RemoveAll(dir)
}

// ref returns the driver's name in Docker.
func (d *driver) ref() string {
	if d.plugin == "" {
		name, _, _ := strings.Cut(d.name, ",")
		return name
	}
	return "bench-" + strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, d.name), "-") + ":latest"
}

// close ends the engine and all that runs in it.
func (l *lab) close() error {
	err := l.Close()
	if l.service != nil {
		err = errors.Join(err, l.service.Close())
	}
	return errors.Join(err, hosttest.RemoveDir(l.Dir))
}
