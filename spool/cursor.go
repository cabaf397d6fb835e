package spool

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/logspool/logspool/internal/durable"
)

// The cursor file is a log of what has been dealt with: one record for each Ack and for each time that
// the spool gave way. It is rewritten when it has grown to many times what it says.
const (
	cursorName       = "cursor"
	cursorMagic      = "LSPLCUR1"
	cursorRecordHead = 8 // u32 checksum of all that follows, u16 body length, u8 kind, u8 zero

	recordAck     = 1
	recordDropped = 2

	// maxRecordBody keeps a record's length in 16 bits; an Ack of more ranges makes several records.
	maxRecordBody = 1 << 15

	cursorCompactSize = 64 << 10
)

// dropped is a range of the stream that was given up before it was delivered.
type dropped struct {
	Range
	Gap
}

// cursor is what has been dealt with, and the file that says so.
type cursor struct {
	fs   durable.FS
	path string
	// durable makes a rewritten file survive a power cut, at the price of waiting for the disk.
	durable bool

	file  durable.File // nil: to be rewritten whole at the next change
	size  int64
	limit int64 // size at which it is worth rewriting

	acked   ackSet
	dropped []dropped // not yet acknowledged
}

// openCursor reads the cursor file, or begins one. cut is how many bytes of a torn tail were given up. Where it
// cannot be written now, on a full disk, it is written at the next change: FIFOs have to be read all the same.
func openCursor(fsys durable.FS, dir string, durable bool) (c *cursor, cut int64, err error) {
	c = &cursor{fs: fsys, path: filepath.Join(dir, cursorName), durable: durable}
	data, err := fsys.ReadFile(c.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_ = c.rewrite()
		return c, 0, nil
	case err != nil:
		return nil, 0, fmt.Errorf("couldn't read %q: %w", c.path, err)
	}
	good := c.replay(data)
	if good < int64(len(data)) {
		cut = int64(len(data)) - good
	}
	// What a crash cut off, and whatever stood behind it, goes.
	_ = c.rewrite()
	return c, cut, nil
}

func (c *cursor) replay(data []byte) (good int64) {
	if len(data) < len(cursorMagic) || string(data[:len(cursorMagic)]) != cursorMagic {
		return 0
	}
	off := len(cursorMagic)
	for {
		rest := data[off:]
		if len(rest) < cursorRecordHead {
			return int64(off)
		}
		n := int(binary.LittleEndian.Uint16(rest[4:]))
		if len(rest) < cursorRecordHead+n ||
			binary.LittleEndian.Uint32(rest) != crc32.Checksum(rest[4:cursorRecordHead+n], castagnoli) {
			return int64(off)
		}
		c.apply(rest[6], rest[cursorRecordHead:cursorRecordHead+n])
		off += cursorRecordHead + n
	}
}

func (c *cursor) apply(kind byte, body []byte) {
	var at uint64
	next := func() (v uint64) {
		v, n := binary.Uvarint(body)
		if n <= 0 {
			body = nil
			return 0
		}
		body = body[n:]
		return v
	}
	switch kind {
	case recordAck:
		for len(body) > 0 {
			from := at + next()
			at = from + next()
			if at <= maxPosition {
				c.acked.add(Range{from, at})
			}
		}
	case recordDropped:
		d := dropped{Range: Range{next(), 0}}
		d.To = d.From + next()
		d.Reason, d.Frames, d.Bytes = Reason(next()), next(), next()
		d.MinTime, d.MaxTime = int64(next()), int64(next())
		if d.From >= d.To || d.To > maxPosition {
			return
		}
		c.note(d)
	}
	c.forgetDropped()
}

func appendRecord(p []byte, kind byte, body func([]byte) []byte) []byte {
	at := len(p)
	p = append(p, 0, 0, 0, 0, 0, 0, kind, 0)
	p = body(p)
	binary.LittleEndian.PutUint16(p[at+4:], uint16(len(p)-at-cursorRecordHead))
	binary.LittleEndian.PutUint32(p[at:], crc32.Checksum(p[at+4:], castagnoli))
	return p
}

// appendAck appends the records of an acknowledgement; ranges are in order.
func appendAck(p []byte, ranges []Range) []byte {
	const perRange = 2 * binary.MaxVarintLen64
	for chunk := range slices.Chunk(ranges, maxRecordBody/perRange) {
		p = appendRecord(p, recordAck, func(p []byte) []byte {
			var at uint64
			for _, r := range chunk {
				p = binary.AppendUvarint(p, r.From-at)
				p = binary.AppendUvarint(p, r.To-r.From)
				at = r.To
			}
			return p
		})
	}
	return p
}

func appendDropped(p []byte, d dropped) []byte {
	return appendRecord(p, recordDropped, func(p []byte) []byte {
		for _, v := range []uint64{d.From, d.To - d.From, uint64(d.Reason), d.Frames, d.Bytes,
			uint64(d.MinTime), uint64(d.MaxTime)} {
			p = binary.AppendUvarint(p, v)
		}
		return p
	})
}

// ack puts ranges, which it sorts in place, into the set and on disk.
func (c *cursor) ack(ranges []Range) error {
	sortRanges(ranges)
	merged := ranges[:0]
	changed := false
	for _, r := range ranges {
		if r.From >= r.To {
			continue
		}
		changed = c.acked.add(r) || changed
		if n := len(merged); n > 0 && r.From <= merged[n-1].To {
			merged[n-1].To = max(merged[n-1].To, r.To)
		} else {
			merged = append(merged, r)
		}
	}
	if !changed {
		return nil
	}
	c.forgetDropped()
	return c.write(appendAck(nil, merged))
}

// drop notes that d was given up.
func (c *cursor) drop(d dropped) error {
	c.note(d)
	return c.write(appendDropped(nil, d))
}

// note puts d among what was given up, in the place of what is part of it: that has become longer.
func (c *cursor) note(d dropped) {
	c.dropped = slices.DeleteFunc(c.dropped, func(o dropped) bool { return d.From <= o.From && o.To <= d.To })
	c.dropped = append(c.dropped, d)
}

// forgetDropped forgets what was given up and has been reported since.
func (c *cursor) forgetDropped() {
	c.dropped = slices.DeleteFunc(c.dropped, func(d dropped) bool { return c.acked.through(d.From) >= d.To })
}

// write appends records. When that fails, the file is given up and written anew at the next change.
func (c *cursor) write(records []byte) error {
	if c.file == nil || c.size >= c.limit {
		return c.rewrite()
	}
	if _, err := c.file.WriteAt(records, c.size); err != nil {
		c.file.Close()
		c.file = nil
		return fmt.Errorf("couldn't write %q: %w", c.path, err)
	}
	c.size += int64(len(records))
	return nil
}

// rewrite replaces the file by one that says what is known now, through durable.WriteFile.
func (c *cursor) rewrite() error {
	p := []byte(cursorMagic)
	for _, d := range c.dropped {
		p = appendDropped(p, d)
	}
	if c.acked.prefix > 0 {
		p = appendAck(p, []Range{{0, c.acked.prefix}})
	}
	p = appendAck(p, c.acked.beyond)
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
	if err := durable.WriteFile(c.fs, c.path, p, filePerm, c.durable); err != nil {
		return err
	}
	f, err := c.fs.OpenFile(c.path, os.O_RDWR, filePerm)
	if err != nil {
		return fmt.Errorf("couldn't open %q: %w", c.path, err)
	}
	c.file, c.size = f, int64(len(p))
	c.limit = max(cursorCompactSize, 4*c.size)
	return nil
}

func (c *cursor) close() error {
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}

func sortRanges(ranges []Range) {
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
}
