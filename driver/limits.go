package driver

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// limits say how the process's descriptors are shared out, so that containers cannot take those that delivery needs.
type limits struct {
	open    int // RLIMIT_NOFILE
	fifos   int // attached FIFOs: what an idle container holds
	spools  int // spools that have files open
	readers int // docker logs at a time
}

const (
	// ownFiles are the descriptors of the process itself: standard streams, the runtime's poller, the intake's five, the
	// listener, name resolution, and a few for what is opened for a moment.
	ownFiles = 20
	// spoolFiles is how many descriptors a spool has open while it is written and delivered: the segment, the cursor, and
	// what a reader reads.
	spoolFiles = 4
	// readerFiles is how many docker logs takes: the connection and the segment being read.
	readerFiles = 2
	// mostReaders bounds docker logs where descriptors do not: each has a buffer.
	mostReaders = 1024
)

// openFileLimit returns RLIMIT_NOFILE as it is in force. Go has raised the soft limit to the hard one.
func openFileLimit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return int(min(r.Cur, math.MaxInt32))
}

// shareOut gives half of the descriptors to attached FIFOs. Of the rest, half is for the spools' files, a quarter for
// docker logs, and a quarter for connections to CloudWatch Logs and dockerd.
func shareOut(open int) limits {
	rest := max(open-ownFiles-open/2, 0)
	return limits{
		open:    open,
		fifos:   max(open/2, 1),
		spools:  max(rest/2/spoolFiles, 2),
		readers: min(max(rest/4/readerFiles, 1), mostReaders),
	}
}

func (l limits) tooManyFIFOs() error {
	return fmt.Errorf("logspool: %d containers are attached, the most that the limit of %d open files (RLIMIT_NOFILE) allows; "+
		"raise dockerd's limit (LimitNOFILE in its systemd unit) and restart dockerd", l.fifos, l.open)
}

func (l limits) tooManyReaders() error {
	return fmt.Errorf("logspool: %d docker logs are being answered, the most that the limit of %d open files (RLIMIT_NOFILE) allows; "+
		"try again when one has ended, or raise dockerd's limit (LimitNOFILE in its systemd unit)", l.readers, l.open)
}
