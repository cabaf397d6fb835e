package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/logspool/logspool/driver/fifo"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/spool"
)

// errRetired says that a session has ended and removed what it had on disk.
var errRetired = errors.New("the session has ended")

// session is one container: its FIFOs, its spool, and the delivery of what is in it. It begins with the
// first StartLogging, outlives the plugin on disk, and ends when no FIFO is left and everything is delivered.
type session struct {
	d   *Driver
	id  string
	dir string

	spool *spool.Spool

	// changed tells the session's goroutine (deliver.go) to look again.
	changed chan struct{}

	// Read by the intake for every block.
	shipping atomic.Pointer[[]Shipment] // nil: nothing is being delivered
	ended    atomic.Bool                // no FIFO is attached: nothing more will come for now

	// mu guards what follows.
	mu       sync.Mutex
	record   record
	conf     *config.Container      // what the record's log options and environment say
	attached map[string]*attachment // by File
	retired  bool
}

// attachment is one FIFO of a session. It is the intake's sink.
type attachment struct {
	s       *session
	file    string
	epoch   uint32
	fifo    *fifo.FIFO
	ignore  bool    // the container asked not to be shipped: what it writes is read and dropped
	stopped bool    // StopLogging came; guarded by s.mu
	bad     trouble // the intake's
}

// openSession opens what is on disk of a container, or begins it. info is what a StartLogging says of it; nil: what
// the record says.
func openSession(d *Driver, id string, info *Info) (*session, error) {
	s := &session{
		d: d, id: id, dir: filepath.Join(d.containersDir(), id),
		changed:  make(chan struct{}, 1),
		attached: map[string]*attachment{},
	}
	var err error
	// Without a record what is spooled goes where the settings say for a container of which only the ID is known.
	if s.record, err = readRecord(d.fs, s.dir); err != nil && !notExist(err) {
		d.log.Error("a container's record is damaged and begun anew", "container", id, "err", err)
	}
	if info != nil {
		s.record.Info = *info
	}
	s.record.Info.ContainerID = id
	s.configure()
	var repair spool.Repair
	s.spool, repair, err = spool.Open(spool.Options{
		Dir:        filepath.Join(s.dir, "spool"),
		FS:         d.fs,
		MaxSize:    s.conf.SpoolMaxSize,
		DropNewest: s.conf.SpoolFull == config.DropNewest,
		Durable:    d.o.Settings.SpoolSync > 0,
		Budget:     d.budget,
		OnGap:      func(bytes int) { s.notify(1, bytes) },
	})
	if err != nil {
		return nil, err
	}
	if repair.CutBytes > 0 || repair.CursorCutBytes > 0 {
		d.log.Warn("a spool was repaired", "container", id, "cut_bytes", repair.CutBytes, "kept_in", repair.CutFile,
			"cursor_cut_bytes", repair.CursorCutBytes)
	}
	s.ended.Store(true)
	return s, nil
}

// configure reads the log options of the record. They were checked when the container was attached; those that
// this version does not know give way to the settings.
func (s *session) configure() {
	conf, err := s.d.o.Settings.Container(s.record.Info.Config, s.record.Info.ContainerEnv)
	if err != nil {
		s.d.log.Error("bad log options of a container that is attached", "container", s.id, "err", err)
	}
	s.conf = conf
}

// start begins the session's goroutine.
func (s *session) start() {
	s.d.group.Go(func() error { s.deliver(s.d.ctx); return nil })
	s.wake()
}

func (s *session) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// attach begins to read the FIFO file. It does nothing when it is being read already. What it needs after a
// crash is on disk before it returns.
func (s *session) attach(file string, info *Info) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return errRetired
	}
	if s.attached[file] != nil {
		return nil
	}
	before, conf := s.record, s.conf
	s.record.Info = *info
	s.configure()
	for _, w := range s.conf.Warnings {
		s.d.log.Warn(w, "container", s.id)
	}
	s.record.Epoch++
	s.record.FIFOs = append(s.liveFIFOsLocked(), fifoRecord{File: file, Epoch: s.record.Epoch})
	err := s.record.write(s.d.fs, s.dir, s.d.o.Settings.SpoolSync > 0)
	if err == nil {
		err = s.openFIFOLocked(file, s.record.Epoch, nil)
	}
	s.wake()
	if err != nil {
		s.record, s.conf = before, conf
		return fmt.Errorf("logspool: container %s cannot be attached: %w", s.id, err)
	}
	return nil
}

func (s *session) liveFIFOsLocked() []fifoRecord {
	return slices.DeleteFunc(slices.Clone(s.record.FIFOs), func(f fifoRecord) bool { return s.attached[f.File] == nil })
}

func (s *session) openFIFOLocked(file string, epoch uint32, last *fifo.Last) (err error) {
	a := &attachment{s: s, file: file, epoch: epoch, ignore: s.conf.Ignore}
	s.ended.Store(false) // before anything comes, lest an unfinished line is taken for the last
	if a.fifo, err = s.d.intake.Open(file, a, last); err != nil {
		s.updateEndedLocked()
		return err
	}
	s.attached[file] = a
	return nil
}

// reopenFIFOs attaches the FIFOs of the record that are still there, and returns how many. It is called once,
// before anything else is.
func (s *session) reopenFIFOs() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	payload, info, epoch, ok := s.spool.LastBlock()
	for _, f := range s.record.FIFOs {
		if s.d.checkFile(f.File) != nil {
			continue
		}
		var last *fifo.Last
		if ok && f.Epoch == epoch {
			last = &fifo.Last{Payload: payload, Info: info}
		}
		err := s.openFIFOLocked(f.File, f.Epoch, last)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			s.d.log.Error("a FIFO cannot be attached again", "container", s.id, "err", err)
		}
		if err == nil {
			n++
		}
	}
	return n
}

func (s *session) has(file string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attached[file] != nil
}

// detach takes what is in the FIFO file. It is read on until its writer is gone, but nothing more is expected.
func (s *session) detach(ctx context.Context, file string) error {
	s.mu.Lock()
	a := s.attached[file]
	s.mu.Unlock()
	if a == nil {
		return nil
	}
	err := a.fifo.Drain(ctx)
	s.mu.Lock()
	a.stopped = true
	s.updateEndedLocked()
	s.mu.Unlock()
	s.wake()
	if err != nil {
		return fmt.Errorf("logspool: what is left of container %s could not be read in %v; it is read on", s.id, drainTime)
	}
	return nil
}

func (s *session) updateEndedLocked() {
	for _, a := range s.attached {
		if !a.stopped {
			return
		}
	}
	s.ended.Store(true)
}

// Take puts a piece of the stream into the spool. It is called by the intake.
func (a *attachment) Take(block []byte, info spool.BlockInfo) {
	s := a.s
	if a.ignore {
		return
	}
	err := s.spool.Append(block, a.epoch, info)
	a.bad.note(s.d.log, "a container's output cannot be spooled, and is counted as lost", err, "container", s.id)
	s.notify(info.Frames, len(block)-spool.BlockHeaderSize)
}

// notify says that something has been added to the spool.
func (s *session) notify(frames, bytes int) {
	if shipping := s.shipping.Load(); shipping != nil {
		for _, shipment := range *shipping {
			shipment.Notify(frames, bytes)
		}
		return
	}
	s.wake()
}

// End is called by the intake when the FIFO's writer is gone.
func (a *attachment) End() {
	s := a.s
	s.mu.Lock()
	delete(s.attached, a.file)
	s.updateEndedLocked()
	stopped := a.stopped
	s.mu.Unlock()
	if !stopped { // otherwise dockerd is about to
		s.d.removeFIFO(a.file)
	}
	s.wake()
}

func (s *session) sync() error {
	if err := s.spool.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("container %s: %w", s.id, err)
	}
	return nil
}

func (s *session) close() error {
	if err := s.spool.Close(); err != nil {
		return fmt.Errorf("container %s: %w", s.id, err)
	}
	return nil
}

// retire ends the session and removes its files, if no FIFO is attached and nothing is left to deliver.
func (s *session) retire() bool {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.attached) > 0 || s.spool.Pending() {
		return false
	}
	s.retired = true
	delete(s.d.sessions, s.id)
	err := s.spool.Remove()
	if err == nil {
		err = s.d.fs.Remove(filepath.Join(s.dir, recordName))
	}
	if err == nil || notExist(err) {
		err = s.d.fs.Remove(s.dir)
	}
	if err != nil && !notExist(err) {
		s.d.log.Warn("a delivered container's files cannot be removed", "container", s.id, "err", err)
	}
	return true
}
