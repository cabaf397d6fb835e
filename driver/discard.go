package driver

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/logspool/logspool/driver/fifo"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/spool"
)

// discarder reads a FIFO that no session reads, and counts what it drops. A FIFO that nobody
// reads blocks its container, docker stop and docker inspect. A discarder is the intake's
// sink.
type discarder struct {
	fifos *fifos
	file  string
	loss  *faultlog.Loss

	mu   sync.Mutex // mu is held while the FIFO is opened or released.
	fifo *fifo.FIFO
}

// discard begins to read and drop what comes out of file, unless the FIFO has a reader. why
// is the message that reports the loss.
func (f *fifos) discard(file, why string, attrs ...any) {
	d := &discarder{fifos: f, file: file, loss: faultlog.NewLoss(f.log, why, append(attrs, "file", file)...)}
	d.mu.Lock()
	defer d.mu.Unlock()
	f.mu.Lock()
	if f.stopped || f.attached[file] != nil || f.discards[file] != nil {
		f.mu.Unlock()
		return
	}
	f.discards[file] = d
	f.mu.Unlock()
	opened, err := f.intake.Open(file, d, nil)
	if err != nil { // The next look for unclaimed FIFOs tries again.
		d.forget()
		return
	}
	d.fifo = opened
}

// release stops the discarder, so that an attachment may read the FIFO. When it returns, the
// discarder reads nothing more.
func (d *discarder) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fifo != nil {
		d.fifo.Release()
		d.fifo = nil
	}
	d.forget()
}

func (d *discarder) forget() {
	d.fifos.mu.Lock()
	if d.fifos.discards[d.file] == d {
		delete(d.fifos.discards, d.file)
	}
	d.fifos.mu.Unlock()
	d.loss.Close()
}

// Take counts the bytes as lost.
func (d *discarder) Take(block []byte, info spool.BlockInfo) {
	d.loss.Lost(info.Frames, int64(len(block)-spool.BlockHeaderSize))
}

// Dropped does nothing, because nothing was spooled.
func (d *discarder) Dropped() {}

// Fault does nothing. The intake tries again.
func (d *discarder) Fault(error) {}

// Panicked does nothing. The bytes would have been dropped anyway.
func (d *discarder) Panicked(error, int) {}

// End removes the FIFO, because its writer is gone.
func (d *discarder) End() {
	d.forget()
	d.fifos.remove(d.file)
}

// unclaimedInterval is how often the plugin looks for FIFOs that nobody reads, and how long
// after its start it does so for the first time. Tests change it.
var unclaimedInterval = 5 * time.Second

const unknownLost = "the output of an unknown container is lost: no readable record names its FIFO"

// discardUnclaimed discards the FIFOs in the directory that nobody reads. Their container's
// record is damaged, or cannot be read now. It leaves an empty FIFO alone: dockerd makes a
// FIFO before it sends StartLogging, and writes only after the answer.
//
// wait says that a record may become readable. Then a FIFO is left alone while it has room,
// because its lines may still be spooled, and its container is not blocked. A FIFO counts as
// full when a quarter of its size is used, because its pages need not be full.
func (f *fifos) discardUnclaimed(wait bool) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		file := filepath.Join(f.dir, e.Name())
		if e.Type() != os.ModeNamedPipe || f.isClaimed(file) {
			continue
		}
		n, size, err := fifo.Unread(file)
		if err != nil || n == 0 || wait && n < size/4 {
			continue
		}
		f.discard(file, unknownLost)
	}
}

// discardRest drops and counts what is left in a FIFO that no session reads, and that dockerd
// is about to remove.
func (f *fifos) discardRest(file string) {
	if f.dir == "" || f.checkFile(file) != nil {
		return
	}
	if n, _, err := fifo.Unread(file); err == nil && n > 0 {
		f.discard(file, unknownLost)
	}
}

// stopDiscarding keeps new discarders from beginning.
func (f *fifos) stopDiscarding() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
}

// close logs what was discarded since the last message. The intake must be closed.
func (f *fifos) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.discards {
		d.loss.Close()
	}
}
