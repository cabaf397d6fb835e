// Package archive keeps the logs of containers that have stopped and are delivered, for docker logs, and the record of
// what dockerd said of a container.
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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/spool"
)

// Archive holds the logs of containers that have stopped and are delivered, each in a directory of its own, apart from
// those of the containers that run or wait: at the start nothing of them is opened, however many there are. A log is
// removed when it is too old, when there are more than MaxLogs, and when its room is needed (spool.Budget).
//
//	STATE_DIR/containers/ID  the container runs, or has something undelivered: a session
//	STATE_DIR/stopped/ID     the same files without the cursor, archived
//
// A log moves from one to the other by one rename. A kill between any two steps leaves it in one of them.
//
// Its methods may be called from any goroutine. They block for the local disk.
type Archive struct {
	Dir    string // of the archived logs
	live   string // where sessions are
	fs     durable.FS
	age    time.Duration
	budget *spool.Budget
	log    *slog.Logger

	added chan struct{} // wakes Run

	// mu guards what follows, and is held while a directory is renamed. An Append may wait for it: see evict.
	mu   sync.Mutex
	logs map[string]*archivedLog
}

// archivedLog is what is known of one.
type archivedLog struct {
	since   time.Time // when the container was archived, by the host's clock
	expires time.Time // with a monotonic reading: a step of the host's clock changes nothing
	stuck   bool      // it could not be removed at its age; the next start tries again
	counted *spool.ArchivedLog
}

const (
	// MaxLogs is how many logs are archived at most, the newest ones: a host that starts a container a second must not
	// fill the disk with small files.
	MaxLogs = 4096

	// grace is how long a log that is too old at the start is kept all the same: the host's clock may be wrong until it
	// is synchronised.
	grace = time.Hour

	// goneMark begins the name of a directory that is being removed. No container's ID begins so.
	goneMark = ".gone-"
)

// New returns the archive in stateDir. live is the directory of the containers that run or wait to be delivered. Logs are
// kept for age. Call Run.
func New(stateDir, live string, fsys durable.FS, age time.Duration, budget *spool.Budget, log *slog.Logger) *Archive {
	return &Archive{
		Dir: filepath.Join(stateDir, "stopped"), live: live, fs: fsys, age: age, budget: budget, log: log,
		added: make(chan struct{}, 1), logs: map[string]*archivedLog{},
	}
}

// Put takes over the directory of a session that ended at since, with everything delivered. The cursor is removed: the
// record says how far the log is delivered.
func (x *Archive) Put(id string, since time.Time) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.fs.MkdirAll(x.Dir, dirPerm); err != nil {
		return err
	}
	live, to := filepath.Join(x.live, id), filepath.Join(x.Dir, id)
	if err := x.fs.Rename(live, to); err != nil {
		// One that could not be taken back may be there still. The newer one goes on behind it.
		x.forgetLocked(id)
		gone, err := x.hideLocked(id)
		if err == nil {
			err = errors.Join(RemoveTree(x.fs, gone), x.fs.Rename(live, to))
		}
		if err != nil {
			return err
		}
	}
	_ = spool.RemoveCursor(x.fs, filepath.Join(to, SpoolName)) // it is small, and does no harm
	x.addLocked(id, since, Usage(x.fs, to))
	return nil
}

// Usage returns the bytes on disk of a container's directory, as a spool.Budget counts them. What cannot be read counts
// nothing.
func Usage(fsys durable.FS, dir string) int64 {
	sum, _, _ := usage(fsys, dir)
	return sum
}

// usage is Usage, and also returns what is known of the container's spool. The error says why that is not all.
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

func (x *Archive) addLocked(id string, since time.Time, bytes int64) {
	l := &archivedLog{since: since, expires: x.expiry(since)}
	l.counted = x.budget.AddArchived(bytes, since, func() error { return x.evict(id, l) })
	x.logs[id] = l
	select {
	case x.added <- struct{}{}:
	default:
	}
}

// expiry returns when a log that was archived at since is too old. It has a monotonic reading, so the time that passes
// from now on is what counts, not the host's clock.
func (x *Archive) expiry(since time.Time) time.Time {
	now := time.Now()
	left := x.age - now.Sub(since)
	return now.Add(max(min(left, x.age), min(grace, x.age)))
}

// Where says where the log of a container was.
type Where int

const (
	Nowhere  Where = iota
	Archived       // it was moved now
	Live           // it was there already: it could not be archived, or is not opened
)

// Take gives the directory back to a session, and says where it was. After an error everything is as it was.
func (x *Archive) Take(id string) (Where, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	to := filepath.Join(x.live, id)
	err := x.fs.Rename(filepath.Join(x.Dir, id), to)
	if err == nil {
		x.forgetLocked(id)
		return Archived, nil
	}
	if _, liveErr := x.fs.ReadDir(to); liveErr == nil {
		return Live, nil
	}
	if notExist(err) {
		return Nowhere, nil
	}
	return Nowhere, err
}

// Return undoes a Take of what was archived, for a session that could not be opened.
func (x *Archive) Return(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fs.Rename(filepath.Join(x.live, id), filepath.Join(x.Dir, id)) == nil {
		f := x.find(id)
		x.addLocked(id, f.since, f.bytes)
	}
}

// forgetLocked ends the counting of one, if it is known.
func (x *Archive) forgetLocked(id string) {
	if l := x.logs[id]; l != nil {
		l.counted.Release()
		delete(x.logs, id)
	}
}

// Load finds what an earlier run has left, and removes what there is no room for, as when SPOOL_TOTAL_SIZE has become
// smaller: the newest are counted first. It returns early when ctx is done.
func (x *Archive) Load(ctx context.Context) {
	_ = x.fs.MkdirAll(x.Dir, dirPerm) // while there is room for it; Put tries again
	entries, err := x.fs.ReadDir(x.Dir)
	if err != nil && !notExist(err) {
		x.log.Error("cannot read the archived logs of stopped containers", "dir", x.Dir, "err", err)
	}
	var all []found
	for _, e := range entries {
		if ctx.Err() != nil {
			return
		}
		name := e.Name()
		switch {
		case strings.HasPrefix(name, goneMark):
			_ = RemoveTree(x.fs, filepath.Join(x.Dir, name)) // the next start tries again
		case e.IsDir() && ValidID(name):
			all = append(all, x.find(name))
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return b.since.Compare(a.since) })
	for i, f := range all {
		if ctx.Err() != nil {
			return
		}
		if err := x.loadOne(f, i < MaxLogs); err != nil && !notExist(err) {
			x.logStuck(f.id, err)
		}
	}
}

// Since returns when the container with this ID was archived; false: it is not in the archive.
func (x *Archive) Since(id string) (time.Time, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	l := x.logs[id]
	if l == nil {
		return time.Time{}, false
	}
	return l.since, true
}

// found is a log that an earlier run has left.
type found struct {
	id    string
	since time.Time
	bytes int64
}

func (x *Archive) find(id string) found {
	dir := filepath.Join(x.Dir, id)
	bytes, info, err := usage(x.fs, dir)
	if err != nil && !notExist(err) {
		x.log.Error("cannot read the archived log of a stopped container", "dir", dir, "err", err)
	}
	f := found{id: id, since: info.Written, bytes: bytes}
	r, err := ReadRecord(x.fs, dir)
	switch {
	case err == nil && r.Stopped != nil:
		f.since = r.Stopped.At
	case errors.Is(err, ErrUnread), f.since.IsZero():
		f.since = time.Now() // nothing says how old it is
	}
	return f
}

func (x *Archive) loadOne(f found, keep bool) error {
	x.mu.Lock()
	if x.logs[f.id] != nil {
		x.mu.Unlock()
		return nil
	}
	if _, err := x.fs.ReadDir(filepath.Join(x.Dir, f.id)); notExist(err) {
		x.mu.Unlock()
		return nil // taken back meanwhile
	}
	if keep && x.budget.Fits(f.bytes) {
		x.addLocked(f.id, f.since, f.bytes)
		x.mu.Unlock()
		return nil
	}
	return x.removeAndUnlock(f.id)
}

// logStuck says that a log is kept although it should be removed.
func (x *Archive) logStuck(id string, err error) {
	x.log.Warn("cannot remove the archived log of a stopped container", "container", id, "err", err)
}

// Run loads what an earlier run has left, and removes what is too old or too many. It returns when ctx is done.
func (x *Archive) Run(ctx context.Context) {
	x.Load(ctx)
	for {
		timer := time.NewTimer(time.Until(x.Next()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-x.added:
			timer.Stop()
			x.trim()
		case <-timer.C:
			x.Expire(time.Now())
		}
	}
}

// Next is when the next log is too old; an hour from now when none is before.
func (x *Archive) Next() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	next := time.Now().Add(time.Hour)
	for _, l := range x.logs {
		if !l.stuck && l.expires.Before(next) {
			next = l.expires
		}
	}
	return next
}

// Expire removes the logs that are too old at now.
func (x *Archive) Expire(now time.Time) {
	x.mu.Lock()
	old := map[string]*archivedLog{}
	for id, l := range x.logs {
		if !l.stuck && !now.Before(l.expires) {
			old[id] = l
		}
	}
	x.mu.Unlock()
	for id, l := range old {
		x.remove(id, l)
	}
}

// trim removes the oldest logs beyond MaxLogs.
func (x *Archive) trim() {
	x.mu.Lock()
	type aged struct {
		id string
		*archivedLog
	}
	var all []aged
	if len(x.logs) > MaxLogs {
		for id, l := range x.logs {
			if !l.stuck {
				all = append(all, aged{id, l})
			}
		}
	}
	x.mu.Unlock()
	if len(all) <= MaxLogs {
		return
	}
	slices.SortFunc(all, func(a, b aged) int { return a.since.Compare(b.since) })
	for _, l := range all[:len(all)-MaxLogs] {
		x.remove(l.id, l.archivedLog)
	}
}

// remove removes one, and remembers it when that fails.
func (x *Archive) remove(id string, l *archivedLog) {
	switch err := x.evict(id, l); {
	case err == nil || errors.Is(err, errTaken):
		l.counted.Release()
	default:
		x.mu.Lock()
		l.stuck = true
		x.mu.Unlock()
		x.logStuck(id, err)
	}
}

// errTaken says that a log is not archived any more.
var errTaken = errors.New("the container was started again")

// evict removes one. It is also called from within an Append when its room is needed.
func (x *Archive) evict(id string, l *archivedLog) error {
	x.mu.Lock()
	if x.logs[id] != l {
		x.mu.Unlock()
		return errTaken
	}
	return x.removeAndUnlock(id)
}

// removeAndUnlock removes one, most of it without the lock. After an error it is there as it was. What cannot be removed of
// one that is hidden already is left to the next start.
func (x *Archive) removeAndUnlock(id string) error {
	gone, err := x.hideLocked(id)
	x.mu.Unlock()
	if err != nil {
		return err
	}
	if err := RemoveTree(x.fs, gone); err != nil {
		x.logStuck(id, err)
	}
	return nil
}

// hideLocked gives one another name, to be removed, which a crash leaves to the next start.
func (x *Archive) hideLocked(id string) (gone string, err error) {
	gone = filepath.Join(x.Dir, goneMark+id)
	if err := RemoveTree(x.fs, gone); err != nil {
		return "", err
	}
	if err := x.fs.Rename(filepath.Join(x.Dir, id), gone); err != nil && !notExist(err) {
		return "", err // it is there, and counted
	}
	delete(x.logs, id)
	return gone, nil
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// RemoveTree removes a directory and what is in it. One that is not there is no error.
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
		} else if removed := fsys.Remove(path); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	if err == nil {
		err = fsys.Remove(dir)
	}
	return err
}
