// Package fifo takes the bytes that dockerd writes out of a container's FIFO, and takes them only once
// they are safe: a look at what is there (tee), a block in the spool, and only then are exactly those
// bytes dropped from the FIFO (splice). dockerd holds the FIFO open for reading and writing, so what is
// in it survives the plugin, and a crash at any moment leaves one of two states, which Open tells apart:
// the spool's last block still stands at the head of the FIFO, or it does not.
//
// The package must not know what is in a frame, names, batches or AWS.
package fifo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/spool"
)

// Sink takes what comes out of one FIFO. Both methods are called by the intake's one goroutine, which
// serves all FIFOs: they must wait for nothing but the local disk.
type Sink interface {
	// Take takes a piece of the stream: block[spool.BlockHeaderSize:], described by info; the bytes
	// before it are free for a header. When it returns, the piece is in the spool or accounted for as
	// lost, and it is dropped from the FIFO. block is the intake's again.
	Take(block []byte, info spool.BlockInfo)
	// End says that the writer is gone and everything it wrote has been taken. It is called once, and
	// nothing is called after it; not when the intake itself stops.
	End()
}

const (
	// A writer that finds room in the pipe is not woken, and a reader that lets it fill does not wake for
	// each line: both sides pay less. dockerd writes 38 MB/s at most, a pipe of 64 KiB at that rate fills
	// in 1.7 ms, so a busy FIFO is looked at every millisecond and a quiet one a little less often.
	busyInterval  = time.Millisecond
	quietInterval = 4 * time.Millisecond

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
	maxTake    = grownSize
	maxReady   = 64
)

// privateSize is how large the pipe should be that FIFOs are teed into. A test makes it as small as it may turn out.
var privateSize = grownSize

// Intake serves the FIFOs of all containers from one goroutine, Run.
type Intake struct {
	epoll, wake int
	private     [2]int // the pipe that FIFOs are teed into
	null        int    // /dev/null, where dropped bytes go

	mu       sync.Mutex
	commands []func() // to be run by Run, in order
	stopped  bool

	// Owned by Run.
	fifos map[int]*FIFO // by descriptor
	busy  []*FIFO
	buf   []byte // a block: room for the header, and the payload
	grown int    // bytes by which FIFOs have grown
}

// FIFO is a FIFO that the intake reads.
type FIFO struct {
	in   *Intake
	fd   int
	sink Sink

	// Owned by Run.
	tracker  spool.Tracker
	busy     bool
	ended    bool
	empty    int // looks in a row that found nothing
	stuck    int // looks in a row that found the same unfinished frame
	stuckAt  int // of so many bytes
	full     int // looks in a row that found it nearly full
	size     int // of the pipe when it was opened
	grown    bool
	drainers []chan struct{}
}

// New makes an intake; Run serves it.
func New() (in *Intake, err error) {
	in = &Intake{
		epoll: -1, wake: -1, private: [2]int{-1, -1}, null: -1,
		fifos: map[int]*FIFO{},
		buf:   make([]byte, spool.BlockHeaderSize+maxTake),
	}
	defer func() {
		if err != nil {
			in.closeAll()
		}
	}()
	if in.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("couldn't make an epoll set: %w", err)
	}
	if in.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("couldn't make an eventfd: %w", err)
	}
	if err = unix.EpollCtl(in.epoll, unix.EPOLL_CTL_ADD, in.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(in.wake)}); err != nil {
		return nil, fmt.Errorf("couldn't watch the eventfd: %w", err)
	}
	if in.private, err = makePipe(); err != nil {
		return nil, err
	}
	if in.null, err = unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("couldn't open /dev/null: %w", err)
	}
	return in, nil
}

func makePipe() (p [2]int, err error) {
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return [2]int{-1, -1}, fmt.Errorf("couldn't make a pipe: %w", err)
	}
	// EPERM past the soft limit: a smaller pipe means more looks, nothing else.
	_, _ = unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, privateSize)
	return p, nil
}

func (in *Intake) closeAll() {
	for _, fd := range []int{in.epoll, in.wake, in.private[0], in.private[1], in.null} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Last is the last block that the spool has of a FIFO.
type Last struct {
	Payload []byte
	Info    spool.BlockInfo
}

// Open opens the FIFO at path and hands it to Run, which gives everything in it to sink. last is the
// last block that was taken out of this very FIFO by an earlier process, or nil: when it still stands at
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
// or has ended, or ctx is done.
func (f *FIFO) Drain(ctx context.Context) error {
	done := make(chan struct{})
	ok := f.in.do(func() {
		if f.ended {
			close(done)
			return
		}
		f.drainers = append(f.drainers, done)
		f.in.makeBusy(f)
	})
	if !ok {
		return fs.ErrClosed
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// do has Run call fn soon; false when Run has ended.
func (in *Intake) do(fn func()) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stopped {
		return false
	}
	in.commands = append(in.commands, fn)
	one := [8]byte{0: 1}
	_, _ = unix.Write(in.wake, one[:]) // EAGAIN: it is awake already
	return true
}

// Run takes bytes out of the FIFOs until ctx is done. What is in a FIFO then stays there. It fails only
// when the kernel refuses what it always grants.
func (in *Intake) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { in.do(func() {}) })
	defer stop()
	defer in.shutdown()
	var ready [maxReady]unix.EpollEvent
	for ctx.Err() == nil {
		timeout := -1
		if len(in.busy) > 0 {
			timeout = 0
		}
		n, err := unix.EpollWait(in.epoll, ready[:], timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("couldn't wait for FIFOs: %w", err)
		}
		for _, e := range ready[:max(n, 0)] {
			if int(e.Fd) == in.wake {
				in.runCommands()
			} else if f := in.fifos[int(e.Fd)]; f != nil {
				in.makeBusy(f)
			}
		}
		most := 0
		for _, f := range in.busy {
			most = max(most, in.look(f))
		}
		in.busy = slices.DeleteFunc(in.busy, func(f *FIFO) bool { return !f.busy })
		if len(in.busy) > 0 {
			interval := quietInterval
			if most > grownSize/32 {
				interval = busyInterval
			}
			// nanosleep, not a Go timer: a timer goes through the runtime's poller, which costs more
			// than the copying does at this rate.
			pause := unix.NsecToTimespec(int64(interval))
			_ = unix.Nanosleep(&pause, nil)
		}
	}
	return nil
}

func (in *Intake) runCommands() {
	var drain [8]byte
	_, _ = unix.Read(in.wake, drain[:])
	in.mu.Lock()
	commands := in.commands
	in.commands = nil
	in.mu.Unlock()
	for _, fn := range commands {
		fn()
	}
}

func (in *Intake) shutdown() {
	in.mu.Lock()
	in.stopped = true
	in.mu.Unlock()
	in.runCommands()
	for _, f := range in.fifos {
		// What is in a FIFO that somebody drains will not be there when the next process looks: dockerd
		// removes it once it has an answer. Nothing is written to it any more, so a few looks are enough.
		for range 100 {
			if len(f.drainers) > 0 && !f.ended {
				in.look(f)
			}
		}
	}
	for fd, f := range in.fifos {
		in.settle(f)
		unix.Close(fd)
	}
	in.closeAll()
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
	if !f.busy && !f.ended {
		f.busy = true
		in.busy = append(in.busy, f)
	}
}

// look takes what is in a busy FIFO and returns how many bytes it found there.
func (in *Intake) look(f *FIFO) int {
	n, err := in.peek(f)
	switch {
	case errors.Is(err, unix.EAGAIN):
		in.settle(f)
		f.full = 0
		if f.empty++; f.empty >= idleRounds {
			in.makeIdle(f)
		}
		return 0
	case err != nil || n == 0:
		in.end(f)
		return 0
	}
	f.empty = 0
	p := in.buf[spool.BlockHeaderSize : spool.BlockHeaderSize+n]
	whole, info := f.tracker.Whole(p)
	if whole == 0 {
		if f.stuckAt != n {
			f.stuckAt, f.stuck = n, 0
		}
		if f.stuck++; f.stuck < stuckRounds {
			return n
		}
		whole, info = n, f.tracker.All(p)
	}
	f.stuck, f.stuckAt = 0, 0
	step("before append")
	f.sink.Take(in.buf[:spool.BlockHeaderSize+whole], info)
	step("between append and drop")
	f.tracker.Advance(info)
	if err := in.drop(f.fd, whole); err != nil {
		in.end(f)
		return 0
	}
	step("after drop")
	f.grow(n)
	return n
}

// peek copies what is in the FIFO into buf and leaves it there. 0 means that there is no writer.
func (in *Intake) peek(f *FIFO) (int, error) {
	n, err := tee(f.fd, in.private[1])
	if n <= 0 || err != nil {
		return 0, err
	}
	return int(n), readFull(in.private[0], in.buf[spool.BlockHeaderSize:spool.BlockHeaderSize+int(n)])
}

func tee(from, to int) (int64, error) {
	for {
		n, err := unix.Tee(from, to, maxTake, unix.SPLICE_F_NONBLOCK)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func readFull(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Read(fd, p)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return errors.New("the pipe ended")
		default:
			p = p[n:]
		}
	}
	return nil
}

// drop removes n bytes, all of which are there, from the head of the FIFO. A splice of bytes that are
// there is not cut short by SIGKILL.
func (in *Intake) drop(fd, n int) error {
	for n > 0 {
		done, err := unix.Splice(fd, nil, in.null, nil, n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case done == 0:
			return errors.New("the FIFO ended")
		default:
			n -= int(done)
		}
	}
	return nil
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

func (in *Intake) makeIdle(f *FIFO) {
	f.shrink()
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(f.fd)}
	if unix.EpollCtl(in.epoll, unix.EPOLL_CTL_MOD, f.fd, &event) == nil {
		f.busy = false
	}
}

// settle tells whoever drains that there is nothing left.
func (in *Intake) settle(f *FIFO) {
	for _, done := range f.drainers {
		close(done)
	}
	f.drainers = nil
}

func (in *Intake) end(f *FIFO) {
	f.busy, f.ended = false, true
	delete(in.fifos, f.fd)
	unix.Close(f.fd) // also takes it out of the epoll set
	if f.grown {
		in.grown -= grownSize
	}
	in.settle(f)
	f.sink.End()
}
