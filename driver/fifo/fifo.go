package fifo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/spool"
)

const (
	// idleRounds is how many empty looks make a FIFO idle: it then waits in the epoll set.
	idleRounds = 4

	// stuckRounds is how many looks must show the same unfinished frame before it is taken as it is: its
	// end does not fit into the pipe, or will never come.
	stuckRounds = 3

	// A FIFO found nearly full grows from the 64 KiB that Linux gives it to grownSize, and back when it
	// is idle. Pipes of root without CAP_SYS_RESOURCE share a soft limit (pipe(7), pipe-user-pages-soft,
	// 64 MiB), past which every new pipe on the host shrinks: the budget keeps well below.
	grownSize  = 256 << 10
	growBudget = 8 << 20

	maxTake = grownSize
)

// FIFO is a FIFO that the intake reads.
type FIFO struct {
	in   *Intake
	fd   int
	sink Sink

	// Guarded by the intake's owner.
	tracker   spool.Tracker
	state     state
	empty     int // looks in a row that found nothing
	stuck     int // looks in a row that found the same unfinished frame
	stuckAt   int // of so many bytes
	full      int // looks in a row that found it nearly full
	undropped int // bytes at its head that were taken and could not be dropped yet
	size      int // of the pipe when it was opened
	grown     bool
	retryAt   time.Time     // while it fails
	wait      time.Duration // before the next try
	drainers  []chan struct{}
}

// state says who looks at a FIFO next.
type state int

const (
	idle    state = iota // the epoll set reports that there is something
	busy                 // the next round
	failing              // a round after retryAt
	ended                // nobody: it is closed
)

// Last is the last block that the spool has of a FIFO; the zero value: it has none.
type Last struct {
	Payload []byte
	Info    spool.BlockInfo
	// Torn is a block behind it whose write was cut short; nil: there is none. Recovered is called before anything is
	// taken if its bytes are still in the FIFO.
	Torn      *spool.Torn
	Recovered func()
}

// Open opens the FIFO at path and hands it to Run, which gives everything in it to sink. last is the
// last block that was taken out of this very FIFO by an earlier process, or nil: if it is still at
// the FIFO's head it is dropped, because it is in the spool. Open does not wait for a writer.
func (in *Intake) Open(path string, sink Sink, last *Last) (*FIFO, error) {
	// Without O_NONBLOCK an open of a FIFO whose dockerd is dead hangs. O_NOFOLLOW: the path comes from outside.
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

// Drain returns when the FIFO has been seen empty, with everything that had been written before taken,
// or has ended, or ctx is done. It also works when Run has ended, until Close.
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
		go func() { // Run may still be in a call of the disk
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

// Release makes the intake let go of the FIFO, without an End for the sink. When it returns, the intake reads nothing more
// from the FIFO, and the next reader may.
func (f *FIFO) Release() {
	done := make(chan struct{})
	release := func() { f.in.close(f); close(done) }
	if !f.in.do(release) && f.in.whenStopped(release) != nil {
		return // closed with all others
	}
	<-done
}

func (in *Intake) add(f *FIFO) {
	in.fifos[f.fd] = f
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(f.fd)}
	// It fails for want of memory only. The FIFO then stays busy, and is read all the same.
	_ = unix.EpollCtl(in.epoll, unix.EPOLL_CTL_ADD, f.fd, &event)
	in.makeBusy(f)
}

func (in *Intake) makeBusy(f *FIFO) {
	f.empty = 0
	if f.state == failing {
		in.failing = slices.DeleteFunc(in.failing, func(o *FIFO) bool { return o == f })
	}
	if f.state == idle || f.state == failing {
		f.state = busy
		in.busy = append(in.busy, f)
	}
}

func (in *Intake) makeIdle(f *FIFO) {
	f.shrink()
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(f.fd)}
	if unix.EpollCtl(in.epoll, unix.EPOLL_CTL_MOD, f.fd, &event) == nil {
		f.state = idle
	}
}

// fail reports an error of the kernel and puts the next look off.
func (in *Intake) fail(f *FIFO, err error) {
	f.wait = min(max(2*f.wait, firstRetry), lastRetry)
	f.retryAt = time.Now().Add(f.wait)
	if f.state != failing {
		f.state = failing
		in.failing = append(in.failing, f)
	}
	f.sink.Fault(err)
}

func (f *FIFO) recovered() {
	if f.wait > 0 {
		f.wait = 0
		f.sink.Fault(nil)
	}
}

// look takes what is in a busy FIFO and returns how many bytes it found there; more says that it did not see all of it,
// because the private pipe is too small.
func (in *Intake) look(f *FIFO) (n int, more bool) {
	if f.undropped > 0 { // of the last look
		if err := in.drop(f); err != nil {
			in.fail(f, err)
			return 0, false
		}
		f.sink.Dropped()
	}
	n, err := in.peek(f)
	switch {
	case errors.Is(err, unix.EAGAIN):
		f.recovered()
		f.notifyDrained()
		f.full = 0
		if f.empty++; f.empty >= idleRounds {
			in.makeIdle(f)
		}
		return 0, false
	case err != nil:
		in.fail(f, err)
		return 0, false
	case n == 0:
		in.close(f)
		f.sink.End()
		return 0, false
	}
	f.recovered()
	f.empty = 0
	more = in.private.size/2 < n && unread(f.fd) > n
	p := in.buf[spool.BlockHeaderSize : spool.BlockHeaderSize+n]
	whole, info, err := f.scan(p, more)
	if whole == 0 {
		return n, false
	}
	in.give(f, whole, info, err)
	if err := in.drop(f); err != nil {
		in.fail(f, err)
		return 0, false
	}
	step("after drop")
	f.sink.Dropped()
	f.grow(n)
	return n, more
}

// scan decides how much of p is taken: whole frames, or all of p where a frame's end does not show. more says that p is
// not all that is there. 0: nothing yet. Where p makes the tracker panic, all of p is taken without a look into it, and
// the error says so.
func (f *FIFO) scan(p []byte, more bool) (n int, info spool.BlockInfo, err error) {
	defer func() {
		if r := recover(); r != nil {
			n, info, err = len(p), opaque(len(p)), panicked(r)
		}
	}()
	n, info = f.tracker.Whole(p)
	if n == 0 {
		if f.stuckAt != len(p) {
			f.stuckAt, f.stuck = len(p), 0
		}
		if f.stuck++; !more && f.stuck < stuckRounds {
			return 0, info, nil
		}
		n, info = len(p), f.tracker.All(p)
	}
	f.stuck, f.stuckAt = 0, 0
	return n, info, nil
}

// opaque describes n bytes of which nothing is known.
func opaque(n int) spool.BlockInfo { return spool.BlockInfo{First: n} }

// give hands n bytes of the buffer to the sink. Bytes that make the sink panic are given once more, without a
// description, and then given up: they must not end the process, nor keep the FIFO from being read. scanErr is the panic
// of the tracker.
func (in *Intake) give(f *FIFO, n int, info spool.BlockInfo, scanErr error) {
	step("before append")
	lost, err := 0, f.take(in.buf[:spool.BlockHeaderSize+n], info)
	if err != nil {
		info = opaque(n)
		if f.take(in.buf[:spool.BlockHeaderSize+n], info) != nil {
			lost = n
		}
	}
	if err = cmp.Or(err, scanErr); err != nil {
		f.sink.Panicked(err, lost)
	}
	step("between append and drop")
	f.tracker.Advance(info)
	f.undropped = n
}

func (f *FIFO) take(block []byte, info spool.BlockInfo) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = panicked(r)
		}
	}()
	f.sink.Take(block, info)
	return nil
}

// maxStack bounds how much of a stack an error says.
const maxStack = 2 << 10

func panicked(r any) error {
	stack := debug.Stack()
	return fmt.Errorf("panic: %v: %s", r, stack[:min(len(stack), maxStack)])
}

// close closes a FIFO that is not read any more.
func (in *Intake) close(f *FIFO) {
	if f.state == ended {
		return
	}
	if f.state == failing {
		in.failing = slices.DeleteFunc(in.failing, func(o *FIFO) bool { return o == f })
	}
	f.state = ended
	delete(in.fifos, f.fd)
	unix.Close(f.fd) // also takes it out of the epoll set
	if f.grown {
		in.grown -= grownSize
	}
	f.notifyDrained()
}

// notifyDrained says that nothing is left to those who drain.
func (f *FIFO) notifyDrained() {
	for _, done := range f.drainers {
		close(done)
	}
	f.drainers = nil
}

// grow makes the pipe larger when it has been found nearly full twice.
func (f *FIFO) grow(found int) {
	if found < f.size/4*3 || f.grown {
		f.full = 0
		return
	}
	if f.full++; f.full < 2 || f.in.grown+grownSize > growBudget || f.size >= grownSize {
		return
	}
	if _, err := unix.FcntlInt(uintptr(f.fd), unix.F_SETPIPE_SZ, grownSize); err == nil {
		f.grown = true
		f.in.grown += grownSize
	}
}

func (f *FIFO) shrink() {
	if !f.grown {
		return
	}
	// EBUSY: something has been written meanwhile that would not fit. The next idle time will do.
	if _, err := unix.FcntlInt(uintptr(f.fd), unix.F_SETPIPE_SZ, f.size); err == nil {
		f.grown = false
		f.in.grown -= grownSize
	}
}

// step is called between the steps of taking a piece out of a FIFO. It does nothing; a test that
// kills the process at each step puts its own function there.
var step = func(string) {}
