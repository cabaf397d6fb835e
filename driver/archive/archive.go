// Package archive keeps the fully delivered logs of stopped containers for docker logs.
// It also defines the record of what dockerd says about a container.
//
// The package must not know how FIFOs are read, log options, AWS or the contents of a log.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/spool"
)

// Archive holds the logs of stopped containers whose lines are all delivered. They have a
// directory of their own, so the plugin opens none of them at its start.
//
//	STATE_DIR/containers/ID  the container runs or has undelivered lines: there is a session
//	STATE_DIR/stopped/ID     the same files without the cursor: archived
//
// One rename moves a log from one to the other. A kill between any two steps leaves it in one
// of them.
//
// A log is removed when it is too old, when there are more than MaxLogs, and when its space
// is needed (spool.Budget). The methods may be called from any goroutine. They block for the
// local disk.
type Archive struct {
	Dir    string // Dir is the directory of the archived logs.
	live   string // live is the directory of the sessions.
	fs     durable.FS
	age    time.Duration
	budget *spool.Budget
	log    *slog.Logger

	added chan struct{} // added wakes Run.

	// mu guards logs, and is held while a directory is renamed, so an Append may wait for it
	// (see evict).
	mu   sync.Mutex
	logs map[string]*archivedLog // logs has the archived logs by container ID.
}

type archivedLog struct {
	// since is when the container was archived, by the host's clock.
	since time.Time
	// expires has a monotonic reading, so a step of the host's clock does not change it.
	expires time.Time
	// stuck says that the log could not be removed at its age, which the next start tries
	// again.
	stuck   bool
	counted *spool.ArchivedLog
}

const (
	// MaxLogs is the largest number of archived logs. Without it, a host that starts a
	// container each second would fill the disk with small files.
	MaxLogs = 4096

	// removedPrefix begins the name of a directory that is being removed. No container's ID
	// begins with it.
	removedPrefix = ".gone-"
)

// New returns the archive in stateDir. live is the directory of the containers that have a
// session. Logs are kept for age. Call Run.
func New(stateDir, live string, fsys durable.FS, age time.Duration, budget *spool.Budget, log *slog.Logger) *Archive {
	return &Archive{
		Dir: filepath.Join(stateDir, "stopped"), live: live, fs: fsys, age: age, budget: budget, log: log,
		added: make(chan struct{}, 1), logs: map[string]*archivedLog{},
	}
}

// Put moves the directory of a session to the archive. The session ended at since, with
// everything delivered. Put removes the cursor, because the record says how much is
// delivered.
func (a *Archive) Put(id string, since time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.fs.MkdirAll(a.Dir, durable.DirPerm); err != nil {
		return err
	}
	live, to := filepath.Join(a.live, id), filepath.Join(a.Dir, id)
	if err := a.fs.Rename(live, to); err != nil {
		// An earlier log of the container may be there, because it could not be taken. The
		// new one replaces it.
		a.forgetLocked(id)
		hidden, err := a.hideLocked(id)
		if err == nil {
			err = errors.Join(RemoveTree(a.fs, hidden), a.fs.Rename(live, to))
		}
		if err != nil {
			return err
		}
	}
	_ = spool.RemoveCursor(a.fs, filepath.Join(to, SpoolName)) // It is small and harmless.
	a.addLocked(id, since, Usage(a.fs, to))
	return nil
}

// Where says where the log of a container was.
type Where int

const (
	Nowhere  Where = iota
	Archived       // Archived means that Take moved it.
	Live           // Live means that it was with the sessions, unarchived or not open.
)

// Take moves the container's directory back to the sessions, and says where it was. After an
// error nothing has changed.
func (a *Archive) Take(id string) (Where, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	to := filepath.Join(a.live, id)
	err := a.fs.Rename(filepath.Join(a.Dir, id), to)
	if err == nil {
		a.forgetLocked(id)
		return Archived, nil
	}
	if _, liveErr := a.fs.ReadDir(to); liveErr == nil {
		return Live, nil
	}
	if notExist(err) {
		return Nowhere, nil
	}
	return Nowhere, err
}

// Return undoes a Take that returned Archived, because the session could not be opened.
func (a *Archive) Return(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fs.Rename(filepath.Join(a.live, id), filepath.Join(a.Dir, id)) == nil {
		f := a.inspect(id)
		a.addLocked(id, f.since, f.bytes)
	}
}

// Since returns when the container was archived. It returns false if the container is not
// archived.
func (a *Archive) Since(id string) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.logs[id]
	if l == nil {
		return time.Time{}, false
	}
	return l.since, true
}

// addLocked counts a log and wakes Run.
func (a *Archive) addLocked(id string, since time.Time, bytes int64) {
	l := &archivedLog{since: since, expires: a.expiry(since)}
	l.counted = a.budget.AddArchived(bytes, since, func() error { return a.evict(id, l) })
	a.logs[id] = l
	select {
	case a.added <- struct{}{}:
	default:
	}
}

// forgetLocked stops counting a log, if it is counted.
func (a *Archive) forgetLocked(id string) {
	if l := a.logs[id]; l != nil {
		l.counted.Release()
		delete(a.logs, id)
	}
}

// Run finds the logs in the archive, and then removes those that are too old or too many. It
// returns when ctx is done.
func (a *Archive) Run(ctx context.Context) {
	a.Load(ctx)
	for {
		timer := time.NewTimer(time.Until(a.Next()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-a.added:
			timer.Stop()
			a.trim()
		case <-timer.C:
			a.Expire(time.Now())
		}
	}
}

// Usage returns the bytes on disk of a container's directory, as spool.Budget counts them. It
// does not count what cannot be read.
func Usage(fsys durable.FS, dir string) int64 {
	sum, _, _ := usage(fsys, dir)
	return sum
}

// usage is Usage, and also describes the container's spool. An error means that the result is
// not complete.
func usage(fsys durable.FS, dir string) (sum int64, log spool.Info, err error) {
	sum = spool.DirSize
	entries, err := fsys.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			info, inspectErr := spool.Inspect(fsys, filepath.Join(dir, e.Name()))
			sum += info.Allocated
			if e.Name() == SpoolName {
				log, err = info, inspectErr
			}
		} else if info, err := e.Info(); err == nil {
			sum += spool.Allocated(info.Size())
		}
	}
	return sum, log, err
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// RemoveTree removes a directory and everything in it. It succeeds if the directory does not
// exist.
func RemoveTree(fsys durable.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if notExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("couldn't read %q: %w", dir, err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = errors.Join(err, RemoveTree(fsys, path))
		} else if removeErr := fsys.Remove(path); !notExist(removeErr) {
			err = errors.Join(err, removeErr)
		}
	}
	if err == nil {
		err = fsys.Remove(dir)
	}
	return err
}
