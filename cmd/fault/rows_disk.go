package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cwlocal"
)

// Rows in which there is no room, or the disk fails.
func diskRows() []row {
	outage := cwlocal.Fault{Kind: cwlocal.Unavailable}
	full := func(policy string, short bool) row {
		return row{name: "the spool full, " + policy, short: short, want: want{marked: some},
			env: []string{"SPOOL_MAX_SIZE=1m", "SPOOL_FULL=" + policy},
			do: func(ctx context.Context, t *trial) error {
				t.service.AddFault(outage)
				return t.under(ctx, 800, nothing)
			}}
	}
	return []row{
		full("drop-oldest", true),
		full("drop-newest", false),
		{name: "the spool full, drop-newest, and two new starts", want: want{killed: true, marked: some},
			env: []string{"SPOOL_MAX_SIZE=1m", "SPOOL_FULL=drop-newest"}, do: func(ctx context.Context, t *trial) error {
				t.service.AddFault(outage)
				return t.under(ctx, 800, func(ctx context.Context, stretch time.Duration) error {
					sleep(ctx, stretch/2)
					if err := t.restart(true, 0); err != nil {
						return err
					}
					sleep(ctx, stretch/4)
					return t.restart(false, 0)
				})
			}},
		{name: "the disk full in an outage, and room again", short: true, root: true, want: want{marked: some}, do: func(ctx context.Context, t *trial) error {
			if err := t.ownDisk("size=4m"); err != nil {
				return err
			}
			t.service.AddFault(outage)
			return t.under(ctx, 800, func(ctx context.Context, stretch time.Duration) error {
				sleep(ctx, stretch*3/4)
				return t.remount(0, "size=64m")
			})
		}},
		{name: "the disk full at the start of the plugin, and room again", root: true, want: want{killed: true, marked: some}, do: func(ctx context.Context, t *trial) error {
			if err := t.ownDisk("size=4m"); err != nil {
				return err
			}
			t.service.AddFault(outage)
			return t.under(ctx, 800, func(ctx context.Context, stretch time.Duration) error {
				sleep(ctx, stretch/2)
				if err := t.restart(false, 0); err != nil {
					return err
				}
				sleep(ctx, stretch/4)
				return t.remount(0, "size=64m")
			})
		}},
		{name: "every write to a file fails for half of the run", short: true, want: want{marked: some}, do: func(ctx context.Context, t *trial) error {
			return t.under(ctx, lineBytes, func(ctx context.Context, stretch time.Duration) error {
				sleep(ctx, stretch/4)
				if err := t.limitFiles(0); err != nil {
					return err
				}
				sleep(ctx, stretch/2)
				return t.limitFiles(unix.RLIM_INFINITY)
			})
		}},
		{name: "the disk read-only at the start of the plugin, and writable again", root: true, want: want{killed: true, marked: asMany},
			do: func(ctx context.Context, t *trial) error {
				if err := t.ownDisk("size=64m"); err != nil {
					return err
				}
				return t.under(ctx, lineBytes, func(ctx context.Context, stretch time.Duration) error {
					sleep(ctx, stretch/4)
					t.kill()
					if err := t.remount(unix.MS_RDONLY, "size=64m"); err != nil {
						return err
					}
					if err := t.start(); err != nil {
						return err
					}
					sleep(ctx, stretch/2)
					return t.remount(0, "size=64m")
				})
			}},
		{name: "a spool damaged between a kill and a start", short: true, want: want{killed: true, marked: some},
			env: []string{"SPOOL_MAX_SIZE=4m"}, do: func(ctx context.Context, t *trial) error {
				t.service.AddFault(outage)
				return t.under(ctx, 300, func(ctx context.Context, stretch time.Duration) error {
					sleep(ctx, stretch*3/4)
					t.kill()
					if err := t.damage(); err != nil {
						return err
					}
					return t.start()
				})
			}},
		{name: "bytes that are no frames in the FIFO", short: true, want: want{marked: asMany, noise: true}, do: func(ctx context.Context, t *trial) error {
			return t.under(ctx, lineBytes, t.garbage)
		}},
	}
}

func nothing(context.Context, time.Duration) error { return nil }

// ownDisk gives the state directory a small disk of its own, before the plugin has used it.
func (t *trial) ownDisk(options string) error {
	if err := t.stop(); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", t.state, "tmpfs", 0, options); err != nil {
		return os.NewSyscallError("mount", err)
	}
	return t.start()
}

func (t *trial) remount(flags uintptr, options string) error {
	return os.NewSyscallError("remount", unix.Mount("tmpfs", t.state, "tmpfs", unix.MS_REMOUNT|flags, options))
}

// limitFiles makes every write of the plugin to a file fail that would make it larger than size
// (setrlimit(2), RLIMIT_FSIZE). A disk cannot be made read-only under a file that is open for writing.
func (t *trial) limitFiles(size uint64) error {
	limit := unix.Rlimit{Cur: size, Max: unix.RLIM_INFINITY}
	return os.NewSyscallError("prlimit", unix.Prlimit(t.plugin.PID(), unix.RLIMIT_FSIZE, &limit, nil))
}

// damage changes bytes in the middle of each container's spool, and leaves a block at its end that was not
// written to its end.
func (t *trial) damage() error {
	spools, err := filepath.Glob(filepath.Join(t.state, "containers", "*", "spool"))
	if err != nil || len(spools) != containers {
		return fmt.Errorf("%d spools, want %d", len(spools), containers)
	}
	for _, dir := range spools {
		segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
		if err != nil || len(segments) == 0 {
			return fmt.Errorf("%s has no segments", dir)
		}
		slices.Sort(segments)
		if err := flip(segments[0]); err != nil {
			return err
		}
		if err := tear(segments[len(segments)-1]); err != nil {
			return err
		}
	}
	return nil
}

// flip inverts 16 bytes in the middle of a file.
func flip(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	middle := data[len(data)/2:]
	for i := range middle[:16] {
		middle[i] ^= 0xff
	}
	return os.WriteFile(path, data, 0o600)
}

// tear appends the first bytes of a segment's first block to it (spool/DESIGN.md).
func tear(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	const header, piece = 32, 300
	if len(data) < header+piece {
		return errors.New("a segment without a block")
	}
	return os.WriteFile(path, append(data, data[header:header+piece]...), 0o600)
}

// garbage writes bytes that are no frames into each FIFO, between lines.
func (t *trial) garbage(ctx context.Context, stretch time.Duration) error {
	for i := range 5 {
		sleep(ctx, stretch/6)
		for _, s := range t.sources {
			c, _ := s.current()
			noise := make([]byte, 1+t.random.IntN(20000))
			for j := range noise {
				noise[j] = byte(t.random.Uint32())
			}
			if i%2 == 0 {
				noise = bytes.Repeat([]byte{0xff, 0, 0xfe}, len(noise)/3+1)
			}
			if err := c.WriteRaw(noise); err != nil {
				return err
			}
		}
	}
	return nil
}
