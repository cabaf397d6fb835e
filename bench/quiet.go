package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The sizes of the measurement quiet.
const (
	quietContainers = 1000
	quietRate       = 10               // quietRate is in lines per second and container.
	quietWindow     = 20 * time.Second // quietWindow is how long the processor time is measured at a time.
	quietWindows    = 3                // quietWindows is how many windows are measured.
	quietWarmUp     = 6 * time.Second  // quietWarmUp is longer than DELAY.
)

// quietNote is about the rows of the measurement quiet.
const quietNote = "Only the plugin's own processor time. Each container writes lines of 100 bytes, evenly, and no two write at the same time. " +
	"The values are those of windows of 20 s in one run, after the log streams exist and 6 s of writing have passed. " +
	"Lines that are late are written together, which costs the plugin less. " +
	"A container that is called idle has written before, and its lines are delivered."

// quiet measures the plugin's processor time with many containers that write little, and while
// they write nothing.
func (b *bench) quiet(ctx context.Context) (rows []row, err error) {
	containers := b.count(quietContainers)
	what := fmt.Sprintf("CPU with %d containers at %d lines/s", containers, quietRate)
	for _, c := range []struct {
		name    string
		streams int
		limit   float64
	}{{"5 streams", 5, 10}, {"each its own stream", 0, 15}} {
		busy, idle, late, err := b.quietRun(ctx, c.name, c.streams)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", c.name, err)
		}
		rows = append(rows, row{what: what + ", " + c.name, got: spreadOf(busy), unit: "% of a core", limit: c.limit,
			note: fmt.Sprintf("%.1f %% of the lines were written late by more than 1 ms, because of other load on the machine.", 100*late)})
		if len(idle) > 0 {
			rows = append(rows, row{what: fmt.Sprintf("CPU with %d idle containers", containers), got: spreadOf(idle), unit: "% of a core", limit: 0.3})
		}
	}
	rows[0].note = quietNote + " " + rows[0].note
	return rows, nil
}

// quietRun measures one case, and returns which part of the lines was late. Only the containers
// with streams of their own are also measured while they are idle, because they have the most
// that could be busy.
func (b *bench) quietRun(ctx context.Context, name string, streams int) (busy, idle []float64, late float64, err error) {
	h, err := b.newHost(ctx, b.binary, false, 0, nil)
	if err != nil {
		return nil, nil, 0, err
	}
	defer h.close()
	if err := h.startSharing(ctx, b.count(quietContainers), streams); err != nil {
		return nil, nil, 0, err
	}
	if err := h.warmUp(ctx); err != nil {
		return nil, nil, 0, err
	}
	writing := h.steadily(ctx, pace{quietRate})
	busy, err = b.windows(ctx, h, name, writing.sleep)
	if err := errors.Join(err, writing.stop(ctx)); err != nil {
		return nil, nil, 0, err
	}
	if streams == 0 {
		idle, err = b.windows(ctx, h, "idle", sleep)
	}
	return busy, idle, float64(writing.late) / float64(writing.lines), err
}

// windows returns the plugin's processor time in some windows, in percent of a core.
func (b *bench) windows(ctx context.Context, h *host, name string, wait func(context.Context, time.Duration) error) (percent []float64, err error) {
	if err := wait(ctx, b.time(quietWarmUp)); err != nil {
		return nil, err
	}
	window := b.time(quietWindow)
	profiled := h.startProfile(ctx, b.profile, strings.ReplaceAll(name, " ", "-"), window)
	for range cmp.Or(b.turns, quietWindows) {
		used, took, err := h.cpuDuring(func() error { return wait(ctx, window) })
		if err != nil {
			return nil, err
		}
		percent = append(percent, 100*used.Seconds()/took.Seconds())
		fmt.Fprintf(b.out, "quiet, %s: %.2f %% of a core, memory %d MiB\n", name, percent[len(percent)-1], h.memory()>>20)
	}
	return percent, profiled()
}

// cpuDuring returns the processor time that the plugin uses while f runs.
func (h *host) cpuDuring(f func() error) (used, took time.Duration, err error) {
	before, err := h.cpu()
	if err != nil {
		return 0, 0, err
	}
	begun := time.Now()
	if err := f(); err != nil {
		return 0, 0, err
	}
	took = time.Since(begun)
	after, err := h.cpu()
	return after - before, took, err
}

// time returns a time, multiplied by the factor of the flag -scale.
func (b *bench) time(d time.Duration) time.Duration {
	return max(10*time.Millisecond, time.Duration(float64(d)*b.scale))
}
