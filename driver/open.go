package driver

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// holdSession returns the container's session with a reference, which the caller must
// release. If there is no session, it opens what is on disk. start is the container run that
// a StartLogging begins. If it is nil, and nothing is on disk, the session is nil. It blocks
// for the local disk.
func (d *Driver) holdSession(ctx context.Context, id string, start *containerRun) (*session, error) {
	sl, err := d.lockSlot(ctx, id)
	if err != nil {
		return nil, err
	}
	defer d.unlockSlot(sl)
	if sl.s != nil {
		sl.s.hold()
		return sl.s, nil
	}
	if start == nil && d.isUnopened(id) {
		return nil, errUnopened
	}
	was, err := d.archive.Take(id)
	if err != nil || was == archive.Nowhere && start == nil {
		return nil, err
	}
	dir := d.containerDir(id)
	_, statErr := d.fs.ReadDir(dir)
	s, err := openSession(d.environment, id, start, was == archive.Archived)
	if err != nil {
		if was == archive.Archived {
			d.archive.Return(id)
		} else if notExist(statErr) {
			_ = archive.RemoveTree(d.fs, dir) // A refused start leaves nothing behind.
		}
		return nil, err
	}
	d.beginSession(sl, s, was == archive.Live)
	return s, nil
}

// beginSession puts a new session into its locked slot, with a reference for the caller, and
// starts its owner. live says that the session's record may name FIFOs that nobody reads.
// They are attached, and beginSession returns how many.
func (d *Driver) beginSession(sl *slot, s *session, live bool) (fifos int) {
	d.setSession(sl, s)
	s.hold()
	if live {
		fifos = s.reopenFIFOs()
		d.countBacklog()
	}
	s.start(func() bool { return d.endSession(sl) })
	return fifos
}

// endSession ends the session in the slot if nobody holds a reference and everything is
// delivered. It reports whether it did. It blocks for the local disk.
func (d *Driver) endSession(sl *slot) bool {
	sl.lock <- struct{}{} // The holder of the lock waits only for the disk.
	defer func() { <-sl.lock }()
	if !sl.s.end() {
		return false
	}
	d.removeSession(sl)
	return true
}

// openSpool is spool.Open. Tests replace it.
var openSpool = spool.Open

// openSession opens what is on disk of a container, or creates it. start is the container run
// that a StartLogging begins, or nil. archived says that the container had stopped and
// everything was delivered. It blocks for the local disk.
func openSession(env *environment, id string, start *containerRun, archived bool) (*session, error) {
	s := &session{env: env, id: id, changed: make(chan struct{}, 1)}
	s.attached = map[string]*attachment{}
	s.readers.lastLeft = time.Now()
	s.running = newRun()
	s.running.stop(0)
	s.losses = &losses{log: env.log, container: s.name}
	s.fullness.warning = newFullnessWarning(env)
	if err := s.readRecord(start); err != nil {
		return nil, err
	}
	if err := s.openSpool(start != nil || !archived, archived); err != nil {
		return nil, err
	}
	s.ackStopped(archived)
	return s, nil
}

// readRecord reads the container's record. A damaged record is quarantined. Without a record,
// the container is known by its ID alone, and its lines go where the settings say.
func (s *session) readRecord(start *containerRun) (err error) {
	// A kill may have left it, and the directory could not be removed.
	_ = durable.RemoveTemp(s.env.fs, s.dir())
	if s.record, err = archive.ReadRecord(s.env.fs, s.dir()); errors.Is(err, archive.ErrUnread) {
		return err
	} else if err != nil && !notExist(err) {
		s.setLabel()
		s.env.quarantineRecord(s.id, s.name(), err)
		s.record = archive.Record{}
	}
	if start != nil && s.record.Info.ID == "" {
		s.record.Info = start.info
	}
	s.record.Info.ID = s.id
	s.setLabel()
	s.runs = s.recordedRuns(start)
	return nil
}

// openSpool opens the spool. quarantine says that a spool of a newer version of the plugin is
// moved aside, and a new one begun.
func (s *session) openSpool(quarantine, archived bool) error {
	conf := s.currentRun().conf
	maxSize, history := s.sizes(conf)
	s.history, s.fullness.limit = history, maxSize
	o := spool.Options{
		Dir:        filepath.Join(s.dir(), archive.SpoolName),
		FS:         s.env.fs,
		MaxSize:    maxSize,
		History:    history,
		DropNewest: conf.SpoolFull == config.DropNewest,
		Durable:    s.env.durable(),
		Budget:     s.env.budget,
		OnGap:      func(bytes int) { s.notify(1, bytes) },
		OnLoss: func(g spool.Gap) {
			reason := g.Reason.String()
			s.traffic.drops.add(reason, int(g.Frames), int64(g.Bytes))
			s.losses.lost(reason, int(g.Frames), int64(g.Bytes))
		},
	}
	if stopped := s.record.Stopped; stopped != nil {
		o.Delivered = stopped.End
	}
	if archived {
		o.Delivered = math.MaxUint64
	}
	var repair spool.Repair
	open := func() (err error) {
		s.spool, repair, err = openSpool(o)
		return err
	}
	err := s.env.budget.Retry(open)
	if errors.Is(err, spool.ErrVersion) && quarantine {
		if err = s.quarantineSpool(err); err == nil {
			o.Delivered = 0
			err = s.env.budget.Retry(open)
		}
	}
	if err != nil {
		return err
	}
	if repair.CutBytes > 0 || repair.CursorCutBytes > 0 {
		s.env.log.Warn("a damaged spool was repaired", "container", s.name(), "cut_bytes", repair.CutBytes, "kept_in", repair.CutFile,
			"cursor_cut_bytes", repair.CursorCutBytes)
	}
	s.dropForeignRuns()
	s.traffic.lastEvent.Store(s.spool.LastTime())
	return nil
}

// sizes returns the limits, in bytes, of undelivered and of delivered data. A maxSize of 0
// means no limit. If a setting is invalid, its default applies on top of what is on disk.
func (s *session) sizes(conf *config.Container) (maxSize, history int64) {
	settings := s.env.settings
	maxSize, history = conf.SpoolMaxSize, conf.HistorySize
	if unknown := settings.Unknown; unknown.SpoolMaxSize || unknown.HistorySize {
		// Open reports errors.
		onDisk, _ := spool.Inspect(s.env.fs, filepath.Join(s.dir(), archive.SpoolName))
		if unknown.SpoolMaxSize && maxSize == settings.SpoolMaxSize {
			maxSize += onDisk.Bytes
		}
		if unknown.HistorySize && history == settings.HistorySize {
			history += onDisk.Bytes
		}
	}
	if conf.Ignore {
		maxSize = 0 // All data counts as delivered.
	}
	if settings.HistorySize == 0 { // dockerd never sends ReadLogs.
		history = 0
	}
	return maxSize, history
}

// ackStopped acknowledges what was delivered before the container stopped. It is not
// delivered again even if the cursor is lost, and a segment that cannot be read now does not
// become a gap.
func (s *session) ackStopped(archived bool) {
	delivered := uint64(0)
	if stopped := s.record.Stopped; stopped != nil {
		delivered = min(stopped.End, s.spool.End())
		if delivered < stopped.End { // The record describes a spool that is gone.
			_ = s.changeRecord(func(r *archive.Record) { r.Stopped = nil })
		}
	}
	if archived {
		delivered = s.spool.End()
	}
	if s.spool.Acked() < delivered {
		_ = s.spool.Ack([]stream.Range{{From: 0, To: delivered}})
	}
}
