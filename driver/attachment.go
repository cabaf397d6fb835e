package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/driver/fifo"
	"github.com/logspool/logspool/internal/backoff"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/spool"
)

// attachment is one FIFO of a session. It is the intake's sink, and holds a reference to the
// session until the FIFO's writer is gone.
type attachment struct {
	s          *session
	file       string
	epoch      uint32
	drop       bool            // drop says that the container is ignored, and has no history.
	readFault  *faultlog.Fault // readFault logs failures to read the FIFO.
	spoolFault *faultlog.Fault // spoolFault logs failures to write the spool.
	unspooled  bool            // unspooled says that spoolFault lasts. It is the intake's.

	ending
	opening
}

// ending says how far the end of an attachment has come. session.mu guards it.
type ending struct {
	stopped  bool // stopped says that StopLogging came, after which dockerd removes the FIFO.
	drained  bool // drained says that the FIFO was empty after StopLogging, so no more comes.
	finished bool // finished says that the writer is gone.
}

// opening is what it takes to open the FIFO. Its mu, which is held while the FIFO is opened,
// guards it.
type opening struct {
	mu    sync.Mutex
	begun bool       // begun says that the record and the session have the attachment.
	fifo  *fifo.FIFO // fifo is nil until the FIFO is open.
	last  *fifo.Last // last is the spool's last block if it came from the FIFO, or nil.
}

func (s *session) newAttachment(f archive.FIFORecord, ignore bool) *attachment {
	return &attachment{
		s: s, file: f.File, epoch: f.Epoch, drop: ignore && s.history == 0,
		readFault: faultlog.NewFault(s.env.log, "cannot read a container's FIFO; trying again",
			"a container's FIFO can be read again", nil),
		spoolFault: faultlog.NewFault(s.env.log, "cannot spool a container's output; its lines are lost and counted",
			"a container's output can be spooled again", nil),
	}
}

// attach begins to read file for the container run next. It does nothing if the session reads
// file already. When it returns, everything that is needed after a crash is on disk. It
// blocks for the local disk.
func (s *session) attach(file string, next *containerRun) error {
	s.recording.Lock()
	defer s.recording.Unlock()
	change, apply := s.prepareRun(next)
	a := s.newAttachment(archive.FIFORecord{File: file}, next.conf.Ignore)
	if already, err := s.env.fifos.claim(a, true); err != nil || already {
		return err
	}
	err := s.spool.Prepare()
	if err == nil {
		live := s.liveFIFOs()
		err = s.changeRecord(func(r *archive.Record) {
			change(r)
			r.Epoch++
			a.epoch = r.Epoch
			r.FIFOs = append(live, archive.FIFORecord{File: file, Epoch: r.Epoch})
		})
	}
	if err != nil {
		s.env.fifos.unclaim(a)
		return fmt.Errorf("logspool: cannot attach container %s: %w", s.id, err)
	}
	s.mu.Lock()
	apply()
	s.setLabel()
	s.mu.Unlock()
	for _, w := range next.conf.Warnings {
		s.env.log.Warn(w, "container", s.name())
	}
	a.begin()
	if err := a.open(); err != nil {
		a.finish()
		return fmt.Errorf("logspool: cannot attach container %s: %w", s.id, err)
	}
	s.wake()
	return nil
}

// liveFIFOs returns the FIFOs of the record that are attached.
func (s *session) liveFIFOs() []archive.FIFORecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.record.FIFOs), func(f archive.FIFORecord) bool { return s.attached[f.File] == nil })
}

// reopenFIFOs attaches the FIFOs of the record that still exist, and returns how many. A FIFO
// that cannot be opened now is tried again until it can be opened or is gone. It is called
// once, before the owner starts.
func (s *session) reopenFIFOs() (n int) {
	torn := s.spool.Torn()
	payload, info, epoch, ok := s.spool.LastBlock()
	ignore := s.currentRun().conf.Ignore
	s.mu.Lock()
	fifos := slices.Clone(s.record.FIFOs)
	s.mu.Unlock()
	if torn != nil {
		// The torn block's FIFO is first, because a block of another FIFO would turn the torn
		// block into a loss.
		isTorn := func(f archive.FIFORecord) bool { return f.Epoch == torn.Epoch }
		if i := slices.IndexFunc(fifos, isTorn); i > 0 {
			fifos = slices.Insert(slices.Delete(slices.Clone(fifos), i, i+1), 0, fifos[i])
		}
	}
	for _, f := range fifos {
		if s.env.fifos.checkFile(f.File) != nil {
			continue
		}
		a := s.newAttachment(f, ignore)
		if ok && f.Epoch == epoch {
			a.last = &fifo.Last{Payload: payload, Info: info}
		}
		if torn != nil && f.Epoch == torn.Epoch {
			if a.last == nil {
				a.last = &fifo.Last{}
			}
			a.last.Torn, a.last.Recovered = torn, s.spool.RecoverTorn
		}
		if already, err := s.env.fifos.claim(a, false); err != nil || already {
			continue
		}
		a.begin()
		switch err := a.open(); {
		case err == nil:
			n++
		case notExist(err):
			a.finish()
		default:
			a.Fault(err)
			s.env.workers.start(a.openLater)
		}
	}
	return n
}

// begin adds a claimed attachment to its session. It is called before the first Take, because
// the delivery would otherwise take an unfinished line for the last one.
func (a *attachment) begin() {
	s := a.s
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begun = true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs++
	s.attached[a.file] = a
	s.currentRunLocked().ended.Store(false)
	if s.running.Err() != nil {
		s.running = newRun()
	}
}

// errStartUnfinished says that a StopLogging came before the start has recorded the FIFO.
// The start will open the FIFO.
var errStartUnfinished = errors.New("the container's start has not finished")

// open opens the FIFO, unless it is open.
func (a *attachment) open() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.fifo != nil:
		return nil
	case !a.begun:
		return errStartUnfinished
	}
	f, err := a.s.env.fifos.intake.Open(a.file, a, a.last)
	if err == nil {
		a.fifo, a.last = f, nil
	}
	return err
}

// A FIFO that cannot be opened is tried again after firstReopen, then after twice as long, up
// to lastReopen.
const (
	firstReopen = 100 * time.Millisecond
	lastReopen  = 5 * time.Second
)

// openLater tries to open the FIFO until it is open or gone, or ctx is done.
func (a *attachment) openLater(ctx context.Context) {
	for n := 1; pause(ctx, backoff.Bound(n, firstReopen, lastReopen)); n++ {
		err := a.open()
		switch {
		case notExist(err):
			a.finish()
			return
		case err == nil:
			a.Fault(nil)
			a.s.env.log.Info("reattached", "container", a.s.name(), "fifos", 1)
			return
		}
		a.Fault(err)
	}
}

// detach reads the FIFO until it is empty or ctx is done. Afterwards the FIFO is still read
// until its writer is gone. If the FIFO was empty, nothing more is expected of it; otherwise
// detach returns an error.
func (a *attachment) detach(ctx context.Context) error {
	s := a.s
	s.mu.Lock()
	a.stopped = true
	s.mu.Unlock()
	err := a.open()
	if err == nil {
		err = a.fifo.Drain(ctx)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	a.drained = true
	s.updateEndedLocked()
	s.mu.Unlock()
	s.wake()
	return nil
}

// updateEndedLocked ends the container's run if nothing more is expected of any FIFO.
func (s *session) updateEndedLocked() {
	for _, a := range s.attached {
		if !a.drained {
			return
		}
	}
	s.currentRunLocked().ended.Store(true)
	s.running.stop(s.spool.End())
}

// finish ends the attachment, because its writer is gone or the FIFO cannot be opened. s.mu
// must not be held.
func (a *attachment) finish() {
	s := a.s
	s.mu.Lock()
	if a.finished {
		s.mu.Unlock()
		return
	}
	a.finished = true
	delete(s.attached, a.file)
	s.updateEndedLocked()
	stopped := a.stopped
	s.mu.Unlock()
	s.env.fifos.unclaim(a)
	a.readFault.Forget()
	a.spoolFault.Forget()
	if !stopped { // After a StopLogging, dockerd removes it.
		s.env.fifos.remove(a.file)
	}
	s.release()
}

// Take appends a block to the spool. It implements fifo.Sink.
func (a *attachment) Take(block []byte, info spool.BlockInfo) {
	s := a.s
	bytes := len(block) - spool.BlockHeaderSize
	s.traffic.took(info, bytes)
	if a.drop {
		return
	}
	err := s.spool.Append(block, a.epoch, info)
	// OnLoss gets the other losses.
	if failed := err != nil && !errors.Is(err, spool.ErrFull) && !errors.Is(err, os.ErrClosed); failed || a.unspooled && err == nil {
		a.unspooled = failed
		a.report(a.spoolFault, err, diskHint)
	}
	s.checkFullness(bytes)
	s.notify(info.Frames, bytes)
}

// Dropped tells the spool that the FIFO no longer has what Take appended. It implements
// fifo.Sink.
func (a *attachment) Dropped() { a.s.spool.Dropped() }

// End ends the attachment. It implements fifo.Sink.
func (a *attachment) End() { a.finish() }

// Fault logs that the FIFO cannot be read, or with nil that it can be read again. It
// implements fifo.Sink.
func (a *attachment) Fault(err error) { a.report(a.readFault, err, fifoHint) }

// Panicked logs a panic of the intake, and records lost bytes as a gap. It implements
// fifo.Sink.
func (a *attachment) Panicked(err error, lost int) {
	a.s.env.log.Error("the plugin panicked while reading a container's output; lost_bytes were not spooled",
		"container", a.s.name(), "lost_bytes", lost, "err", err)
	if lost == 0 || a.drop {
		return
	}
	defer func() { _ = recover() }() // The spool may be what panics.
	a.s.traffic.drops.add(spool.Unwritable.String(), 0, int64(lost))
	a.s.losses.lost(spool.Unwritable.String(), 0, int64(lost))
	a.s.spool.AddGap(spool.Gap{Reason: spool.Unwritable, Bytes: uint64(lost)})
}

// report reports err to f, or a success if err is nil. hint says what to do about the error.
func (a *attachment) report(f *faultlog.Fault, err error, hint func(error) string) {
	attrs := []any{"container", a.s.name(), "file", a.file}
	if err != nil {
		attrs = append(attrs, "hint", hint(err))
	}
	report(f, err, attrs...)
}

// report reports err to f, or a success if err is nil. The text of the innermost error is the
// kind of the failure. attrs describe what failed, or works again.
func report(f *faultlog.Fault, err error, attrs ...any) {
	if err == nil {
		f.Succeeded(attrs...)
		return
	}
	kind := err
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		kind = inner
	}
	f.Failed(kind.Error(), append([]any{"err", err}, attrs...)...)
}
