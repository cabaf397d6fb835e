package driver

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/spool"
)

// quarantineDir has files that this version of the plugin cannot use and must not destroy:
//
//	STATE_DIR/kept/ID-TIME       a container's record and spool, written by a newer version
//	STATE_DIR/kept/ID-TIME.json  a damaged record
func (e *environment) quarantineDir() string { return filepath.Join(e.settings.StateDir, "kept") }

// quarantinePath returns an unused path in the quarantine, whose directory exists.
func (e *environment) quarantinePath(id, suffix string) (string, error) {
	if err := e.fs.MkdirAll(e.quarantineDir(), durable.DirPerm); err != nil {
		return "", err
	}
	base := filepath.Join(e.quarantineDir(), fmt.Sprintf("%s-%d", id, time.Now().Unix()))
	path := base + suffix
	for n := 1; e.exists(path); n++ {
		path = fmt.Sprintf("%s.%d%s", base, n, suffix)
	}
	return path, nil
}

func (e *environment) exists(path string) bool {
	entries, _ := e.fs.ReadDir(filepath.Dir(path))
	return slices.ContainsFunc(entries, func(f fs.DirEntry) bool { return f.Name() == filepath.Base(path) })
}

// quarantineRecord moves a damaged record to the quarantine.
func (e *environment) quarantineRecord(id, name string, damage error) {
	path, err := e.quarantinePath(id, ".json")
	if err == nil {
		err = e.fs.Rename(filepath.Join(e.containerDir(id), archive.RecordName), path)
	}
	attrs := []any{"container", name, "err", damage, "kept_in", path}
	if err != nil {
		attrs = append(attrs, "not_kept", err)
	}
	e.log.Error("a container's record is damaged; its spooled lines go to the default group and stream, and new output is lost until the container is restarted", attrs...)
}

const quarantineHint = "upgrade the plugin to the version that wrote the lines, and it delivers them when it starts; or remove the directory"

// quarantineSpool moves the spool, which a newer version of the plugin wrote, to the
// quarantine, with a copy of the record.
func (s *session) quarantineSpool(cause error) error {
	disk := s.env.fs
	dir, err := s.env.quarantinePath(s.id, "")
	if err != nil {
		return err
	}
	if err := disk.MkdirAll(dir, durable.DirPerm); err != nil {
		return err
	}
	r := s.record
	r.FIFOs = nil
	if err := r.Write(disk, dir, s.env.durable()); err != nil {
		return err
	}
	if err := disk.Rename(filepath.Join(s.dir(), archive.SpoolName), filepath.Join(dir, archive.SpoolName)); err != nil {
		return errors.Join(err, archive.RemoveTree(disk, dir))
	}
	s.env.log.Error("a newer version of the plugin wrote a container's spool; it is set aside, and a new spool begins",
		"container", s.name(), "kept_in", dir, "err", cause, "hint", quarantineHint)
	return nil
}

// reviewQuarantine reports what is in the quarantine, and moves back what this version
// can read.
func (d *Driver) reviewQuarantine() {
	_ = durable.RemoveTemp(d.fs, poisonDir(d.settings.StateDir)) // what a kill left
	entries, err := d.fs.ReadDir(d.quarantineDir())
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(d.quarantineDir(), e.Name())
		id := e.Name()[:max(strings.LastIndexByte(e.Name(), '-'), 0)]
		switch {
		case !e.IsDir():
			d.log.Warn("a container's damaged record is still set aside", "path", dir, "hint", "remove it when you no longer need it")
		case archive.ValidID(id):
			d.reviewQuarantinedSpool(id, dir)
		}
	}
}

func (d *Driver) reviewQuarantinedSpool(id, dir string) {
	record, _ := archive.ReadRecord(d.fs, dir)
	container := container.Label(record.Info.Name, id)
	s, _, err := openSpool(spool.Options{Dir: filepath.Join(dir, archive.SpoolName), FS: d.fs, History: math.MaxInt64})
	if err == nil {
		err = s.Close()
	}
	switch {
	case errors.Is(err, spool.ErrVersion):
		d.log.Error("undelivered lines are set aside because only a newer version of the plugin can read them", "container", container, "kept_in", dir, "hint", quarantineHint)
		return
	case err != nil:
		d.log.Error("cannot open lines that were set aside", "container", container, "kept_in", dir, "err", err)
		return
	case d.exists(d.containerDir(id)) || d.exists(filepath.Join(d.archive.Dir, id)):
		d.log.Warn("lines that were set aside can be read now, but the container has a new log; they are delivered when the plugin starts after that log is gone",
			"container", container, "kept_in", dir)
		return
	}
	err = d.fs.MkdirAll(d.containersDir(), durable.DirPerm)
	if err == nil {
		err = d.fs.Rename(dir, d.containerDir(id))
	}
	if err != nil {
		d.log.Error("cannot move back lines that were set aside", "container", container, "kept_in", dir, "err", err)
		return
	}
	d.log.Info("lines that were set aside can be read now, and will be delivered", "container", container)
}

// maxPoison is the largest number of poison frames that are kept for all containers together.
// The plugin panicked on these frames.
const maxPoison = 64

// logPoison logs that the plugin panicked on a container's output. A feed calls it once.
func (s *session) logPoison(cause any, stack []byte) {
	s.env.log.Error("the plugin panicked on a container's output; the output is set aside, and a marker in the stream reports the loss",
		"container", s.name(), "kept_in", poisonDir(s.env.settings.StateDir), "panic", fmt.Sprint(cause), "stack", string(stack))
}

// savePoison saves a frame on which the plugin panicked, so that the bug can be found.
func (s *session) savePoison(frame []byte, _ any) {
	if err := writePoison(s.env.fs, poisonDir(s.env.settings.StateDir), s.id, frame); err != nil {
		s.env.log.Warn("cannot set aside output on which the plugin panicked", "container", s.name(), "err", err)
	}
}

func poisonDir(stateDir string) string { return filepath.Join(stateDir, "poison") }

// writePoison writes the frame, without its length prefix, to a new file ID-N.frame. It does
// nothing if there are maxPoison files.
func writePoison(fsys durable.FS, dir, id string, frame []byte) error {
	if err := fsys.MkdirAll(dir, durable.DirPerm); err != nil {
		return err
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil || len(entries) >= maxPoison {
		return err
	}
	n := 1
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), id+"-") {
			n++
		}
	}
	return durable.WriteFile(fsys, filepath.Join(dir, fmt.Sprintf("%s-%d.frame", id, n)), frame, durable.FilePerm, false)
}
