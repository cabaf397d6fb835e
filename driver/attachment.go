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
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/spool"
)

// attachment is one FIFO of a session. It is the intake's sink, and holds a reference to the session until its writer is
// gone.
type attachment struct {
	s      *session
	file   string
	epoch  uint32
	drop   bool            // the container asked not to be shipped, and nothing is kept for docker logs
	fault  *faultlog.Fault // reading the FIFO
	spools *faultlog.Fault // writing to the spool

	// Guarded by s.mu.
	stopped bool // StopLogging came: dockerd removes the FIFO
	drained bool // and all was taken: nothing more is expected
	over    bool // the writer is gone

	mu    sync.Mutex // held while the FIFO is opened
	begun bool       // the record names the FIFO, and the session has the attachment
	fifo  *fifo.FIFO // nil: not yet
	last  *fifo.Last // the last block of it that is spooled; nil: none
}

// errClaimed says that a FIFO has a reader.
var errClaimed = errors.New("logspool: File is being read already")

func (s *session) newAttachment(f archive.FIFORecord, ignore bool) *attachment {
	detail := func() []any { return []any{"container", s.name(), "file", f.File} }
	return &attachment{
		s: s, file: f.File, epoch: f.Epoch, drop: ignore && s.history == 0,
		fault: faultlog.NewFault(s.d.log, "cannot read a container's FIFO; it is tried again",
			"a container's FIFO can be read again", detail),
		spools: faultlog.NewFault(s.d.log, "a container's output cannot be spooled, and is counted as lost",
			"a container's output can be spooled again", detail),
	}
}

// attach begins to read the FIFO file. It does nothing when the session reads it already. What it needs after a
// crash is on disk before it returns. It blocks for the local disk.
func (s *session) attach(file string, info *container.Info) error {
	s.recording.Lock()
	defer s.recording.Unlock()
	change, apply := s.nextRun(info)
	a := s.newAttachment(archive.FIFORecord{File: file}, false)
	if already, err := s.d.claim(a, true); err != nil || already {
		return err
	}
	err := s.spool.Prepare()
	if err == nil {
		live := s.liveFIFOs()
		err = s.changeRecordLocked(func(r *archive.Record) {
			change(r)
			r.Epoch++
			a.epoch = r.Epoch
			r.FIFOs = append(live, archive.FIFORecord{File: file, Epoch: r.Epoch})
		})
	}
	if err != nil {
		s.d.unclaim(a)
		return fmt.Errorf("logspool: container %s cannot be attached: %w", s.id, err)
	}
	s.mu.Lock()
	apply()
	s.setLabel()
	conf := s.currentRunLocked().conf
	s.mu.Unlock()
	for _, w := range conf.Warnings {
		s.d.log.Warn(w, "container", s.name())
	}
	a.drop = conf.Ignore && s.history == 0
	a.begin()
	if err := a.open(); err != nil {
		a.finish()
		return fmt.Errorf("logspool: container %s cannot be attached: %w", s.id, err)
	}
	s.wake()
	return nil
}

// liveFIFOs returns those FIFOs of the record that are attached.
func (s *session) liveFIFOs() []archive.FIFORecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.record.FIFOs), func(f archive.FIFORecord) bool { return s.attached[f.File] == nil })
}

// reopenFIFOs attaches the FIFOs of the record that are still there, and returns how many. It is called once,
// before the session's goroutine begins. A FIFO that cannot be opened now is tried again until it can, or is gone.
func (s *session) reopenFIFOs() (n int) {
	torn := s.spool.Torn()
	payload, info, epoch, ok := s.spool.LastBlock()
	ignore := s.currentRun().conf.Ignore
	fifos := s.liveRecord()
	if torn != nil {
		// The next block of another FIFO would say that the torn one is lost.
		slices.SortStableFunc(fifos, func(a, b archive.FIFORecord) int {
			switch {
			case a.Epoch == torn.Epoch && b.Epoch != torn.Epoch:
				return -1
			case a.Epoch != torn.Epoch && b.Epoch == torn.Epoch:
				return 1
			}
			return 0
		})
	}
	for _, f := range fifos {
		if s.d.checkFile(f.File) != nil {
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
		if already, err := s.d.claim(a, false); err != nil || already {
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
			s.d.group.Go(func() error { a.openLater(s.d.ctx); return nil })
		}
	}
	return n
}

func (s *session) liveRecord() []archive.FIFORecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.record.FIFOs)
}

// begin adds the attachment, which is claimed, to its session, before anything comes: otherwise an unfinished line would be
// taken for the last.
func (a *attachment) begin() {
	s := a.s
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begun = true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs++
	s.attached[a.file] = a
	s.setEnded(false)
	if s.running.Err() != nil {
		s.running = newRun()
	}
}

// errBeginning says that a start is still recording the FIFO, and will open it.
var errBeginning = errors.New("its start has not finished")

// open opens the FIFO, unless it is open.
func (a *attachment) open() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.fifo != nil:
		return nil
	case !a.begun: // a StopLogging came before the start has finished
		return errBeginning
	}
	f, err := a.s.d.intake.Open(a.file, a, a.last)
	if err == nil {
		a.fifo, a.last = f, nil
	}
	return err
}

// FIFOs that cannot be opened are tried again after firstReopen, then after twice as long, up to lastReopen.
const (
	firstReopen = 100 * time.Millisecond
	lastReopen  = 5 * time.Second
)

// openLater opens the FIFO as soon as it can be opened. It returns then, or when the FIFO is gone, or ctx is done.
func (a *attachment) openLater(ctx context.Context) {
	for wait := firstReopen; pause(ctx, wait); wait = min(2*wait, lastReopen) {
		err := a.open()
		switch {
		case notExist(err):
			a.finish()
			return
		case err == nil:
			a.Fault(nil)
			a.s.d.log.Info("reattached", "container", a.s.name(), "fifos", 1)
			return
		}
		a.Fault(err)
	}
}

// detach takes what is in the FIFO, but not longer than until ctx is done. The FIFO is read on until its writer is gone, but
// nothing more is expected once it was empty. The error says that it was not.
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
		return err // otherwise the end of the file says that nothing more comes
	}
	s.mu.Lock()
	a.drained = true
	s.updateEndedLocked()
	s.mu.Unlock()
	s.wake()
	return nil
}

// updateEndedLocked ends the run when nothing more is expected of any FIFO.
func (s *session) updateEndedLocked() {
	for _, a := range s.attached {
		if !a.drained {
			return
		}
	}
	s.setEnded(true)
	s.running.stop(s.spool.End())
}

// finish ends the attachment: its writer is gone, or it could not be opened. It is called without s.mu.
func (a *attachment) finish() {
	s := a.s
	s.mu.Lock()
	if a.over {
		s.mu.Unlock()
		return
	}
	a.over = true
	delete(s.attached, a.file)
	s.updateEndedLocked()
	stopped := a.stopped
	s.mu.Unlock()
	s.d.unclaim(a)
	if !stopped { // otherwise dockerd is about to
		s.d.removeFIFO(a.file)
	}
	s.release()
}

// Take puts a piece of the stream into the spool. It is called by the intake.
func (a *attachment) Take(block []byte, info spool.BlockInfo) {
	s := a.s
	if a.drop {
		return
	}
	err := s.spool.Append(block, a.epoch, info)
	switch {
	case err == nil:
		a.spools.Succeeded()
	case errors.Is(err, spool.ErrFull), errors.Is(err, os.ErrClosed):
		// The spool's OnLoss counts what is lost.
	default:
		a.spools.Failed(errorKind(err), "err", err)
	}
	bytes := len(block) - spool.BlockHeaderSize
	s.checkFullness(bytes)
	s.notify(info.Frames, bytes)
}

// Dropped is called by the intake when what Take has taken is not in the FIFO any more.
func (a *attachment) Dropped() { a.s.spool.Dropped() }

// End is called by the intake when the FIFO's writer is gone.
func (a *attachment) End() { a.finish() }

// Fault is called by the intake when the FIFO cannot be read, and with nil when it can again.
func (a *attachment) Fault(err error) {
	if err == nil {
		a.fault.Succeeded()
		return
	}
	a.fault.Failed(errorKind(err), "err", err)
}

// Panicked is called by the intake when a piece of the stream made it panic. What was not taken becomes a gap.
func (a *attachment) Panicked(err error, lost int) {
	a.s.d.log.Error("reading a container's output panicked; its bytes are kept as they are, or counted as lost",
		"container", a.s.name(), "lost_bytes", lost, "err", err)
	if lost == 0 || a.drop {
		return
	}
	defer func() { _ = recover() }() // the spool may be what panics
	a.s.losses.lost(spool.Unwritable.String(), 0, int64(lost))
	a.s.spool.AddGap(spool.Gap{Reason: spool.Unwritable, Bytes: uint64(lost)})
}

// errorKind tells errors apart that an operator would tell apart.
func errorKind(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}
