// Package archive keeps the logs of containers that have stopped and are delivered, for docker logs, and the record that
// says what dockerd told of a container.
//
// The package must not know FIFOs, log options, AWS or the contents of a log.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/spool"
)

// Archive holds the histories of containers that have stopped and are delivered, each in a directory of its own,
// apart from those of the containers that run or wait: at the start nothing of them is opened, however many there
// are. They go when they are too old, and when their room is needed.
//
//	STATE_DIR/containers/ID  runs, or has something to be delivered: a session
//	STATE_DIR/stopped/ID     the same files, at rest
//
// A history goes from one to the other by one rename. A kill between any two steps leaves it in one of them.
type Archive struct {
	Dir    string // where they are
	live   string // where sessions are
	fs     durable.FS
	age    time.Duration
	budget *spool.Budget
	log    *slog.Logger

	added chan struct{} // wakes run

	// mu guards what follows, and is held while a directory is renamed. The intake may wait for it: see giveWay.
	mu        sync.Mutex
	histories map[string]*history
}

// history is what is known of one.
type history struct {
	since time.Time // when it came to rest
	stays bool      // it could not be removed at its age; the next start tries again
	room  *spool.Resting
}

// goneMark begins the name of a directory that is being removed. No container's ID begins so.
const goneMark = ".gone-"

func New(stateDir, live string, fsys durable.FS, age time.Duration, budget *spool.Budget, log *slog.Logger) *Archive {
	return &Archive{
		Dir: filepath.Join(stateDir, "stopped"), live: live, fs: fsys, age: age, budget: budget, log: log,
		added: make(chan struct{}, 1), histories: map[string]*history{},
	}
}

// Put takes over the directory of a session that came to rest at since, with so many bytes in its spool. It blocks for
// the local disk.
func (x *Archive) Put(id string, since time.Time, bytes int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.fs.MkdirAll(x.Dir, dirPerm); err != nil {
		return err
	}
	live, to := filepath.Join(x.live, id), filepath.Join(x.Dir, id)
	if err := x.fs.Rename(live, to); err != nil {
		// What could not be taken back may be there still. The newer one goes on behind it.
		x.forgetLocked(id)
		gone, err := x.hideLocked(id)
		if err == nil {
			err = errors.Join(removeTree(x.fs, gone), x.fs.Rename(live, to))
		}
		if err != nil {
			return err
		}
	}
	x.addLocked(id, since, bytes)
	return nil
}

func (x *Archive) addLocked(id string, since time.Time, bytes int64) {
	h := &history{since: since}
	h.room = x.budget.Rest(bytes, since, func() error { return x.giveWay(id, h) })
	x.histories[id] = h
	select {
	case x.added <- struct{}{}:
	default:
	}
}

// Where says where what is kept of a container was.
type Where int

const (
	Nowhere  Where = iota
	Archived       // moved now
	Live           // there already: it could not be put away, or is not opened
)

// Take gives the directory back to a session, and says where it was. It blocks for the local disk. After an error all is
// as it was.
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

// Return undoes a Take of what was at rest, for a session that could not be opened.
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
	if h := x.histories[id]; h != nil {
		h.room.Release()
		delete(x.histories, id)
	}
}

// Load finds what an earlier run has left. What there is no room for, as when SPOOL_TOTAL_SIZE has become smaller, is
// removed here and not when the intake asks for room: the newest are counted first.
func (x *Archive) Load(ctx context.Context) {
	_ = x.fs.MkdirAll(x.Dir, dirPerm) // while there is room for it; Put tries again
	entries, err := x.fs.ReadDir(x.Dir)
	if err != nil && !notExist(err) {
		x.log.Error("what is kept of stopped containers for docker logs cannot be read", "dir", x.Dir, "err", err)
	}
	var all []found
	for _, e := range entries {
		if ctx.Err() != nil {
			return
		}
		name := e.Name()
		switch {
		case strings.HasPrefix(name, goneMark):
			_ = removeTree(x.fs, filepath.Join(x.Dir, name)) // what is left is so once more at the next start
		case e.IsDir() && ValidID(name):
			all = append(all, x.find(name))
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return b.since.Compare(a.since) })
	for _, f := range all {
		if ctx.Err() != nil {
			return
		}
		if err := x.loadOne(f); err != nil && !notExist(err) {
			x.logKept(f.id, err)
		}
	}
}

// Since returns when the container with this ID was archived; false: it is not in the archive.
func (x *Archive) Since(id string) (time.Time, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	h := x.histories[id]
	if h == nil {
		return time.Time{}, false
	}
	return h.since, true
}

// found is a history that an earlier run has left.
type found struct {
	id    string
	since time.Time
	bytes int64
}

func (x *Archive) find(id string) found {
	dir := filepath.Join(x.Dir, id)
	info, err := spool.Inspect(x.fs, filepath.Join(dir, SpoolName))
	if err != nil && !notExist(err) {
		x.log.Error("what is kept of stopped containers for docker logs cannot be read", "dir", dir, "err", err)
	}
	f := found{id: id, since: info.Written, bytes: info.Bytes}
	r, err := ReadRecord(x.fs, dir)
	switch {
	case err == nil && r.Stopped != nil:
		f.since = r.Stopped.At
	case errors.Is(err, ErrUnread), f.since.IsZero():
		f.since = time.Now() // nothing says how old it is
	}
	return f
}

func (x *Archive) loadOne(f found) error {
	x.mu.Lock()
	if x.histories[f.id] != nil {
		x.mu.Unlock()
		return nil
	}
	if _, err := x.fs.ReadDir(filepath.Join(x.Dir, f.id)); notExist(err) {
		x.mu.Unlock()
		return nil // taken back meanwhile
	}
	if x.budget.Fits(f.bytes) {
		x.addLocked(f.id, f.since, f.bytes)
		x.mu.Unlock()
		return nil
	}
	return x.removeAndUnlock(f.id)
}

// logKept says that a history is kept although it should go.
func (x *Archive) logKept(id string, err error) {
	x.log.Warn("what was kept of a stopped container for docker logs cannot be removed", "container", id, "err", err)
}

// Run removes what is too old. It returns when ctx is done.
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
		case <-timer.C:
			x.Expire(time.Now())
		}
	}
}

// longestWait is how long run sleeps at most: the clock may be set meanwhile.
const longestWait = time.Hour

// Next is when there is something to remove, or to look again.
func (x *Archive) Next() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	next := time.Now().Add(longestWait)
	for _, h := range x.histories {
		if h.stays {
			continue
		}
		if at := h.since.Add(x.age); at.Before(next) {
			next = at
		}
	}
	return next
}

// Expire removes the histories that are too old at now.
func (x *Archive) Expire(now time.Time) {
	for id, h := range x.old(now) {
		switch err := x.giveWay(id, h); {
		case err == nil || errors.Is(err, errTaken):
			h.room.Release()
		default:
			x.mu.Lock()
			h.stays = true
			x.mu.Unlock()
			x.logKept(id, err)
		}
	}
}

// old are the histories that are too old.
func (x *Archive) old(now time.Time) map[string]*history {
	x.mu.Lock()
	defer x.mu.Unlock()
	old := maps.Clone(x.histories)
	maps.DeleteFunc(old, func(_ string, h *history) bool { return h.stays || now.Sub(h.since) < x.age })
	return old
}

// errTaken says that a history is at rest no more.
var errTaken = errors.New("the container was started again")

// giveWay removes one. It is also called from within an Append, by the intake, when its room is needed.
func (x *Archive) giveWay(id string, h *history) error {
	x.mu.Lock()
	if x.histories[id] != h {
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
	if err := removeTree(x.fs, gone); err != nil {
		x.logKept(id, err)
	}
	return nil
}

// hideLocked puts one under another name, to be removed, which a crash leaves to the next start.
func (x *Archive) hideLocked(id string) (gone string, err error) {
	gone = filepath.Join(x.Dir, goneMark+id)
	if err := removeTree(x.fs, gone); err != nil {
		return "", err
	}
	if err := x.fs.Rename(filepath.Join(x.Dir, id), gone); err != nil && !notExist(err) {
		return "", err // it is there, and counted
	}
	delete(x.histories, id)
	return gone, nil
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// removeTree removes a directory and what is in it. One that is not there is no error.
func removeTree(fsys durable.FS, dir string) error {
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
			err = errors.Join(err, removeTree(fsys, path))
		} else if removed := fsys.Remove(path); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	if err == nil {
		err = fsys.Remove(dir)
	}
	return err
}
