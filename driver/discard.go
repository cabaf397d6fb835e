package driver

import (
	"github.com/logspool/logspool/driver/archive"
	"path/filepath"

	"github.com/logspool/logspool/spool"
)

// discard reads the FIFOs of a container whose spool cannot be opened, and drops what comes: a FIFO that nobody reads
// holds up the container, docker stop and docker inspect.
func (d *Driver) discard(id string) {
	r, err := archive.ReadRecord(d.fs, filepath.Join(d.containersDir(), id))
	if err != nil {
		return
	}
	for _, f := range r.FIFOs {
		if d.checkFile(f.File) == nil {
			_, _ = d.intake.Open(f.File, &discarded{d: d, id: id, file: f.File}, nil)
		}
	}
}

// discarded is the sink of a FIFO whose container has no spool.
type discarded struct {
	d        *Driver
	id, file string
	bytes    int64
}

// Take counts a piece of the stream.
func (x *discarded) Take(block []byte, _ spool.BlockInfo) {
	x.bytes += int64(len(block) - spool.BlockHeaderSize)
}

// End is called when the FIFO's writer is gone.
func (x *discarded) End() {
	if x.bytes > 0 {
		x.d.log.Error("a container's output was lost, for its spool could not be opened", "container", x.id, "bytes", x.bytes)
	}
	x.d.removeFIFO(x.file)
}
