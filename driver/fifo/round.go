package fifo

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/spool"
)

const (
	// gatherInterval is how often the intake looks at the idle FIFOs that have something. A
	// wake-up for each line would cost more than the line does. In that time a writer of a
	// few thousand lines a second does not fill a pipe of 64 KiB.
	gatherInterval = 50 * time.Millisecond

	// manyReady is the number of idle FIFOs with something past which those with little wait
	// for a later gathering. Each FIFO costs a tee, an append and a splice, however little it
	// has. Few FIFOs cost so little that their lines need not be late for that.
	manyReady = 128

	// maxPassed is how many gatherings in a row may pass over a FIFO. A line is then in the
	// FIFO for 200 ms at most.
	maxPassed = 3

	// littlePart is the part of a pipe that has little. A writer that is faster than that in
	// 50 ms is not passed over, so it finds the pipe full no sooner than on an idle host.
	littlePart = 16

	// busyInterval is the shortest pause between two rounds, and quietInterval the longest.
	// A writer that never finds the pipe full is never woken, and a reader that lets the
	// pipe fill wakes less often, so both sides work less. dockerd writes at most 38 MB/s,
	// which fills a pipe of 64 KiB in 1.7 ms.
	busyInterval  = time.Millisecond
	quietInterval = 4 * time.Millisecond

	// timerSlack is added to each wait. The Go runtime waits for whole milliseconds, and
	// would otherwise wake a millisecond before the timer too.
	timerSlack = 50 * time.Microsecond

	// A round should find the fullest pipe not more than half full. With lines of more than
	// half a page, a pipe that has half of its bytes is full, because a page holds one line.
	wantedFill = wholePipe / 2
	wholePipe  = 1 << 10

	// maxReady is how many events one epoll_wait returns.
	maxReady = 512

	pageSize = 4096
)

// waitFor waits until the timer fires or a command comes. The wait must not be a blocking
// system call: the Go runtime's monitor would take the processor from the goroutine each
// time, and not sleep for longer than 20 µs itself.
func waitFor(t *time.Timer, woken <-chan struct{}, d time.Duration) {
	t.Reset(d + timerSlack)
	select {
	case <-t.C:
	case <-woken:
	}
}

// nap waits between two rounds of busy FIFOs. Tests replace it to count the calls.
var nap = waitFor

// rhythm says when the intake looks at FIFOs.
type rhythm struct {
	gatherAt time.Time // gatherAt is when the idle FIFOs may be looked at.
	gathering
	interval time.Duration // interval is the pause between two rounds.
	fill     int           // fill says how full the fullest busy FIFO of this round was, of wholePipe.
	more     bool          // more says that a FIFO of this round has more than could be seen.
	events   [maxReady]unix.EpollEvent
	ready    []*FIFO // ready is kept for its memory.
}

// gathering is one look at all idle FIFOs that have something. It may take some calls of
// epoll_wait.
type gathering struct {
	number int  // number is that of the gathering.
	found  int  // found counts the FIFOs that had something so far.
	many   bool // many says that the last gathering found so many that some may wait.
}

// copies are the contents of FIFOs that are copied and not taken yet.
type copies struct {
	private privatePipe // private has them, one after the other.
	list    []copied
	bytes   int    // bytes is how long they are.
	pages   int    // pages is how many pages of the private pipe they use at most.
	buf     []byte // buf has room for the header of a block, and all that the pipe holds.
}

// copied is the copy of the contents of one FIFO.
type copied struct {
	fifo  *FIFO
	bytes int
}

// gather returns the idle FIFOs to look at, if it is time. If no FIFO is busy, and none has
// anything, it waits for the first one. That FIFO becomes busy, because its writer may go on
// and must not find the pipe full.
func (in *Intake) gather(now time.Time) ([]*FIFO, error) {
	if now.Before(in.gatherAt) {
		return nil, nil
	}
	ready, err := in.epollWait(0)
	if err != nil {
		return nil, err
	}
	if len(ready) == 0 && len(in.busy) == 0 {
		first, err := in.epollWait(in.timeout(now))
		if err != nil {
			return nil, err
		}
		for _, f := range first {
			in.makeBusy(f)
		}
		now = time.Now()
	}
	if len(ready) == 0 && len(in.busy) == 0 {
		return nil, nil
	}
	complete := len(ready) < maxReady-1
	ready, again := in.choose(ready)
	if complete || again {
		in.gatherAt = now.Add(gatherInterval)
		in.gathering = gathering{number: in.number + 1, many: in.found >= manyReady}
	}
	return ready, nil
}

// choose returns those of the ready FIFOs that do not wait for a later gathering. again says
// that the epoll set has reported one that was reported in this gathering before: it reports
// all others first.
func (in *Intake) choose(ready []*FIFO) (chosen []*FIFO, again bool) {
	chosen = ready[:0]
	for _, f := range ready {
		if f.lastGathering == in.number {
			again = true
			continue
		}
		f.lastGathering = in.number
		in.found++
		if !in.many || !f.passOver() {
			chosen = append(chosen, f)
		}
	}
	return chosen, again
}

// passOver makes a FIFO with little wait for a later gathering. It returns false if the FIFO
// must not wait.
func (f *FIFO) passOver() bool {
	if f.passed >= maxPassed {
		return false
	}
	if n := unread(f.fd); n == 0 || n > f.size/littlePart { // 0: the writer is gone
		return false
	}
	f.passed++
	return true
}

// epollWait returns the idle FIFOs that have something or have ended.
func (in *Intake) epollWait(timeout int) ([]*FIFO, error) {
	n, err := sysEpollWait(in.epoll, in.events[:], timeout)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return nil, err
	}
	in.ready = in.ready[:0]
	for _, e := range in.events[:max(n, 0)] {
		if f := in.fifos[int(e.Fd)]; f != nil {
			in.ready = append(in.ready, f)
		}
	}
	return in.ready, nil
}

// round looks into each busy FIFO, and into those that are ready. It returns true if it
// could not see everything, so that the next round follows at once.
func (in *Intake) round(ready []*FIFO) (more bool) {
	in.fill, in.more = 0, false
	for _, f := range in.busy {
		if f.state == busy { // otherwise it was released, and another FIFO may have its descriptor
			in.look(f)
		}
	}
	for _, f := range ready {
		if f.state == idle {
			in.look(f)
		}
	}
	in.takeCopies()
	in.busy = slices.DeleteFunc(in.busy, func(f *FIFO) bool { return f.state != busy })
	in.adjust()
	return in.more
}

// adjust sets the pause before the next round.
func (in *Intake) adjust() {
	next := 2 * in.interval
	if in.fill > 0 {
		next = min(next, in.interval*wantedFill/time.Duration(in.fill))
	}
	in.interval = min(max(next.Truncate(busyInterval), busyInterval), quietInterval)
}

// look copies the contents of a FIFO, which the next takeCopies takes.
func (in *Intake) look(f *FIFO) {
	f.passed = 0
	if f.undropped > 0 { // since an earlier round
		if err := in.drop(f); err != nil {
			in.fail(f, err)
			return
		}
		f.sink.Dropped()
	}
	// The result of tee does not say which of the two pipes is to blame for EAGAIN.
	if len(in.list) > 0 && (!in.fits(f) || len(f.drainers) > 0) {
		in.takeCopies()
	}
	n, err := in.copy(f)
	switch {
	case errors.Is(err, unix.EAGAIN):
		f.foundEmpty()
	case err != nil:
		in.fail(f, err)
	case n == 0:
		in.close(f)
		f.sink.End()
	}
}

// fits reports whether the private pipe surely has room for all that is in a FIFO.
func (c *copies) fits(f *FIFO) bool {
	return c.pages+f.capacity()/pageSize <= c.private.size/pageSize && c.bytes+f.capacity() <= maxTake
}

// copy copies the contents of the FIFO to the private pipe, and leaves them in the FIFO. It
// returns 0 if there is no writer, and unix.EAGAIN if the FIFO is empty now.
func (in *Intake) copy(f *FIFO) (int, error) {
	c := &in.copies
	if c.private.ends[0] < 0 {
		var err error
		if c.private, err = makePipe(); err != nil {
			return 0, err
		}
	}
	n, err := tee(f.fd, c.private.ends[1], maxTake-c.bytes)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, unix.EAGAIN
	case err != nil:
		return 0, fmt.Errorf("tee: %w", err)
	case n == 0:
		return 0, nil
	}
	c.list = append(c.list, copied{f, int(n)})
	c.bytes += int(n)
	// A write goes into the last page if it fits there. So two pages in a row have more than
	// one page of bytes, except at the ends.
	c.pages += 2 + int(n)/(pageSize/2)
	return int(n), nil
}

// takeCopies takes all that is copied. The header of a block overwrites the end of the block
// before it, which has been taken by then.
func (in *Intake) takeCopies() {
	c := &in.copies
	if len(c.list) == 0 {
		return
	}
	list, at := c.list, spool.BlockHeaderSize
	err := readFull(c.private.ends[0], c.buf[at:at+c.bytes])
	c.list, c.bytes, c.pages = list[:0], 0, 0
	if err != nil {
		c.private.close() // Its contents would be mistaken for those of the next FIFO.
	}
	for _, p := range list {
		if err != nil {
			in.fail(p.fifo, err)
			continue
		}
		end := at + p.bytes
		in.takeFrom(p.fifo, c.buf[at-spool.BlockHeaderSize:end:end])
		at = end
	}
	clear(list)
}
