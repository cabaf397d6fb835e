package archive

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/durable"
)

// Load finds the logs in the archive. It counts the newest first, and removes those that do
// not fit, for example because SPOOL_TOTAL_SIZE was lowered. It returns early when ctx is
// done.
func (a *Archive) Load(ctx context.Context) {
	_ = a.fs.MkdirAll(a.Dir, durable.DirPerm) // Now the disk may have space for it. Put tries again.
	entries, err := a.fs.ReadDir(a.Dir)
	if err != nil && !notExist(err) {
		a.log.Error("cannot read the archived logs of stopped containers", "dir", a.Dir, "err", err)
	}
	var all []found
	for _, e := range entries {
		if ctx.Err() != nil {
			return
		}
		name := e.Name()
		switch {
		case strings.HasPrefix(name, removedPrefix):
			_ = RemoveTree(a.fs, filepath.Join(a.Dir, name)) // The next start tries again.
		case e.IsDir() && ValidID(name):
			all = append(all, a.inspect(name))
		}
	}
	slices.SortStableFunc(all, func(p, q found) int { return q.since.Compare(p.since) })
	for i, f := range all {
		if ctx.Err() != nil {
			return
		}
		if err := a.loadOne(f, i < MaxLogs); err != nil && !notExist(err) {
			a.logStuck(f.id, err)
		}
	}
}

// found is a log in the archive that is not counted yet.
type found struct {
	id    string
	since time.Time
	bytes int64
}

// inspect returns the size of an archived log, and when its container stopped. If nothing
// says when, it stopped now.
func (a *Archive) inspect(id string) found {
	dir := filepath.Join(a.Dir, id)
	bytes, info, err := usage(a.fs, dir)
	if err != nil && !notExist(err) {
		a.log.Error("cannot read the archived log of a stopped container", "dir", dir, "err", err)
	}
	f := found{id: id, since: info.Written, bytes: bytes}
	r, err := ReadRecord(a.fs, dir)
	switch {
	case err == nil && r.Stopped != nil:
		f.since = r.Stopped.At
	case errors.Is(err, ErrUnread), f.since.IsZero():
		f.since = time.Now()
	}
	return f
}

// loadOne counts a log if keep says so and it fits, and otherwise removes it.
func (a *Archive) loadOne(f found, keep bool) error {
	a.mu.Lock()
	if a.logs[f.id] != nil {
		a.mu.Unlock()
		return nil
	}
	if _, err := a.fs.ReadDir(filepath.Join(a.Dir, f.id)); notExist(err) {
		a.mu.Unlock()
		return nil // It was taken.
	}
	if keep && a.budget.Fits(f.bytes) {
		a.addLocked(f.id, f.since, f.bytes)
		a.mu.Unlock()
		return nil
	}
	return a.removeAndUnlock(f.id)
}
