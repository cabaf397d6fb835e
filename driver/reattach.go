package driver

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logspool/logspool/driver/archive"
)

// reattach opens what the state directory holds, and tries later again what cannot be opened now.
func (d *Driver) reattach() {
	failed, err := d.reattachAll()
	if err != nil {
		d.log.Error("the state directory cannot be read; it is tried again", "dir", d.containersDir(), "err", err)
		d.setUnread(1)
	}
	if err != nil || len(failed) > 0 {
		d.group.Go(func() error { d.reattachLater(failed, err != nil); return nil })
	}
}

// reattachAll opens all containers in the state directory that have no session, and returns those that could not be opened.
func (d *Driver) reattachAll() (failed []string, err error) {
	if err := d.fs.MkdirAll(d.containersDir(), dirPerm); err != nil {
		return nil, err
	}
	entries, err := d.fs.ReadDir(d.containersDir())
	if err != nil {
		return nil, err
	}
	var attached atomic.Int64
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(diskTasks)
	for _, e := range entries {
		id := e.Name()
		if !e.IsDir() || !archive.ValidID(id) {
			continue
		}
		g.Go(func() error {
			fifos, ok := d.reattachOne(id, false)
			attached.Add(int64(fifos))
			if !ok {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, id)
			}
			return nil
		})
	}
	_ = g.Wait()
	if len(entries) > 0 {
		d.log.Info("reattached", "containers", len(entries), "fifos", attached.Load())
	}
	return failed, nil
}

// reattachOne opens what is on disk of one container, and reads on from its FIFOs, of which there are so many. ok says that it
// need not be tried again. retry says that it failed before.
func (d *Driver) reattachOne(id string, retry bool) (fifos int, ok bool) {
	sl, err := d.lockSlot(context.Background(), id)
	if err != nil {
		return 0, true
	}
	defer d.unlockSlot(sl)
	if sl.s != nil || retry && !d.isUnopened(id) {
		return 0, true // a StartLogging has opened it meanwhile
	}
	if _, err := d.fs.ReadDir(d.containerDir(id)); notExist(err) {
		return 0, true // it was archived meanwhile
	}
	s, err := openSession(d, sl, nil, false)
	if err == nil {
		fifos = d.beginSession(sl, s, true)
		s.release()
		return fifos, true
	}
	unread := errors.Is(err, archive.ErrUnread)
	d.mu.Lock()
	d.unopened[id] = true
	d.mu.Unlock()
	if !unread {
		d.discardFIFOs(id)
	}
	switch {
	case retry:
	case unread:
		d.log.Error("a container's record cannot be read; it is tried again, and its FIFOs wait as long as they have room",
			"container", label("", id), "err", err)
	default:
		d.log.Error("what is spooled for a container cannot be opened; it is tried again, and what the container writes until then is lost",
			"container", label("", id), "err", err)
	}
	return 0, false
}

// reattachRetry is how often what could not be opened at the start is tried again. A record that cannot be read is tried
// more often (retryDelay), because it is not known which FIFOs wait for it.
const reattachRetry = 10 * time.Second

// reattachLater tries those again that could not be opened, or all of them if the state directory could not be read.
func (d *Driver) reattachLater(ids []string, unlisted bool) {
	last := time.Now()
	for unlisted || len(ids) > 0 {
		unread := d.countUnread(ids, unlisted)
		if !pause(d.ctx, retryDelay) {
			return
		}
		if unlisted {
			failed, err := d.reattachAll()
			if unlisted = err != nil; !unlisted {
				ids = failed
			}
			continue
		}
		all := time.Since(last) >= reattachRetry
		if all {
			last = time.Now()
		}
		ids = slices.DeleteFunc(ids, func(id string) bool {
			if !all && !slices.Contains(unread, id) {
				return false
			}
			fifos, ok := d.reattachOne(id, true)
			if fifos > 0 {
				d.log.Info("reattached", "container", d.nameOf(id), "fifos", fifos)
			}
			return ok
		})
	}
	d.setUnread(0)
}

// countUnread finds those whose records cannot be read now, and notes how many there are.
func (d *Driver) countUnread(ids []string, unlisted bool) (unread []string) {
	for _, id := range ids {
		if _, err := archive.ReadRecord(d.fs, d.containerDir(id)); errors.Is(err, archive.ErrUnread) {
			unread = append(unread, id)
		}
	}
	n := len(unread)
	if unlisted {
		n++
	}
	d.setUnread(n)
	return unread
}

func (d *Driver) setUnread(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unread = n
}

// nameOf returns what the log calls a container.
func (d *Driver) nameOf(id string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.sessions[id]; s != nil {
		return s.name()
	}
	return label("", id)
}
