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

// diskRows are the rows in which the spool or the disk is full, or the disk fails.
func diskRows() []row {
	dropNewest := []string{"SPOOL_MAX_SIZE=1m", "SPOOL_FULL=drop-newest"}
	return []row{
		{name: "the spool full, drop-oldest", short: true, want: want{marked: atLeastOne},
			env: []string{"SPOOL_MAX_SIZE=1m", "SPOOL_FULL=drop-oldest"}, do: fullSpool},
		{name: "the spool full, drop-newest", want: want{marked: atLeastOne}, env: dropNewest, do: fullSpool},
		{name: "the spool full, drop-newest, with two restarts", want: want{killed: true, marked: atLeastOne}, env: dropNewest, do: fullSpoolRestarted},
		{name: "the disk full during an outage, then space again", short: true, root: true, want: want{marked: atLeastOne}, do: fullDisk},
		{name: "the disk full when the plugin starts, then space again", root: true, want: want{killed: true, marked: atLeastOne}, do: fullDiskAtStart},
		{name: "every write to a file fails for half of the run", short: true, want: want{marked: atLeastOne}, do: failingWrites},
		{name: "the disk read-only when the plugin starts, then writable again", root: true, want: want{killed: true, marked: anyNumber}, do: readOnlyAtStart},
		{name: "spools damaged between a kill and a start", short: true, want: want{killed: true, marked: atLeastOne},
			env: []string{"SPOOL_MAX_SIZE=4m"}, do: damagedSpools},
		{name: "bytes in the FIFO that are not frames", short: true, want: want{marked: anyNumber, noise: true}, do: noise},
	}
}

// longBytes is the size of lines that fill a small spool or disk within a stretch.
const longBytes = 800

// outage makes the service fail until the end of the row.
func (t *trial) outage() { t.service.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable}) }

func fullSpool(ctx context.Context, t *trial) error {
	t.outage()
	return t.underLoad(ctx, longBytes, nothing)
}

func fullSpoolRestarted(ctx context.Context, t *trial) error {
	t.outage()
	return t.underLoad(ctx, longBytes, func(ctx context.Context, stretch time.Duration) error {
		sleep(ctx, stretch/2)
		if err := t.restart(true, 0); err != nil {
			return err
		}
		sleep(ctx, stretch/4)
		return t.restart(false, 0)
	})
}

func fullDisk(ctx context.Context, t *trial) error {
	if err := t.ownDisk("size=4m"); err != nil {
		return err
	}
	t.outage()
	return t.underLoad(ctx, longBytes, func(ctx context.Context, stretch time.Duration) error {
		sleep(ctx, stretch*3/4)
		return t.remount(0, "size=64m")
	})
}

func fullDiskAtStart(ctx context.Context, t *trial) error {
	if err := t.ownDisk("size=4m"); err != nil {
		return err
	}
	t.outage()
	return t.underLoad(ctx, longBytes, func(ctx context.Context, stretch time.Duration) error {
		sleep(ctx, stretch/2)
		if err := t.restart(false, 0); err != nil {
			return err
		}
		sleep(ctx, stretch/4)
		return t.remount(0, "size=64m")
	})
}

func failingWrites(ctx context.Context, t *trial) error {
	return t.underLoad(ctx, lineBytes, func(ctx context.Context, stretch time.Duration) error {
		sleep(ctx, stretch/4)
		if err := t.limitFiles(0); err != nil {
			return err
		}
		sleep(ctx, stretch/2)
		return t.limitFiles(unix.RLIM_INFINITY)
	})
}

func readOnlyAtStart(ctx context.Context, t *trial) error {
	if err := t.ownDisk("size=64m"); err != nil {
		return err
	}
	return t.underLoad(ctx, lineBytes, func(ctx context.Context, stretch time.Duration) error {
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
}

func damagedSpools(ctx context.Context, t *trial) error {
	t.outage()
	return t.underLoad(ctx, 300, func(ctx context.Context, stretch time.Duration) error {
		sleep(ctx, stretch*3/4)
		t.kill()
		if err := t.damage(); err != nil {
			return err
		}
		return t.start()
	})
}

// ownDisk mounts a small disk at the state directory, before the plugin has used it.
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

// limitFiles makes every write of the plugin fail that would make a file larger than size
// bytes (setrlimit(2), RLIMIT_FSIZE). A disk cannot be made read-only while a file on it is
// open for writing.
func (t *trial) limitFiles(size uint64) error {
	limit := unix.Rlimit{Cur: size, Max: unix.RLIM_INFINITY}
	return os.NewSyscallError("prlimit", unix.Prlimit(t.plugin.PID(), unix.RLIMIT_FSIZE, &limit, nil))
}

// damage changes bytes in the middle of each container's spool, and appends an incomplete
// block.
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

// tear appends the first bytes of a segment's first block to the segment (spool/DESIGN.md).
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

// noise writes bytes that are not frames into each FIFO, between lines.
func noise(ctx context.Context, t *trial) error {
	return t.underLoad(ctx, lineBytes, func(ctx context.Context, stretch time.Duration) error {
		for i := range 5 {
			sleep(ctx, stretch/6)
			for _, s := range t.sources {
				c, _ := s.current()
				b := make([]byte, 1+t.random.IntN(20000))
				for j := range b {
					b[j] = byte(t.random.Uint32())
				}
				if i%2 == 0 {
					b = bytes.Repeat([]byte{0xff, 0, 0xfe}, len(b)/3+1)
				}
				if err := c.WriteRaw(b); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
