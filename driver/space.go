package driver

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
)

const (
	// spaceInterval is how often the plugin looks at the file system of the state directory.
	spaceInterval = 5 * time.Second
	// hungAfter is how long the file system may take to answer.
	hungAfter = 10 * time.Second
	// leastFree is the free space, in bytes, below which the disk counts as full: that of one
	// segment of a spool.
	leastFree = 4 << 20
)

// statfs is unix.Statfs. Tests replace it.
var statfs = unix.Statfs

// space samples the file system of the state directory in the background, because statfs(2)
// waits for a disk that hangs.
type space struct {
	dir  string
	last atomic.Pointer[unix.Statfs_t] // last is the last sample, or nil.

	full *faultlog.Fault
	hung *faultlog.Fault
}

func newSpace(dir string, log *slog.Logger) *space {
	detail := func() []any { return []any{"dir", dir} }
	return &space{
		dir: dir,
		full: faultlog.NewFault(log, "the disk of the state directory is full; lines are lost as soon as nothing can be evicted",
			"the disk of the state directory has space again", detail),
		hung: faultlog.NewFault(log, "the disk of the state directory does not answer; containers may block",
			"the disk of the state directory answers again", detail),
	}
}

// run takes samples until ctx is done.
func (s *space) run(ctx context.Context) {
	for s.sample(ctx) && pause(ctx, spaceInterval) {
	}
}

// sample takes one sample. It returns false if ctx is done before. The system call cannot be
// interrupted, and then ends by itself.
func (s *space) sample(ctx context.Context) bool {
	type answer struct {
		stat unix.Statfs_t
		err  error
	}
	answered := make(chan answer, 1)
	call := statfs
	go func() {
		var a answer
		a.err = call(s.dir, &a.stat)
		answered <- a
	}()
	for {
		select {
		case <-ctx.Done():
			return false
		case a := <-answered:
			s.hung.Succeeded()
			if a.err == nil {
				s.last.Store(&a.stat)
				s.check(&a.stat)
			}
			return true
		case <-time.After(hungAfter):
			s.hung.Failed("", "dir", s.dir, "hint", "check the disk and the kernel's log (dmesg)")
		}
	}
}

// check reports whether the file system is full.
func (s *space) check(stat *unix.Statfs_t) {
	free := freeBytes(stat)
	attrs := []any{"free_bytes", free}
	switch {
	case stat.Files > 0 && stat.Ffree == 0:
		attrs = append(attrs, "free_inodes", 0, "hint", "remove files from the disk that has the state directory: it has no free inodes")
	case free < leastFree:
		attrs = append(attrs, "hint", hintDiskFull)
	default:
		s.full.Succeeded(attrs...)
		return
	}
	s.full.Failed("", attrs...)
}

// freeBytes returns what may be written without the blocks that are reserved for root, because
// the plugin has no capability for those.
func freeBytes(stat *unix.Statfs_t) int64 { return int64(stat.Bavail) * stat.Frsize }

// report returns the last sample.
func (s *space) report() status.Disk {
	d := status.Disk{StateDir: s.dir}
	if stat := s.last.Load(); stat != nil {
		d.Free, d.Size = freeBytes(stat), int64(stat.Blocks)*stat.Frsize
		d.Inodes, d.FreeInodes = int64(stat.Files), int64(stat.Ffree)
	}
	return d
}
