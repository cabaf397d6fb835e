package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// limitRows are the rows about resources that containers share: disk space, descriptors,
// memory and pipes. One more is about lost delivery progress.
func limitRows() []row {
	return []row{
		{name: "SPOOL_TOTAL_SIZE used up by delivered data", env: []string{"SPOOL_TOTAL_SIZE=8m", "SPOOL_MAX_SIZE=8m"}, do: deliveredFills},
		{name: "60 short-lived containers on a disk of 8 MiB", short: true, root: true, do: shortLived},
		{name: "file descriptors for only half of the containers", short: true, do: fewDescriptors},
		{name: "60 containers with unfinished lines of 1 MB", alone: true, want: want{memory: 160}, do: unfinished},
		{name: "pipes of 8 KiB, because root has used up its share of pipes", root: true, alone: true, want: want{fullSpeed: true}, do: smallPipes},
		{name: "every cursor lost between a kill and a start", short: true, want: want{doubled: true}, do: lostCursors},
		{name: "1,000 containers write 10 lines a second each", alone: true, want: want{memory: 128}, do: thousand},
	}
}

// writeLines writes a number of lines from each of the sources, and waits until they have
// arrived.
func (t *trial) writeLines(ctx context.Context, lines int, sources ...*source) error {
	for _, s := range sources {
		for range lines {
			if err := s.write(ctx); err != nil {
				return err
			}
		}
	}
	return t.delivered(ctx)
}

// deliveredFills makes 30 containers write more than all spools together may hold, one
// after the other. Each one's lines are delivered before the next one writes. Then each
// container writes some more.
func deliveredFills(ctx context.Context, t *trial) error {
	if err := t.containers(ctx, 30, lineBytes); err != nil {
		return err
	}
	for _, s := range t.sources {
		if err := t.writeLines(ctx, 3000, s); err != nil {
			return err
		}
	}
	for range 20 {
		if err := t.writeLines(ctx, 1, t.sources...); err != nil {
			return err
		}
	}
	return t.end(ctx)
}

// shortLived runs 60 containers one after the other, which write 300 KB each. The disk
// holds less than all of them write.
func shortLived(ctx context.Context, t *trial) error {
	if err := t.ownDisk("size=8m"); err != nil {
		return err
	}
	for i := range 60 {
		if err := t.visit(ctx, fmt.Sprintf("short%d", i), 300_000/lineBytes); err != nil {
			return err
		}
		if err := t.delivered(ctx); err != nil {
			return err
		}
	}
	return t.end(ctx)
}

// descriptorLimit is how many files the plugin may open in the row about descriptors.
const descriptorLimit = 120

// fewDescriptors starts containers until the plugin refuses one. What the others write
// must arrive.
func fewDescriptors(ctx context.Context, t *trial) error {
	if err := t.stop(); err != nil {
		return err
	}
	t.wrap = []string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0"`, descriptorLimit)}
	if err := t.start(); err != nil {
		return err
	}
	var refused error
	for refused == nil && len(t.sources) < descriptorLimit {
		refused = t.container(ctx, fmt.Sprintf("c%d", len(t.sources)), lineBytes)
	}
	switch n := len(t.sources); {
	case refused == nil:
		return errors.New("no container was refused")
	case !strings.Contains(refused.Error(), "open files"):
		return fmt.Errorf("the error does not name the limit: %w", refused)
	case n < descriptorLimit/3:
		return fmt.Errorf("only %d containers: %w", n, refused)
	default:
		t.note = fmt.Sprintf("a limit of %d descriptors; %d containers started, and the next start failed: %s", descriptorLimit, n, refused)
	}
	for range 50 {
		if err := t.writeLines(ctx, 2, t.sources...); err != nil {
			return err
		}
	}
	return t.end(ctx)
}

// unfinished makes 60 containers write the first half of a line of 1 MB, and a little later
// the second half.
func unfinished(ctx context.Context, t *trial) error {
	const size, half = 1_000_000, 500_000
	if err := t.containers(ctx, 60, size); err != nil {
		return err
	}
	rest := make([]string, len(t.sources))
	for i, s := range t.sources {
		line := s.sequence.Next(s.size) + "\n"
		t.account.written(s.sequence)
		c, _ := s.current()
		if err := c.Write(s.sequence.Source, line[:half]); err != nil {
			return err
		}
		rest[i] = line[half:]
	}
	sleep(ctx, 2*time.Second) // less than an unfinished line waits
	for i, s := range t.sources {
		c, _ := s.current()
		if err := c.Write(s.sequence.Source, rest[i]); err != nil {
			return err
		}
	}
	return t.end(ctx)
}

// smallPipes uses up the pages that root's pipes share (pipe(7), pipe-user-pages-soft), so
// that a plugin without CAP_SYS_RESOURCE, as dockerd runs it, gets pipes of two pages. It
// compares how fast one container can write before and after that.
func smallPipes(ctx context.Context, t *trial) error {
	flood := func(name string) (float64, error) {
		if err := t.restart(true, 0); err != nil {
			return 0, err
		}
		if err := t.container(ctx, name, lineBytes); err != nil {
			return 0, err
		}
		s := t.sources[len(t.sources)-1]
		begun := time.Now()
		for range 200_000 {
			if err := s.write(ctx); err != nil {
				return 0, err
			}
		}
		return 200_000 * lineBytes / 1e6 / time.Since(begun).Seconds(), t.delivered(ctx)
	}
	t.wrap = []string{"setpriv", "--bounding-set=-sys_resource,-sys_admin"}
	before, err := flood("before")
	if err != nil {
		return err
	}
	free, err := useUpPipes()
	defer free()
	if err != nil {
		return err
	}
	small, err := flood("small")
	if err != nil {
		return err
	}
	t.note = fmt.Sprintf("one container wrote %.0f MB/s, and %.0f MB/s with pipes of the usual size", small, before)
	if small < before/4 {
		return fmt.Errorf("%s: less than a quarter", t.note)
	}
	return t.end(ctx)
}

// useUpPipes makes pipes until they have more pages than the soft limit. The caller must
// call free, also after an error.
func useUpPipes() (free func(), err error) {
	var fds []int
	free = func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	var pages, most int
	limit, err := os.ReadFile("/proc/sys/fs/pipe-user-pages-soft")
	if err == nil {
		_, err = fmt.Sscan(string(limit), &most)
	}
	if err != nil {
		return free, err
	}
	const size = 1 << 20
	for pages <= most {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return free, os.NewSyscallError("pipe2", err)
		}
		fds = append(fds, p[0], p[1])
		if _, err := unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, size); err != nil {
			return free, os.NewSyscallError("F_SETPIPE_SZ", err)
		}
		pages += size / os.Getpagesize()
	}
	return free, nil
}

// maxRepeated is how many lines of one container may arrive again when its cursor is lost:
// 64 KiB of the stream, and a batch in flight.
const maxRepeated = 3000

// lostCursors empties, damages and removes cursors, and gives one the version number of a
// later plugin.
func lostCursors(ctx context.Context, t *trial) error {
	if err := t.containers(ctx, containers, lineBytes); err != nil {
		return err
	}
	if err := t.writeLines(ctx, 20_000, t.sources...); err != nil {
		return err
	}
	t.kill()
	cursors, err := filepath.Glob(filepath.Join(t.state, "containers", "*", "spool", "cursor"))
	if err != nil || len(cursors) != containers {
		return fmt.Errorf("%d cursors, want %d", len(cursors), containers)
	}
	for i, path := range cursors {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		switch i % 4 {
		case 0:
			err = os.WriteFile(path, nil, 0o600)
		case 1:
			clear(data)
			err = os.WriteFile(path, data, 0o600)
		case 2:
			err = os.Remove(path)
		case 3:
			data[7] = '9' // the version (spool/DESIGN.md)
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	if err := t.start(); err != nil {
		return err
	}
	if err := t.writeLines(ctx, 1000, t.sources...); err != nil {
		return err
	}
	n := t.account.balance().doubled
	if n > containers*maxRepeated {
		return fmt.Errorf("%d of %d lines arrived again", n, containers*20_000)
	}
	t.note = fmt.Sprintf("%d of %d lines arrived again", n, containers*20_000)
	return t.end(ctx)
}

// thousand runs a thousand containers at once, and counts the plugin's open files.
func thousand(ctx context.Context, t *trial) error {
	const n = 1000
	var g errgroup.Group
	g.SetLimit(20)
	begun := time.Now()
	all := make([]*source, n)
	for i := range n {
		g.Go(func() error {
			all[i] = newSource(t.account, fmt.Sprintf("c%d", i), lineBytes)
			return t.startContainer(ctx, all[i])
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	t.sources = all
	started := time.Since(begun)
	open := func() int {
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", t.plugin.PID()))
		return len(fds)
	}
	t.beginLoad(ctx, 10)
	sleep(ctx, 10*time.Second)
	busy := open()
	t.stopLoad()
	if err := waitFor(t.writers.Wait, "a container's write is blocked"); err != nil {
		return err
	}
	if err := t.delivered(ctx); err != nil {
		return err
	}
	sleep(ctx, 12*time.Second) // the plugin closes the files of a container that was idle for ten
	t.note = fmt.Sprintf("started in %.1f s; %d descriptors, %d when idle", started.Seconds(), busy, open())
	return t.end(ctx)
}
