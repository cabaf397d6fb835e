package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/logspool/logspool/internal/durable"
)

// OpenReadOnly opens the spool in dir for reading, and changes no file. It sees what Open
// would see after a crash at this moment. Another process may have the spool open; its
// later changes are not seen. The caller must close the spool and ignore the error of
// Close. If fsys is nil, durable.OS is used.
func OpenReadOnly(fsys durable.FS, dir string) (*Spool, error) {
	if fsys == nil {
		fsys = durable.OS
	}
	if _, err := fsys.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("couldn't read the spool: %w", err)
	}
	// With an unlimited history, nothing is removed because it is delivered.
	s, _, err := Open(Options{Dir: dir, FS: durable.ReadOnly(fsys), History: math.MaxInt64})
	return s, err
}

// Backlog is the part of a spool that has not been acknowledged.
type Backlog struct {
	Frames int       // Frames is the number of lines and of pieces of long lines.
	Bytes  int64     // Bytes is the size of the frames, in bytes.
	Oldest time.Time // Oldest is the time of the first frame that has one, or zero.
	Gaps   int       // Gaps is the number of losses that no marker has reported yet.
}

// Empty reports whether the backlog is empty.
func (b Backlog) Empty() bool { return b.Frames == 0 && b.Gaps == 0 }

// Undelivered returns the backlog of the spool in dir; it is empty if the spool does not
// exist. Undelivered reads the whole backlog, and changes no file. If fsys is nil,
// durable.OS is used.
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
			b.Gaps += s.unwrittenGaps()
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

// unwrittenGaps returns the number of gaps that are not in the stream yet.
func (s *Spool) unwrittenGaps() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unwrittenGapsLocked()
}
