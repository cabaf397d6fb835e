package fifo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/backoff"
	"github.com/logspool/logspool/spool"
)

const (
	// idleRounds is the number of rounds with little after which a FIFO waits in the epoll
	// set. If the FIFO was a quarter full, it is longIdleRounds, which is half a second at
	// most: the writer may write a lot again, and must not find the pipe full.
	idleRounds     = 2
	longIdleRounds = 128

	// growRounds is the number of rounds that find a quarter of a pipe full before it grows.
	growRounds = 8

	// stuckRounds is the number of rounds with the same unfinished frame after which the
	// frame is taken as it is. Its end does not fit into the pipe, or will never come.
	stuckRounds = 3

	// grownSize is the size of the pipe of a FIFO in which there is always much. It grows
	// from the 64 KiB of Linux, and shrinks when it is idle.
	grownSize = 256 << 10

	// growBudget bounds the growth of all FIFOs together. Pipes of root without
	// CAP_SYS_RESOURCE share a soft limit of 64 MiB (pipe(7), pipe-user-pages-soft).
	// Past it every new pipe on the host is small. The budget stays well below.
	growBudget = 8 << 20

	// maxTake is the most that is copied from FIFOs before it is taken.
	maxTake = grownSize
)

// FIFO is a FIFO that the intake reads.
type FIFO struct {
	in   *Intake
	fd   int
	sink Sink

	// Intake.owner guards these fields.
	tracker   spool.Tracker
	state     state
	undropped int // undropped counts the taken bytes that are still in the FIFO.
	rounds
	pipe
	retry    retry
	drainers []chan struct{} // drainers are closed when the FIFO is empty.
}

// state says when the intake looks into a FIFO next.
type state int

const (
	ended   state = iota // never: the FIFO is closed, or not in Intake.fifos yet
	idle                 // when the epoll set has reported data, once each gatherInterval
	busy                 // in the next round
	failing              // in a round after retry.at
)

// rounds counts consecutive rounds in which a FIFO was in the same state.
type rounds struct {
	empty         int // empty counts the rounds that found nothing.
	calm          int // calm counts the rounds that found little.
	idleAfter     int // idleAfter is the number of calm rounds after which the FIFO is idle.
	full          int // full counts the rounds that found much.
	stuck         int // stuck counts the rounds that found the same unfinished frame.
	stuckSize     int // stuckSize is the length of the unfinished frame so far.
	passed        int // passed counts the gatherings that have passed over the FIFO.
	lastGathering int // lastGathering is the number of the last gathering in which it had something.
}

// pipe is the size of the FIFO's pipe.
type pipe struct {
	size  int  // size is the pipe's size when it was opened.
	grown bool // grown says that the pipe's size is grownSize now.
}

// retry is the next try of a FIFO that is failing.
type retry struct {
	at   time.Time
	wait time.Duration // wait is the pause before this try, or 0 if the FIFO is not failing.
}

// Last is the last block of a FIFO in the spool. It is the zero value if there is none.
type Last struct {
	Payload []byte
	Info    spool.BlockInfo
	// Torn is a block after Payload whose write was cut short, or nil if there is none.
	Torn *spool.Torn
	// Recovered is called, before anything is taken, if the bytes of Torn are still in the
	// FIFO.
	Recovered func()
}

// Open opens the FIFO at path and hands it to Run, which passes everything in it to sink.
// last is the last block that an earlier process took out of this FIFO, or nil. If it is
// still at the head of the FIFO it is dropped, because it is in the spool. Open does not
// wait for a writer.
func (in *Intake) Open(path string, sink Sink, last *Last) (*FIFO, error) {
	// Without O_NONBLOCK, opening a FIFO hangs if its dockerd is dead. O_NOFOLLOW is
	// there because the path comes from outside.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := &FIFO{in: in, fd: fd, sink: sink}
	if err := f.prepare(last); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("couldn't read from %q: %w", path, err)
	}
	if !in.do(func() { in.add(f) }) {
		unix.Close(fd)
		return nil, fmt.Errorf("couldn't read from %q: %w", path, fs.ErrClosed)
	}
	return f, nil
}

func (f *FIFO) prepare(last *Last) error {
	var stat unix.Stat_t
	if err := unix.Fstat(f.fd, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFIFO {
		return errors.New("it is not a FIFO")
	}
	size, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		return err
	}
	f.size = size
	if last != nil {
		return f.resume(last)
	}
	return nil
}

// Drain waits until the intake has found the FIFO empty, with everything before taken, or
// ended. It fails if ctx is done before. It also works after Run has ended, until Close.
func (f *FIFO) Drain(ctx context.Context) error {
	done, result := make(chan struct{}), error(nil)
	ok := f.in.do(func() {
		if f.state == ended {
			close(done)
			return
		}
		f.drainers = append(f.drainers, done)
		f.in.makeBusy(f)
	})
	if !ok {
		go func() { // Run may still wait for the disk.
			defer close(done)
			result = f.in.whenStopped(func() { f.empty = 0; f.in.takeRest(f) })
		}()
	}
	select {
	case <-done:
		return result
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Release makes the intake close the FIFO, without calling Sink.End. When it returns, the
// intake no longer reads from the FIFO, and another reader may.
func (f *FIFO) Release() {
	done := make(chan struct{})
	release := func() { f.in.close(f); close(done) }
	if !f.in.do(release) && f.in.whenStopped(release) != nil {
		return // Close has closed it.
	}
	<-done
}

func (in *Intake) add(f *FIFO) {
	in.fifos[f.fd] = f
	in.makeBusy(f)
}

// makeBusy makes the next rounds look into a FIFO, also if it is idle or failing.
func (in *Intake) makeBusy(f *FIFO) {
	f.empty, f.calm = 0, 0
	f.idleAfter = max(f.idleAfter, idleRounds)
	if f.state == busy {
		return
	}
	in.leave(f)
	f.state = busy
	in.busy = append(in.busy, f)
	in.interval = busyInterval
}

// makeIdle makes a busy FIFO wait in the epoll set. The set reports a FIFO as long as it has
// something, so nothing is missed that was written before.
func (in *Intake) makeIdle(f *FIFO) {
	f.shrink()
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(f.fd)}
	// It fails only if the kernel is out of memory. The FIFO then stays busy.
	if sysEpollCtl(in.epoll, unix.EPOLL_CTL_ADD, f.fd, &event) == nil {
		f.state, f.idleAfter = idle, 0
	}
}

// leave removes an idle or failing FIFO from where it waits.
func (in *Intake) leave(f *FIFO) {
	switch f.state {
	case idle:
		_ = sysEpollCtl(in.epoll, unix.EPOLL_CTL_DEL, f.fd, nil)
	case failing:
		in.failing = slices.DeleteFunc(in.failing, func(o *FIFO) bool { return o == f })
	}
}

// fail reports an error of the kernel and delays the next try.
func (in *Intake) fail(f *FIFO, err error) {
	f.retry.wait = backoff.Next(f.retry.wait, firstRetry, lastRetry)
	f.retry.at = time.Now().Add(f.retry.wait)
	if f.state != failing {
		in.leave(f)
		f.state = failing
		in.failing = append(in.failing, f)
	}
	f.sink.Fault(err)
}

// recovered ends a failure.
func (f *FIFO) recovered() {
	if f.retry.wait > 0 {
		f.retry.wait = 0
		f.sink.Fault(nil)
	}
}

// foundEmpty notes that a round found nothing.
func (f *FIFO) foundEmpty() {
	f.recovered()
	f.notifyDrained()
	f.empty++
	f.found(0, false)
}

// found notes how much a round found. left says that some of it must be looked at again soon.
func (f *FIFO) found(n int, left bool) {
	in := f.in
	much := n >= f.capacity()/4
	if much {
		f.idleAfter = longIdleRounds
	}
	if f.state == idle && (much || left) {
		in.makeBusy(f)
	}
	if f.state != busy {
		return
	}
	in.fill = max(in.fill, n*wholePipe/f.capacity())
	f.grow(much)
	if n >= f.size/64 || left || len(f.drainers) > 0 { // an idle FIFO is not looked at when it is empty
		f.calm = 0
	} else if f.calm++; f.calm >= f.idleAfter {
		in.makeIdle(f)
	}
}

// close closes a FIFO that is no longer read.
func (in *Intake) close(f *FIFO) {
	if f.state == ended {
		return
	}
	in.leave(f)
	f.state = ended
	delete(in.fifos, f.fd)
	unix.Close(f.fd)
	if f.grown {
		in.grown -= grownSize
	}
	f.notifyDrained()
}

// notifyDrained wakes the callers of Drain.
func (f *FIFO) notifyDrained() {
	for _, done := range f.drainers {
		close(done)
	}
	f.drainers = nil
}

// capacity is how many bytes the FIFO can hold.
func (f *FIFO) capacity() int {
	if f.grown {
		return grownSize
	}
	return f.size
}

// grow makes the pipe larger when some rounds have found much.
func (f *FIFO) grow(much bool) {
	if !much || f.grown {
		f.full = 0
		return
	}
	if f.full++; f.full < growRounds || f.in.grown+grownSize > growBudget || f.size >= grownSize {
		return
	}
	if _, err := unix.FcntlInt(uintptr(f.fd), unix.F_SETPIPE_SZ, grownSize); err == nil {
		f.grown = true
		f.in.grown += grownSize
	}
}

// shrink gives the pipe its first size again.
func (f *FIFO) shrink() {
	if !f.grown {
		return
	}
	// EBUSY means that dockerd has written more than fits. The FIFO shrinks when it is
	// idle again.
	if _, err := unix.FcntlInt(uintptr(f.fd), unix.F_SETPIPE_SZ, f.size); err == nil {
		f.grown = false
		f.in.grown -= grownSize
	}
}
