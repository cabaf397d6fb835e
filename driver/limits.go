package driver

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/status"
)

// limits share the process's descriptors, so that containers cannot take those that delivery
// needs. An idle container has one open FIFO.
type limits struct {
	open    int // open is RLIMIT_NOFILE.
	fifos   int // fifos is how many FIFOs may be open.
	spools  int // spools is how many spools may have open files.
	readers int // readers is how many answers to docker logs may be in progress.
}

const (
	// ownFiles are the descriptors of the process itself: standard streams, the runtime's
	// poller, the intake's five, the listener, name resolution, and a few that are open for a
	// moment.
	ownFiles = 20
	// spoolFiles is how many descriptors a spool has while it is written and delivered: its
	// segment, its cursor, and a reader's segment.
	spoolFiles = 4
	// readerFiles is how many descriptors docker logs has: its connection and its segment.
	readerFiles = 2
	// mostReaders is the largest number of answers to docker logs, each of which has a buffer.
	mostReaders = 1024
)

// OpenFileLimit returns RLIMIT_NOFILE, and 1024 if it cannot be read. Go has raised the soft
// limit to the hard one.
func OpenFileLimit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return int(min(r.Cur, math.MaxInt32))
}

// shareDescriptors gives half of the descriptors to FIFOs. Of what the process itself and the
// clients of its status leave, half is for the spools' files, a quarter for docker logs, and a
// quarter for connections to CloudWatch Logs and dockerd.
func shareDescriptors(open int) limits {
	rest := max(open-ownFiles-status.Descriptors(open)-open/2, 0)
	return limits{
		open:    open,
		fifos:   max(open/2, 1),
		spools:  max(rest/2/spoolFiles, 2),
		readers: min(max(rest/4/readerFiles, 1), mostReaders),
	}
}

// limitError says that there are too few descriptors to start a container.
type limitError string

func (e limitError) Error() string { return string(e) }

// MaxContainers returns how many containers can run with a limit of that many open files.
func MaxContainers(openFiles int) int { return shareDescriptors(openFiles).fifos }

func (l limits) tooManyFIFOs() error {
	return limitError(fmt.Sprintf("logspool: %d containers are attached, the most that the limit of %d open files (RLIMIT_NOFILE) allows; "+
		"raise dockerd's limit (LimitNOFILE in its systemd unit) and restart dockerd", l.fifos, l.open))
}

func (l limits) tooManyReaders() error {
	return fmt.Errorf("logspool: %d docker logs commands are being answered, the most that the limit of %d open files (RLIMIT_NOFILE) allows; "+
		"try again when one has ended, or raise dockerd's limit (LimitNOFILE in its systemd unit)", l.readers, l.open)
}
