// Package fifo takes the bytes that dockerd writes out of a container's FIFO, and takes them only once
// they are safe: a look at what is there (tee), a block in the spool, and only then are exactly those
// bytes dropped from the FIFO (splice). dockerd holds the FIFO open for reading and writing, so what is
// in it survives the plugin, and a crash at any moment leaves one of two states, which Open tells apart:
// the spool's last block is still at the head of the FIFO, or it is not.
//
// An error of the kernel is never taken for the end of a FIFO: the intake reports it, keeps the FIFO and tries
// again. Only a look that finds no writer and no bytes ends a FIFO.
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

// Sink takes what comes out of one FIFO. The intake calls its methods from one goroutine, which serves all FIFOs:
// they must wait for nothing but the local disk.
type Sink interface {
	// Take takes a piece of the stream: block[spool.BlockHeaderSize:], described by info; the bytes
	// before it are free for a header. When it returns, the piece is in the spool or accounted for as
	// lost, and it is dropped from the FIFO. block is the intake's again.
	Take(block []byte, info spool.BlockInfo)
	// Dropped says that everything that Take has taken is dropped from the FIFO.
	Dropped()
	// Panicked says that a piece of the stream made the intake or Take panic. lost is how many of its bytes are dropped
	// without having been taken; 0: Take has taken it without a description.
	Panicked(err error, lost int)
	// Fault says that the FIFO cannot be read now. The intake tries again. nil says that it works again.
	Fault(err error)
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

	// A FIFO that cannot be read is looked at again after firstRetry, then after twice as long, up to lastRetry.
	firstRetry = 10 * time.Millisecond
	lastRetry  = 5 * time.Second

	maxReady = 64
)

// nap sleeps between two rounds: nanosleep, not a Go timer, because a timer goes through the runtime's poller, which
// costs more than the copying does at this rate. Tests count the calls.
var nap = func(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil)
}

// Intake serves the FIFOs of all containers from one goroutine, Run.
type Intake struct {
	epoll, wake int
	null        int // /dev/null, where dropped bytes go

	mu       sync.Mutex
	commands []func() // to be run by Run, in order
	stopped  bool     // Run ends, or has ended

	// owner is held by Run while it runs, and afterwards by the caller that serves the FIFOs: see Drain and Close. It guards
	// what follows. Locks: owner before mu.
	owner   sync.Mutex
	private privatePipe
	fifos   map[int]*FIFO // by descriptor
	busy    []*FIFO
	failing []*FIFO
	buf     []byte // a block: room for the header, and the payload
	grown   int    // bytes by which FIFOs have grown
	closed  bool
}

// New makes an intake; Run serves it, and Close ends it.
func New() (in *Intake, err error) {
	in = &Intake{
		epoll: -1, wake: -1, private: noPipe, null: -1,
		fifos: map[int]*FIFO{},
		buf:   make([]byte, spool.BlockHeaderSize+maxTake),
	}
	defer func() {
		if err != nil {
			in.Close()
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

// Close closes the FIFOs. Run must have returned, or never been called. What is in the FIFOs stays there.
func (in *Intake) Close() {
	in.mu.Lock()
	in.stopped = true
	in.mu.Unlock()
	in.owner.Lock()
	defer in.owner.Unlock()
	if in.closed {
		return
	}
	in.closed = true
	for fd := range in.fifos {
		unix.Close(fd)
	}
	in.private.close()
	for _, fd := range []int{in.epoll, in.wake, in.null} {
		if fd >= 0 {
			unix.Close(fd)
		}
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

// whenStopped calls fn when Run has ended. It fails when the intake is closed.
func (in *Intake) whenStopped(fn func()) error {
	in.owner.Lock()
	defer in.owner.Unlock()
	if in.closed {
		return fs.ErrClosed
	}
	fn()
	return nil
}

// Run takes bytes out of the FIFOs until ctx is done. What is in a FIFO then stays there, unless somebody drains it.
// It fails only when the kernel refuses what it always grants.
func (in *Intake) Run(ctx context.Context) error {
	in.owner.Lock()
	defer in.owner.Unlock()
	stop := context.AfterFunc(ctx, func() { in.do(func() {}) })
	defer stop()
	defer in.shutDown()
	var ready [maxReady]unix.EpollEvent
	for ctx.Err() == nil {
		n, err := unix.EpollWait(in.epoll, ready[:], in.timeout())
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
		in.retry(time.Now())
		in.round()
	}
	return nil
}

// round looks at each busy FIFO once, and sleeps afterwards unless the private pipe was too small for what is there.
func (in *Intake) round() {
	most, more := 0, false
	for _, f := range in.busy {
		if f.state != busy {
			continue // released since the last round: its descriptor may be another's now
		}
		n, left := in.look(f)
		most, more = max(most, n), more || left
	}
	in.busy = slices.DeleteFunc(in.busy, func(f *FIFO) bool { return f.state != busy })
	if len(in.busy) == 0 || more {
		return
	}
	if most > grownSize/32 {
		nap(busyInterval)
	} else {
		nap(quietInterval)
	}
}

// timeout is how long Run may wait for events, in milliseconds; -1: for ever.
func (in *Intake) timeout() int {
	if len(in.busy) > 0 {
		return 0
	}
	wait := time.Duration(-1)
	for _, f := range in.failing {
		if left := max(time.Until(f.retryAt), 0); wait < 0 || left < wait {
			wait = left
		}
	}
	if wait < 0 {
		return -1
	}
	return int(wait/time.Millisecond) + 1
}

// retry makes the FIFOs busy again whose time has come.
func (in *Intake) retry(now time.Time) {
	for _, f := range slices.Clone(in.failing) {
		if !now.Before(f.retryAt) {
			in.makeBusy(f)
		}
	}
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

func (in *Intake) shutDown() {
	in.mu.Lock()
	in.stopped = true
	in.mu.Unlock()
	in.runCommands()
	for _, f := range in.fifos {
		if len(f.drainers) > 0 {
			in.takeRest(f)
		}
	}
}

// takeRest takes what is in a FIFO that somebody drains while the intake stops. It will not be there when the next process
// looks: dockerd removes the FIFO once it has an answer. Nothing is written to it any more, so a few looks are enough.
func (in *Intake) takeRest(f *FIFO) {
	for range 100 {
		if f.state == ended || f.empty > 0 {
			break
		}
		in.look(f)
	}
	f.notifyDrained()
}
