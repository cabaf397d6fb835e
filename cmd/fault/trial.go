package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/hosttest"
)

const (
	region    = "eu-central-1"
	group     = "fault"
	accessKey = "AKIDEXAMPLE"
	secretKey = "secret"

	// patience bounds every wait. It only ends what has failed already.
	patience = 90 * time.Second
)

// trial is one run of a row: a host with a dockerd and a plugin, and a service.
type trial struct {
	*lab
	row     row
	dir     string
	state   string // STATE_DIR
	env     []string
	account *account
	service *cwlocal.Server
	docker  *dockertest.Daemon
	random  *rand.Rand

	// Set up by the row, for the row's goroutine.
	sources  []*source
	visitors []*source // that came and went
	kills    []time.Time
	plugin   *hosttest.Program // nil: none runs
	load     errgroup.Group
	cancel   context.CancelFunc // ends the load
	note     string             // for the result
	wrap     []string           // the command that starts the plugin, its path last; empty: none

	mu                  sync.Mutex
	slowStart, slowStop time.Duration
	rss                 int    // KiB
	log                 string // of the plugin's processes that have ended
}

// newTrial makes what a row needs. Nothing runs yet but the service.
func newTrial(l *lab, r row, number int) (t *trial, err error) {
	t = &trial{lab: l, row: r, dir: filepath.Join(l.dir, "row"+strconv.Itoa(number)), account: newAccount()}
	t.state = filepath.Join(t.dir, "state")
	t.random = rand.New(rand.NewPCG(l.seed, uint64(number)))
	if err := os.MkdirAll(t.state, 0o700); err != nil {
		return nil, err
	}
	t.service, err = cwlocal.Start("127.0.0.1:0", serviceOptions(t.account))
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(t.dir, "s")
	t.docker, err = dockertest.NewDaemon(dockertest.Options{
		Socket: socket, Dir: filepath.Join(t.dir, "fifos"), Backoff: 100 * time.Millisecond,
	})
	if err != nil {
		t.service.Close()
		return nil, err
	}
	t.env = append(pluginSettings(t.service.URL()), "PLUGIN_SOCKET="+socket, "STATE_DIR="+t.state, "HOME="+t.dir)
	t.env = append(t.env, r.env...)
	return t, nil
}

func serviceOptions(a *account) cwlocal.Options {
	return cwlocal.Options{
		Keys:       map[string]string{accessKey: secretKey},
		Keep:       cwlocal.KeepNone,
		OnAccepted: func(_, _, stream string, events []cwlocal.Event) { a.accepted(stream, events) },
	}
}

func pluginSettings(endpoint string) []string {
	return []string{
		"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=" + endpoint, "AWS_REGION=" + region,
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey,
		"NOEC2=1", "LOGSPOUT_GROUP=" + group, "DELAY=500ms",
	}
}

// close ends what still runs.
func (t *trial) close() {
	t.stopLoad()
	t.docker.Kill() // before the load's end: a writer may be blocked
	_ = t.load.Wait()
	if t.plugin != nil {
		t.kill()
	}
	_ = t.service.Close()
}

// start starts the plugin and returns when it listens.
func (t *trial) start() (err error) {
	command := append(slices.Clone(t.wrap), t.binary)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = t.env
	// This program answers Ctrl-C, and ends the plugin.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if t.plugin, err = hosttest.StartProgram("the plugin", cmd, t.born); err != nil {
		return err
	}
	return t.plugin.WaitLogged("logspool listens", patience)
}

// kill kills the plugin.
func (t *trial) kill() {
	t.measureMemory()
	t.kills = append(t.kills, time.Now())
	t.plugin.Kill()
	t.ended()
}

// stop stops the plugin as dockerd does, which kills it after ten seconds.
func (t *trial) stop() error {
	t.measureMemory()
	defer t.ended()
	return t.plugin.Stop(10 * time.Second)
}

// ended keeps the end of the log of the plugin's process, which has ended.
func (t *trial) ended() {
	t.log += t.plugin.Log.Tail(logLines) + "\n"
	t.plugin = nil
}

// logLines is how many lines of the log of each of the plugin's processes are kept.
const logLines = 60

// restart kills the plugin, or stops it, and starts it after a pause.
func (t *trial) restart(gently bool, pause time.Duration) error {
	if gently {
		if err := t.stop(); err != nil {
			return err
		}
	} else {
		t.kill()
	}
	time.Sleep(pause)
	return t.start()
}

// measureMemory takes the peak of the plugin's memory so far.
func (t *trial) measureMemory() { t.rss = max(t.rss, peakMemory(t.plugin.PID())) }

// peakMemory is the peak of a process's resident memory in KiB (proc_pid_status(5), VmHWM); 0 if it has ended.
func peakMemory(pid int) (kib int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	if _, rest, ok := strings.Cut(string(status), "VmHWM:"); ok {
		_, _ = fmt.Sscan(rest, &kib)
	}
	return kib
}

// run starts a container's log and tells how long that took.
func (t *trial) run(ctx context.Context, s *source, options map[string]string) error {
	name := s.sequence.Container
	begun := time.Now()
	c, err := t.docker.Start(ctx, dockertest.Info{
		Config: options, ContainerID: dockertest.NewID(), ContainerName: "/" + name, ContainerImageName: "image:1",
	})
	t.tellTime(&t.slowStart, begun)
	if err != nil {
		return fmt.Errorf("container %s: %w", name, err)
	}
	s.attach(c)
	return nil
}

// finish stops a container and tells how long that took.
func (t *trial) finish(ctx context.Context, s *source) error {
	c, _ := s.current()
	begun := time.Now()
	err := c.Stop(ctx)
	t.tellTime(&t.slowStop, begun)
	return err
}

func (t *trial) tellTime(slowest *time.Duration, begun time.Time) {
	took := time.Since(begun)
	t.mu.Lock()
	defer t.mu.Unlock()
	*slowest = max(*slowest, took)
}

// containers starts n containers whose lines have size bytes.
func (t *trial) containers(ctx context.Context, n, size int) error {
	for i := range n {
		if err := t.container(ctx, fmt.Sprintf("c%d", i), size); err != nil {
			return err
		}
	}
	return nil
}

// container starts one more container, whose lines have size bytes.
func (t *trial) container(ctx context.Context, name string, size int) error {
	s := newSource(t.account, name, size)
	if err := t.run(ctx, s, nil); err != nil {
		return err
	}
	t.sources = append(t.sources, s)
	return nil
}

// beginLoad makes all containers write rate lines a second each until stopLoad.
func (t *trial) beginLoad(ctx context.Context, rate int) {
	ctx, t.cancel = context.WithCancel(ctx)
	for _, s := range t.sources {
		t.load.Go(func() error {
			return pace(ctx, rate, func() error { return s.write(ctx) })
		})
	}
}

// stopLoad makes the containers stop writing. It does not wait: a write may be blocked.
func (t *trial) stopLoad() {
	if t.cancel != nil {
		t.cancel()
	}
}

// endLoad ends the writing and the containers.
func (t *trial) endLoad(ctx context.Context) error {
	t.stopLoad()
	if err := waitFor(t.load.Wait, "a container's write is blocked"); err != nil {
		return err
	}
	var g errgroup.Group
	for _, s := range t.sources {
		g.Go(func() error { return t.finish(ctx, s) })
	}
	return waitFor(g.Wait, "StopLogging is not answered")
}

// waitFor waits for f, but not for good.
func waitFor(f func() error, otherwise string) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		return errors.New(otherwise)
	}
}

// delivered waits until every line has arrived or is told of, as long as more do. Lines that markers could only
// tell in bytes cannot be counted before the end: then nothing may be left on the disk.
func (t *trial) delivered(ctx context.Context) error {
	last, stuck := -1, time.NewTimer(patience)
	defer stuck.Stop()
	for {
		lines, inBytes := t.account.open()
		if lines != last {
			last = lines
			stuck.Reset(patience)
		}
		if lines <= 0 && !inBytes {
			return nil
		}
		if left, err := os.ReadDir(filepath.Join(t.state, "containers")); err == nil && len(left) == 0 {
			return nil // all is dealt with; the balance tells how
		}
		select {
		case <-t.plugin.Exited():
			return fmt.Errorf("the plugin ended: %v", t.plugin.Err())
		case <-ctx.Done():
			return ctx.Err()
		case <-stuck.C:
			return fmt.Errorf("%d lines have not come, and none in %v", lines, patience)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end ends a trial as it should: writing, containers, delivery, plugin.
func (t *trial) end(ctx context.Context) error {
	if err := t.endLoad(ctx); err != nil {
		return err
	}
	t.service.ClearFault(0)
	if err := t.delivered(ctx); err != nil {
		return err
	}
	return t.stop()
}

// sleep waits, unless ctx is done before.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
