package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// manyRows are the rows with many containers or many bytes.
func manyRows() []row {
	return []row{
		{name: "500 containers come and go", alone: true, do: comeAndGo},
		{name: "an outage with a backlog", alone: true, want: want{memory: 96, fullSpeed: true}, env: []string{"SPOOL_MAX_SIZE=1g"},
			do: func(ctx context.Context, t *trial) error { return backlog(ctx, t, backlogAtOnce) }},
		{name: "an outage of ten minutes at 5 MB/s", alone: true, long: true, want: want{memory: 96}, env: []string{"SPOOL_MAX_SIZE=1g"},
			do: func(ctx context.Context, t *trial) error { return backlog(ctx, t, backlogInRealTime) }},
	}
}

func comeAndGo(ctx context.Context, t *trial) error {
	var g errgroup.Group
	g.SetLimit(40)
	for i := range 500 {
		g.Go(func() error { return t.visit(ctx, fmt.Sprintf("short%d", i), 20) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return t.end(ctx)
}

const backlogLine = 200 // bytes

// backlogRate is how many lines a second each container writes, for 5 MB/s from all of them.
const backlogRate = 5_000_000 / backlogLine / containers

// backlogAtOnce makes the containers write 300 MB, a minute's worth of 5 MB/s, as fast as
// they can.
func backlogAtOnce(ctx context.Context, t *trial) {
	for _, s := range t.sources {
		t.writers.Go(func() error {
			for range 60 * backlogRate {
				if err := s.write(ctx); err != nil || ctx.Err() != nil {
					return err
				}
			}
			return nil
		})
	}
	_ = t.writers.Wait() // endLoad returns the error
}

// backlogInRealTime makes the containers write 5 MB/s for ten minutes.
func backlogInRealTime(ctx context.Context, t *trial) {
	t.beginLoad(ctx, backlogRate)
	sleep(ctx, 10*time.Minute)
}

// backlog makes the containers write during an outage. Its note compares the rate of the
// delivery afterwards with what the stand-in accepts from a trivial client.
func backlog(ctx context.Context, t *trial, write func(context.Context, *trial)) error {
	t.outage()
	if err := t.containers(ctx, containers, backlogLine); err != nil {
		return err
	}
	begun := time.Now()
	write(ctx, t)
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
	t.note = fmt.Sprintf("%d MB written in %.0f s with at most %d MiB of memory; then delivered at %.0f MB/s, %.0f %% of the %.0f MB/s that a trivial client reaches",
		lines*backlogLine/1e6, wrote.Seconds(), outage>>10, rate/1e6, 100*rate/trivial, trivial/1e6)
	return nil
}
