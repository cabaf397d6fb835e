package spool

import (
	"bytes"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// damagedSpool returns a spool with several segments, cut frames, a gap, evicted ranges and
// acknowledged ranges, and what was appended to it, by position.
func damagedSpool(t fataler) (*durabletest.Disk, map[uint64][]byte) {
	disk := durabletest.NewDisk()
	s := mustOpen(t, Options{Dir: "/spool", FS: disk, MaxSize: 1 << 20, History: 200 << 10})
	a := &appender{s: s}
	appended := map[uint64][]byte{}
	write := func(from, to, size int) {
		p := numbered(from, to, size)
		for at, rest := s.End(), p; len(rest) > 0; {
			n, _ := frameLength(rest)
			appended[at] = rest[frameHeaderSize : frameHeaderSize+n]
			at, rest = at+uint64(frameHeaderSize+n), rest[frameHeaderSize+n:]
		}
		a.append(t, p[:len(p)/2])
		a.append(t, p[len(p)/2:])
	}
	for i := range 20 {
		write(i*100+1, i*100+100, 700) // more than fits
	}
	s.AddGap(Gap{Reason: FirstForeign, Frames: 1, Bytes: 2})
	r := s.NewReader()
	var acks []stream.Range
	for i, item := range frames(r) {
		if i%3 == 0 && i > 2 {
			acks = append(acks, item.Range)
		}
	}
	r.Close()
	if err := s.Ack(acks); err != nil {
		t.Fatalf("Ack: %v", err)
	}
	write(2001, 2010, 100)
	return disk.Killed(), appended
}

// FuzzOpen damages the files of a spool. The spool opens, and reading it ends. Each item is a
// frame that was appended at its position, or a gap. What is appended afterwards is read too.
func FuzzOpen(f *testing.F) {
	// Each six bytes: what to do, which file, three bytes of where, and a byte to write.
	f.Add([]byte{})
	for op := range byte(6) {
		for file := range byte(12) {
			f.Add([]byte{op, file, 0, 0, 40, 0xff, op, file, 0, 0x80, 0, 7})
		}
	}
	base, appended := damagedSpool(f)
	f.Fuzz(func(t *testing.T, edits []byte) {
		edits = edits[:min(len(edits), 48)]
		disk := base.Killed()
		entries, err := disk.ReadDir("/spool")
		if err != nil {
			t.Fatal(err)
		}
		for ; len(edits) >= 6; edits = edits[6:] {
			e := entries[int(edits[1])%len(entries)]
			path := "/spool/" + e.Name()
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			at := int64(edits[2])<<16 | int64(edits[3])<<8 | int64(edits[4])
			if size := info.Size(); size > 0 {
				at %= size
			}
			switch edits[0] % 6 {
			case 0: // removed
				_ = disk.Remove(path)
				continue
			case 1: // renamed
				_ = disk.Rename(path, "/spool/"+strings.Repeat(string('0'+edits[5]%10), 16)+segmentSuffix)
				continue
			}
			file, err := disk.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				continue
			}
			switch edits[0] % 6 {
			case 2:
				file.Truncate(at)
			case 3:
				file.Truncate(info.Size() + at) // append zeros
			case 4:
				file.WriteAt(bytes.Repeat(edits[5:6], 300), at)
			case 5:
				file.WriteAt(edits[5:6], at)
			}
			file.Close()
		}
		appended := maps.Clone(appended)
		for range 2 {
			readDamaged(t, disk, appended)
		}
	})
}

// readHistory reads a history of damaged files: it ends, and returns only what was appended.
func readHistory(t *testing.T, h *History, appended map[uint64][]byte) {
	defer h.Close()
	for frames, at := 0, uint64(0); ; frames++ {
		frame, ok, err := h.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return
		}
		if want := appended[h.r.last.from]; !bytes.Equal(frame, want) {
			t.Fatalf("what the history has at %d was not appended there: %.40q", h.r.last.from, frame)
		}
		if frames > 0 && h.r.last.from <= at || frames > 100_000 {
			t.Fatalf("frame %d at %d after %d", frames, h.r.last.from, at)
		}
		at = h.r.last.from
	}
}

func readDamaged(t *testing.T, disk *durabletest.Disk, appended map[uint64][]byte) {
	s, _, err := Open(Options{Dir: "/spool", FS: disk, MaxSize: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, o := range []HistoryOptions{{Tail: -1}, {Tail: 0}, {Tail: 7}, {Tail: 700}, {Tail: -1, Since: 1500}} {
		for _, h := range histories(t, s, o) {
			readHistory(t, h, appended)
		}
	}
	r := s.NewReader()
	defer r.Close()
	items, at := 0, uint64(0)
	var last Item
	next := func() bool {
		item, ok := r.Next()
		if !ok {
			item, ok = r.GiveUp()
		}
		if !ok {
			return false
		}
		if items++; items > 100_000 {
			t.Fatalf("reading does not end: %d items, at %d of %d", items, r.Position(), s.End())
		}
		if item.From < at || item.To <= item.From {
			t.Fatalf("item at %v after %d", item.Range, at)
		}
		at = item.To
		if want, ok := appended[item.From]; item.Gap == nil && (!ok || !bytes.Equal(item.Frame, want)) {
			t.Fatalf("what is read at %v was not appended there: %.40q", item.Range, item.Frame)
		}
		last = item
		return true
	}
	for next() {
	}
	p := numbered(9999, 9999, 50)
	from := s.End()
	var tr Tracker
	if err := s.Append(append(make([]byte, BlockHeaderSize), p...), 7, tr.All(p)); err != nil {
		t.Fatal(err)
	}
	appended[s.End()-uint64(len(p))] = p[frameHeaderSize:]
	for next() {
	}
	if last.Gap != nil || frameTime(last.Frame) != 9999 {
		t.Fatalf("what was appended at %d is not read: %+v", from, last)
	}
	if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
		t.Fatal(err)
	}
	if s.Pending() {
		t.Fatalf("acknowledged up to %d of %d", s.Acked(), s.End())
	}
}
