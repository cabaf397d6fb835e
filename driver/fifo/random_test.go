package fifo

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRandomFIFOsGiveEverythingOnce opens, writes to, drains, releases and closes FIFOs at random,
// while system calls fail at random. The intake takes what was written to each, once and in order.
// It says that a FIFO is drained only when it has everything, and a FIFO ends only without a
// writer.
func TestRandomFIFOsGiveEverythingOnce(t *testing.T) {
	for seed := range uint64(8) {
		c := newChance(t, seed)
		for range 400 {
			c.step()
		}
		c.finish()
	}
}

// chance uses an intake at random.
type chance struct {
	t       *testing.T
	seed    uint64
	r       *rand.Rand
	in      *Intake
	fifos   []*chanceFIFO
	failing bool // failing says that system calls fail at times.
	opened  int
}

// chanceFIFO is a FIFO with what it should give.
type chanceFIFO struct {
	*FIFO
	*memorySink
	w       *os.File
	rest    []byte // rest is the part of a frame that did not fit into the pipe.
	written []byte
	drains  []drain
}

// drain is a caller of Drain, and how much was written before.
type drain struct {
	done    chan struct{}
	written int
}

func newChance(t *testing.T, seed uint64) *chance {
	c := &chance{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 7))}
	before := privateSize
	privateSize = []int{4096, 8192, 65536, grownSize}[c.r.IntN(4)]
	c.in = steppedIntake(t)
	fails := func() bool { return c.failing && c.r.IntN(20) == 0 }
	sysTee = func(from, to, n, flags int) (int64, error) {
		if fails() {
			return 0, unix.ENOMEM
		}
		return unix.Tee(from, to, n, flags)
	}
	sysRead = func(fd int, p []byte) (int, error) {
		if fails() {
			return 0, unix.EIO
		}
		return unix.Read(fd, p[:1+c.r.IntN(len(p))])
	}
	sysSplice = func(from int, fromAt *int64, to int, toAt *int64, n, flags int) (int64, error) {
		if fails() {
			return 0, unix.ENOMEM
		}
		return unix.Splice(from, fromAt, to, toAt, 1+c.r.IntN(n), flags)
	}
	sysEpollCtl = func(fd, op, of int, event *unix.EpollEvent) error {
		if op == unix.EPOLL_CTL_ADD && fails() {
			return unix.ENOMEM
		}
		return unix.EpollCtl(fd, op, of, event)
	}
	t.Cleanup(func() {
		sysTee, sysRead, sysSplice, sysEpollCtl = unix.Tee, unix.Read, unix.Splice, unix.EpollCtl
		privateSize = before
	})
	return c
}

func (c *chance) open() {
	c.opened++
	path := filepath.Join(c.t.TempDir(), fmt.Sprint(c.opened))
	if err := unix.Mkfifo(path, 0o700); err != nil {
		c.t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, []int{4096, 16384, 65536}[c.r.IntN(3)]); err != nil {
		c.t.Fatal(err)
	}
	f := &chanceFIFO{w: os.NewFile(uintptr(fd), path), memorySink: newMemorySink()}
	if f.FIFO, err = c.in.Open(path, f.memorySink, nil); err != nil {
		c.t.Fatal(err)
	}
	c.fifos = append(c.fifos, f)
}

// write writes frames, or what fits of them.
func (f *chanceFIFO) write(p []byte) {
	p = append(f.rest, p...)
	n, _ := unix.Write(int(f.w.Fd()), p)
	n = max(n, 0)
	f.written = append(f.written, p[:n]...)
	f.rest = bytes.Clone(p[n:])
}

func (c *chance) step() {
	c.failing = c.r.IntN(3) == 0
	if len(c.fifos) == 0 || len(c.fifos) < 30 && c.r.IntN(10) == 0 {
		c.open()
	}
	i := c.r.IntN(len(c.fifos))
	f := c.fifos[i]
	switch c.r.IntN(20) {
	case 0, 1, 2, 3, 4, 5:
		for range 1 + c.r.IntN(3) {
			f.write(frame(int64(1e18)+c.r.Int64N(1e9), strings.Repeat("x", []int{10, 100, 3000, 20000}[c.r.IntN(4)])))
		}
	case 6, 7, 8:
		for _, f := range c.fifos {
			f.write(frame(1e18, "a line"))
		}
	case 9, 10:
		d := drain{make(chan struct{}), len(f.written)}
		f.drains = append(f.drains, d)
		c.in.do(func() {
			f.drainers = append(f.drainers, d.done)
			c.in.makeBusy(f.FIFO)
		})
	case 11:
		if c.r.IntN(4) == 0 {
			c.release(i)
		}
	case 12:
		if c.r.IntN(4) == 0 {
			c.end(i)
		}
	default:
		c.round()
	}
}

// round is what Run does between two waits.
func (c *chance) round() {
	now := time.Now().Add(time.Hour) // so that no retry waits
	c.in.runCommands()
	c.in.retryFailing(now)
	if len(c.in.busy) == 0 {
		c.makeOneBusy()
	}
	c.in.gatherAt = time.Time{}
	c.in.many = c.r.IntN(2) == 0 // FIFOs with little may wait
	ready, err := c.in.gather(now)
	if err != nil {
		c.t.Fatal(err)
	}
	c.in.round(ready)
	c.check()
}

// makeOneBusy makes a FIFO busy, so that gather does not wait.
func (c *chance) makeOneBusy() {
	for _, f := range c.fifos {
		if f.state != ended {
			c.in.makeBusy(f.FIFO)
			return
		}
	}
}

// check checks what has been taken so far, and that each FIFO waits in one place.
func (c *chance) check() {
	for i, f := range c.fifos {
		if !bytes.HasPrefix(f.written, f.stream) {
			c.t.Fatalf("seed %d: FIFO %d: took something else after %d bytes", c.seed, i, len(f.stream))
		}
		f.drains = slices.DeleteFunc(f.drains, func(d drain) bool {
			select {
			case <-d.done:
			default:
				return false
			}
			if len(f.stream) < d.written {
				c.t.Fatalf("seed %d: FIFO %d: drained after %d of %d bytes", c.seed, i, len(f.stream), d.written)
			}
			return true
		})
		select {
		case <-f.ended:
			c.t.Fatalf("seed %d: FIFO %d: ended with a writer", c.seed, i)
		default:
		}
	}
	seen := map[*FIFO]bool{}
	for _, f := range c.in.busy {
		if seen[f] || f.state != busy {
			c.t.Fatalf("seed %d: busy list: state %d, twice %v", c.seed, f.state, seen[f])
		}
		seen[f] = true
	}
	for _, f := range c.in.failing {
		if seen[f] || f.state != failing {
			c.t.Fatalf("seed %d: failing list: state %d, twice %v", c.seed, f.state, seen[f])
		}
		seen[f] = true
	}
	for _, f := range c.in.fifos {
		if !seen[f] && f.state != idle {
			c.t.Fatalf("seed %d: state %d, but in no list", c.seed, f.state)
		}
	}
}

// release releases a FIFO, once it has no bytes that were taken, and opens another, which may get
// the same descriptor.
func (c *chance) release(i int) {
	f := c.fifos[i]
	if f.undropped > 0 || len(f.drains) > 0 {
		return
	}
	c.in.runCommands()
	c.in.close(f.FIFO)
	var rest []byte
	buf := make([]byte, 1<<20)
	if n, _ := unix.Read(int(f.w.Fd()), buf); n > 0 {
		rest = buf[:n]
	}
	if !bytes.Equal(append(f.stream, rest...), f.written) {
		c.t.Fatalf("seed %d: FIFO %d: %d bytes taken and %d left, want %d", c.seed, i, len(f.stream), len(rest), len(f.written))
	}
	f.w.Close()
	c.fifos = slices.Delete(c.fifos, i, i+1)
	c.open()
}

// end closes the writer, and waits for the end of the FIFO.
func (c *chance) end(i int) {
	f := c.fifos[i]
	c.fifos = slices.Delete(c.fifos, i, i+1)
	f.w.Close()
	for rounds := 0; ; rounds++ {
		c.round()
		select {
		case <-f.ended:
			if !bytes.Equal(f.stream, f.written) {
				c.t.Fatalf("seed %d: ended after %d of %d bytes", c.seed, len(f.stream), len(f.written))
			}
			return
		default:
		}
		if rounds > 3000 {
			c.t.Fatalf("seed %d: does not end", c.seed)
		}
	}
}

func (c *chance) finish() {
	c.failing = false
	for len(c.fifos) > 0 {
		c.end(0)
	}
	if len(c.in.fifos)+len(c.in.busy)+len(c.in.failing) > 0 || c.in.grown != 0 {
		c.t.Fatalf("seed %d: %d FIFOs are left, grown by %d", c.seed, len(c.in.fifos), c.in.grown)
	}
}
