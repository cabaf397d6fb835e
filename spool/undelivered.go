package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"time"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/stream"
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
	if err := checkCursorVersion(fsys, dir); err != nil {
		return nil, err
	}
	// With an unlimited history, nothing is removed because it is delivered.
	s, _, err := Open(Options{Dir: dir, FS: durable.ReadOnly(fsys), History: math.MaxInt64})
	return s, err
}

// checkCursorVersion returns ErrVersion if the cursor in dir is of an unknown version.
func checkCursorVersion(fsys durable.FS, dir string) error {
	path := filepath.Join(dir, cursorName)
	data, err := fsys.ReadFile(path)
	if err == nil && newerCursor(data) {
		return fmt.Errorf("%q: %w", path, ErrVersion)
	}
	return nil // Open reports other errors
}

// Drop acknowledges everything in the spool in dir, its gaps included. Nothing of it is
// delivered any more, and it is kept as history. No process may have the spool open. If fsys is
// nil, durable.OS is used.
func Drop(fsys durable.FS, dir string) error {
	if fsys == nil {
		fsys = durable.OS
	}
	if _, err := fsys.ReadDir(dir); err != nil {
		return fmt.Errorf("couldn't read the spool: %w", err)
	}
	if err := checkCursorVersion(fsys, dir); err != nil {
		return err
	}
	s, _, err := Open(Options{Dir: dir, FS: fsys, History: math.MaxInt64})
	if err != nil {
		return err
	}
	const rounds = 4 // the stream, and then each kind of pending gap as blocks of the stream
	for range rounds {
		if !s.Pending() || err != nil {
			break
		}
		s.ReleaseGap()
		err = s.Ack([]stream.Range{{From: 0, To: s.End()}})
	}
	if err == nil && s.Pending() {
		err = errors.New("the disk does not accept the change")
	}
	return errors.Join(err, s.Close())
}

// Backlog is the part of a spool that has not been acknowledged.
type Backlog struct {
	Frames int       // Frames is the number of lines and of pieces of long lines.
	Bytes  int64     // Bytes is the size of the frames, in bytes.
	Oldest time.Time // Oldest is the time of the first frame that has one, or zero.
	Gaps   int       // Gaps is the number of losses that no marker has reported yet.
	// Delivered is the size of what is kept although it is acknowledged, in bytes.
	Delivered int64
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
	if len(s.segments) > 0 {
		b.Delivered = max(0, int64(s.Acked())-int64(s.segments[0].base))
	}
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
