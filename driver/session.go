package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/internal/backoff"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/spool"
)

// session is one container: its FIFOs, its spool and the delivery of the spool. It begins
// with the first StartLogging, and a restart of the plugin opens it again from disk. It ends
// when no FIFO is left and everything is delivered.
type session struct {
	env   *environment
	id    string
	label atomic.Pointer[string] // label is what the log calls the container.

	spool   *spool.Spool
	history int64 // history is the limit of delivered data, in bytes, or 0 if none is kept.
	losses  *losses

	// The owner is the goroutine that runs own.
	changed    chan struct{}              // changed wakes the owner.
	retire     func() bool                // retire ends the session, or returns false.
	deliveries atomic.Pointer[[]Delivery] // deliveries is nil while nothing is delivered.

	fullness  fullness
	traffic   traffic
	held      atomic.Pointer[hold]      // held says why the lines are not sent, or is nil.
	described atomic.Pointer[described] // described is what the last report said of the options.

	sessionState
}

// sessionState is the part of a session that several goroutines change.
type sessionState struct {
	// recording is held while the record is written, and is locked before mu.
	recording sync.Mutex

	// mu guards the fields below, and is held for a few instructions.
	mu sync.Mutex
	// refs counts the references, which keep the session from ending.
	refs   int
	record archive.Record
	// runs are the container runs with undelivered lines, oldest first, and the current one.
	runs []*containerRun
	// active is the container run that is being delivered, or nil.
	active *activeRun
	// attached has the attachments by the paths of their FIFOs.
	attached map[string]*attachment
	// streams has the streams of the container run that is delivered, or was delivered last.
	streams []*logStream
	// delivered counts what was delivered to streams that are not in streams any more.
	delivered status.Counter
	// running is the present or last time between a start and a stop of the container.
	running *run
	readers readers
}

// readers measures for how long nobody has read a session for docker logs.
type readers struct {
	now      int           // now counts the present readers.
	without  time.Duration // without is the time without a reader, up to lastLeft.
	lastLeft time.Time     // lastLeft is when the last reader left or the session was opened.
}

func (s *session) dir() string { return s.env.containerDir(s.id) }

// name returns what the log calls the container. It takes no lock.
func (s *session) name() string { return *s.label.Load() }

// setLabel computes what the log calls the container. It is called with mu held, or by
// openSession.
func (s *session) setLabel() {
	name := container.Label(s.record.Info.Name, s.id)
	s.label.Store(&name)
}

// hold takes a reference. The caller must have one already, or hold the slot's lock.
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

// start starts the owner. retire ends the session if it may end, and reports whether it did.
func (s *session) start(retire func() bool) {
	s.retire = retire
	work := s.deliver
	if s.currentRun().conf.Ignore {
		work = s.ignore
	}
	s.env.workers.start(func(ctx context.Context) { s.own(ctx, work) })
	s.wake()
}

// After a first panic the owner waits for panicPause, then for twice as long, up to
// maxPanicPause.
const (
	panicPause    = 100 * time.Millisecond
	maxPanicPause = time.Minute
)

// own runs work until it returns. If work panics, it runs again after a pause.
func (s *session) own(ctx context.Context, work func(context.Context)) {
	try := func() (returned bool) {
		defer func() {
			if r := recover(); r != nil {
				s.logPanic("the plugin panicked while delivering a container's lines; trying again", r)
			}
		}()
		work(ctx)
		return true
	}
	for n := 1; !try() && pause(ctx, backoff.Bound(n, panicPause, maxPanicPause)); n++ {
	}
}

// logPanic logs a panic, which is a bug of the plugin.
func (s *session) logPanic(what string, r any) {
	stack := debug.Stack()
	s.env.log.Error(what, "container", s.name(), "err", oneline.Text(fmt.Sprint(r), 512), "stack", string(stack[:min(len(stack), 4096)]))
}

// wake makes the owner check what there is to do. It does not block.
func (s *session) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// notify reports that frames were added to the spool, whose lock may be held. It does not
// block.
func (s *session) notify(frames, bytes int) {
	if deliveries := s.deliveries.Load(); deliveries != nil {
		for _, d := range *deliveries {
			d.Notify(frames, bytes)
		}
		return
	}
	s.wake()
}

// beginReading counts a reader until endReading. The reader holds a reference.
func (s *session) beginReading() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers.now == 0 {
		s.readers.without += time.Since(s.readers.lastLeft)
	}
	s.readers.now++
}

// endReading also releases the reader's reference.
func (s *session) endReading() {
	s.mu.Lock()
	if s.readers.now--; s.readers.now == 0 {
		s.readers.lastLeft = time.Now()
	}
	s.mu.Unlock()
	s.release()
}

func (s *session) sync() error {
	if err := s.spool.Sync(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// close closes the spool when the plugin stops.
func (s *session) close() error {
	defer s.losses.close()
	return s.spool.Close()
}

// end ends the session if nobody holds a reference and nothing is left to deliver. It reports
// whether it did. It archives the log, or removes it if there is no history to keep. It is
// called with the slot's lock held, and blocks for the local disk.
func (s *session) end() bool {
	if !s.idle() || s.spool.Pending() {
		return false
	}
	if s.history > 0 && s.spool.Size() > 0 {
		s.moveToArchive()
	} else {
		s.removeFiles()
	}
	s.losses.close()
	s.fullness.warning.Forget()
	return true
}

func (s *session) moveToArchive() {
	end := s.spool.End()
	err := s.spool.Close()
	s.record.Stop(s.readers.without+time.Since(s.readers.lastLeft), end)
	s.record.Earlier = nil
	err = errors.Join(err, s.env.budget.Retry(func() error {
		return s.record.Write(s.env.fs, s.dir(), s.env.durable())
	}))
	err = errors.Join(err, s.env.archive.Put(s.id, s.record.Stopped.At))
	if err != nil {
		s.env.log.Warn("cannot archive the files of a container whose lines are all delivered", "container", s.name(), "err", err)
	}
}

func (s *session) removeFiles() {
	err := s.spool.Remove()
	if err == nil {
		err = s.env.fs.Remove(filepath.Join(s.dir(), archive.RecordName))
	}
	if err == nil || notExist(err) {
		err = s.env.fs.Remove(s.dir())
	}
	if err != nil && !notExist(err) {
		s.env.log.Warn("cannot remove the files of a container whose lines are all delivered", "container", s.name(), "err", err)
	}
}
