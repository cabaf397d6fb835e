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

// The cursor file is a log of delivery progress. Each Ack appends a record, and so does each
// eviction of undelivered data. The file is rewritten when it has grown to many times its
// content. Its first record, the slots of the pending gaps (pendinggap.go), is overwritten in
// place, which is possible even when the disk is full.
const (
	cursorName       = "cursor"
	cursorMagic      = "LSPLCUR1"
	cursorFamily     = "LSPLCUR" // followed by a version
	cursorRecordHead = 8         // u32 checksum of the rest, u16 body length, u8 kind, u8 zero
	cursorSlotsEnd   = len(cursorMagic) + cursorRecordHead + slotCount*slotSize

	recordAck     = 1
	recordEvicted = 2
	recordSlots   = 3

	// maxRecordBody keeps a record's length in 16 bits. An Ack of more ranges makes several
	// records.
	maxRecordBody = 1 << 15

	cursorCompactSize = 64 << 10

	// newerName is the name under which a cursor of a newer version is kept.
	newerName = "cursor.newer"

	// pendingGapFile is where earlier versions kept the unkept gap.
	pendingGapFile  = "missing"
	pendingGapMagic = "LSPLMIS1"
)

// evicted is a range of the stream that was evicted before it was delivered.
type evicted struct {
	stream.Range
	Gap
}

// cursor is the delivery progress and the file that records it. Spool.mu guards it.
type cursor struct {
	fs   durable.FS
	path string
	// durable says that a rewritten file must survive a power cut, so rewrite waits for the
	// disk.
	durable bool
	file    cursorFile

	acked ackSet
	// evicted has the evicted ranges that have not been acknowledged.
	evicted []evicted
	slots   [slotCount]slot
	// repaired is what openCursor repaired.
	repaired Repair
}

// cursorFile is the state of the cursor's file.
type cursorFile struct {
	handle    durable.File // handle is nil if the file is closed or does not exist.
	exists    bool         // exists says that the file exists and begins with the slots.
	stale     bool         // stale says that the next change must rewrite the whole file.
	size      int64        // size is the length of the file, in bytes.
	rewriteAt int64        // rewriteAt is the size from which a change rewrites the file.
	dirty     bool         // dirty says that the file was written after its last sync.
	dirDirty  bool         // dirDirty says that the directory must be synced for the file.
	resized   func()       // resized, if not nil, is called when the allocated size changes.
}

// openCursor reads the cursor file in dir. It writes only to repair what a crash left: it
// appends to an intact file, and creates none before there is something to record. It
// renames a file of a newer version, to keep it.
func openCursor(fsys durable.FS, dir string, durable bool) (c *cursor, err error) {
	c = &cursor{fs: fsys, path: filepath.Join(dir, cursorName), durable: durable, file: cursorFile{rewriteAt: cursorCompactSize}}
	defer c.readPendingGapFile(dir)
	data, err := fsys.ReadFile(c.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, fmt.Errorf("couldn't read %q: %w", c.path, err)
	}
	if newerCursor(data) {
		c.repaired.NewerCursor = filepath.Join(dir, newerName)
		if err := fsys.Rename(c.path, c.repaired.NewerCursor); err != nil {
			return nil, fmt.Errorf("couldn't keep %q of a newer version: %w", c.path, err)
		}
		return c, nil
	}
	good := c.replay(data)
	c.repaired.CursorCutBytes = int64(len(data)) - good
	c.file.size = int64(len(data))
	c.file.rewriteAt = max(cursorCompactSize, 4*c.file.size)
	if c.file.stale = !c.file.exists || c.repaired.CursorCutBytes > 0; c.file.stale {
		// This discards a torn record and what follows it. If it fails, because the disk is
		// full, the next change does it: FIFOs must be read all the same.
		_ = c.rewrite()
	}
	return c, nil
}

// newerCursor reports whether data is a cursor of an unknown version.
func newerCursor(data []byte) bool {
	const family = len(cursorFamily)
	return len(data) >= len(cursorMagic) && string(data[:family]) == cursorFamily && data[family] != cursorMagic[family]
}

// readPendingGapFile takes over the pending gap of an earlier version, and removes its file.
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

// replay applies the records of a cursor file, and returns where the last good one ends.
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
			// A power cut can tear a record that is overwritten in place. That loses the
			// pending gaps, but not the records after it.
			c.file.exists = true
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

// apply applies one record. A body that is too short reads as zeros.
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

// appendAck appends the records of an acknowledgement of ranges, which are in order.
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

// ack adds ranges to the set and records them. It sorts them in place.
func (c *cursor) ack(ranges []stream.Range) error {
	slices.SortFunc(ranges, func(a, b stream.Range) int { return cmp.Compare(a.From, b.From) })
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

// evict records that d was evicted.
func (c *cursor) evict(d evicted) error {
	c.addEvicted(d)
	return c.write(appendEvicted(nil, d))
}

// addEvicted adds d to the evicted ranges. It replaces the ranges that d includes.
func (c *cursor) addEvicted(d evicted) {
	c.evicted = slices.DeleteFunc(c.evicted, func(o evicted) bool { return d.From <= o.From && o.To <= d.To })
	c.evicted = append(c.evicted, d)
}

// forgetReported removes the evicted ranges that have been acknowledged.
func (c *cursor) forgetReported() {
	c.evicted = slices.DeleteFunc(c.evicted, func(d evicted) bool { return c.acked.through(d.From) >= d.To })
}

// write appends records to the file. After an error, the next change rewrites the file.
func (c *cursor) write(records []byte) error {
	if !c.file.exists || c.file.stale || c.file.size >= c.file.rewriteAt {
		return c.rewrite()
	}
	err := c.open()
	if err == nil {
		_, err = c.file.handle.WriteAt(records, c.file.size)
	}
	if err != nil {
		c.file.stale = true
		return fmt.Errorf("couldn't write %q: %w", c.path, err)
	}
	c.resize(c.file.size + int64(len(records)))
	c.file.dirty = true
	return nil
}

// resize records the size of the file.
func (c *cursor) resize(size int64) {
	before := c.allocated()
	if c.file.size, c.file.exists = size, true; c.allocated() != before && c.file.resized != nil {
		c.file.resized()
	}
}

// allocated returns the bytes that the file takes on the disk.
func (c *cursor) allocated() int64 {
	if !c.file.exists {
		return 0
	}
	return Allocated(c.file.size)
}

// open opens the file, which exists.
func (c *cursor) open() (err error) {
	if c.file.handle == nil {
		c.file.handle, err = c.fs.OpenFile(c.path, os.O_RDWR, durable.FilePerm)
	}
	return err
}

// rewrite replaces the file by one with the present state, by means of durable.WriteFile.
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
	c.file.stale = true
	if err := durable.WriteFile(c.fs, c.path, p, durable.FilePerm, c.durable); err != nil {
		return err
	}
	c.file.stale = false
	c.resize(int64(len(p)))
	c.file.dirty, c.file.dirDirty = !c.durable, !c.durable
	c.file.rewriteAt = max(cursorCompactSize, 4*c.file.size)
	return nil
}

func (c *cursor) close() error {
	if c.file.handle == nil {
		return nil
	}
	err := c.file.handle.Close()
	c.file.handle = nil
	return err
}
