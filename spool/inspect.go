package spool

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/logspool/logspool/internal/durable"
)

// Info is what Inspect finds.
type Info struct {
	// Bytes is the size of all segments, in bytes.
	Bytes int64
	// Allocated is the size on disk of all files and the directory, as a Budget counts them.
	Allocated int64
	// Written is the time of the last write to a segment, by the file system's clock, or zero
	// if there is no segment.
	Written time.Time
}

// Inspect returns the sizes of the spool in dir, which need not be open. It reads no file. If
// fsys is nil, it uses durable.OS.
func Inspect(fsys durable.FS, dir string) (i Info, err error) {
	if fsys == nil {
		fsys = durable.OS
	}
	entries, err := readDir(fsys, dir)
	if err != nil {
		return i, err
	}
	err = eachSegment(entries, func(_ uint64, size int64, written time.Time) {
		i.Bytes += size
		i.Allocated += Allocated(size)
		if written.After(i.Written) {
			i.Written = written
		}
	})
	if err != nil {
		return i, err
	}
	i.Allocated += DirSize + otherAllocated(entries)
	return i, nil
}

// otherAllocated returns the bytes on disk of the files that are not segments among the
// entries of a spool's directory.
func otherAllocated(entries []fs.DirEntry) (sum int64) {
	for _, e := range entries {
		if _, segment := parseSegmentName(e.Name()); segment {
			continue
		}
		if info, err := e.Info(); err == nil { // otherwise it has been removed meanwhile
			sum += Allocated(info.Size())
		}
	}
	return sum
}

// RemoveCursor removes the cursor of a spool that is not open and in which everything is
// delivered. When the spool is opened again, Options.Delivered must say so.
func RemoveCursor(fsys durable.FS, dir string) error {
	err := fsys.Remove(filepath.Join(dir, cursorName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
