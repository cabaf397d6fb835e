package privileges

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ToRead returns the capability that it takes to read these files, which need not exist:
// CAP_DAC_OVERRIDE if this process can read one of them with it and not without, such as another
// user's credentials with mode 0600, and none otherwise. It asks the kernel by trying, on a thread
// that lays the capability down for good, so access lists and the modes of the directories above count too.
func ToRead(files ...string) (Set, error) {
	type answer struct {
		need Set
		err  error
	}
	c := make(chan answer)
	go func() {
		// The thread is not unlocked, so it ends with this goroutine and nothing else runs without
		// the capability.
		runtime.LockOSThread()
		need, err := toRead(files)
		c <- answer{need, err}
	}()
	a := <-c
	return a.need, a.err
}

// toRead is ToRead on a thread that it spoils.
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
	// CAP_DAC_READ_SEARCH would let it read as well, and will be gone with the rest.
	effective &^= override | Of(unix.CAP_DAC_READ_SEARCH)
	header, data := capdata(effective, permitted, 0)
	if err := unix.Capset(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("couldn't lay down CAP_DAC_OVERRIDE for a try: %w", err)
	}
	for _, name := range readable {
		if errors.Is(tryRead(name), fs.ErrPermission) {
			return override, nil
		}
	}
	return 0, nil
}

// tryRead opens a file for reading, without waiting where it is a FIFO.
func tryRead(name string) error {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
