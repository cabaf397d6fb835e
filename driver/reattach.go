package driver

import (
	"errors"
	"github.com/logspool/logspool/driver/archive"
	"slices"
)

// reattach opens what the state directory holds.
func (d *Driver) reattach() {
	dir := d.containersDir()
	if err := d.fs.MkdirAll(dir, dirPerm); err != nil {
		d.log.Error("the state directory cannot be made", "dir", dir, "err", err)
		return
	}
	entries, err := d.fs.ReadDir(dir)
	if err != nil {
		d.log.Error("the state directory cannot be read", "dir", dir, "err", err)
		return
	}
	attached := 0
	var unread []string
	for _, e := range entries {
		id := e.Name()
		if !e.IsDir() || !archive.ValidID(id) {
			continue
		}
		fifos, again := d.reattachOne(id, false)
		if attached += fifos; again {
			unread = append(unread, id)
		}
	}
	if len(entries) > 0 {
		d.log.Info("reattached", "containers", len(entries), "fifos", attached)
	}
	if len(unread) > 0 {
		d.group.Go(func() error { d.reattachLater(unread); return nil })
	}
}

// reattachOne opens what is on disk of one container, and reads on from its FIFOs, of which there are so many. again says
// that its record cannot be read now: without it it is not known which they are. retry says that this was so before.
func (d *Driver) reattachOne(id string, retry bool) (fifos int, again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, unopened := d.unopened[id]; d.closed || retry && !unopened {
		return 0, false // a StartLogging has opened it meanwhile
	}
	s, err := openSession(d, id, nil, false)
	if err == nil {
		delete(d.unopened, id)
		fifos = s.reopenFIFOs()
		d.sessions[id] = s
		s.start()
		return fifos, false
	}
	again = errors.Is(err, archive.ErrUnread)
	d.unopened[id] = !again
	switch {
	case !again:
		d.log.Error("what is spooled for a container cannot be opened; what it writes is lost", "container", id, "err", err)
		d.discard(id)
	case !retry:
		d.log.Error("what dockerd said of a container cannot be read; its FIFOs wait until it can", "container", id, "err", err)
	}
	return 0, again
}

// reattachLater tries those again whose records could not be read.
func (d *Driver) reattachLater(ids []string) {
	for len(ids) > 0 && pause(d.ctx, placeRetry) {
		ids = slices.DeleteFunc(ids, func(id string) bool {
			fifos, again := d.reattachOne(id, true)
			if fifos > 0 {
				d.log.Info("reattached", "container", id, "fifos", fifos)
			}
			return !again
		})
	}
}
