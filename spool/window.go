package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/logspool/logspool/internal/durable"
)

// headerChunk is how many bytes are read at a time if only headers are needed: a hundred short
// blocks, and little of a long one.
const headerChunk = 16 << 10

// loneHeader is how many bytes are read for one header.
const loneHeader = 4 * BlockHeaderSize

// chunks are how many bytes a reader reads at a time: few at first, and more each time. So a
// thousand readers that each need a few lines hold little memory, and a reader of a backlog
// reads several blocks of a busy container at a time.
var chunks = [...]int{16 << 10, 64 << 10, 256 << 10}

// readBuffers holds free buffers, by index of chunks.
var readBuffers [len(chunks)]sync.Pool

// getBuffer returns a buffer of at least n bytes, and of at least chunks[chunk].
func getBuffer(n int64, chunk int) *[]byte {
	size := BlockHeaderSize + MaxPayload
	for i := chunk; i < len(chunks); i++ {
		if int64(chunks[i]) < n {
			continue
		}
		if b, ok := readBuffers[i].Get().(*[]byte); ok {
			return b
		}
		size = chunks[i]
		break
	}
	b := make([]byte, size)
	return &b
}

func putBuffer(b *[]byte) {
	for i, size := range chunks {
		if len(*b) == size {
			readBuffers[i].Put(b)
		}
	}
}

// window is the part of a segment's file that is in memory. It belongs to one goroutine.
type window struct {
	s       *Spool
	segment uint64 // segment is the base of the segment.
	headers bool   // headers says that only headers are read.
	back    bool   // back says that headers are read from the end to the beginning.
	file    durable.File
	buffer  *[]byte
	chunk   int    // chunk is the index of the next read's size in chunks.
	raw     []byte // raw has bytes of the segment from rawAt on, within *buffer.
	rawAt   int64
}

// openSegment moves the window to the segment that begins at base. fill opens its file.
func (w *window) openSegment(base uint64) {
	w.closeSegment()
	w.segment = base
}

// closeSegment closes the file and forgets what was read.
func (w *window) closeSegment() {
	w.closeFile()
	w.raw = nil
}

// closeFile closes the file. What was read stays in memory.
func (w *window) closeFile() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
}

// releaseBuffer returns the buffer to the pool.
func (w *window) releaseBuffer() {
	if w.buffer != nil {
		putBuffer(w.buffer)
		w.buffer, w.raw = nil, nil
	}
	w.chunk = 0
}

// fill makes raw hold n bytes from off on of a segment of extent p.
func (w *window) fill(off, n int64, p extent) error {
	if w.raw != nil && off >= w.rawAt && off+n <= w.rawAt+int64(len(w.raw)) {
		return nil
	}
	if off < 0 || off+n > p.size {
		return errShort
	}
	from := off
	if w.headers && w.buffer == nil {
		w.buffer = getBuffer(headerChunk, 0)
	} else if !w.headers && (w.buffer == nil || int64(len(*w.buffer)) < max(n, int64(chunks[w.chunk]))) {
		if w.buffer != nil {
			putBuffer(w.buffer)
		}
		w.buffer = getBuffer(n, w.chunk)
	}
	if w.back {
		from = max(0, off+n-headerChunk)
	}
	raw := (*w.buffer)[:min(w.readSize(from, n), p.size-from)]
	got, err := w.read(raw, from, p.file)
	w.raw, w.rawAt = raw[:got], from
	if int64(got) < off+n-from {
		if err == nil || errors.Is(err, io.EOF) {
			err = errShort
		}
		return err
	}
	if !w.headers {
		if w.chunk == 0 {
			w.closeFile() // a reader that needs only one chunk holds no descriptor
		}
		w.chunk = min(w.chunk+1, len(chunks)-1)
	}
	return nil
}

// read reads from the segment's file. shared is the file if the spool has it open, or nil. For a
// reader that needs a few lines, opening the file would cost more than the rest.
func (w *window) read(raw []byte, from int64, shared durable.File) (int, error) {
	if w.file == nil && shared != nil {
		if n, err := shared.ReadAt(raw, from); err == nil || errors.Is(err, io.EOF) {
			return n, err
		}
		// The spool may have closed it meanwhile. Any other error comes again.
	}
	if w.file == nil {
		path := w.s.segmentPath(w.segment)
		f, err := w.s.opts.FS.OpenFile(path, os.O_RDONLY, 0)
		if err != nil {
			return 0, fmt.Errorf("couldn't open %q: %w", path, err)
		}
		w.file = f
	}
	return w.file.ReadAt(raw, from)
}

// readSize returns how many bytes to read at from, of which n are needed now. If this header is
// more than a chunk after the last one that was read, the next one is probably not in the
// same chunk either.
func (w *window) readSize(from, n int64) int64 {
	if w.headers && !w.back && w.raw != nil && from-w.rawAt >= headerChunk {
		return max(n, loneHeader)
	}
	return int64(len(*w.buffer))
}

// at returns the bytes in memory from off on.
func (w *window) at(off int64) []byte { return w.raw[off-w.rawAt:] }

// header reads the header of the block at off in a segment of extent p. The header is within
// limits, but not verified: see decodeHeader.
func (w *window) header(off int64, p extent) (h blockHeader, err error) {
	if err := w.fill(off, BlockHeaderSize, p); err != nil {
		return h, err
	}
	if h, err = decodeHeader(w.at(off)); err != nil {
		return h, err
	}
	if h.position < w.segment || h.end() > p.end {
		return h, fmt.Errorf("%w: position %d in the segment from %d to %d", errNoBlock, h.position, w.segment, p.end)
	}
	return h, nil
}

// block reads and verifies the block at off.
func (w *window) block(off int64, p extent) (h blockHeader, err error) {
	if h, err = w.header(off, p); err != nil {
		return h, err
	}
	if err := w.fill(off, h.diskSize(), p); err != nil {
		return h, err
	}
	return h, h.verify(w.at(off))
}
