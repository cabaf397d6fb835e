package hosttest

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Thread is an operating-system thread that lives until End. It is for what belongs to a
// thread and not to the process: its network namespace, and Pdeathsig, which a child gets
// when the thread that started it ends (prctl(2)).
type Thread struct {
	work chan func()
}

// NewThread starts a thread. With ownNetwork, which needs root, the thread is in a network
// namespace of its own, with a loopback interface.
func NewThread(ownNetwork bool) (*Thread, error) {
	t := &Thread{work: make(chan func())}
	ready := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		if ownNetwork {
			if err := unshareNetwork(); err != nil {
				ready <- err
				return
			}
		}
		ready <- nil
		for f := range t.work {
			f()
		}
	}()
	return t, <-ready
}

// Do runs f on the thread and waits for it.
func (t *Thread) Do(f func()) {
	done := make(chan struct{})
	t.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// End ends the thread. Do must not be called after it.
func (t *Thread) End() { close(t.work) }

// unshareNetwork moves the calling thread to a new network namespace and brings up its
// loopback interface.
func unshareNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return os.NewSyscallError("ioctl", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
}
