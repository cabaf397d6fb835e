package privileges

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ToRead returns the capability that is needed to read these files, some of which may not exist. It
// is CAP_DAC_OVERRIDE if this process can read one of them only with that capability, such as
// another user's credentials with mode 0600. Otherwise it is none. ToRead tries to open the files
// on a thread that has dropped the capability, so access lists and the modes of the directories
// above count too.
func ToRead(files ...string) (Set, error) {
	type answer struct {
		need Set
		err  error
	}
	c := make(chan answer)
	go func() {
		// The thread is not unlocked, so it ends with this goroutine, and no other goroutine
		// runs without the capability.
		runtime.LockOSThread()
		need, err := toRead(files)
		c <- answer{need, err}
	}()
	a := <-c
	return a.need, a.err
}

// toRead is ToRead. It drops capabilities of the calling thread.
func toRead(files []string) (Set, error) {
	override := Of(unix.CAP_DAC_OVERRIDE)
	effective, permitted, err := capget()
	if err != nil {
		return 0, err
	}
	var readable []string
	for _, name := range files {
		if tryRead(name) == nil {
			readable = append(readable, name)
		}
	}
	// CAP_DAC_READ_SEARCH would also allow reading, but Drop does not keep it.
	effective &^= override | Of(unix.CAP_DAC_READ_SEARCH)
	header, data := capdata(effective, permitted, 0)
	if err := unix.Capset(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("couldn't drop CAP_DAC_OVERRIDE for a test: %w", err)
	}
	for _, name := range readable {
		if errors.Is(tryRead(name), fs.ErrPermission) {
			return override, nil
		}
	}
	return 0, nil
}

// tryRead opens a file for reading. It does not wait if the file is a FIFO.
func tryRead(name string) error {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
