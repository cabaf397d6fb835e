package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/hosttest"
)

const (
	accessKey = "AKIDEXAMPLE"
	secretKey = "secret"
	region    = "eu-central-1"
	logGroup  = "bench"

	// patience bounds every wait. It is long enough that only a failure reaches it.
	patience = 90 * time.Second
)

// host is a simulated host for one run: a dockerd with containers, the plugin, and a stand-in
// for CloudWatch Logs.
type host struct {
	service    *cwlocal.Server // service is nil if the stand-in is a process of its own.
	docker     *dockertest.Daemon
	plugin     *hosttest.Program
	containers []*dockertest.Container
	state      string // state is the plugin's STATE_DIR.
	statusAddr string // statusAddr is the plugin's STATUS_ADDR, and empty for none.
	binary     string // binary and env are the plugin's binary and its environment.
	env        []string
	delivered  delivered
}

// newHost starts the plugin and n containers. The caller must close it.
func (b *bench) newHost(ctx context.Context, binary string, status bool, n int, env []string) (h *host, err error) {
	h = &host{}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	h.service, err = cwlocal.Start("127.0.0.1:0", cwlocal.Options{
		Keys: map[string]string{accessKey: secretKey}, Keep: cwlocal.KeepNone,
		OnAccepted: func(_, _, _ string, events []cwlocal.Event) { h.delivered.add(len(events)) },
	})
	if err != nil {
		return h, err
	}
	if status {
		if h.statusAddr, err = freeAddr(); err != nil {
			return h, err
		}
		env = append(env, "STATUS_ADDR="+h.statusAddr)
	}
	if err := b.startHost(h, h.service.URL(), binary, env); err != nil {
		return h, err
	}
	return h, h.startContainers(ctx, n)
}

// startHost starts what a host consists of besides the stand-in for CloudWatch Logs, which is
// at a URL.
func (b *bench) startHost(h *host, url, binary string, env []string) error {
	dir, err := os.MkdirTemp(b.dir, "")
	if err != nil {
		return err
	}
	h.state = filepath.Join(dir, "state")
	socket := filepath.Join(dir, "s")
	h.docker, err = dockertest.NewDaemon(dockertest.Options{Socket: socket, Dir: filepath.Join(dir, "fifos")})
	if err != nil {
		return err
	}
	h.binary = binary
	h.env = append(env, "PLUGIN_SOCKET="+socket, "STATE_DIR="+h.state, "HOME="+dir,
		"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS="+url, "AWS_ENDPOINT_URL_STS="+url, "AWS_REGION="+region,
		"AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey, "NOEC2=1", "LOGSPOUT_GROUP="+logGroup)
	return h.startPlugin(b.thread)
}

// startPlugin starts the plugin. It may start it again after its end.
func (h *host) startPlugin(thread *hosttest.Thread) (err error) {
	cmd := exec.Command(h.binary)
	cmd.Env = h.env
	// This program answers Ctrl-C, and ends the plugin.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if h.plugin, err = hosttest.StartProgram("the plugin", cmd, thread); err != nil {
		return err
	}
	if err := h.plugin.WaitLogged(" is listening", patience); err != nil || h.statusAddr == "" {
		return err
	}
	return h.plugin.WaitLogged("the status page and the metrics are served", patience)
}

func (h *host) startContainers(ctx context.Context, n int) error {
	h.containers = make([]*dockertest.Container, n)
	var g errgroup.Group
	g.SetLimit(8)
	for i := range n {
		g.Go(func() (err error) {
			h.containers[i], err = h.docker.Start(ctx, dockertest.Info{
				ContainerID: dockertest.NewID(), ContainerName: fmt.Sprintf("/container-%04d", i), ContainerImageName: "image:1",
				ContainerCreated: time.Now(),
			})
			return err
		})
	}
	return g.Wait()
}

// warmUp writes a line to each container and waits for it, so that all log streams exist.
// CloudWatch allows only 50 new ones a second.
func (h *host) warmUp(ctx context.Context) error {
	for _, c := range h.containers {
		if err := c.Write(dockertest.Stdout, line); err != nil {
			return err
		}
	}
	return h.delivered.wait(ctx, len(h.containers), h.plugin)
}

// close ends what runs, and removes the files.
func (h *host) close() {
	if h.docker != nil {
		h.docker.Kill()
	}
	if h.plugin != nil {
		h.plugin.Kill()
	}
	if h.service != nil {
		_ = h.service.Close()
	}
	if h.state != "" {
		_ = os.RemoveAll(filepath.Dir(h.state)) // the whole directory is removed at the end
	}
}

// cpu returns the processor time that the plugin has used.
func (h *host) cpu() (time.Duration, error) { return processorTime(h.plugin.PID()) }

// processorTime returns the processor time that a process has used. /proc/PID/stat has it only
// in units of 10 ms.
func processorTime(pid int) (time.Duration, error) {
	// The clock of another process has the number that clock_getcpuclockid(3) computes: the
	// complement of the process ID, shifted by 3 bits, and CPUCLOCK_SCHED.
	const cpuClockSched = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|cpuClockSched, &t); err != nil {
		return 0, fmt.Errorf("couldn't read the processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// memory returns the plugin's resident memory in bytes (proc_pid_status(5), VmRSS).
func (h *host) memory() (bytes int64) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.plugin.PID()))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	_, _ = fmt.Sscan(rest, &bytes)
	return bytes << 10
}

// freeAddr returns an address of loopback whose port nothing uses.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// delivered counts the events that CloudWatch has accepted.
type delivered struct {
	mu      sync.Mutex
	events  int
	changed chan struct{} // changed is closed by the next add, and nil if nobody waits.
}

func (d *delivered) add(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events += n
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

func (d *delivered) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.events
}

// wait waits until there are n events. Lines that were dropped never arrive, so it fails if
// none arrives for a while. A plugin that is not nil must not end.
func (d *delivered) wait(ctx context.Context, n int, plugin *hosttest.Program) error {
	var exited <-chan struct{}
	log := ""
	if plugin != nil {
		exited = plugin.Exited()
	}
	for {
		d.mu.Lock()
		if d.events >= n {
			d.mu.Unlock()
			return nil
		}
		if d.changed == nil {
			d.changed = make(chan struct{})
		}
		events, changed := d.events, d.changed
		d.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-exited:
			return fmt.Errorf("the plugin ended: %w", plugin.Err())
		case <-time.After(patience):
			if plugin != nil {
				log = "; the plugin's log ends with\n" + plugin.Log.Tail(20)
			}
			return fmt.Errorf("%d of %d have arrived, and none in %v%s", events, n, patience, log)
		}
	}
}
