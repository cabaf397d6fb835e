package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cwlocal"
)

// flood is what containers write: each as fast as it can.
type flood struct {
	containers, lines, size int
	stay                    bool // stay says that the containers end after the measurement: the end of many costs dockerd more than their lines.
}

// use is what a run cost.
type use struct {
	flood
	dockerd, plugin time.Duration // dockerd and plugin are processor times, until the last line was delivered.
	took            time.Duration // took is how long at least one of the containers was writing.
	switches        int           // switches is how often threads of the plugin have gone to sleep.
}

// gb returns how many GB of lines the containers wrote.
func (u use) gb() float64 { return float64(u.containers) * float64(u.lines) * float64(u.size) / 1e9 }

func (u use) rate() float64 { return float64(u.containers*u.lines) / u.took.Seconds() }

// cost returns seconds of processor time for a GB.
func (u use) cost() float64 { return (u.dockerd + u.plugin).Seconds() / u.gb() }

func (u use) String() string {
	return fmt.Sprintf("%d × %d lines of %d bytes, dockerd %.1f s/GB, plugin %.1f s/GB, %.0f lines/s, %.0f voluntary switches/s of the plugin",
		u.containers, u.lines, u.size, u.dockerd.Seconds()/u.gb(), u.plugin.Seconds()/u.gb(), u.rate(), float64(u.switches)/u.took.Seconds())
}

// run runs containers with a driver.
func (l *lab) run(ctx context.Context, d *driver, f flood) (u use, err error) {
	l.runs++
	reports := filepath.Join(l.Dir, fmt.Sprint("report", l.runs))
	if err := os.Mkdir(reports, 0o755); err != nil {
		return u, err
	}
	if err := unix.Mkfifo(filepath.Join(reports, filepath.Base(goFile)), 0o644); err != nil {
		return u, err
	}
	names := make([]string, f.containers)
	for i := range names {
		names[i] = fmt.Sprintf("r%d-%d", l.runs, i)
	}
	defer func() {
		err = errors.Join(err, l.remove(context.WithoutCancel(ctx)), os.RemoveAll(reports))
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
		state, _ := l.Docker(ctx, nil, "inspect", "--format", "{{.Name}}: {{.State.Status}}, exit {{.State.ExitCode}} {{.State.Error}}", names[0])
		return u, fmt.Errorf("%w; %s", err, state)
	}
	if d.latency > 0 {
		fault := l.service.AddFault(cwlocal.Fault{Kind: cwlocal.Slow, Delay: d.latency})
		defer l.service.ClearFault(fault)
	}
	return l.measure(ctx, d, f, names, reports)
}

// maxRemovals is how often remove tries. An engine that is busy with the ends of many containers
// may not see one of them in time.
const maxRemovals = 5

// remove removes all containers, a few with each command, because a command has limited time.
func (l *lab) remove(ctx context.Context) error {
	var failed error
	for range maxRemovals {
		list, err := l.Docker(ctx, nil, "ps", "-aq")
		names := strings.Fields(list)
		if err != nil || len(names) == 0 {
			return err
		}
		var g errgroup.Group
		g.SetLimit(4)
		for some := range slices.Chunk(names, 25) {
			g.Go(func() error {
				_, err := l.Docker(ctx, nil, append([]string{"rm", "-f", "-v"}, some...)...)
				return err
			})
		}
		if failed = g.Wait(); failed == nil {
			return nil
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return failed
}

// start starts a container. It waits for the FIFO that tells it to write.
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
	args = append(args, engineImage, "/bench", writeCommand, "-lines", fmt.Sprint(f.lines), "-size", fmt.Sprint(f.size), "-name", name, fmt.Sprintf("-stay=%t", f.stay))
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
	prefix := l.profile
	if !strings.HasPrefix(d.name, logspool) { // only our plugin has a status socket
		prefix = ""
	}
	profiled := startProfile(ctx, statusClient(d.state), prefix, d.ref(), time.Duration(max(5, f.lines/100_000))*time.Second)
	switches := voluntarySwitches(d.pid)
	want := l.delivered.count() + f.containers*f.lines*f.size
	begin, err := os.OpenFile(filepath.Join(reports, filepath.Base(goFile)), os.O_RDWR, 0)
	if err != nil {
		return u, err
	}
	defer begin.Close()
	written, err := awaitFiles(ctx, reports, names, "")
	if err != nil {
		return u, err
	}
	if !f.stay { // A container has ended when dockerd has given all its lines to the driver.
		if _, err := l.Docker(ctx, nil, append([]string{"wait"}, names...)...); err != nil {
			return u, err
		}
	}
	if !d.local {
		if err := l.delivered.wait(ctx, want, nil); err != nil {
			return u, fmt.Errorf("%w; dockerd's log ends with\n%s", err, l.LogTail(10))
		}
	}
	after, err := l.cpu(d)
	u.switches = voluntarySwitches(d.pid) - switches
	u.dockerd, u.plugin = after[0]-before[0], after[1]-before[1]
	if u.took = span(written); u.took <= 0 && err == nil {
		err = errors.New("the containers did not report when they began and ended")
	}
	return u, errors.Join(err, profiled())
}

// span returns the time from the first beginning to the last end in the containers' reports.
func span(reports [][]byte) time.Duration {
	var first, last int64
	for i, text := range reports {
		var begun, ended int64
		if _, err := fmt.Sscan(string(text), &begun, &ended); err != nil {
			return 0
		}
		if i == 0 || begun < first {
			first = begun
		}
		last = max(last, ended)
	}
	return time.Duration(last - first)
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
