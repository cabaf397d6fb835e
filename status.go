package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/driver"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/metrics"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/statuspage"
	"github.com/logspool/logspool/internal/statusserver"
	"github.com/logspool/logspool/uploader"
)

// reporter makes the plugin's status from what its parts report.
type reporter struct {
	started  time.Time
	host     string
	settings []status.Setting
	faults   *faultlog.Set
	parts    []func(*status.Report)

	reattached atomic.Bool
	stopping   atomic.Pointer[time.Time]
	openFiles  atomic.Int64 // openFiles is from the last sample, because counting can be slow.
}

func newReporter(host string, environ []string, faults *faultlog.Set, parts []func(*status.Report)) *reporter {
	r := &reporter{started: time.Now().UTC(), host: host, faults: faults, parts: parts, settings: []status.Setting{}}
	for _, v := range config.Shown(environ) {
		r.settings = append(r.settings, status.Setting(v))
	}
	return r
}

// statusParts returns what the driver, the uploader and the access report.
func statusParts(d *driver.Driver, up *uploader.Uploader, a *access) []func(*status.Report) {
	return []func(*status.Report){
		d.Report,
		func(r *status.Report) { r.Services = up.Status() },
		func(r *status.Report) {
			f := a.facts()
			r.Region, r.RegionFrom, r.Identity, r.CredentialsFrom = f.Region, f.RegionFrom, f.Identity, f.Provider
			r.CredentialsError, r.CredentialsRemedy = f.CredentialsError, f.CredentialsRemedy
		},
	}
}

// collect makes a report. It takes no lock of the data path, and does not wait.
func (r *reporter) collect() *status.Report {
	report := &status.Report{
		Time: time.Now().UTC(), Started: r.started, Version: version, Host: r.host,
		Reattached: r.reattached.Load(), Settings: r.settings, Faults: faultsOf(r.faults),
		Services: []status.Service{}, Containers: []status.Container{},
	}
	if at := r.stopping.Load(); at != nil {
		report.Stopping = *at
	}
	for _, fill := range r.parts {
		fill(report)
	}
	r.addProcess(&report.Process)
	return report
}

// faultsOf returns what fails now. The error and the hint of a fault have fields of their own.
func faultsOf(set *faultlog.Set) []status.Fault {
	faults := []status.Fault{}
	for _, o := range set.Ongoing() {
		f := status.Fault{What: o.Message, Kind: o.Kind, Since: o.Since.UTC(), Times: o.Times, Loss: o.Loss, Err: o.Attrs["err"], Remedy: o.Attrs["hint"], Attrs: o.Attrs}
		delete(f.Attrs, "err")
		delete(f.Attrs, "hint")
		faults = append(faults, f)
	}
	return faults
}

func (r *reporter) addProcess(p *status.Process) {
	p.PID = os.Getpid()
	p.OpenFiles, p.MaxFiles = int(r.openFiles.Load()), driver.OpenFileLimit()
	// /proc/self/statm has the resident pages in its second field (proc(5)).
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			p.Memory = pages * int64(os.Getpagesize())
		}
	}
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) == nil {
		p.CPU = time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
	}
}

// countOpenFiles returns the number of the process's descriptors, and the limit if there is
// none left to count them. Since Linux 6.2 it is the size of the directory (proc(5)).
func countOpenFiles() int64 {
	dir, err := os.Open("/proc/self/fd")
	switch {
	case errors.Is(err, unix.EMFILE):
		return int64(driver.OpenFileLimit())
	case err != nil:
		return 0
	}
	defer dir.Close()
	if info, err := dir.Stat(); err == nil && info.Size() > 0 {
		return info.Size() - 1 // without dir
	}
	names, _ := dir.Readdirnames(-1)
	return int64(len(names) - 1)
}

// statusService is the monitor and the servers of the status.
type statusService struct {
	*reporter
	source  status.Source
	servers *statusserver.Servers
	costs   *ledger // costs is nil without STATUS_ADDR.
	crash   *crashWatch
	cancel  context.CancelFunc
	monitor sync.WaitGroup // monitor has the goroutine of the monitor.
}

// startStatus starts to sample and to serve the status. It does not wait for the disk or the
// network, and nothing that fails in it ends the plugin.
func startStatus(r *reporter, settings *config.Settings, log *slog.Logger) *statusService {
	m := status.NewMonitor(r.collect)
	m.OnSample(func(*status.Report) { r.openFiles.Store(countOpenFiles()) })
	var page http.Handler
	var costs *ledger
	if settings.StatusAddr != "" {
		costs = newLedger(m, settings.StateDir, log)
		page = statuspage.New(m, statuspage.Options{Usage: costs.usage, PricePerGB: settings.PricePerGB})
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &statusService{reporter: r, source: m, costs: costs, crash: startCrashWatch(settings.StateDir, log), cancel: cancel}
	s.monitor.Go(func() { keepRunning(ctx, m.Run, log) })
	s.servers = statusserver.Start(statusserver.Options{
		Source:    m,
		Log:       log,
		StateDir:  settings.StateDir,
		Addr:      settings.StatusAddr,
		Host:      r.host,
		OpenFiles: driver.OpenFileLimit(),
		MaxAge:    status.DefaultMaxAge + settings.Delay,
		Page:      page,
		Metrics:   metrics.Handler(m, metrics.Options{MaxContainers: settings.MetricsMaxContainers}),
	})
	return s
}

// keepRunning calls run until ctx is done. A panic costs a few samples of the status, and no
// line.
func keepRunning(ctx context.Context, run func(context.Context), log *slog.Logger) {
	fault := faultlog.NewFault(log, "the plugin panicked while making its status; lines are delivered, but the status is incomplete", "", nil)
	for ctx.Err() == nil {
		func() {
			defer func() {
				if p := recover(); p != nil {
					fault.Failed(fmt.Sprint(p), "err", p, "hint", "report it, with stack", "stack", string(debug.Stack()))
				}
			}()
			run(ctx)
		}()
		select {
		case <-ctx.Done():
		case <-time.After(status.SampleInterval):
		}
	}
}

// beginStop makes the status say that the plugin stops.
func (s *statusService) beginStop() {
	now := time.Now().UTC()
	s.stopping.Store(&now)
}

// stop ends the servers and the monitor, saves the costs, and records that the process stopped
// in order.
func (s *statusService) stop() {
	s.cancel()
	s.servers.Stop()
	s.monitor.Wait()
	if s.costs != nil {
		s.costs.stop(s.collect())
	}
	s.crash.stop()
}
