package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/logspool/logspool/internal/durable"
)

// Finding is something that Verify finds in a file of a spool.
type Finding struct {
	File   string // File is the path of the file.
	Offset int64  // Offset is the place in the file, in bytes.
	Text   string // Text says what is there.
	// Damage is false if nothing is wrong: a newer version wrote the file, or a repair has set
	// it aside.
	Damage bool
}

// Verified is what Verify has checked and found.
type Verified struct {
	Segments int
	Blocks   int
	Bytes    int64 // Bytes is the size of the segments that were read.
	Findings []Finding
}

// settle is how long Verify waits before it reads a damaged file again. A process that has the
// spool open may have been writing it.
const settle = 50 * time.Millisecond

// Verify checks the headers and checksums of all segments and blocks of the spool in dir, its
// cursor and its pending gaps. It reads the whole spool, and changes no file. Another process
// may have the spool open. Damage counts if Verify finds it twice. The error is one of the
// directory. If fsys is nil, durable.OS is used.
func Verify(fsys durable.FS, dir string) (Verified, error) {
	if fsys == nil {
		fsys = durable.OS
	}
	v, err := verify(fsys, dir)
	if err != nil || !slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Damage }) {
		return v, err
	}
	time.Sleep(settle)
	again, err := verify(fsys, dir)
	again.Findings = slices.DeleteFunc(again.Findings, func(f Finding) bool {
		return f.Damage && !slices.Contains(v.Findings, f)
	})
	return again, err
}

// verifier is one pass of Verify.
type verifier struct {
	fs  durable.FS
	dir string
	Verified
}

func verify(fsys durable.FS, dir string) (Verified, error) {
	entries, err := readDir(fsys, dir)
	if err != nil {
		return Verified{}, err
	}
	v := &verifier{fs: fsys, dir: dir}
	var stored []segment
	err = eachSegment(entries, func(base uint64, _ int64, _ time.Time) {
		if s, ok := v.segment(base); ok {
			stored = append(stored, s)
		}
	})
	if err != nil {
		return v.Verified, err
	}
	for _, e := range entries {
		switch {
		case e.Name() == newerName:
			v.mention(filepath.Join(dir, e.Name()), "the cursor of a newer version, which the plugin keeps")
		case filepath.Ext(e.Name()) == cutSuffix:
			v.mention(filepath.Join(dir, e.Name()), "bytes that a repair cut off and set aside")
		}
	}
	// The cursor is read last: it covers what was evicted meanwhile.
	v.cursor(stored)
	return v.Verified, nil
}

func (v *verifier) damage(file string, off int64, format string, args ...any) {
	v.Findings = append(v.Findings, Finding{file, off, fmt.Sprintf(format, args...), true})
}

func (v *verifier) mention(file, text string) {
	v.Findings = append(v.Findings, Finding{File: file, Text: text})
}

// read returns the content of a file. ok is false if it has been removed, or cannot be read,
// which is damage.
func (v *verifier) read(path string, most int64) (data []byte, ok bool) {
	f, err := v.fs.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	if err != nil {
		v.damage(path, 0, "cannot be read: %v", err)
		return nil, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		v.damage(path, 0, "cannot be read: %v", err)
		return nil, false
	}
	if info.Size() > most {
		v.damage(path, most, "the file has %d bytes, and %d are the most", info.Size(), most)
	}
	data = make([]byte, min(info.Size(), most))
	n, err := f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		v.damage(path, int64(n), "cannot be read: %v", err)
		return nil, false
	}
	return data[:n], true
}

// segment checks a segment, and returns which part of the stream it holds. ok is false if it
// has been removed, or if a newer version wrote it.
func (v *verifier) segment(base uint64) (s segment, ok bool) {
	path := (&Spool{opts: Options{Dir: v.dir}}).segmentPath(base)
	data, ok := v.read(path, maxSegmentFile)
	if !ok {
		return s, false
	}
	switch _, err := decodeSegmentHeader(data, base); {
	case errors.Is(err, ErrVersion):
		v.mention(path, "a newer version of the plugin wrote this segment; it is not checked")
		return s, false
	case errors.Is(err, errShort):
		v.damage(path, 0, "the segment's header is cut short: the file has %d bytes", len(data))
	case errors.Is(err, errNoBlock):
		v.damage(path, 0, "this is not a segment: it does not begin with %s", segmentMagic)
	case err != nil:
		v.damage(path, 0, "segment header: %v", err)
	}
	v.Segments++
	v.Bytes += int64(len(data))
	return segment{base: base, end: v.blocks(path, data, base)}, true
}

// blocks checks the blocks of a segment. It returns the position after the last good one.
func (v *verifier) blocks(path string, data []byte, base uint64) (end uint64) {
	end = base
	for off := min(segmentHeaderSize, len(data)); off < len(data); {
		h, err := blockAt(data[off:])
		if err == nil && h.position != end {
			err = fmt.Errorf("its position is %d, expected %d", h.position, end)
		}
		if err == nil {
			v.Blocks++
			v.kind(path, int64(off), h)
			off, end = off+int(h.diskSize()), h.end()
			continue
		}
		skipped := nextGood(data[off+1:], end, uint64(off)) + 1
		if skipped == 0 {
			skipped = len(data) - off
		}
		v.damage(path, int64(off), "bad block at position %d: %v; %d bytes are damaged", end, err, skipped)
		if off += skipped; off < len(data) {
			h, _ := blockAt(data[off:])
			end = h.position
		}
	}
	return end
}

// kind checks what a good block says that it is.
func (v *verifier) kind(path string, off int64, h blockHeader) {
	switch {
	case h.kind > kindGap:
		v.Findings = append(v.Findings, Finding{File: path, Offset: off, Text: fmt.Sprintf("a block of the kind %d, which this version does not know", h.kind)})
	case h.kind == kindGap && h.length != gapPayloadSize:
		v.damage(path, off, "a gap of %d bytes, expected %d", h.length, gapPayloadSize)
	}
}

func blockAt(p []byte) (blockHeader, error) {
	h, err := decodeHeader(p)
	if err == nil {
		err = h.verify(p)
	}
	return h, err
}

// nextGood returns the offset in p of the next good block whose position is not before end and
// not more than most after it; -1 if there is none.
func nextGood(p []byte, end, most uint64) int {
	for off := 0; ; off++ {
		i := nextBlock(p[off:])
		if i < 0 {
			return -1
		}
		off += i
		// Within a segment, positions advance no faster than bytes.
		if h, err := blockAt(p[off:]); err == nil && h.position >= end && h.position-end <= most+uint64(off) {
			return off
		}
	}
}

// cursor checks the cursor and its pending gaps, and that the segments have everything that is
// neither acknowledged nor evicted. A log without a cursor is archived, or has nothing
// acknowledged.
func (v *verifier) cursor(stored []segment) {
	const most = 64 << 20
	path := filepath.Join(v.dir, cursorName)
	data, ok := v.read(path, most)
	if !ok {
		return
	}
	if newerCursor(data) {
		v.mention(path, "a newer version of the plugin wrote this cursor; it is not checked")
		return
	}
	c := &cursor{}
	switch good := c.replay(data); {
	case good == 0:
		v.damage(path, 0, "this is not a cursor: it does not begin with %s", cursorMagic)
		return
	case good < int64(len(data)):
		v.damage(path, good, "bad record; %d bytes are damaged", int64(len(data))-good)
		return
	}
	v.slots(path, data, c)
	v.missing(stored, c)
}

// slots checks the checksums of the pending gaps.
func (v *verifier) slots(path string, data []byte, c *cursor) {
	for i := range slotCount {
		if off := len(cursorMagic) + cursorRecordHead + i*slotSize; c.file.exists {
			p := data[off:][:slotSize]
			if binary.LittleEndian.Uint32(p) != crc32.Checksum(p[4:], castagnoli) {
				v.damage(path, int64(off), "pending gap: %v", errChecksum)
			}
		}
	}
}

// missing reports the parts of the stream that a reader would return as damaged because no
// segment has them.
func (v *verifier) missing(stored []segment, c *cursor) {
	if slices.ContainsFunc(v.Findings, func(f Finding) bool { return filepath.Ext(f.File) == segmentSuffix }) {
		return // it is reported where it is
	}
	pos := c.acked.prefix
	for _, s := range stored {
		for pos < s.base {
			to := c.acked.through(pos)
			for _, e := range c.evicted {
				if e.From <= pos {
					to = max(to, e.To)
				}
			}
			if to <= pos {
				path := (&Spool{opts: Options{Dir: v.dir}}).segmentPath(s.base)
				v.damage(path, 0, "the stream before it, from position %d to %d, is missing", pos, s.base)
				break
			}
			pos = to
		}
		pos = max(pos, s.end)
	}
}
