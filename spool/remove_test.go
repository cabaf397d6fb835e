package spool

import (
	"testing"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
)

// removing is a disk on which something else happens just before a directory is synced.
type removing struct {
	durable.FS
	first func()
}

func (r *removing) SyncDir(name string) error {
	if f := r.first; f != nil {
		r.first = nil
		f()
	}
	return r.FS.SyncDir(name)
}

// TestRemovedWhileSynced: a container may be delivered, and its spool removed, while the plugin's stop syncs all of them.
func TestRemovedWhileSynced(t *testing.T) {
	disk := &removing{FS: durabletest.NewDisk()}
	s := mustOpen(t, Options{Dir: "/s", FS: disk})
	a := &appender{s: s}
	a.append(t, testFrame("stdout", 1, []byte("line")))
	disk.first = func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Sync(); err != nil {
		t.Errorf("Sync: %v", err)
	}
	if entries, err := disk.ReadDir("/s"); err == nil {
		t.Errorf("%d files came back", len(entries))
	}
}
