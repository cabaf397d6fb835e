package main

import (
	"context"
	"fmt"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
)

// killRows are the rows in which the plugin or dockerd is killed or restarted.
func killRows() []row {
	// With small batches and a slow service, a request is in flight at most kills.
	busy := []string{"DELAY=30ms"}
	return []row{
		{name: "the plugin killed at random times", short: true, alone: true, env: busy, want: want{killed: true}, do: kills},
		{name: "the plugin stopped with SIGTERM and restarted, 10 times", short: true, alone: true, env: busy, do: func(ctx context.Context, t *trial) error {
			t.service.AddFault(slow)
			return t.restarts(ctx, 10, true)
		}},
		{name: "the plugin killed during an outage", short: true, want: want{killed: true}, do: func(ctx context.Context, t *trial) error {
			t.outage()
			return t.restarts(ctx, 5, false)
		}},
		{name: "dockerd killed and restarted, 5 times", short: true, do: dockerdKills},
	}
}

// slow is a service that takes as long for an answer as the real one does.
var slow = cwlocal.Fault{Kind: cwlocal.Slow, Delay: 20 * time.Millisecond}

func kills(ctx context.Context, t *trial) error {
	n := 100
	if t.short {
		n = 10
	}
	t.note = fmt.Sprintf("%d kills", n)
	t.service.AddFault(slow)
	return t.restarts(ctx, n, false)
}

// restarts stops or kills the plugin n times under load, each time after a random time, and
// starts it after another random time.
func (t *trial) restarts(ctx context.Context, n int, gently bool) error {
	if err := t.containers(ctx, containers, lineBytes); err != nil {
		return err
	}
	t.beginLoad(ctx, perContainer)
	for range n {
		sleep(ctx, time.Duration(t.random.IntN(300))*time.Millisecond)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.restart(gently, time.Duration(t.random.IntN(100))*time.Millisecond); err != nil {
			return err
		}
	}
	return t.end(ctx)
}

func dockerdKills(ctx context.Context, t *trial) error {
	return t.underLoad(ctx, lineBytes, func(ctx context.Context, stretch time.Duration) error {
		for range 5 {
			sleep(ctx, stretch/6)
			if err := t.restartDockerd(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// restartDockerd kills dockerd and starts it again, with live-restore: the containers get
// new FIFOs.
func (t *trial) restartDockerd(ctx context.Context) error {
	t.docker.Kill()
	for _, s := range t.sources {
		old, _ := s.current()
		begun := time.Now()
		c, err := old.Restart(ctx)
		t.times.started(time.Since(begun))
		if err != nil {
			return err
		}
		s.attach(c)
	}
	return nil
}
