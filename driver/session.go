package driver

import (
	"context"
	"errors"
	"fmt"
	"github.com/logspool/logspool/driver/archive"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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

	spool   *spool.Spool
	history int64   // bytes of what is delivered that are kept; 0: none
	outrun  *outrun // slows down who follows it

	// changed tells the session's goroutine (deliver.go) to look again.
	changed chan struct{}

	// Read by the intake for every block.
	shipping atomic.Pointer[[]Shipment] // nil: nothing is being delivered
	ended    atomic.Bool                // no FIFO is attached: nothing more will come for now

	// mu guards what follows.
	mu       sync.Mutex
	record   archive.Record
	conf     *config.Container      // what the record's log options and environment say
	attached map[string]*attachment // by File
	retired  bool
	running  *run

	readers        int           // of docker logs, now
	withoutReaders time.Duration // how long there was none,
	since          time.Time     // but for the time since then, when the last one went

	gone chan struct{} // closed when a session that is retired has let go of its files
}

// attachment is one FIFO of a session. It is the intake's sink.
type attachment struct {
	s       *session
	file    string
	epoch   uint32
	fifo    *fifo.FIFO
	drop    bool    // the container asked not to be shipped, and nothing is kept for docker logs
	stopped bool    // StopLogging came; guarded by s.mu
	bad     trouble // the intake's
}

// openSession opens what is on disk of a container, or begins it. info is what a StartLogging says of it; nil: what
// the record says. rested says that the container had stopped, with everything dealt with.
func openSession(d *Driver, id string, info *Info, rested bool) (*session, error) {
	s := &session{
		d: d, id: id, dir: filepath.Join(d.containersDir(), id), since: time.Now(),
		changed:  make(chan struct{}, 1),
		attached: map[string]*attachment{},
		gone:     make(chan struct{}),
	}
	s.running = newRun()
	s.running.stop(0)
	var err error
	// Without a record what is spooled goes where the settings say for a container of which only the ID is known.
	if s.record, err = archive.ReadRecord(d.fs, s.dir); errors.Is(err, archive.ErrUnread) {
		return nil, err
	} else if err != nil && !notExist(err) {
		d.log.Error("a container's record is damaged and begun anew", "container", id, "err", err)
	}
	if info != nil {
		s.record.Info = *info
	}
	s.record.Info.ContainerID = id
	s.configure()
	var maxSize int64
	maxSize, s.history = s.bounds()
	var repair spool.Repair
	s.spool, repair, err = spool.Open(spool.Options{
		Dir:        filepath.Join(s.dir, archive.SpoolName),
		FS:         d.fs,
		MaxSize:    maxSize,
		History:    s.history,
		DropNewest: s.conf.SpoolFull == config.DropNewest,
		Durable:    d.o.Settings.SpoolSync > 0,
		Budget:     d.budget,
		OnGap:      func(bytes int) { s.notify(1, bytes) },
		Delivered:  s.delivered(rested),
	})
	if err != nil {
		return nil, err
	}
	if repair.CutBytes > 0 || repair.CursorCutBytes > 0 {
		d.log.Warn("a spool was repaired", "container", id, "cut_bytes", repair.CutBytes, "kept_in", repair.CutFile,
			"cursor_cut_bytes", repair.CursorCutBytes)
	}
	s.ackStopped(rested)
	s.ended.Store(true)
	s.outrun = newOutrun(s.spool.End, d.slowRate)
	return s, nil
}

// bounds returns how many bytes may be kept of what is not delivered (0: no bound), and of what is.
func (s *session) bounds() (maxSize, history int64) {
	settings := s.d.o.Settings
	maxSize, history = s.conf.SpoolMaxSize, s.conf.HistorySize
	if unknown := settings.Unknown; unknown.SpoolMaxSize || unknown.HistorySize {
		kept, _ := spool.Inspect(s.d.fs, filepath.Join(s.dir, archive.SpoolName)) // who opens it will say what is wrong
		if unknown.SpoolMaxSize && maxSize == settings.SpoolMaxSize {
			maxSize += kept.Bytes
		}
		if unknown.HistorySize && history == settings.HistorySize {
			history += kept.Bytes
		}
	}
	if s.conf.Ignore {
		maxSize = 0 // that is for what waits to be delivered
	}
	if settings.HistorySize == 0 { // dockerd never asks
		history = 0
	}
	return maxSize, history
}

// delivered returns up to which position the log is delivered, whatever its cursor says.
func (s *session) delivered(archived bool) uint64 {
	switch {
	case archived:
		return math.MaxUint64
	case s.record.Stopped != nil:
		return s.record.Stopped.End
	}
	return 0
}

// ackStopped acknowledges what was dealt with before the container stopped: nobody wants it again, though the cursor may be
// lost, nor to be told of a gap because a segment cannot be read now.
func (s *session) ackStopped(rested bool) {
	dealt := uint64(0)
	if stopped := s.record.Stopped; stopped != nil {
		dealt = min(stopped.End, s.spool.End())
		if dealt < stopped.End { // it is of a stream that is not there any more
			s.record.Stopped = nil
			if err := s.record.Write(s.d.fs, s.dir, s.d.o.Settings.SpoolSync > 0); err != nil {
				s.d.log.Warn("a container's record cannot be written", "container", s.id, "err", err)
			}
		}
	}
	if rested {
		dealt = s.spool.End()
	}
	if s.spool.Acked() < dealt {
		_ = s.spool.Ack([]spool.Range{{From: 0, To: dealt}})
	}
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
	work := s.deliver
	if s.conf.Ignore {
		work = s.ignore
	}
	s.d.group.Go(func() error { work(s.d.ctx); return nil })
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
	s.record.FIFOs = append(s.liveFIFOsLocked(), archive.FIFORecord{File: file, Epoch: s.record.Epoch})
	err := s.record.Write(s.d.fs, s.dir, s.d.o.Settings.SpoolSync > 0)
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

func (s *session) liveFIFOsLocked() []archive.FIFORecord {
	return slices.DeleteFunc(slices.Clone(s.record.FIFOs), func(f archive.FIFORecord) bool { return s.attached[f.File] == nil })
}

func (s *session) openFIFOLocked(file string, epoch uint32, last *fifo.Last) (err error) {
	a := &attachment{s: s, file: file, epoch: epoch, drop: s.conf.Ignore && s.history == 0}
	s.ended.Store(false) // before anything comes, lest an unfinished line is taken for the last
	if s.running.Err() != nil {
		s.running = newRun()
	}
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
	s.running.stop(s.spool.End())
}

// run is the time from a container's start to its end. As a context it is done when nothing more will come: that is
// when what follows it ends.
type run struct {
	context.Context
	cancel context.CancelFunc
	end    uint64 // of the stream, once it is done
}

func newRun() *run {
	r := &run{}
	r.Context, r.cancel = context.WithCancel(context.Background())
	return r
}

// stop ends the run, once.
func (r *run) stop(end uint64) {
	if r.Err() == nil {
		r.end = end
		r.cancel()
	}
}

// logging returns the container's run, the last one if it does not run.
func (s *session) logging() *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// beginReading keeps the session from ending until endReading; false: it has ended.
func (s *session) beginReading() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return false
	}
	if s.readers == 0 {
		s.withoutReaders += time.Since(s.since)
	}
	s.readers++
	return true
}

func (s *session) endReading() {
	s.mu.Lock()
	if s.readers--; s.readers == 0 {
		s.since = time.Now()
	}
	s.mu.Unlock()
	s.wake()
}

// Take puts a piece of the stream into the spool. It is called by the intake.
func (a *attachment) Take(block []byte, info spool.BlockInfo) {
	s := a.s
	if a.drop {
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

// retire ends the session if no FIFO is attached and nothing is left to deliver. What is kept for docker logs is put
// away, or removed if there is nothing. It waits for those who read it.
func (s *session) retire() bool {
	if !s.beginRetiring() {
		return false
	}
	defer func() {
		s.d.mu.Lock()
		defer s.d.mu.Unlock()
		delete(s.d.sessions, s.id)
		close(s.gone)
	}()
	if s.history > 0 && s.spool.Size() > 0 {
		s.rest()
	} else {
		s.remove()
	}
	return true
}

func (s *session) beginRetiring() bool {
	ready := func() (over, retire bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.attached) > 0 || s.spool.Pending() {
			return true, false
		}
		s.retired = s.readers == 0
		return s.retired, s.retired
	}
	for {
		if over, retire := ready(); over {
			return retire
		}
		select {
		case <-s.changed:
		case <-s.d.ctx.Done():
			return false
		}
	}
}

// rest puts the files away.
func (s *session) rest() {
	end := s.spool.End()
	err := s.spool.Close()
	s.record.Stop(s.withoutReaders+time.Since(s.since), end)
	err = errors.Join(err, s.record.Write(s.d.fs, s.dir, s.d.o.Settings.SpoolSync > 0))
	err = errors.Join(err, s.d.archive.Put(s.id, s.record.Stopped.At))
	if err != nil {
		s.d.log.Warn("a delivered container's files cannot be put away", "container", s.id, "err", err)
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
		s.d.log.Warn("a delivered container's files cannot be removed", "container", s.id, "err", err)
	}
}
