package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/logspool/logspool/internal/durable"
)

// The file of what has not been kept; DESIGN.md draws it. All numbers are little-endian.
const (
	missingName   = "missing"
	missingMagic  = "LSPLMIS1"
	missingHeader = 24
	missingSize   = missingHeader + gapPayloadSize
)

// missingFile has on disk what Append could not keep and no block tells of yet, so that the count outlives the
// process. A disk without room takes no new block, but lets be overwritten what is there: therefore the file
// has its size from the beginning.
type missingFile struct {
	fs    durable.FS
	path  string
	file  durable.File // nil: it could not be made yet
	dirty bool         // written to since it was last synced
}

// openMissing opens the file in dir, or makes it, and returns what it has: a gap that is to be told at
// position, of the FIFO that epoch counts. It is told already if the spool goes on behind that position. No
// trouble with the file keeps the spool from being opened.
func openMissing(fsys durable.FS, dir string) (m *missingFile, g Gap, epoch uint32, position uint64) {
	m = &missingFile{fs: fsys, path: filepath.Join(dir, missingName)}
	if m.open() != nil {
		return m, g, 0, 0
	}
	var p [missingSize]byte
	if _, err := m.file.ReadAt(p[:], 0); err != nil {
		m.store(Gap{}, 0, 0) // it is new
		return m, g, 0, 0
	}
	le := binary.LittleEndian
	if string(p[:8]) != missingMagic || le.Uint32(p[8:]) != crc32.Checksum(p[12:], castagnoli) {
		return m, g, 0, 0
	}
	g, _ = decodeGap(p[missingHeader:])
	return m, g, le.Uint32(p[12:]), le.Uint64(p[16:])
}

func (m *missingFile) open() (err error) {
	m.file, err = m.fs.OpenFile(m.path, os.O_CREATE|os.O_RDWR, filePerm)
	return err
}

// store replaces what the file has, with one write in place. An error would have the count lost by a kill, and no more.
func (m *missingFile) store(g Gap, epoch uint32, position uint64) {
	if m.file == nil && m.open() != nil {
		return
	}
	var p [missingSize]byte
	le := binary.LittleEndian
	copy(p[:], missingMagic)
	le.PutUint32(p[12:], epoch)
	le.PutUint64(p[16:], position)
	encodeGap(p[missingHeader:], g)
	le.PutUint32(p[8:], crc32.Checksum(p[12:], castagnoli))
	_, _ = m.file.WriteAt(p[:], 0)
	m.dirty = true
}

func (m *missingFile) close() {
	if m.file != nil {
		m.file.Close()
		m.file = nil
	}
}

// remove closes the file and removes it.
func (m *missingFile) remove() error {
	m.close()
	if err := m.fs.Remove(m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("couldn't remove %q: %w", m.path, err)
	}
	return nil
}
