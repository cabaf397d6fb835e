// Package fifo takes the bytes that dockerd writes to a container's FIFO, and removes
// them from the FIFO only once they are safe. It copies the contents of the FIFO (tee),
// appends them to the spool as a block, and then drops exactly those bytes from the FIFO
// (splice).
//
// dockerd holds the FIFO open for reading and writing, so the contents of the FIFO
// survive the plugin. A crash at any moment leaves one of two states: the last block of
// the spool is still at the head of the FIFO, or it is not. Open finds out which.
//
// # Rhythm
//
// dockerd makes one write(2) for each line. Reading each line when it comes would cost both
// sides more than the line does, so the intake lets the pipes fill.
//
// A FIFO is idle if its container writes little. The intake looks at the idle FIFOs that have
// something every 50 ms, all in one round: it copies many of them into its private pipe, reads
// the copies at once, and then appends and drops those of one FIFO after the other. The epoll
// set reports a FIFO for as long as it has something, so a line costs no call for the set.
// If there was nothing to do for 50 ms, the intake looks at the next FIFO at once. If more than
// a hundred FIFOs have something, those with little wait for 200 ms, so that the lines of a
// container are taken together: on such hosts the cost of a line is that of its tee, append and
// splice.
//
// A FIFO is busy if a look finds a quarter of its pipe full, or a frame that is unfinished.
// The intake looks at all busy FIFOs every one to four milliseconds, so that they are half
// full at most and no writer waits. A FIFO with always much gets a larger pipe. A FIFO that was
// a quarter full stays busy for up to half a second, because many programs write in bursts.
//
// A command, such as Drain, ends the wait for the next round.
//
// # Errors
//
// An error of the kernel never ends a FIFO: the intake reports the error, keeps the FIFO
// and tries again. A FIFO ends only when it has no writer and no bytes.
//
// The package must not know the contents of a frame, names, batches or AWS.
package fifo

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/spool"
)

// Sink receives the contents of one FIFO. The intake calls its methods from one
// goroutine, which serves all FIFOs, so they must wait for nothing except the local disk.
type Sink interface {
	// Take takes a piece of the stream, block[spool.BlockHeaderSize:], which info
	// describes. The bytes before it are free for a header. When Take returns, the piece
	// must be in the spool or accounted for as lost: the intake then drops it from the
	// FIFO and reuses block.
	Take(block []byte, info spool.BlockInfo)
	// Dropped reports that everything that Take has taken is dropped from the FIFO.
	Dropped()
	// Panicked reports that a piece of the stream made the intake or Take panic. lost is
	// how many of its bytes are dropped without having been taken. If it is 0, Take has
	// taken the piece without a description.
	Panicked(err error, lost int)
	// Fault reports that the FIFO cannot be read now, or, with nil, that it can be read
	// again. The intake tries again by itself.
	Fault(err error)
	// End reports that the writer is gone and everything it wrote has been taken. It is
	// called at most once, as the last method. It is not called when the intake itself
	// stops.
	End()
}

const (
	// firstRetry is the pause after the first error of a FIFO. It doubles up to lastRetry.
	firstRetry = 10 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// Intake serves the FIFOs of all containers from one goroutine, Run.
type Intake struct {
	epoll int
	wake  int           // wake is an eventfd that ends the wait for an event of the epoll set.
	woken chan struct{} // woken holds a token that ends the wait for the next round.
	null  int           // null is /dev/null, which receives the dropped bytes.

	counts counts
	queue
	served
}

// Counts is what an Intake has counted since New.
type Counts struct {
	Reads   int64 // Reads counts how often something was found in a FIFO.
	Resyncs int64 // Resyncs counts the reads in which damaged bytes were passed over.
	Skipped int64 // Skipped counts these bytes.
}

// counts counts for Intake.Counts.
type counts struct{ reads, resyncs, bytes atomic.Int64 }

// Counts returns what was counted so far. It takes no lock.
func (in *Intake) Counts() Counts {
	return Counts{in.counts.reads.Load(), in.counts.resyncs.Load(), in.counts.bytes.Load()}
}

func (c *counts) skipped(bytes int) {
	if bytes > 0 {
		c.resyncs.Add(1)
		c.bytes.Add(int64(bytes))
	}
}

// queue holds the commands for Run.
type queue struct {
	mu       sync.Mutex
	commands []func() // commands are in the order in which Run executes them.
	stopped  bool     // stopped says that Run ends, or has ended, and accepts no command.
}

// served is the state of the FIFOs. Its owner is Run, and once Run has ended, a call of
// Drain, Release or Close. Lock owner before queue.mu.
type served struct {
	owner   sync.Mutex    // owner guards the other fields.
	fifos   map[int]*FIFO // fifos has the FIFOs by their descriptors.
	busy    []*FIFO
	failing []*FIFO
	grown   int // grown is the number of bytes by which all FIFOs have grown.
	closed  bool
	rhythm
	copies
}

// New returns an intake. Run serves its FIFOs, and Close closes it.
func New() (in *Intake, err error) {
	in = &Intake{
		epoll: -1, wake: -1, null: -1, woken: make(chan struct{}, 1),
		served: served{
			fifos:  map[int]*FIFO{},
			rhythm: rhythm{gathering: gathering{number: 1}},
			copies: copies{private: noPipe, buf: make([]byte, spool.BlockHeaderSize+maxTake)},
		},
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
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(in.wake)}
	if err = unix.EpollCtl(in.epoll, unix.EPOLL_CTL_ADD, in.wake, &event); err != nil {
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

// Close closes the FIFOs. Run must have returned, or never been called. The contents of
// the FIFOs stay there.
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

// do makes Run call fn soon. It returns false if Run has ended.
func (in *Intake) do(fn func()) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stopped {
		return false
	}
	in.commands = append(in.commands, fn)
	one := [8]byte{0: 1}
	_, _ = unix.Write(in.wake, one[:]) // EAGAIN means that Run is awake already.
	select {
	case in.woken <- struct{}{}:
	default:
	}
	return true
}

// whenStopped waits until Run has ended and calls fn. It fails if the intake is closed.
func (in *Intake) whenStopped(fn func()) error {
	in.owner.Lock()
	defer in.owner.Unlock()
	if in.closed {
		return fs.ErrClosed
	}
	fn()
	return nil
}

// Run takes bytes out of the FIFOs until ctx is done. It then leaves the contents of a
// FIFO there, unless a caller of Drain waits for it. It fails only if epoll_wait does.
func (in *Intake) Run(ctx context.Context) error {
	in.owner.Lock()
	defer in.owner.Unlock()
	stop := context.AfterFunc(ctx, func() { in.do(func() {}) })
	defer stop()
	defer in.shutDown()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		in.runCommands()
		now := time.Now()
		in.retryFailing(now)
		ready, err := in.gather(now)
		if err != nil {
			return fmt.Errorf("couldn't wait for FIFOs: %w", err)
		}
		switch more := in.round(ready); {
		case more:
		case len(in.busy) > 0:
			nap(timer, in.woken, in.interval)
		default:
			waitFor(timer, in.woken, in.untilDue())
		}
	}
	return nil
}

// untilDue returns how long Run has to wait for the next gathering, or for the next try of a
// FIFO that is failing.
func (in *Intake) untilDue() time.Duration {
	due := in.gatherAt
	for _, f := range in.failing {
		if f.retry.at.Before(due) {
			due = f.retry.at
		}
	}
	return time.Until(due)
}

// timeout returns how long epoll_wait may wait for events, in milliseconds. -1 means no limit.
func (in *Intake) timeout(now time.Time) int {
	wait := time.Duration(-1)
	for _, f := range in.failing {
		if left := max(f.retry.at.Sub(now), 0); wait < 0 || left < wait {
			wait = left
		}
	}
	if wait < 0 {
		return -1
	}
	return int(wait/time.Millisecond) + 1
}

// retryFailing makes failing FIFOs busy once their pause is over.
func (in *Intake) retryFailing(now time.Time) {
	if len(in.failing) == 0 {
		return
	}
	for _, f := range slices.Clone(in.failing) {
		if !now.Before(f.retry.at) {
			in.makeBusy(f)
		}
	}
}

// runCommands executes the commands in the queue.
func (in *Intake) runCommands() {
	in.mu.Lock()
	commands := in.commands
	in.commands = nil
	if len(commands) > 0 {
		var drain [8]byte
		_, _ = unix.Read(in.wake, drain[:])
	}
	in.mu.Unlock()
	for _, fn := range commands {
		fn()
	}
}

// shutDown ends Run: it executes the last commands and serves the callers of Drain.
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

// takeRest takes the contents of a FIFO that is drained while the intake stops. The next
// process would not find them: dockerd removes the FIFO once StopLogging has returned.
// dockerd no longer writes to the FIFO, so a few rounds are enough.
func (in *Intake) takeRest(f *FIFO) {
	for range 100 {
		if f.state == ended || f.empty > 0 {
			break
		}
		in.look(f)
		in.takeCopies()
	}
	f.notifyDrained()
}
