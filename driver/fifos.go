package driver

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/logspool/logspool/driver/fifo"
)

// fifos says who reads which FIFO: an attachment of a session, or a discarder. A FIFO never
// has two readers. Its methods may be called from any goroutine.
type fifos struct {
	dir    string // dir is the only directory for FIFOs, or empty if they may be anywhere.
	log    *slog.Logger
	intake *fifo.Intake
	limits limits

	// mu guards the maps, whose keys are the FIFOs' paths. It is held for a few instructions.
	mu       sync.Mutex
	attached map[string]*attachment
	discards map[string]*discarder
	stopped  bool // stopped says that no new discarder may begin.
}

func newFIFOs(dir string, in *fifo.Intake, l limits, log *slog.Logger) *fifos {
	return &fifos{
		dir: dir, log: log, intake: in, limits: l,
		attached: map[string]*attachment{}, discards: map[string]*discarder{},
	}
}

// errClaimed says that another container's session reads the FIFO.
var errClaimed = errors.New("logspool: File is already being read")

// claim makes a the reader of its FIFO. It takes the FIFO over from a discarder, and
// waits until the discarder has stopped reading. It fails if another session reads the
// FIFO, or if a start would take a descriptor that is reserved for delivery. already says
// that a's session reads the FIFO.
func (f *fifos) claim(a *attachment, start bool) (already bool, err error) {
	for {
		f.mu.Lock()
		other, discard := f.attached[a.file], f.discards[a.file]
		switch {
		case other != nil && other.s == a.s:
			already = true
		case other != nil:
			err = fmt.Errorf("%w by container %s", errClaimed, other.s.name())
		case discard != nil:
		case start && f.fullLocked():
			err = f.limits.tooManyFIFOs()
		default:
			f.attached[a.file] = a
		}
		f.mu.Unlock()
		if other != nil || discard == nil {
			return already, err
		}
		discard.release()
	}
}

// unclaim undoes a claim.
func (f *fifos) unclaim(a *attachment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.attached[a.file] == a {
		delete(f.attached, a.file)
	}
}

// checkLimit fails if a start that reads file would take a descriptor that is reserved for
// delivery. claim decides. This keeps a start that has no chance from touching the disk.
func (f *fifos) checkLimit(file string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.attached[file] == nil && f.discards[file] == nil && f.fullLocked() {
		return f.limits.tooManyFIFOs()
	}
	return nil
}

func (f *fifos) fullLocked() bool { return len(f.attached)+len(f.discards) >= f.limits.fifos }

// count returns how many FIFOs sessions read, and how many are discarded.
func (f *fifos) count() (attached, discards int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.attached), len(f.discards)
}

// attachment returns the attachment that reads file, or nil.
func (f *fifos) attachment(file string) *attachment {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.attached[file]
}

// isClaimed reports whether anyone reads file.
func (f *fifos) isClaimed(file string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.attached[file] != nil || f.discards[file] != nil
}
