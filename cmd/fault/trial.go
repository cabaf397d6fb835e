package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
)

const (
	region    = "eu-central-1"
	group     = "fault"
	accessKey = "AKIDEXAMPLE"
	secretKey = "secret"

	// patience bounds every wait. It is long enough that only a failure reaches it.
	patience = 90 * time.Second
)

// trial is one run of a row: a host with a dockerd and a plugin, and a stand-in for
// CloudWatch.
type trial struct {
	row     row
	short   bool   // short says that the row runs in its shorter form.
	seed    uint64 // seed is the seed of everything random.
	random  *rand.Rand
	account *account
	service *cwlocal.Server
	docker  *dockertest.Daemon
	times   times

	pluginHost
	load
	note string // note is for the result, and belongs to the row's goroutine.
}

// newTrial makes what a row needs. Only the stand-in runs yet.
func newTrial(l *lab, r row, number int) (t *trial, err error) {
	dir := filepath.Join(l.dir, "row"+strconv.Itoa(number))
	t = &trial{row: r, short: l.short, seed: l.seed, account: newAccount(), random: rand.New(rand.NewPCG(l.seed, uint64(number)))}
	t.binary, t.thread, t.state = l.binary, l.thread, filepath.Join(dir, "state")
	if err := os.MkdirAll(t.state, 0o700); err != nil {
		return nil, err
	}
	t.service, err = cwlocal.Start("127.0.0.1:0", serviceOptions(t.account))
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "s")
	t.docker, err = dockertest.NewDaemon(dockertest.Options{
		Socket: socket, Dir: filepath.Join(dir, "fifos"), Backoff: 100 * time.Millisecond,
	})
	if err != nil {
		t.service.Close()
		return nil, err
	}
	t.env = append(pluginSettings(t.service.URL()), "PLUGIN_SOCKET="+socket, "STATE_DIR="+t.state, "HOME="+dir)
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
		"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=" + endpoint, "AWS_ENDPOINT_URL_STS=" + endpoint, "AWS_REGION=" + region,
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey,
		"NOEC2=1", "LOGSPOUT_GROUP=" + group, "DELAY=500ms",
	}
}

// close ends what still runs.
func (t *trial) close() {
	t.stopLoad()
	t.docker.Kill() // unblocks the load's writes
	_ = t.writers.Wait()
	if t.plugin != nil {
		t.kill()
	}
	_ = t.service.Close()
}

// startContainer starts a container's log.
func (t *trial) startContainer(ctx context.Context, s *source) error {
	name := s.sequence.Container
	begun := time.Now()
	c, err := t.docker.Start(ctx, dockertest.Info{
		ContainerID: dockertest.NewID(), ContainerName: "/" + name, ContainerImageName: "image:1",
	})
	t.times.started(time.Since(begun))
	if err != nil {
		return fmt.Errorf("container %s: %w", name, err)
	}
	s.attach(c)
	return nil
}

// stopContainer stops a container's log.
func (t *trial) stopContainer(ctx context.Context, s *source) error {
	c, _ := s.current()
	begun := time.Now()
	err := c.Stop(ctx)
	t.times.stopped(time.Since(begun))
	return err
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

// container starts a container whose lines have size bytes.
func (t *trial) container(ctx context.Context, name string, size int) error {
	s := newSource(t.account, name, size)
	if err := t.startContainer(ctx, s); err != nil {
		return err
	}
	t.sources = append(t.sources, s)
	return nil
}

// endLoad ends the writing, and stops the containers.
func (t *trial) endLoad(ctx context.Context) error {
	t.stopLoad()
	if err := waitFor(t.writers.Wait, "a container's write is blocked"); err != nil {
		return err
	}
	var g errgroup.Group
	for _, s := range t.sources {
		g.Go(func() error { return t.stopContainer(ctx, s) })
	}
	return waitFor(g.Wait, "StopLogging is not answered")
}

// waitFor waits for f, and returns an error with the text otherwise if f takes too long.
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

// delivered waits until every line has arrived or is counted by a marker. It fails if the
// number of open lines does not change for a while. Lines of a marker that only gives
// bytes cannot be counted before the end: in that case, delivered waits until the plugin
// has removed every spool.
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
			return nil // everything is acknowledged; the balance shows how
		}
		select {
		case <-t.plugin.Exited():
			return fmt.Errorf("the plugin ended: %v", t.plugin.Err())
		case <-ctx.Done():
			return ctx.Err()
		case <-stuck.C:
			return fmt.Errorf("%d lines have not arrived, and none has in %v", lines, patience)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end ends a trial in order: the writing, the containers, the delivery, the plugin.
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

// sleep waits for d or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
