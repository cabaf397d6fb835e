// Package check finds out whether the plugin can work on this host: its settings and mounts,
// the host's disk, limits and clock, the network, and every permission that it needs.
//
// The checks run on the host, in a process of their own. They see what the plugin sees: its
// settings, its files and its certificates, and not the environment of the process.
// Every check has a time limit, and a check that fails does not keep the others from running.
// Their results are in a fixed order and contain no secrets.
//
// The package must not know how the plugin works inside. It makes its own requests, and does
// not use the uploader.
package check

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/installed"
	"github.com/logspool/logspool/internal/status"
)

// State says what a check found.
type State string

// The states of a Result.
const (
	OK      State = "ok"
	Bad     State = "bad"
	Unknown State = "unknown" // the check could not find out, or there was no need to
)

// Result is what one check found. Each text is one line.
type Result struct {
	// Check names what was checked. Several results may have the same name.
	Check string `json:"check"`
	State State  `json:"state"`
	// Detail says what was found.
	Detail string `json:"detail"`
	// Remedy says what the operator can do. Each bad result has one.
	Remedy string `json:"remedy,omitempty"`
}

func good(check, format string, args ...any) Result {
	return Result{Check: check, State: OK, Detail: line(fmt.Sprintf(format, args...))}
}

func unknown(check, format string, args ...any) Result {
	return Result{Check: check, State: Unknown, Detail: line(fmt.Sprintf(format, args...))}
}

func bad(check, remedy, format string, args ...any) Result {
	return Result{Check: check, State: Bad, Detail: line(fmt.Sprintf(format, args...)), Remedy: line(remedy)}
}

// orGood returns the results, or a good one if there are none.
func orGood(results []Result, check, format string, args ...any) []Result {
	if results == nil {
		return []Result{good(check, format, args...)}
	}
	return results
}

// AnyBad reports whether one of the results is bad.
func AnyBad(results []Result) bool {
	for _, r := range results {
		if r.State == Bad {
			return true
		}
	}
	return false
}

// Options say what to check.
type Options struct {
	// Plugin is the installed plugin. If it is nil, the process's environment has the
	// settings.
	Plugin *installed.Plugin
	// Engine is nil if the engine did not answer, and EngineErr then says why.
	Engine    *installed.Engine
	EngineErr error
	// LogOpts are log options to check, as for docker run --log-opt.
	LogOpts map[string]string
	// Group is the log group to write to. If it is empty, the group is logspool-check-HOST.
	Group string
	// DryRun says that nothing is written to CloudWatch.
	DryRun bool
	// Version is the version in the user agent.
	Version string
	// Status asks the running plugin for its status. Its error is statusserver.ErrNotRunning if
	// nothing answers. If Status is nil, the delivery is not checked.
	Status func(context.Context) (*status.Report, error)

	// host replaces what the checks read of this host; its zero value is this host.
	host host
}

// host is what the checks read of the host.
type host struct {
	proc       string // proc is where the process file system is mounted.
	daemonJSON string // daemonJSON is dockerd's default configuration file.
	statfs     func(path string, s *unix.Statfs_t) error
	pause      time.Duration // pause is the first pause before a request is sent again.
}

func (h *host) setDefaults() {
	if h.proc == "" {
		h.proc = "/proc"
	}
	if h.daemonJSON == "" {
		h.daemonJSON = "/etc/docker/daemon.json"
	}
	if h.statfs == nil {
		h.statfs = unix.Statfs
	}
	if h.pause == 0 {
		h.pause = 250 * time.Millisecond
	}
}

// localLimit bounds each check that does not use AWS.
const localLimit = 8 * time.Second

// Run runs all checks, and returns when they have ended or ctx is done. Removing what the
// checks have written may take another cleanUpLimit.
//
// While it runs, Run replaces the process's environment, because the AWS SDK reads its
// settings there. So the process must do nothing else meanwhile.
func Run(ctx context.Context, o Options) []Result {
	o.host.setDefaults()
	c := newChecker(o)
	results := c.checkHost(ctx)
	return append(results, c.checkAWS(ctx)...)
}

// checker is what the checks share.
type checker struct {
	Options
	hostName string
	// environ is the environment of the plugin.
	environ  []string
	settings *config.Settings
	problems []config.Problem
	// container is the configuration of a container with LogOpts, and containerErr what is
	// wrong with them.
	container    *config.Container
	containerErr error
}

func newChecker(o Options) *checker {
	c := &checker{Options: o, environ: os.Environ()}
	if o.Plugin != nil {
		c.environ = o.Plugin.Environ()
	}
	c.hostName, _ = os.Hostname() // without it, only names are less helpful
	c.settings, c.problems = config.Load(c.environ)
	c.problems = append(c.problems, c.settings.CheckDefaultGroup(c.hostName)...)
	c.container, c.containerErr = c.settings.Container(o.LogOpts, nil, nil)
	return c
}

// checkHost runs the checks that need no AWS, all at once.
func (c *checker) checkHost(ctx context.Context) []Result {
	steps := []step{
		{"settings", c.checkSettings},
		{"log options", c.checkLogOptions},
		{"plugin", c.checkPlugin},
		{"engine", c.checkEngine},
		{"timeout", c.checkTimeout},
		{"daemon.json", c.checkDaemonJSON},
		{"aws files", c.checkAWSFiles},
		{"docker socket", c.checkSocket},
		{"disk", c.checkDisk},
		{"descriptors", c.checkDescriptors},
		{"delivery", c.checkDelivery},
	}
	waiting := make([]<-chan []Result, len(steps))
	for i, s := range steps {
		waiting[i] = s.start(ctx, localLimit)
	}
	var results []Result
	for _, w := range waiting {
		results = append(results, <-w...)
	}
	return results
}

// step is a check with its name.
type step struct {
	name string
	run  func(context.Context) []Result
}

// start runs the step in another goroutine. If the step has not ended within limit, or ctx is
// done before, the result is unknown, and the step's own results are discarded.
func (s step) start(ctx context.Context, limit time.Duration) <-chan []Result {
	results := make(chan []Result, 1)
	go func() {
		r, err := within(ctx, limit, func(ctx context.Context) ([]Result, error) { return s.run(ctx), nil })
		if err != nil {
			r = []Result{unknown(s.name, "%v", err)}
		}
		results <- r
	}()
	return results
}

// within calls f, which should end when its context is done. If f goes on, as a read from a
// file system that hangs does, within returns without it, and discards its result.
func within[T any](ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	done := make(chan result, 1)
	go func() {
		defer cancel()
		v, err := f(ctx)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
	}
	select { // f ends now, or not at all
	case r := <-done:
		return r.v, r.err
	case <-time.After(time.Second):
	}
	var none T
	return none, fmt.Errorf("no result within %v", limit)
}
