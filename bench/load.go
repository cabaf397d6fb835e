package main

import (
	"context"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logspool/logspool/internal/dockertest"
)

// lineSize is the length of each line, without the newline.
const lineSize = 100

var line = strings.Repeat("abcdefghi ", lineSize/10) + "\n"

// load is what the containers of a host write.
type load struct {
	name       string
	containers int
	// lines is how many lines they write together, as fast as they can. With 0, each writes
	// rate lines a second, for as long as length.
	lines  int
	rate   int
	length time.Duration
	env    []string // env has settings of the plugin.
	turns  int      // turns is how often to measure each of the things that are compared.
}

// scaled returns the load with its size multiplied by a factor.
func (l load) scaled(by float64) load {
	l.lines = int(float64(l.lines) * by)
	l.length = time.Duration(float64(l.length) * by)
	return l
}

// write writes the load, and returns how many lines that were.
func (l load) write(ctx context.Context, containers []*dockertest.Container) (lines int, err error) {
	if l.lines == 0 {
		return l.writeAtRate(ctx, containers)
	}
	each := l.lines / len(containers)
	var g errgroup.Group
	for _, c := range containers {
		g.Go(func() error {
			for range each {
				if err := c.Write(dockertest.Stdout, line); err != nil {
					return err
				}
			}
			return nil
		})
	}
	stop := context.AfterFunc(ctx, func() { // a write may be blocked
		for _, c := range containers {
			c.Kill()
		}
	})
	defer stop()
	return each * len(containers), g.Wait()
}

// writeAtRate writes to one container after the other, so that the lines are spread evenly.
func (l load) writeAtRate(ctx context.Context, containers []*dockertest.Container) (lines int, err error) {
	begun := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		now := min(time.Since(begun), l.length)
		for due := int(now.Seconds() * float64(l.rate*len(containers))); lines < due; lines++ {
			if err := containers[lines%len(containers)].Write(dockertest.Stdout, line); err != nil {
				return lines, err
			}
		}
		if now == l.length {
			return lines, nil
		}
		select {
		case <-ctx.Done():
			return lines, ctx.Err()
		case <-tick.C:
		}
	}
}
