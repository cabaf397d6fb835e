package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// session is one container: its FIFOs, its spool, and the delivery of what is in it. It begins with the
// first StartLogging, outlives the plugin on disk, and ends when no FIFO is left and everything is delivered.
type session struct {
	d    *Driver
	slot *slot
	id   string
	dir  string

	spool   *spool.Spool
	history int64   // bytes of what is delivered that are kept; 0: none
	maxSize int64   // bytes of what is not delivered that are kept; 0: no limit
	outrun  *outrun // slows down who follows it
	losses  *losses
	label   atomic.Pointer[string] // what the log calls the container

	// changed makes the owner look again.
	changed chan struct{}

	// Read by the intake for every block.
	deliveries atomic.Pointer[[]Delivery] // nil: nothing is being delivered
	ended      atomic.Bool                // nothing more will come for now
	fullness   fullness                   // the intake's

	// recording is held while the record is written, before mu.
	recording sync.Mutex

	// mu guards what follows.
	mu       sync.Mutex
	refs     int // who keeps the session from being archived
	record   archive.Record
	runs     []*containerRun        // the record's, of which lines may be undelivered, oldest first; the last is the current one
	attached map[string]*attachment // by File
	running  *run
	active   *activeRun // what is being delivered now; nil: nothing

	readers        int           // of docker logs, now
	withoutReaders time.Duration // how long there was none,
	since          time.Time     // but for the time since then, when the last one went
}

// openSpool is a variable for tests.
var openSpool = spool.Open

// openSession opens what is on disk of a container, or begins it. info is what a StartLogging says of it; nil: what
// the record says. archived says that the container had stopped, with everything delivered. It blocks for the local disk.
func openSession(d *Driver, sl *slot, info *container.Info, archived bool) (*session, error) {
	s := &session{
		d: d, slot: sl, id: sl.id, dir: d.containerDir(sl.id), since: time.Now(),
		changed:  make(chan struct{}, 1),
		attached: map[string]*attachment{},
		running:  newRun(),
	}
	s.running.stop(0)
	if err := s.readRecord(info); err != nil {
		return nil, err
	}
	s.losses = &losses{s: s}
	if err := s.openSpool(info != nil || !archived, archived); err != nil {
		return nil, err
	}
	s.ackStopped(archived)
	s.setEnded(true)
	s.outrun = newOutrun(s.spool.End, d.slowRate)
	return s, nil
}

// readRecord reads the record. Without one, what is spooled goes where the settings say for a container of which only the ID is
// known. A damaged record is kept aside.
func (s *session) readRecord(info *container.Info) (err error) {
	_ = durable.RemoveTemp(s.d.fs, s.dir) // what a kill left of a record would keep the directory from being removed
	if s.record, err = archive.ReadRecord(s.d.fs, s.dir); errors.Is(err, archive.ErrUnread) {
		return err
	} else if err != nil && !notExist(err) {
		s.setLabel()
		s.d.keepRecord(s.id, s.name(), err)
		s.record = archive.Record{}
	}
	if info != nil && s.record.Info.ID == "" {
		s.record.Info = *info
	}
	s.record.Info.ID = s.id
	s.setLabel()
	s.runs = s.recordedRuns()
	return nil
}

// openSpool opens the spool. Files of a newer version of the plugin are moved aside if aside says so.
func (s *session) openSpool(aside, archived bool) error {
	conf := s.currentRun().conf
	s.maxSize, s.history = s.bounds(conf)
	o := spool.Options{
		Dir:        filepath.Join(s.dir, archive.SpoolName),
		FS:         s.d.fs,
		MaxSize:    s.maxSize,
		History:    s.history,
		DropNewest: conf.SpoolFull == config.DropNewest,
		Durable:    s.d.o.Settings.SpoolSync > 0,
		Budget:     s.d.budget,
		OnGap:      func(bytes int) { s.notify(1, bytes) },
		OnLoss:     func(g spool.Gap) { s.losses.lost(g.Reason.String(), int(g.Frames), int64(g.Bytes)) },
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
	err := s.d.budget.Retry(open)
	if errors.Is(err, spool.ErrVersion) && aside {
		if err = s.d.keepSpool(s, err); err == nil {
			o.Delivered = 0
			err = s.d.budget.Retry(open)
		}
	}
	if err != nil {
		return err
	}
	if repair.CutBytes > 0 || repair.CursorCutBytes > 0 {
		s.d.log.Warn("a spool was repaired", "container", s.name(), "cut_bytes", repair.CutBytes, "kept_in", repair.CutFile,
			"cursor_cut_bytes", repair.CursorCutBytes)
	}
	s.dropForeignRuns()
	return nil
}

// bounds returns how many bytes may be kept of what is not delivered (0: no bound), and of what is.
func (s *session) bounds(conf *config.Container) (maxSize, history int64) {
	settings := s.d.o.Settings
	maxSize, history = conf.SpoolMaxSize, conf.HistorySize
	if unknown := settings.Unknown; unknown.SpoolMaxSize || unknown.HistorySize {
		kept, _ := spool.Inspect(s.d.fs, filepath.Join(s.dir, archive.SpoolName)) // Open reports what is wrong
		if unknown.SpoolMaxSize && maxSize == settings.SpoolMaxSize {
			maxSize += kept.Bytes
		}
		if unknown.HistorySize && history == settings.HistorySize {
			history += kept.Bytes
		}
	}
	if conf.Ignore {
		maxSize = 0 // that is for what waits to be delivered
	}
	if settings.HistorySize == 0 { // dockerd never asks
		history = 0
	}
	return maxSize, history
}

// ackStopped acknowledges what was delivered before the container stopped: it is not delivered again although the cursor
// may be lost, and a segment that cannot be read now is no gap.
func (s *session) ackStopped(archived bool) {
	delivered := uint64(0)
	if stopped := s.record.Stopped; stopped != nil {
		delivered = min(stopped.End, s.spool.End())
		if delivered < stopped.End { // it is of a stream that is not there any more
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

// changeRecord changes the record and writes it. After an error it is as it was. It blocks for the local disk.
func (s *session) changeRecord(change func(r *archive.Record)) error {
	s.recording.Lock()
	defer s.recording.Unlock()
	return s.changeRecordLocked(change)
}

// changeRecordLocked is called with recording held, and without mu.
func (s *session) changeRecordLocked(change func(r *archive.Record)) error {
	s.mu.Lock()
	r := s.record
	s.mu.Unlock()
	r.FIFOs, r.Earlier = slices.Clone(r.FIFOs), slices.Clone(r.Earlier)
	change(&r)
	if err := s.writeRecord(&r); err != nil {
		return err
	}
	s.mu.Lock()
	s.record = r
	s.mu.Unlock()
	return nil
}

// directorySize is what the container's directory takes on the disk.
const directorySize = 4096

func (s *session) writeRecord(r *archive.Record) error {
	err := s.d.budget.Retry(func() error {
		return r.Write(s.d.fs, s.dir, s.d.o.Settings.SpoolSync > 0)
	})
	if err != nil {
		return err
	}
	if data, err := json.Marshal(r); err == nil {
		s.spool.CountBeside(spool.Allocated(int64(len(data))) + directorySize)
	}
	return nil
}

// setLabel makes what the log calls the container. It is called by openSession, or with mu held.
func (s *session) setLabel() {
	name := label(s.record.Info.Name, s.id)
	s.label.Store(&name)
}

// name returns what the log calls the container. It takes no lock.
func (s *session) name() string { return *s.label.Load() }

// hold takes a reference. Only who has one already, or has the slot's lock, may call it.
func (s *session) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs++
}

// release gives a reference back.
func (s *session) release() {
	s.mu.Lock()
	s.refs--
	s.mu.Unlock()
	s.wake()
}

// idle reports whether nobody holds a reference.
func (s *session) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refs == 0
}

// start begins the session's goroutine, its owner.
func (s *session) start() {
	work := s.deliver
	if s.currentRun().conf.Ignore {
		work = s.ignore
	}
	s.d.group.Go(func() error { s.own(s.d.ctx, work); return nil })
	s.wake()
}

// own is the session's goroutine. A panic costs the container a pause, and not the process.
func (s *session) own(ctx context.Context, work func(context.Context)) {
	try := func() (returned bool) {
		defer func() {
			if r := recover(); r != nil {
				s.logPanic("delivering a container's lines panicked; it is tried again", r)
			}
		}()
		work(ctx)
		return true
	}
	for wait := panicPause; !try() && pause(ctx, wait); wait = min(2*wait, maxPanicPause) {
	}
}

// panicPause is how long an owner waits after a first panic, and maxPanicPause after many.
const (
	panicPause    = 100 * time.Millisecond
	maxPanicPause = time.Minute
)

// logPanic logs a panic, which is a bug of the plugin.
func (s *session) logPanic(what string, r any) {
	stack := debug.Stack()
	s.d.log.Error(what, "container", s.name(), "err", oneline.Text(fmt.Sprint(r), 512), "stack", string(stack[:min(len(stack), 4096)]))
}

func (s *session) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// notify says that something has been added to the spool. The spool may be locked.
func (s *session) notify(frames, bytes int) {
	if deliveries := s.deliveries.Load(); deliveries != nil {
		for _, delivery := range *deliveries {
			delivery.Notify(frames, bytes)
		}
		return
	}
	s.wake()
}

// beginReading counts a reader, who holds a reference, until endReading.
func (s *session) beginReading() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers == 0 {
		s.withoutReaders += time.Since(s.since)
	}
	s.readers++
}

func (s *session) endReading() {
	s.mu.Lock()
	if s.readers--; s.readers == 0 {
		s.since = time.Now()
	}
	s.mu.Unlock()
	s.release()
}

func (s *session) sync() error {
	if err := s.spool.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("container %s: %w", s.name(), err)
	}
	return nil
}

func (s *session) close() error {
	defer s.losses.close()
	if err := s.spool.Close(); err != nil {
		return fmt.Errorf("container %s: %w", s.name(), err)
	}
	return nil
}

// retire ends the session if nobody holds a reference and nothing is left to deliver. What is kept for docker logs is
// archived, or removed if there is nothing. Only the owner calls it. It blocks for the local disk.
func (s *session) retire() bool {
	s.slot.lock <- struct{}{} // its holder waits for the disk alone
	defer func() { <-s.slot.lock }()
	if !s.idle() || s.spool.Pending() {
		return false
	}
	if s.history > 0 && s.spool.Size() > 0 {
		s.toArchive()
	} else {
		s.remove()
	}
	s.losses.close()
	s.d.setSession(s.slot, nil)
	return true
}

// toArchive hands the files to the archive.
func (s *session) toArchive() {
	end := s.spool.End()
	err := s.spool.Close()
	s.record.Stop(s.withoutReaders+time.Since(s.since), end)
	s.record.Earlier = nil
	err = errors.Join(err, s.d.budget.Retry(func() error {
		return s.record.Write(s.d.fs, s.dir, s.d.o.Settings.SpoolSync > 0)
	}))
	err = errors.Join(err, s.d.archive.Put(s.id, s.record.Stopped.At))
	if err != nil {
		s.d.log.Warn("cannot archive a delivered container's files", "container", s.name(), "err", err)
	}
}

// remove removes the files.
func (s *session) remove() {
	err := s.spool.Remove()
	if err == nil {
		err = s.d.fs.Remove(filepath.Join(s.dir, archive.RecordName))
	}
	if err == nil || notExist(err) {
		err = s.d.fs.Remove(s.dir)
	}
	if err != nil && !notExist(err) {
		s.d.log.Warn("cannot remove a delivered container's files", "container", s.name(), "err", err)
	}
}
