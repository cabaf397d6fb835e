package driver

import (
	"cmp"
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
)

// stopped are the histories of containers that have stopped and are delivered, each in a directory of its own,
// apart from those of the containers that run or wait: at the start nothing of them is opened, however many there
// are. They go when they are too old.
//
//	STATE_DIR/containers/ID  runs, or has something to be delivered: a session
//	STATE_DIR/stopped/ID     the same files, at rest
//
// A history goes from one to the other by one rename. A kill between any two steps leaves it in one of them.
type stopped struct {
	dir, live string // where they are, and where sessions are
	fs        durable.FS
	age       time.Duration
	log       *slog.Logger

	added chan struct{} // wakes run

	// mu guards what follows, and is held while a directory is renamed.
	mu        sync.Mutex
	histories map[string]stoppedHistory
}

// stoppedHistory is what is known of one.
type stoppedHistory struct {
	since time.Time // when it came to rest
}

// goneMark begins the name of a directory that is being removed. No container's ID begins so.
const goneMark = ".gone-"

func newStopped(stateDir, live string, fsys durable.FS, age time.Duration, log *slog.Logger) *stopped {
	return &stopped{
		dir: filepath.Join(stateDir, "stopped"), live: live, fs: fsys, age: age, log: log,
		added: make(chan struct{}, 1), histories: map[string]stoppedHistory{},
	}
}

func (x *stopped) spoolDir(id string) string { return filepath.Join(x.dir, id, spoolName) }

// put takes over the directory of a session that has ended. It blocks for the local disk.
func (x *stopped) put(id string, h stoppedHistory) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.fs.MkdirAll(x.dir, dirPerm); err != nil {
		return err
	}
	to := filepath.Join(x.dir, id)
	if err := x.fs.Rename(filepath.Join(x.live, id), to); err != nil {
		// Only what could not be taken back is there already; the newer one has what it had, or goes on behind it.
		if err := x.discardLocked(id); err != nil {
			return err
		}
		if err := x.fs.Rename(filepath.Join(x.live, id), to); err != nil {
			return err
		}
	}
	x.histories[id] = h
	select {
	case x.added <- struct{}{}:
	default:
	}
	return nil
}

// take gives the directory back to a session, if there is one. It blocks for the local disk.
func (x *stopped) take(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.histories, id)
	err := x.fs.Rename(filepath.Join(x.dir, id), filepath.Join(x.live, id))
	if err != nil && !notExist(err) {
		x.log.Error("what docker logs had of a container is not to be had any more", "container", id, "err", err)
	}
}

// load finds what an earlier run has left.
func (x *stopped) load(ctx context.Context) {
	entries, err := x.fs.ReadDir(x.dir)
	if err != nil && !notExist(err) {
		x.log.Error("what is kept of stopped containers for docker logs cannot be read", "dir", x.dir, "err", err)
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return
		}
		name := e.Name()
		switch {
		case strings.HasPrefix(name, goneMark):
			x.note(removeTree(x.fs, filepath.Join(x.dir, name)), name)
		case e.IsDir() && validID(name):
			x.loadOne(name)
		}
	}
}

func (x *stopped) loadOne(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.histories[id]; known {
		return
	}
	r, err := readRecord(x.fs, filepath.Join(x.dir, id))
	switch {
	case notExist(err):
		if _, err := x.fs.ReadDir(filepath.Join(x.dir, id)); notExist(err) {
			return // taken back meanwhile
		}
		fallthrough
	case err != nil, r.Stopped == nil:
		// Nothing says how old it is. It is from now on.
		x.histories[id] = stoppedHistory{since: time.Now()}
	default:
		x.histories[id] = stoppedHistory{since: r.Stopped.At}
	}
}

// run removes what is too old. It returns when ctx is done.
func (x *stopped) run(ctx context.Context) {
	x.load(ctx)
	for {
		timer := time.NewTimer(time.Until(x.next()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-x.added:
			timer.Stop()
		case <-timer.C:
			x.expire()
		}
	}
}

// longestWait is how long run sleeps at most: the clock may be set meanwhile.
const longestWait = time.Hour

// next is when there is something to remove, or to look again.
func (x *stopped) next() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	next := time.Now().Add(longestWait)
	for _, h := range x.histories {
		if at := h.since.Add(x.age); at.Before(next) {
			next = at
		}
	}
	return next
}

func (x *stopped) expire() {
	now := time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range slices.SortedFunc(maps.Keys(x.histories), func(a, b string) int {
		return cmp.Or(x.histories[a].since.Compare(x.histories[b].since), strings.Compare(a, b))
	}) {
		if now.Sub(x.histories[id].since) < x.age {
			return
		}
		x.note(x.discardLocked(id), id)
	}
}

// discardLocked removes one.
func (x *stopped) discardLocked(id string) error {
	gone := filepath.Join(x.dir, goneMark+id)
	if err := removeTree(x.fs, gone); err != nil {
		return err
	}
	delete(x.histories, id)
	if err := x.fs.Rename(filepath.Join(x.dir, id), gone); err != nil {
		return err
	}
	return removeTree(x.fs, gone)
}

func (x *stopped) note(err error, id string) {
	if err != nil && !notExist(err) {
		x.log.Warn("what was kept of a stopped container for docker logs cannot be removed", "container", id, "err", err)
	}
}

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
