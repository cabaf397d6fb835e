package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
)

const awslogs = "awslogs"

// engineRow is a row in a real Docker engine: real containers with awslogs or the plugin.
type engineRow struct {
	driver  string
	options []string
	fault   *cwlocal.Fault // fault is active during the middle half of the run.
	down    bool           // down says that the service is down until the middle of the run.
}

// engineRows are the rows with a real Docker engine, each for Docker's own driver and for
// logspool.
func engineRows() (all []row) {
	half := func(k cwlocal.FaultKind) *cwlocal.Fault { return &cwlocal.Fault{Kind: k} }
	blocking, ring := []string{"mode=blocking"}, []string{"mode=non-blocking"}
	for _, driver := range []string{awslogs, pluginName} {
		label, _, _ := strings.Cut(driver, ":")
		for _, r := range []struct {
			name string
			engineRow
		}{
			{"nothing fails", engineRow{}},
			{"503 for half of the run, mode=blocking", engineRow{options: blocking, fault: half(cwlocal.Unavailable)}},
			{"503 for half of the run, mode=non-blocking", engineRow{options: ring, fault: half(cwlocal.Unavailable)}},
			{"connections reset before events are stored, for half of the run", engineRow{fault: half(cwlocal.ResetBefore)}},
			{"throttling of 90 % of requests, for half of the run", engineRow{fault: &cwlocal.Fault{Kind: cwlocal.Throttle, Probability: 0.9}}},
			{"the service down for the first half of the run", engineRow{down: true}},
		} {
			e := r.engineRow
			e.driver = driver
			all = append(all, row{name: label + ": " + r.name, engine: &e})
		}
	}
	return all
}

// engineStretch is how long the containers write. awslogs sends every five seconds unless a
// batch is full. Half of the stretch is longer than that, so that awslogs meets every
// fault.
const engineStretch = 14 * time.Second

// engineTrial is one run of an engineRow.
type engineTrial struct {
	*engine
	row     engineRow
	prefix  string // prefix is the prefix of the containers' names.
	reports string // reports is the directory of the containers' reports.
	account *account
	service *cwlocal.Server
	stretch time.Duration

	res *result // res belongs to the row's goroutine, except for its times.

	mu      sync.Mutex // mu guards running and refused.
	running []string   // running has the names of the containers that started.
	refused error      // refused is why the other containers did not start.
}

func (l *lab) runEngineRow(ctx context.Context, res *result) {
	fail := func(err error) { res.problems = append(res.problems, err.Error()) }
	if res.notRun = l.noEngine(); res.notRun != "" {
		return
	}
	e, err := l.engine(ctx)
	if err != nil {
		res.notRun = "no engine could be started: " + err.Error()
		return
	}
	t := &engineTrial{engine: e, row: *res.row.engine, res: res, account: newAccount(), stretch: engineStretch,
		prefix: fmt.Sprintf("r%d-", rowNumber.Add(1))}
	t.reports = filepath.Join(l.dir, t.prefix)
	if err := os.Mkdir(t.reports, 0o755); err != nil {
		fail(err)
		return
	}
	if t.service, err = e.service(t.account); err != nil {
		fail(err)
		return
	}
	defer t.service.Close()
	if err := t.run(ctx); err != nil {
		fail(err)
	}
	res.judge(t.account, nil)
}

func (t *engineTrial) run(ctx context.Context) error {
	if t.row.down {
		t.service.AddFault(cwlocal.Fault{Kind: cwlocal.ResetBefore})
	}
	var starts sync.WaitGroup
	for i := range containers {
		name := fmt.Sprint(t.prefix, i)
		// Every line that the container may print counts as written, until its report says
		// how many it did print.
		t.account.written(dockertest.Sequence{Container: name, Source: dockertest.Stdout, N: 2 * perContainer * int(t.stretch.Seconds())})
		starts.Go(func() { t.start(ctx, name) })
	}
	starts.Wait()
	begun := time.Now()
	if t.row.fault != nil {
		sleep(ctx, t.stretch/4)
		id := t.service.AddFault(*t.row.fault)
		sleep(ctx, t.stretch/2)
		t.service.ClearFault(id)
	} else {
		sleep(ctx, t.stretch/2)
		t.service.ClearFault(0)
	}
	sleep(ctx, t.stretch-time.Since(begun))
	var ends errgroup.Group
	started := map[string]bool{}
	for _, name := range t.running {
		started[name] = true
		ends.Go(func() error { return t.finish(ctx, name) })
	}
	for i := range containers {
		if name := fmt.Sprint(t.prefix, i); !started[name] {
			t.account.wrote(name, 0)
		}
	}
	err := ends.Wait()
	if n := containers - len(t.running); n > 0 {
		t.res.note = fmt.Sprintf("%d of %d containers did not start", n, containers)
		if t.row.driver != awslogs {
			err = errors.Join(err, t.refused)
		}
	}
	if err == nil {
		t.waitDelivered(ctx)
	}
	if t.row.driver != awslogs {
		t.res.rss = t.memory(ctx)
	}
	return err
}

// start starts a container.
func (t *engineTrial) start(ctx context.Context, name string) {
	args := []string{"run", "-d", "--name", name, "--network", "none", "-v", t.reports + ":/report", "--log-driver", t.row.driver}
	options := append([]string{"awslogs-region=" + region, "awslogs-endpoint=" + t.service.URL(),
		"awslogs-group=" + group, "awslogs-stream=" + name, "awslogs-create-group=true"}, t.row.options...)
	for _, o := range options {
		args = append(args, "--log-opt", o)
	}
	args = append(args, imageName, printCommand, "-name", name, "-rate", fmt.Sprint(perContainer), "-size", fmt.Sprint(lineBytes),
		"-for", t.stretch.String(), "-report", "/report/"+name)
	begun := time.Now()
	_, err := t.Docker(ctx, nil, args...)
	t.res.times.started(time.Since(begun))
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.refused = errors.Join(t.refused, err)
		return
	}
	t.running = append(t.running, name)
}

// finish waits until a container has printed everything, and stops it.
func (t *engineTrial) finish(ctx context.Context, name string) error {
	deadline := time.Now().Add(patience)
	for {
		var p printed
		text, err := os.ReadFile(filepath.Join(t.reports, name))
		if err == nil {
			_, err = fmt.Sscan(string(text), &p.lines, &p.longestWrite)
			t.account.wrote(name, p.lines)
			t.res.times.wrote(p.longestWrite)
		}
		if err == nil {
			break
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("container %s does not finish printing", name)
		}
		sleep(ctx, 20*time.Millisecond)
	}
	begun := time.Now()
	_, err := t.Docker(ctx, nil, "stop", name)
	t.res.times.stopped(time.Since(begun))
	_, rmErr := t.Docker(ctx, nil, "rm", "-f", name)
	return errors.Join(err, rmErr)
}

// waitDelivered waits until all lines have arrived, or until none has arrived for a while:
// awslogs drops lines.
func (t *engineTrial) waitDelivered(ctx context.Context) {
	quiet := 20 * time.Second
	if t.row.driver == awslogs {
		quiet = 4 * time.Second
	}
	last, since := -1, time.Now()
	for ctx.Err() == nil {
		lines, _ := t.account.open()
		if lines <= 0 || time.Since(since) > quiet {
			return
		}
		if lines != last {
			last, since = lines, time.Now()
		}
		sleep(ctx, 50*time.Millisecond)
	}
}
