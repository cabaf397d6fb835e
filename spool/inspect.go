package spool

import (
	"time"

	"github.com/logspool/logspool/internal/durable"
)

// Info is what Inspect finds.
type Info struct {
	Bytes   int64     // on disk, of all segments
	Written time.Time // when the last of them was written to, by the file system's clock; zero: there is none
}

// Inspect looks at the spool in dir, which need not be open, without reading any file. fsys may be nil: durable.OS.
func Inspect(fsys durable.FS, dir string) (i Info, err error) {
	if fsys == nil {
		fsys = durable.OS
	}
	err = eachSegment(fsys, dir, func(_ uint64, size int64, written time.Time) {
		i.Bytes += size
		if written.After(i.Written) {
			i.Written = written
		}
	})
	return i, err
}
