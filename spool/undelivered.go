package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/logspool/logspool/internal/durable"
)

// OpenReadOnly opens the spool in dir to be read, and changes no file: it sees the spool as Open would after a crash
// now. Another process that has the spool open may go on; what it does afterwards is not seen. The spool must be closed, and its Close
// has an error that means nothing. fsys may be nil: durable.OS.
func OpenReadOnly(fsys durable.FS, dir string) (*Spool, error) {
	if fsys == nil {
		fsys = durable.OS
	}
	if _, err := fsys.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("couldn't read the spool: %w", err)
	}
	// With an unbounded history nothing is removed because it is delivered.
	s, _, err := Open(Options{Dir: dir, FS: durable.ReadOnly(fsys), History: math.MaxInt64})
	return s, err
}

// Backlog is what of a spool has not been acknowledged.
type Backlog struct {
	Frames int       // lines, and pieces of long lines
	Bytes  int64     // of them
	Oldest time.Time // the time of the first that has one; zero: none has
	Gaps   int       // losses that no marker has reported yet
}

// Empty reports whether nothing waits.
func (b Backlog) Empty() bool { return b.Frames == 0 && b.Gaps == 0 }

// Undelivered returns the backlog of the spool in dir, and changes no file. A spool that does not exist has none. fsys may
// be nil: durable.OS. It reads the whole backlog.
func Undelivered(fsys durable.FS, dir string) (b Backlog, err error) {
	s, err := OpenReadOnly(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return b, err
	}
	defer s.Close()
	r := s.NewReader()
	defer r.Close()
	for {
		item, ok := r.Next()
		if !ok && r.Err() == nil {
			item, ok = r.GiveUp()
		}
		switch {
		case !ok && r.Err() != nil:
			return b, fmt.Errorf("couldn't read the spool: %w", r.Err())
		case !ok:
			b.Gaps += s.pendingGaps()
			return b, nil
		case item.Gap != nil:
			b.Gaps++
		default:
			b.Frames++
			b.Bytes += int64(len(item.Frame))
			if t := frameTime(item.Frame); t != 0 && b.Oldest.IsZero() {
				b.Oldest = time.Unix(0, t)
			}
		}
	}
}

// pendingGaps returns how many gaps are known and not in the stream yet.
func (s *Spool) pendingGaps() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.addedGaps)
	if s.unkept.Bytes > 0 {
		n++
	}
	if s.heldGap != (Gap{}) {
		n++
	}
	return n
}
