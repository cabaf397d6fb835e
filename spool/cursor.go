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
	"github.com/logspool/logspool/internal/stream"
)

// The cursor file is a log of delivery progress: one record for each Ack and for each time that the spool evicted
// something undelivered. It is rewritten when it has grown to many times what it says. Its first record is a reserve that
// is overwritten in place: pending gaps (pendinggap.go) are on disk there although a full disk takes no new block.
const (
	cursorName       = "cursor"
	cursorMagic      = "LSPLCUR1"
	cursorFamily     = "LSPLCUR" // and a version
	cursorRecordHead = 8         // u32 checksum of all that follows, u16 body length, u8 kind, u8 zero
	cursorSlotsEnd   = len(cursorMagic) + cursorRecordHead + slotCount*slotSize

	recordAck     = 1
	recordEvicted = 2
	recordSlots   = 3

	// maxRecordBody keeps a record's length in 16 bits; an Ack of more ranges makes several records.
	maxRecordBody = 1 << 15

	cursorCompactSize = 64 << 10

	// newerName is where a cursor of a newer version is kept.
	newerName = "cursor.newer"

	// pendingGapFile is the file of earlier versions that had a pending gap.
	pendingGapFile  = "missing"
	pendingGapMagic = "LSPLMIS1"
)

// evicted is a range of the stream that was evicted before it was delivered.
type evicted struct {
	stream.Range
	Gap
}

// cursor is the delivery progress, and the file that records it.
type cursor struct {
	fs   durable.FS
	path string
	// durable makes a rewritten file survive a power cut, at the price of waiting for the disk.
	durable bool

	file     durable.File // nil: closed, or not there
	exists   bool         // the file exists, with the reserve at its beginning
	stale    bool         // it must be rewritten whole at the next change
	size     int64        // of what is good of it
	limit    int64        // size at which it is worth rewriting
	dirty    bool         // written to since it was last synced
	dirDirty bool         // made or replaced since the directory was last synced
	resized  func()       // called when the file takes more or less on the disk; nil: nobody counts it

	acked    ackSet
	evicted  []evicted // not yet acknowledged
	slots    [slotCount]slot
	repaired Repair // what opening it found
}

// openCursor reads the cursor file in dir. It writes only where a crash has left something behind: a file that is whole is
// continued, and none is made before there is something to record. A file of a newer version is kept under another name.
func openCursor(fsys durable.FS, dir string, durable bool) (c *cursor, err error) {
	c = &cursor{fs: fsys, path: filepath.Join(dir, cursorName), durable: durable, limit: cursorCompactSize}
	defer c.readPendingGapFile(dir)
	data, err := fsys.ReadFile(c.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, fmt.Errorf("couldn't read %q: %w", c.path, err)
	}
	if len(data) >= len(cursorMagic) && string(data[:len(cursorFamily)]) == cursorFamily && data[len(cursorFamily)] != cursorMagic[len(cursorFamily)] {
		c.repaired.NewerCursor = filepath.Join(dir, newerName)
		if err := fsys.Rename(c.path, c.repaired.NewerCursor); err != nil {
			return nil, fmt.Errorf("couldn't keep %q of a newer version: %w", c.path, err)
		}
		return c, nil
	}
	good := c.replay(data)
	c.repaired.CursorCutBytes = int64(len(data)) - good
	c.size = int64(len(data))
	c.limit = max(cursorCompactSize, 4*c.size)
	if c.stale = !c.exists || c.repaired.CursorCutBytes > 0; c.stale {
		// What a crash cut off, and whatever follows it, goes. Where that fails, on a full disk, it is done at the next
		// change: FIFOs have to be read all the same.
		_ = c.rewrite()
	}
	return c, nil
}

// readPendingGapFile takes over the pending gap of an earlier version, which had a file of its own.
func (c *cursor) readPendingGapFile(dir string) {
	if c == nil {
		return
	}
	path := filepath.Join(dir, pendingGapFile)
	p, err := c.fs.ReadFile(path)
	if err != nil {
		return
	}
	le := binary.LittleEndian
	if len(p) >= 8+slotSize && string(p[:8]) == pendingGapMagic && le.Uint32(p[8:]) == crc32.Checksum(p[12:8+slotSize], castagnoli) {
		if old := decodeSlot(p[8:]); c.slots[unkeptSlot] == (slot{}) && old.gap.Bytes > 0 {
			c.slots[unkeptSlot] = old
			if c.storeSlots() != nil {
				return
			}
		}
	}
	_ = c.fs.Remove(path)
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
		if off == len(cursorMagic) && rest[6] == recordSlots && n == slotCount*slotSize && len(data) >= cursorSlotsEnd {
			// A power cut can tear what is overwritten in place. That costs the pending gaps, not the records behind it.
			c.exists = true
			c.readSlots(rest)
			off = cursorSlotsEnd
			continue
		}
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
				c.acked.add(stream.Range{From: from, To: at})
			}
		}
	case recordEvicted:
		d := evicted{Range: stream.Range{From: next(), To: 0}}
		d.To = d.From + next()
		d.Reason, d.Frames, d.Bytes = Reason(next()), next(), next()
		d.MinTime, d.MaxTime = int64(next()), int64(next())
		if d.From >= d.To || d.To > maxPosition {
			return
		}
		c.addEvicted(d)
	}
	c.forgetReported()
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
func appendAck(p []byte, ranges []stream.Range) []byte {
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

func appendEvicted(p []byte, d evicted) []byte {
	return appendRecord(p, recordEvicted, func(p []byte) []byte {
		for _, v := range []uint64{d.From, d.To - d.From, uint64(d.Reason), d.Frames, d.Bytes,
			uint64(d.MinTime), uint64(d.MaxTime)} {
			p = binary.AppendUvarint(p, v)
		}
		return p
	})
}

// ack puts ranges, which it sorts in place, into the set and on disk.
func (c *cursor) ack(ranges []stream.Range) error {
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
	c.forgetReported()
	return c.write(appendAck(nil, merged))
}

// evict notes that d was given up.
func (c *cursor) evict(d evicted) error {
	c.addEvicted(d)
	return c.write(appendEvicted(nil, d))
}

// addEvicted puts d among what was given up, in the place of what is part of it: that has become longer.
func (c *cursor) addEvicted(d evicted) {
	c.evicted = slices.DeleteFunc(c.evicted, func(o evicted) bool { return d.From <= o.From && o.To <= d.To })
	c.evicted = append(c.evicted, d)
}

// forgetReported forgets what was given up and has been reported since.
func (c *cursor) forgetReported() {
	c.evicted = slices.DeleteFunc(c.evicted, func(d evicted) bool { return c.acked.through(d.From) >= d.To })
}

// write appends records. After an error the file is rewritten at the next change.
func (c *cursor) write(records []byte) error {
	if !c.exists || c.stale || c.size >= c.limit {
		return c.rewrite()
	}
	err := c.open()
	if err == nil {
		_, err = c.file.WriteAt(records, c.size)
	}
	if err != nil {
		c.stale = true
		return fmt.Errorf("couldn't write %q: %w", c.path, err)
	}
	c.resize(c.size + int64(len(records)))
	c.dirty = true
	return nil
}

// resize takes note of the size of the file.
func (c *cursor) resize(size int64) {
	before := c.allocated()
	if c.size, c.exists = size, true; c.allocated() != before && c.resized != nil {
		c.resized()
	}
}

// allocated returns what the file takes on the disk.
func (c *cursor) allocated() int64 {
	if !c.exists {
		return 0
	}
	return Allocated(c.size)
}

// open opens the file, which is there.
func (c *cursor) open() (err error) {
	if c.file == nil {
		c.file, err = c.fs.OpenFile(c.path, os.O_RDWR, filePerm)
	}
	return err
}

// create makes the file if it is not there.
func (c *cursor) create() error {
	if c.exists {
		return nil
	}
	return c.rewrite()
}

// rewrite replaces the file by one that says what is known now, through durable.WriteFile.
func (c *cursor) rewrite() error {
	p := appendSlots([]byte(cursorMagic), &c.slots)
	for _, d := range c.evicted {
		p = appendEvicted(p, d)
	}
	if c.acked.prefix > 0 {
		p = appendAck(p, []stream.Range{{From: 0, To: c.acked.prefix}})
	}
	p = appendAck(p, c.acked.beyond)
	_ = c.close()
	c.stale = true
	if err := durable.WriteFile(c.fs, c.path, p, filePerm, c.durable); err != nil {
		return err
	}
	c.stale = false
	c.resize(int64(len(p)))
	c.dirty, c.dirDirty = !c.durable, !c.durable
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

func sortRanges(ranges []stream.Range) {
	slices.SortFunc(ranges, func(a, b stream.Range) int { return cmp.Compare(a.From, b.From) })
}
