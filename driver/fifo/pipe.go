package fifo

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// privateSize is the wanted size of the private pipe. Past pipe-user-pages-soft (pipe(7))
// the kernel makes it only 8 KiB, so tests use small sizes.
var privateSize = grownSize

// sysTee, sysSplice and the others are the system calls. Tests count them or make them fail.
var (
	sysTee       = unix.Tee
	sysRead      = unix.Read
	sysSplice    = unix.Splice
	sysEpollWait = unix.EpollWait
	sysEpollCtl  = unix.EpollCtl
)

// privatePipe is the pipe into which tee copies the contents of a FIFO.
type privatePipe struct {
	ends [2]int // ends are -1 if there is no pipe.
	size int    // size is the pipe's size as the kernel made it.
}

var noPipe = privatePipe{ends: [2]int{-1, -1}}

func makePipe() (privatePipe, error) {
	p := noPipe
	if err := unix.Pipe2(p.ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return noPipe, fmt.Errorf("couldn't make a pipe: %w", err)
	}
	// Past the soft limit this fails with EPERM. A smaller pipe only means more rounds.
	_, _ = unix.FcntlInt(uintptr(p.ends[1]), unix.F_SETPIPE_SZ, privateSize)
	p.size, _ = unix.FcntlInt(uintptr(p.ends[1]), unix.F_GETPIPE_SZ, 0)
	return p, nil
}

func (p *privatePipe) close() {
	for _, fd := range p.ends {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	*p = noPipe
}

// tee copies at most max bytes of a FIFO to a pipe, and leaves them in the FIFO.
func tee(from, to, max int) (int64, error) {
	for {
		n, err := sysTee(from, to, max, unix.SPLICE_F_NONBLOCK)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// readFull fills p from a pipe that has that many bytes.
func readFull(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := sysRead(fd, p)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			// Not %w: an EAGAIN here does not mean that the FIFO is empty.
			return fmt.Errorf("couldn't read the private pipe: %v", err)
		case n == 0:
			return errors.New("couldn't read the private pipe: it ended")
		default:
			p = p[n:]
		}
	}
	return nil
}

// drop removes the bytes that have been taken from the head of the FIFO. After an error,
// the rest is dropped before the FIFO is read again, so that nothing is taken twice.
// SIGKILL does not cut a splice short if the bytes are there.
func (in *Intake) drop(f *FIFO) error {
	for f.undropped > 0 {
		done, err := sysSplice(f.fd, nil, in.null, nil, f.undropped, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN), err == nil && done == 0:
			f.undropped = 0 // Another reader took them.
		case err != nil:
			return fmt.Errorf("splice: %w", err)
		default:
			f.undropped -= int(done)
		}
	}
	return nil
}

// unread returns how many bytes are in a FIFO (FIONREAD).
func unread(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// Unread returns how many bytes are in the FIFO at path, and how many it can hold,
// without reading any. It does not wait.
func Unread(path string) (bytes, size int, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return 0, 0, err
	}
	defer unix.Close(fd)
	if size, err = unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0); err != nil {
		return 0, 0, err // It is not a FIFO.
	}
	return unread(fd), size, nil
}
