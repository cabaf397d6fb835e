package driver

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/faultlog"
)

// reattach opens the containers in the state directory. What cannot be opened now is tried
// again later.
func (d *Driver) reattach() {
	failed, err := d.reattachAll()
	if err != nil {
		d.unread.Store(1)
	}
	if err != nil || len(failed) > 0 {
		d.workers.start(func(ctx context.Context) { d.reattachLater(ctx, failed, err != nil) })
	}
}

// reattachAll opens all containers in the state directory that have no session, and returns
// those that could not be opened. The error says that the directory could not be listed.
func (d *Driver) reattachAll() (failed []string, err error) {
	defer func() {
		if err != nil {
			report(d.unlisted, err, "dir", d.containersDir(), "hint", diskHint(err))
		} else {
			d.unlisted.Succeeded()
		}
	}()
	if err := d.fs.MkdirAll(d.containersDir(), durable.DirPerm); err != nil {
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

// reattachOne opens what is on disk of one container, reads on from its FIFOs, and returns
// how many there are. ok says that it need not be tried again. retry says that an earlier try
// failed.
func (d *Driver) reattachOne(id string, retry bool) (fifos int, ok bool) {
	defer func() {
		if ok {
			d.unopenedFaults.succeeded(id)
		}
	}()
	sl, _ := d.lockSlot(context.Background(), id) // It only fails with its context.
	defer d.unlockSlot(sl)
	if sl.s != nil || retry && !d.isUnopened(id) {
		return 0, true // A StartLogging has opened it.
	}
	if _, err := d.fs.ReadDir(d.containerDir(id)); notExist(err) {
		return 0, true // It has been archived.
	}
	s, err := openSession(d.environment, id, nil, false)
	if err == nil {
		fifos = d.beginSession(sl, s, true)
		s.release()
		return fifos, true
	}
	unread := errors.Is(err, archive.ErrUnread)
	d.setUnopened(id)
	if !unread {
		d.discardFIFOs(id)
	}
	d.unopenedFaults.failed(id, unread, err)
	return 0, false
}

// unopenedFaults reports the containers that could not be opened at the start.
type unopenedFaults struct {
	log *slog.Logger

	mu   sync.Mutex
	byID map[string]*unopenedFault
}

type unopenedFault struct {
	*faultlog.Fault
	unread bool // unread says that the container's record cannot be read.
}

// failed reports one more try that failed. unread says that the record cannot be read.
func (u *unopenedFaults) failed(id string, unread bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.byID[id]
	if f == nil || f.unread != unread {
		message := "cannot open a container's spool; trying again, and the container's output is lost until then"
		if unread {
			message = "cannot read a container's record; trying again, and not reading its FIFOs until they fill up"
		}
		if f != nil {
			f.Forget()
		}
		f = &unopenedFault{faultlog.NewFault(u.log, message, "a container's spool is open", nil), unread}
		u.byID[id] = f
	}
	report(f.Fault, err, "container", container.Label("", id), "hint", diskHint(err))
}

// succeeded reports that the container is open, or gone.
func (u *unopenedFaults) succeeded(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if f := u.byID[id]; f != nil {
		f.Succeeded("container", container.Label("", id))
		delete(u.byID, id)
	}
}

// discardFIFOs discards the FIFOs of a container whose spool cannot be opened.
func (d *Driver) discardFIFOs(id string) {
	r, err := archive.ReadRecord(d.fs, d.containerDir(id))
	if err != nil {
		return
	}
	for _, f := range r.FIFOs {
		if d.fifos.checkFile(f.File) == nil {
			d.fifos.discard(f.File, "a container's output is lost: its spool cannot be opened", "container", container.Label(r.Info.Name, id))
		}
	}
}

// reattachRetry is how often the plugin tries again to open what could not be opened at the
// start. It tries records that cannot be read each retryDelay, because it does not know which
// FIFOs they name.
const reattachRetry = 10 * time.Second

// reattachLater opens the containers ids as soon as they can be opened. unlisted says that
// the state directory could not be listed, so that all containers are missing. It returns
// when nothing is left to open, or ctx is done.
func (d *Driver) reattachLater(ctx context.Context, ids []string, unlisted bool) {
	last := time.Now()
	for unlisted || len(ids) > 0 {
		unread := d.countUnread(ids, unlisted)
		if !pause(ctx, retryDelay) {
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
				d.log.Info("reattached", "container", d.logName(id), "fifos", fifos)
			}
			return ok
		})
	}
	d.unread.Store(0)
}

// countUnread returns the containers whose records cannot be read now, and saves how many
// there are.
func (d *Driver) countUnread(ids []string, unlisted bool) (unread []string) {
	for _, id := range ids {
		if _, err := archive.ReadRecord(d.fs, d.containerDir(id)); errors.Is(err, archive.ErrUnread) {
			unread = append(unread, id)
		}
	}
	n := int32(len(unread))
	if unlisted {
		n++
	}
	d.unread.Store(n)
	return unread
}
