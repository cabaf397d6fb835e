package main

import (
	"context"
	"fmt"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
)

// Rows in which the plugin, or dockerd, dies.
func killRows() []row {
	// Small batches, and a service that takes its time, so that something is under way at most kills.
	busy := []string{"DELAY=30ms"}
	return []row{
		{name: "kills of the plugin at random", short: true, alone: true, env: busy, want: want{killed: true}, do: func(ctx context.Context, t *trial) error {
			n := 100
			if t.short {
				n = 10
			}
			t.note = fmt.Sprintf("%d kills", n)
			t.service.AddFault(unhurried)
			return t.restarts(ctx, n, false)
		}},
		{name: "SIGTERM and a new start, 10 times", short: true, alone: true, env: busy, do: func(ctx context.Context, t *trial) error {
			t.service.AddFault(unhurried)
			return t.restarts(ctx, 10, true)
		}},
		{name: "kills of the plugin in an outage", short: true, want: want{killed: true}, do: func(ctx context.Context, t *trial) error {
			t.service.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable})
			return t.restarts(ctx, 5, false)
		}},
		{name: "dockerd killed and started again, 5 times", short: true, do: func(ctx context.Context, t *trial) error {
			return t.under(ctx, lineBytes, func(ctx context.Context, stretch time.Duration) error {
				for range 5 {
					sleep(ctx, stretch/6)
					if err := t.newDockerd(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		}},
	}
}

// unhurried is a service that takes its time, as the real one does.
var unhurried = cwlocal.Fault{Kind: cwlocal.Slow, Delay: 20 * time.Millisecond}

// restarts ends the plugin n times under load, after a random time each, and starts it after another.
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

// newDockerd is dockerd's death and return, with live-restore: the containers have new FIFOs.
func (t *trial) newDockerd(ctx context.Context) error {
	t.docker.Kill()
	for _, s := range t.sources {
		old, _ := s.current()
		begun := time.Now()
		c, err := old.Restart(ctx)
		t.tellTime(&t.slowStart, begun)
		if err != nil {
			return err
		}
		s.attach(c)
	}
	return nil
}
