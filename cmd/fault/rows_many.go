package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logspool/logspool/internal/cwlocal"
)

// Rows with many containers, and with many bytes.
func manyRows() []row {
	return []row{
		{name: "500 containers come and go", alone: true, do: func(ctx context.Context, t *trial) error {
			var g errgroup.Group
			g.SetLimit(40)
			for i := range 500 {
				g.Go(func() error { return t.visit(ctx, fmt.Sprintf("short%d", i), 20) })
			}
			if err := g.Wait(); err != nil {
				return err
			}
			return t.end(ctx)
		}},
		{name: "an outage with a backlog", alone: true, want: want{memory: 96, flood: true}, env: []string{"SPOOL_MAX_SIZE=1g"}, do: backlog},
	}
}

const backlogLine = 200 // bytes

// backlog writes what 5 MB/s come to in a minute, or in ten, while the service is away. It tells the rate of the delivery
// afterwards beside what the stand-in takes from a trivial client.
func backlog(ctx context.Context, t *trial) error {
	const perSecond = 5_000_000 / backlogLine / containers
	t.service.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable})
	if err := t.containers(ctx, containers, backlogLine); err != nil {
		return err
	}
	begun := time.Now()
	if t.long {
		t.beginLoad(ctx, perSecond)
		sleep(ctx, 10*time.Minute)
	} else {
		for _, s := range t.sources {
			t.load.Go(func() error {
				for range 60 * perSecond {
					if err := s.write(ctx); err != nil || ctx.Err() != nil {
						return err
					}
				}
				return nil
			})
		}
		_ = t.load.Wait()
	}
	if err := t.endLoad(ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	wrote := time.Since(begun)
	lines, _ := t.account.open()
	t.measureMemory()
	outage := t.rss
	t.service.ClearFault(0)
	if err := t.delivered(ctx); err != nil {
		return err
	}
	first, last := t.account.firstAndLastBatch()
	rate := float64(lines*backlogLine) / last.Sub(first).Seconds()
	if err := t.stop(); err != nil {
		return err
	}
	trivial, err := trivialRate(ctx, backlogLine)
	if err != nil {
		return err
	}
	t.note = fmt.Sprintf("%d MB in %.0f s, at most %d MiB of memory meanwhile; then delivered at %.0f MB/s, %.0f %% of the %.0f MB/s that a trivial client reaches",
		lines*backlogLine/1e6, wrote.Seconds(), outage>>10, rate/1e6, 100*rate/trivial, trivial/1e6)
	return nil
}
