package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

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

// flood is what containers write: each as fast as it can.
type flood struct{ containers, lines, size int }

// use is what a run cost.
type use struct {
	flood
	dockerd, plugin time.Duration // dockerd and plugin are processor times, until the last line was delivered.
	took            time.Duration // took is how long the containers were writing.
	switches        int           // switches is how often threads of the plugin have gone to sleep.
}

// gb returns how many GB of lines the containers wrote.
func (u use) gb() float64 { return float64(u.containers) * float64(u.lines) * float64(u.size) / 1e9 }

func (u use) rate() float64 { return float64(u.containers*u.lines) / u.took.Seconds() }

// cost returns seconds of processor time for a GB.
func (u use) cost() float64 { return (u.dockerd + u.plugin).Seconds() / u.gb() }

func (u use) String() string {
	return fmt.Sprintf("dockerd %.1f s/GB, plugin %.1f s/GB, %.0f lines/s, %.0f voluntary switches/s of the plugin",
		u.dockerd.Seconds()/u.gb(), u.plugin.Seconds()/u.gb(), u.rate(), float64(u.switches)/u.took.Seconds())
}

// run runs containers with a driver.
func (l *lab) run(ctx context.Context, d *driver, f flood) (u use, err error) {
	l.runs++
	reports := filepath.Join(l.Dir, fmt.Sprint("report", l.runs))
	if err := os.Mkdir(reports, 0o755); err != nil {
		return u, err
	}
	names := make([]string, f.containers)
	for i := range names {
		names[i] = fmt.Sprintf("r%d-%d", l.runs, i)
	}
	defer func() {
		_, failed := l.Docker(context.WithoutCancel(ctx), nil, append([]string{"rm", "-f", "-v"}, names...)...)
		err = errors.Join(err, failed, os.RemoveAll(reports))
	}()
	var starts errgroup.Group
	starts.SetLimit(4)
	for _, name := range names {
		starts.Go(func() error { return l.start(ctx, d, f, name, reports) })
	}
	if err := starts.Wait(); err != nil {
		return u, err
	}
	if _, err := awaitFiles(ctx, reports, names, ".ready"); err != nil {
		return u, err
	}
	if d.latency > 0 {
		fault := l.service.AddFault(cwlocal.Fault{Kind: cwlocal.Slow, Delay: d.latency})
		defer l.service.ClearFault(fault)
	}
	return l.measure(ctx, d, f, names, reports)
}

// start starts a container. It waits for the file that tells it to write.
func (l *lab) start(ctx context.Context, d *driver, f flood, name, reports string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{"run", "-d", "--name", name, "--network", "none", "-v", reports + ":" + reportDir, "-v", self + ":/bench:ro", "--log-driver", d.ref()}
	for k, v := range d.options {
		if k == "awslogs-endpoint" {
			v = l.service.URL()
		}
		args = append(args, "--log-opt", k+"="+v)
	}
	args = append(args, engineImage, "/bench", writeCommand, "-lines", fmt.Sprint(f.lines), "-size", fmt.Sprint(f.size), "-name", name)
	_, err = l.Docker(ctx, nil, args...)
	return err
}

// measure lets the containers write, and waits until all has arrived.
func (l *lab) measure(ctx context.Context, d *driver, f flood, names []string, reports string) (u use, err error) {
	u.flood = f
	before, err := l.cpu(d)
	if err != nil {
		return u, err
	}
	profiled := func() error { return nil }
	if l.profile != "" && strings.HasPrefix(d.name, logspool) {
		profiled = startProfile(ctx, statusClient(d.state), l.profile+"-"+d.ref(), time.Duration(max(5, f.lines/100_000))*time.Second)
	}
	switches := voluntarySwitches(d.pid)
	want := l.delivered.count() + f.containers*f.lines*f.size
	if err := os.WriteFile(filepath.Join(reports, "go"), nil, 0o644); err != nil {
		return u, err
	}
	written, err := awaitFiles(ctx, reports, names, "")
	if err != nil {
		return u, err
	}
	// A container has ended when dockerd has given all its lines to the driver.
	if _, err := l.Docker(ctx, nil, append([]string{"wait"}, names...)...); err != nil {
		return u, err
	}
	if !d.local {
		if err := l.delivered.wait(ctx, want, nil); err != nil {
			return u, fmt.Errorf("%w; dockerd's log ends with\n%s", err, l.LogTail(10))
		}
	}
	after, err := l.cpu(d)
	u.switches = voluntarySwitches(d.pid) - switches
	u.dockerd, u.plugin = after[0]-before[0], after[1]-before[1]
	for _, text := range written {
		var took time.Duration
		if _, err := fmt.Fscan(bytes.NewReader(text), &took); err != nil {
			return u, err
		}
		u.took = max(u.took, took)
	}
	return u, errors.Join(err, profiled())
}

// voluntarySwitches returns how often the threads of a process have gone to sleep
// (proc_pid_status(5)). Go ends few threads, and those that have ended are not counted.
func voluntarySwitches(pid int) (sum int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, path := range tasks {
		status, _ := os.ReadFile(path)
		_, rest, _ := strings.Cut(string(status), "\nvoluntary_ctxt_switches:")
		var n int
		_, _ = fmt.Sscan(rest, &n)
		sum += n
	}
	return sum
}

// cpu returns the processor times of dockerd, without its children, and of the plugin.
func (l *lab) cpu(d *driver) (times [2]time.Duration, err error) {
	if times[0], err = processorTime(l.PID()); err != nil || d.pid == 0 {
		return times, err
	}
	times[1], err = processorTime(d.pid)
	return times, err
}

// awaitFiles waits for a file of each container, and returns their contents.
func awaitFiles(ctx context.Context, dir string, names []string, suffix string) (all [][]byte, err error) {
	deadline := time.Now().Add(2 * patience)
	for _, name := range names {
		for {
			text, err := os.ReadFile(filepath.Join(dir, name+suffix))
			if err == nil {
				all = append(all, text)
				break
			}
			if time.Now().After(deadline) {
				return nil, fmt.Errorf("container %s is not ready, or does not finish", name)
			}
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}
