package driver

import (
	"context"
	"fmt"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/container"
)

// slot is the place of one container in the driver. It exists while somebody uses it, or has a session.
type slot struct {
	id    string
	users int // those who use it, its session included; guarded by Driver.mu

	lock chan struct{} // of capacity 1, full while locked: a reader waits for it no longer than its client
	s    *session      // guarded by lock; nil: there is none
}

// beginCall counts a request that may open a session, or fails because the driver is stopping. Close waits until
// endCall.
func (d *Driver) beginCall() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errStopping
	}
	d.calls.Add(1)
	return nil
}

func (d *Driver) endCall() { d.calls.Done() }

// lockSlot returns the container's slot, locked. It waits while the container's session is opened or archived, but not
// longer than ctx.
func (d *Driver) lockSlot(ctx context.Context, id string) (*slot, error) {
	d.mu.Lock()
	sl := d.slots[id]
	if sl == nil {
		sl = &slot{id: id, lock: make(chan struct{}, 1)}
		d.slots[id] = sl
	}
	sl.users++
	d.mu.Unlock()
	select {
	case sl.lock <- struct{}{}:
		return sl, nil
	case <-ctx.Done():
		d.leaveSlot(sl)
		return nil, ctx.Err()
	}
}

func (d *Driver) unlockSlot(sl *slot) {
	<-sl.lock
	d.leaveSlot(sl)
}

func (d *Driver) leaveSlot(sl *slot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leaveSlotLocked(sl)
}

// leaveSlotLocked is called with mu held.
func (d *Driver) leaveSlotLocked(sl *slot) {
	if sl.users--; sl.users == 0 {
		delete(d.slots, sl.id)
	}
}

// setSession puts a session into its locked slot, or takes it out (nil).
func (d *Driver) setSession(sl *slot, s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sl.s = s
	if s != nil {
		sl.users++
		d.sessions[sl.id] = s
		delete(d.unopened, sl.id)
		return
	}
	delete(d.sessions, sl.id)
	d.leaveSlotLocked(sl)
}

// holdSession returns the container's session with a reference for the caller, who must call its release. It opens
// what is kept of the container. info is what a StartLogging says of it; nil: there is none, and no session (nil)
// where nothing is kept. It blocks for the local disk.
func (d *Driver) holdSession(ctx context.Context, id string, info *container.Info) (*session, error) {
	sl, err := d.lockSlot(ctx, id)
	if err != nil {
		return nil, err
	}
	defer d.unlockSlot(sl)
	if sl.s != nil {
		sl.s.hold()
		return sl.s, nil
	}
	if info == nil && d.isUnopened(id) {
		return nil, errUnopened
	}
	was, err := d.archive.Take(id)
	if err != nil || was == archive.Nowhere && info == nil {
		return nil, err
	}
	dir := d.containerDir(id)
	_, statErr := d.fs.ReadDir(dir)
	s, err := openSession(d, sl, info, was == archive.Archived)
	if err != nil {
		if was == archive.Archived {
			d.archive.Return(id)
		} else if notExist(statErr) {
			_ = archive.RemoveTree(d.fs, dir) // a refused start leaves nothing behind
		}
		return nil, err
	}
	d.beginSession(sl, s, was == archive.Live)
	return s, nil
}

// beginSession puts a session that was just opened into its slot, with a reference for the caller. live says that its
// record may name FIFOs that nobody reads.
func (d *Driver) beginSession(sl *slot, s *session, live bool) (fifos int) {
	d.setSession(sl, s)
	s.hold()
	if live {
		fifos = s.reopenFIFOs()
	}
	s.start()
	return fifos
}

func (d *Driver) isUnopened(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unopened[id]
}

// claim makes a the one reader of its FIFO. It fails if another session reads the FIFO, or if a start would take a descriptor
// that is kept for delivery. already says that a's session reads it.
func (d *Driver) claim(a *attachment, start bool) (already bool, err error) {
	for {
		d.mu.Lock()
		other, x := d.files[a.file], d.discarding[a.file]
		switch {
		case other != nil && other.s == a.s:
			already = true
		case other != nil:
			err = fmt.Errorf("%w by container %s", errClaimed, other.s.name())
		case x != nil:
		case start && len(d.files)+len(d.discarding) >= d.limits.fifos:
			err = d.limits.tooManyFIFOs()
		default:
			d.files[a.file] = a
		}
		d.mu.Unlock()
		if other != nil || x == nil {
			return already, err
		}
		x.release() // a FIFO never has two readers
	}
}

// checkLimit fails if a start of the FIFO file would take a descriptor that is kept for delivery. claim decides; this
// keeps a start that has no chance from touching the disk.
func (d *Driver) checkLimit(file string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[file] == nil && d.discarding[file] == nil && len(d.files)+len(d.discarding) >= d.limits.fifos {
		return d.limits.tooManyFIFOs()
	}
	return nil
}

func (d *Driver) unclaim(a *attachment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[a.file] == a {
		delete(d.files, a.file)
	}
}

// attachment returns who reads the FIFO file; nil: no session does.
func (d *Driver) attachment(file string) *attachment {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[file]
}

func (d *Driver) all() []*session {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*session, 0, len(d.sessions))
	for _, s := range d.sessions {
		all = append(all, s)
	}
	return all
}
