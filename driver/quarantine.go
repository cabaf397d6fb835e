package driver

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/spool"
)

// What cannot be used and must not be destroyed is kept aside, until an operator decides:
//
//	STATE_DIR/kept/ID-TIME       a container's record and spool, written by a newer version of the plugin
//	STATE_DIR/kept/ID-TIME.json  a damaged record
func (d *Driver) keptDir() string { return filepath.Join(d.o.Settings.StateDir, "kept") }

// keptPath returns where something of a container is kept from now on.
func (d *Driver) keptPath(id, suffix string) (string, error) {
	if err := d.fs.MkdirAll(d.keptDir(), dirPerm); err != nil {
		return "", err
	}
	base := filepath.Join(d.keptDir(), fmt.Sprintf("%s-%d", id, time.Now().Unix()))
	path := base + suffix
	for n := 1; d.exists(path); n++ {
		path = fmt.Sprintf("%s.%d%s", base, n, suffix)
	}
	return path, nil
}

// exists reports whether something is at path.
func (d *Driver) exists(path string) bool {
	entries, err := d.fs.ReadDir(filepath.Dir(path))
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.Name() == filepath.Base(path) {
			return true
		}
	}
	return false
}

// keepRecord moves a damaged record aside.
func (d *Driver) keepRecord(id, name string, damage error) {
	path, err := d.keptPath(id, ".json")
	if err == nil {
		err = d.fs.Rename(filepath.Join(d.containerDir(id), archive.RecordName), path)
	}
	attrs := []any{"container", name, "err", damage, "kept_in", path}
	if err != nil {
		attrs = append(attrs, "not_kept", err)
	}
	d.log.Error("a container's record is damaged; what is spooled goes to the default names, and its FIFOs are unknown", attrs...)
}

// keepSpool moves a session's spool aside, with a copy of its record, because a newer version of the plugin wrote it.
func (d *Driver) keepSpool(s *session, cause error) error {
	dir, err := d.keptPath(s.id, "")
	if err != nil {
		return err
	}
	if err := d.fs.MkdirAll(dir, dirPerm); err != nil {
		return err
	}
	r := s.record
	r.FIFOs = nil
	if err := r.Write(d.fs, dir, d.o.Settings.SpoolSync > 0); err != nil {
		return err
	}
	if err := d.fs.Rename(filepath.Join(s.dir, archive.SpoolName), filepath.Join(dir, archive.SpoolName)); err != nil {
		return errors.Join(err, archive.RemoveTree(d.fs, dir))
	}
	d.log.Error("a newer version of the plugin wrote a container's spool; it is kept, and a new one is begun",
		"container", s.name(), "kept_in", dir, "err", cause, "hint", keptHint)
	return nil
}

const keptHint = "upgrade the plugin to the version that wrote it, which delivers it at its start; or remove the directory"

// reviewKept reports what is kept aside, and gives back what this version can read.
func (d *Driver) reviewKept() {
	entries, err := d.fs.ReadDir(d.keptDir())
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(d.keptDir(), e.Name())
		id := e.Name()[:max(strings.LastIndexByte(e.Name(), '-'), 0)]
		switch {
		case !e.IsDir():
			d.log.Warn("a damaged record of a container is kept", "path", dir, "hint", "remove it when it is not needed any more")
		case archive.ValidID(id):
			d.reviewKeptSpool(id, dir)
		}
	}
}

func (d *Driver) reviewKeptSpool(id, dir string) {
	record, _ := archive.ReadRecord(d.fs, dir)
	container := label(record.Info.Name, id)
	s, _, err := openSpool(spool.Options{Dir: filepath.Join(dir, archive.SpoolName), FS: d.fs, History: math.MaxInt64})
	if err == nil {
		err = s.Close()
	}
	switch {
	case errors.Is(err, spool.ErrVersion):
		d.log.Error("undelivered lines are kept that a newer version of the plugin wrote", "container", container, "kept_in", dir, "hint", keptHint)
		return
	case err != nil:
		d.log.Error("kept lines cannot be opened", "container", container, "kept_in", dir, "err", err)
		return
	case d.exists(d.containerDir(id)) || d.exists(filepath.Join(d.archive.Dir, id)):
		d.log.Warn("kept lines can be read now, but the container has a log of its own; they are delivered at a start at which it has none",
			"container", container, "kept_in", dir)
		return
	}
	err = d.fs.MkdirAll(d.containersDir(), dirPerm)
	if err == nil {
		err = d.fs.Rename(dir, d.containerDir(id))
	}
	if err != nil {
		d.log.Error("kept lines cannot be moved back", "container", container, "kept_in", dir, "err", err)
		return
	}
	d.log.Info("kept lines can be read now, and are delivered", "container", container)
}
