package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/hosttest"
)

const (
	// startContainers is how many containers the plugin has when it starts.
	startContainers = 1000
	// startSpool is how many bytes of undelivered lines each of them has: 4 GB in all.
	startSpool = 4 << 20
	startTurns = 5
)

// start measures how long the plugin takes to start when it has to reattach many containers
// that wait for CloudWatch, after a kill and after a clean stop.
//
// Each container writes a line while the plugin does not run. A container is reattached when
// that line has been taken out of its FIFO.
func (b *bench) start(ctx context.Context) ([]row, error) {
	env := []string{"SPOOL_MAX_SIZE=1g", "SPOOL_TOTAL_SIZE=8g"}
	h, err := b.newHost(ctx, b.binary, false, b.count(startContainers), env)
	if err != nil {
		return nil, err
	}
	defer h.close()
	h.service.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable})
	pipes, err := openPipes(h.containers)
	if err != nil {
		return nil, err
	}
	defer pipes.close()
	if err := fillSpools(ctx, h.containers, startSpool); err != nil {
		return nil, err
	}
	if err := pipes.waitEmpty(ctx, h.plugin); err != nil {
		return nil, err
	}
	size, err := treeSize(h.state)
	if err != nil {
		return nil, err
	}
	if least := int64(len(h.containers)) * startSpool; size < least {
		return nil, fmt.Errorf("the spools have %d bytes, and should have at least %d", size, least)
	}
	var rows []row
	for _, end := range []struct {
		name string
		stop func() error
	}{
		{"kill -9", func() error { h.plugin.Kill(); return nil }},
		{"a clean stop", func() error { return h.plugin.Stop(patience) }},
	} {
		var turns []started
		for turn := range cmp.Or(b.turns, startTurns) {
			t, err := h.restart(ctx, b, pipes, end.stop)
			if err != nil {
				return rows, fmt.Errorf("start after %s: %w", end.name, err)
			}
			fmt.Fprintf(b.out, "start after %s, turn %d: %v\n", end.name, turn+1, t)
			turns = append(turns, t)
		}
		what := fmt.Sprintf("start after %s with %d containers and %.1f GB of spool: ", end.name, len(h.containers), float64(size)/1e9)
		rows = append(rows, startRows(what, turns)...)
	}
	return rows, nil
}

// started is how long a start took, from the start of the process.
type started struct {
	listening, reattached time.Duration
	cpu                   time.Duration // cpu is the processor time until reattached.
	memory                int64         // memory is the peak until reattached, in bytes.
}

func (t started) String() string {
	return fmt.Sprintf("listening after %.3f s, all FIFOs read after %.3f s, processor %.3f s, memory %d MiB",
		t.listening.Seconds(), t.reattached.Seconds(), t.cpu.Seconds(), t.memory>>20)
}

// startRows returns the rows of the turns of one kind of start.
func startRows(what string, turns []started) []row {
	figures := func(of func(started) float64) (all []float64) {
		for _, t := range turns {
			all = append(all, of(t))
		}
		return all
	}
	listening := figures(func(t started) float64 { return t.listening.Seconds() })
	reattached := figures(func(t started) float64 { return t.reattached.Seconds() })
	cpu := figures(func(t started) float64 { return t.cpu.Seconds() })
	memory := figures(func(t started) float64 { return float64(t.memory >> 20) })
	return []row{
		{what: what + "listening", got: spreadOf(listening), unit: "s", limit: 0.1,
			note: fmt.Sprintf("The worst of %d turns took %.2f s.", len(turns), slices.Max(listening))},
		{what: what + "all FIFOs read again", got: spreadOf(reattached), unit: "s", limit: 2,
			note: fmt.Sprintf("The worst of %d turns took %.2f s. The plugin used %.2f s of processor time and at most %.0f MiB of memory. The spools are in the page cache.",
				len(turns), slices.Max(reattached), spreadOf(cpu).median, slices.Max(memory))},
	}
}

// restart ends the plugin with stop, writes a line to each container, and starts the plugin
// again.
func (h *host) restart(ctx context.Context, b *bench, p pipes, stop func() error) (t started, err error) {
	if err := stop(); err != nil {
		return t, err
	}
	for _, c := range h.containers {
		if err := c.Write(dockertest.Stdout, line); err != nil {
			return t, err
		}
	}
	begun := time.Now()
	if err := h.startPlugin(b.thread); err != nil {
		return t, err
	}
	t.listening = time.Since(begun)
	if err := p.waitEmpty(ctx, h.plugin); err != nil {
		return t, err
	}
	t.reattached = time.Since(begun)
	if t.cpu, err = h.cpu(); err != nil {
		return t, err
	}
	t.memory = h.peakMemory()
	return t, nil
}

// fillSpools writes size bytes of lines to each container.
func fillSpools(ctx context.Context, containers []*dockertest.Container, size int) error {
	const long = 16_000 // a line that dockerd does not split
	text := strings.Repeat(strings.Repeat("x", long-1)+"\n", 16)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, c := range containers {
		g.Go(func() error {
			for n := 0; n < size; n += len(text) {
				if err := errors.Join(ctx.Err(), c.Write(dockertest.Stdout, text)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// pipes are descriptors of the containers' FIFOs, which nothing is read from. They show how
// full a FIFO is.
type pipes []int

func openPipes(containers []*dockertest.Container) (p pipes, err error) {
	for _, c := range containers {
		fd, err := unix.Open(c.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			p.close()
			return nil, fmt.Errorf("couldn't open %q: %w", c.Path, err)
		}
		p = append(p, fd)
	}
	return p, nil
}

func (p pipes) close() {
	for _, fd := range p {
		unix.Close(fd)
	}
}

// waitEmpty waits until the plugin has read every FIFO to its end.
func (p pipes) waitEmpty(ctx context.Context, plugin *hosttest.Program) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for empty := 0; ; {
		for ; empty < len(p); empty++ { // an empty FIFO stays empty, because nobody writes
			unread, err := unix.IoctlGetInt(p[empty], unix.TIOCINQ)
			if err != nil {
				return fmt.Errorf("couldn't look into a FIFO: %w", err)
			}
			if unread > 0 {
				break
			}
		}
		if empty == len(p) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-plugin.Exited():
			return fmt.Errorf("the plugin ended: %w", plugin.Err())
		case <-deadline.C:
			return fmt.Errorf("%d of %d FIFOs have been read in %v; the plugin's log ends with\n%s", empty, len(p), patience, plugin.Log.Tail(20))
		}
	}
}

// treeSize returns the size of all files below dir.
func treeSize(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // the plugin replaces files
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
