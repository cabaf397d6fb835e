package check

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

// fewestInodes is how many inodes should be free. A running container needs about ten.
const fewestInodes = 1000

// checkDisk compares the free disk space with the sizes that the spools may have.
func (c *checker) checkDisk(ctx context.Context) []Result {
	const name = "disk"
	dir, used := c.stateDir(ctx)
	if dir == "" {
		return []Result{unknown(name, "%s", c.whyNoFiles())}
	}
	var s unix.Statfs_t
	if err := c.host.statfs(dir, &s); err != nil {
		return []Result{unknown(name, "couldn't read the free space of %s: %v", dir, err)}
	}
	if s.Flags&unix.ST_RDONLY != 0 {
		return []Result{bad(name, "mount it writable", "the file system of %s is read-only", dir)}
	}
	var results []Result
	free := int64(s.Bavail) * s.Frsize
	remedy := "free disk space, or use smaller spools: " + c.set("SPOOL_TOTAL_SIZE=SIZE SPOOL_MAX_SIZE=SIZE")
	room := free + used
	switch {
	case room < c.settings.SpoolMaxSize:
		results = append(results, bad(name, remedy, "%s is free in %s, and the spools have %s: less than the spool of one container may have (SPOOL_MAX_SIZE, %s)",
			size(free), dir, size(used), size(c.settings.SpoolMaxSize)))
	case room < c.settings.SpoolTotalSize:
		results = append(results, bad(name, remedy, "%s is free in %s, and the spools have %s: less than all spools may have (SPOOL_TOTAL_SIZE, %s)",
			size(free), dir, size(used), size(c.settings.SpoolTotalSize)))
	}
	if s.Files > 0 && s.Ffree < fewestInodes { // some file systems have no limit
		results = append(results, bad(name, "remove files, or use a file system with more inodes", "only %d inodes are free in %s", s.Ffree, dir))
	}
	return orGood(results, name, "%s is free in %s, and the spools have %s of at most %s", size(free), dir, size(used), size(c.settings.SpoolTotalSize))
}

func size(n int64) string { return units.BytesSize(float64(n)) }

// stateDir returns the state directory, or the directory that it will be in, and the disk
// space of its files. It is empty if it is not known.
func (c *checker) stateDir(ctx context.Context) (dir string, used int64) {
	switch {
	case c.Plugin != nil:
		if dir = c.Plugin.StateDir(); dir == "" {
			return "", 0
		}
	case c.Engine != nil && !c.engineIsRemote():
		return c.Engine.Root, 0
	default:
		return "", 0
	}
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return ctx.Err() // a file that cannot be read, or is gone, counts nothing
		}
		if info, err := d.Info(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				used += stat.Blocks * 512
			}
		}
		return nil
	})
	if err := unix.Access(dir, unix.F_OK); errors.Is(err, fs.ErrNotExist) {
		return c.Plugin.Dir, used // the plugin makes the directory when it starts
	}
	return dir, used
}
