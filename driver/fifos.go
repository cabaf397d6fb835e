package driver

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/logspool/logspool/driver/archive"
	"github.com/logspool/logspool/driver/fifo"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/spool"
)

// discarding reads a FIFO that no session reads, and drops what comes: a FIFO that nobody reads holds up the container,
// docker stop and docker inspect. It is the intake's sink.
type discarding struct {
	d    *Driver
	file string
	loss *faultlog.Loss

	mu   sync.Mutex // held while the FIFO is opened
	fifo *fifo.FIFO
}

// discard begins to read a FIFO that nobody reads. why is the message of the loss.
func (d *Driver) discard(file, why string, attrs ...any) {
	x := &discarding{d: d, file: file, loss: faultlog.NewLoss(d.log, why, append(attrs, "file", file)...)}
	x.mu.Lock()
	defer x.mu.Unlock()
	d.mu.Lock()
	if d.closed || d.files[file] != nil || d.discarding[file] != nil {
		d.mu.Unlock()
		return
	}
	d.discarding[file] = x
	d.mu.Unlock()
	f, err := d.intake.Open(file, x, nil)
	if err != nil { // the next look for unclaimed FIFOs tries again
		x.forget()
		return
	}
	x.fifo = f
}

// release stops the reader, so that another may read. It returns when nothing more is read.
func (x *discarding) release() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fifo != nil {
		x.fifo.Release()
		x.fifo = nil
	}
	x.forget()
}

func (x *discarding) forget() {
	x.d.mu.Lock()
	if x.d.discarding[x.file] == x {
		delete(x.d.discarding, x.file)
	}
	x.d.mu.Unlock()
	x.loss.Close()
}

// Take counts a piece of the stream.
func (x *discarding) Take(block []byte, info spool.BlockInfo) {
	x.loss.Lost(info.Frames, int64(len(block)-spool.BlockHeaderSize))
}

// Dropped does nothing: nothing is kept.
func (x *discarding) Dropped() {}

// Fault is called when the FIFO cannot be read now. The intake tries again.
func (x *discarding) Fault(error) {}

// Panicked is called when a piece made the intake panic.
func (x *discarding) Panicked(error, int) {}

// End is called when the FIFO's writer is gone.
func (x *discarding) End() {
	x.forget()
	x.d.removeFIFO(x.file)
}

// discardFIFOs discards the FIFOs of a container whose spool cannot be opened.
func (d *Driver) discardFIFOs(id string) {
	r, err := archive.ReadRecord(d.fs, d.containerDir(id))
	if err != nil {
		return
	}
	for _, f := range r.FIFOs {
		if d.checkFile(f.File) == nil {
			d.discard(f.File, "a container's output is lost: its spool cannot be opened", "container", label(r.Info.Name, id))
		}
	}
}

// unclaimedInterval is how long after the start, and how often, the FIFOs are looked for that no session reads. A variable for
// tests.
var unclaimedInterval = 5 * time.Second

// discardUnclaimed discards the FIFOs that no session claims, until ctx is done: those of a container whose record is
// damaged, or is not readable now.
func (d *Driver) discardUnclaimed(ctx context.Context) {
	for pause(ctx, unclaimedInterval) {
		d.discardUnclaimedNow()
	}
}

// discardUnclaimedNow looks once. A FIFO that is empty is left alone: dockerd makes it before it sends StartLogging, and writes
// only after the answer. While a record may become readable, a FIFO is left alone that still has room: its lines may yet
// be spooled, and nobody waits for it. A pipe has as many pages as it may hold, which need not be full, so a quarter
// counts as full.
func (d *Driver) discardUnclaimedNow() {
	entries, err := os.ReadDir(d.o.FIFODir)
	if err != nil {
		return
	}
	d.mu.Lock()
	hope := d.unread > 0
	d.mu.Unlock()
	for _, e := range entries {
		file := filepath.Join(d.o.FIFODir, e.Name())
		if e.Type() != os.ModeNamedPipe || d.isClaimed(file) {
			continue
		}
		n, size, err := fifo.Unread(file)
		if err != nil || n == 0 || hope && n < size/4 {
			continue
		}
		d.discard(file, unknownLost)
	}
}

const unknownLost = "the output of an unknown container is lost: no readable record names its FIFO"

// discardRest counts what is left in a FIFO that no session reads, and that dockerd is about to remove.
func (d *Driver) discardRest(file string) {
	if d.o.FIFODir == "" || d.checkFile(file) != nil {
		return
	}
	if n, _, err := fifo.Unread(file); err == nil && n > 0 {
		d.discard(file, unknownLost)
	}
}

func (d *Driver) isClaimed(file string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[file] != nil || d.discarding[file] != nil
}
