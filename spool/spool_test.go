package spool

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/stream"
)

// testFrame returns a frame as dockerd would write it, with the given time and line.
func testFrame(source string, t int64, line []byte) []byte {
	p := append([]byte{0x0a, byte(len(source))}, source...)
	p = append(p, 0x10)
	p = binary.AppendUvarint(p, uint64(t))
	if len(line) > 0 {
		p = append(p, 0x1a)
		p = binary.AppendUvarint(p, uint64(len(line)))
		p = append(p, line...)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
}

// appender appends a stream in blocks, like driver/fifo.
type appender struct {
	s       *Spool
	tracker Tracker
	epoch   uint32
}

type fataler interface{ Fatalf(string, ...any) }

func (a *appender) append(f fataler, p []byte) {
	info := a.tracker.All(p)
	a.tracker.Advance(info)
	if err := a.s.Append(append(make([]byte, BlockHeaderSize), p...), a.epoch, info); err != nil {
		f.Fatalf("Append: %v", err)
	}
}

func mustOpen(t fataler, o Options) *Spool {
	s, _, err := Open(o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

// frames reads everything that there is.
func frames(r *Reader) (items []Item) {
	for {
		item, ok := r.Next()
		if !ok {
			return items
		}
		item.Frame = bytes.Clone(item.Frame)
		items = append(items, item)
	}
}

// TestStreamIsReadBack cuts a stream into blocks anywhere, opens the spool again at some of the
// cuts, and reads it back: every frame once, at its position, without a gap.
func TestStreamIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		o := Options{Dir: dir, MaxSize: 64 << 20}
		s := mustOpen(t, o)
		defer func() { s.Close() }()
		a := &appender{s: s}

		var content []byte
		var want []stream.Range
		n := rapid.IntRange(1, 200).Draw(t, "frames")
		large := rapid.Bool().Draw(t, "large")
		for i := range n {
			size := rapid.IntRange(0, 300).Draw(t, "size")
			if large {
				size *= 60
			}
			f := testFrame("stdout", 1e18+int64(i), bytes.Repeat([]byte("x"), size))
			want = append(want, stream.Range{From: uint64(len(content)), To: uint64(len(content) + len(f))})
			content = append(content, f...)
		}
		r := s.NewReader()
		var got []Item
		for at := 0; at < len(content); {
			n := min(rapid.OneOf(rapid.IntRange(1, 8), rapid.IntRange(1, 70000)).Draw(t, "block"), len(content)-at)
			a.append(t, content[at:at+n])
			at += n
			switch rapid.IntRange(0, 5).Draw(t, "then") {
			case 0:
				got = append(got, frames(r)...)
			case 1:
				r.Release()
			case 2:
				for _, item := range got {
					if err := s.Ack([]stream.Range{item.Range}); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				r.Close()
				s = mustOpen(t, o)
				a.s = s
				r = s.NewReader()
			}
		}
		got = append(got, frames(r)...)
		if len(got) != len(want) {
			t.Fatalf("got %d items, want %d", len(got), len(want))
		}
		for i, item := range got {
			if item.Gap != nil {
				t.Fatalf("item %d: a gap %+v at %+v", i, *item.Gap, item.Range)
			}
			if item.Range != want[i] || !bytes.Equal(item.Frame, content[want[i].From+4:want[i].To]) {
				t.Fatalf("item %d: got %+v, want %+v", i, item.Range, want[i])
			}
		}
		r.Close()
	})
}

// TestAcksMayComeInAnyOrder acknowledges in any order. What is not acknowledged, and
// nothing else, is read after a rewind and after opening the spool again.
func TestAcksMayComeInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		o := Options{Dir: dir, MaxSize: 1 << 20} // segments of 64 KiB
		s := mustOpen(t, o)
		defer func() { s.Close() }()
		a := &appender{s: s}
		pending := map[stream.Range]bool{}
		r := s.NewReader()
		defer func() { r.Close() }()
		at := uint64(0)
		check := func() {
			items := frames(r)
			if len(items) != len(pending) {
				t.Fatalf("%d items read, %d are pending", len(items), len(pending))
			}
			for _, item := range items {
				if item.Gap != nil || !pending[item.Range] {
					t.Fatalf("read %+v (gap %v), which is not pending", item.Range, item.Gap)
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				var p []byte
				for range rapid.IntRange(1, 20).Draw(t, "n") {
					f := testFrame("stderr", int64(at)+1, make([]byte, rapid.IntRange(0, 2000).Draw(t, "size")))
					pending[stream.Range{From: at, To: at + uint64(len(f))}] = true
					at += uint64(len(f))
					p = append(p, f...)
				}
				a.append(t, p)
			case 2:
				var ranges []stream.Range
				for _, item := range sorted(pending) {
					if rapid.IntRange(0, 2).Draw(t, "ack") > 0 {
						ranges = append(ranges, item)
						delete(pending, item)
					}
				}
				rand.Shuffle(len(ranges), func(i, j int) { ranges[i], ranges[j] = ranges[j], ranges[i] })
				if err := s.Ack(ranges); err != nil {
					t.Fatal(err)
				}
			case 3:
				r.Rewind()
				check()
			case 4:
				r.Close()
				s.Close()
				s = mustOpen(t, o)
				a.s = s
				r = s.NewReader()
				check()
			}
		}
		r.Rewind()
		check()
		// The last segment, which is full at 64 KiB, and the block that filled it.
		if most := int64(64<<10 + 20*2100); len(pending) == 0 && s.Size() > most {
			t.Fatalf("%d bytes on disk with nothing pending", s.Size())
		}
	})
}

func sorted(m map[stream.Range]bool) (out []stream.Range) {
	for r := range m {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b stream.Range) int { return cmp.Compare(a.From, b.From) })
	return out
}

// TestFullSpoolAccountsForEverything fills a small spool under both policies. Frames read and
// frames in gaps add up to the frames appended, and each gap is where its frames are missing.
func TestFullSpoolAccountsForEverything(t *testing.T) {
	for _, newest := range []bool{false, true} {
		t.Run(fmt.Sprintf("dropNewest=%v", newest), func(t *testing.T) {
			s := mustOpen(t, Options{Dir: t.TempDir(), MaxSize: 1 << 20, DropNewest: newest})
			a := &appender{s: s}
			r := s.NewReader()
			total, bytesTotal := 0, 0
			write := func(blocks int) {
				for range blocks {
					var p []byte
					for range 50 {
						total++
						p = append(p, testFrame("stdout", int64(total), []byte(strings.Repeat("y", 100)))...)
					}
					bytesTotal += len(p)
					info := a.tracker.All(p)
					if err := s.Append(append(make([]byte, BlockHeaderSize), p...), 0, info); err != nil && !newest {
						t.Fatal(err)
					}
				}
			}
			seen, lost, seenBytes, lostBytes := 0, 0, 0, 0
			var last int64
			take := func(limit int, ack bool) {
				for range limit {
					item, ok := r.Next()
					if !ok {
						return
					}
					if item.Gap != nil {
						if item.Gap.MinTime != last+1 || item.Gap.MaxTime != last+int64(item.Gap.Frames) {
							t.Errorf("gap %+v after time %d", *item.Gap, last)
						}
						if item.Gap.Reason != Full {
							t.Errorf("gap for %v", item.Gap.Reason)
						}
						lost += int(item.Gap.Frames)
						lostBytes += int(item.Gap.Bytes)
						last = item.Gap.MaxTime
					} else {
						if ft := frameTime(item.Frame); ft != last+1 {
							t.Fatalf("frame %d after %d", ft, last)
						} else {
							last = ft
						}
						seen++
						seenBytes += int(item.To - item.From)
					}
					if ack {
						if err := s.Ack([]stream.Range{item.Range}); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			write(100)
			take(1000, true)
			write(600) // the reader is in the middle: what it has handed out must not be counted
			take(500, true)
			if s.Size() > 1<<20 {
				t.Errorf("%d bytes on disk", s.Size())
			}
			write(300)
			take(1<<30, true)
			write(1) // the next block reports the blocks that were refused last
			take(1<<30, true)
			if seen+lost != total || seenBytes+lostBytes != bytesTotal {
				t.Errorf("%d read + %d lost != %d written; bytes %d + %d != %d", seen, lost, total, seenBytes, lostBytes, bytesTotal)
			}
			if lost == 0 {
				t.Error("nothing was lost: the test tests nothing")
			}
		})
	}
}

// TestDamagedBlockLosesOnlyItsFrames damages one block in the middle of a segment: only
// the frames of that block are lost.
func TestDamagedBlockLosesOnlyItsFrames(t *testing.T) {
	const blocks, perBlock = 20, 30
	line := []byte(strings.Repeat("z", 90))
	build := func(t *testing.T) (dir string, offsets []int) {
		dir = t.TempDir()
		s := mustOpen(t, Options{Dir: dir})
		a := &appender{s: s}
		off := segmentHeaderSize
		for b := range blocks {
			var p []byte
			for i := range perBlock {
				p = append(p, testFrame("stdout", int64(b*perBlock+i+1), line)...)
			}
			a.append(t, p)
			offsets = append(offsets, off)
			off += BlockHeaderSize + len(p)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return dir, append(offsets, off)
	}
	for _, tc := range []struct {
		name string
		at   func(offsets []int) (from, to int)
		lost [2]int // blocks
	}{
		{"a byte of a payload", func(o []int) (int, int) { return o[7] + 100, o[7] + 101 }, [2]int{7, 8}},
		{"a header's length", func(o []int) (int, int) { return o[7] + 8, o[7] + 12 }, [2]int{7, 8}},
		{"a header's magic", func(o []int) (int, int) { return o[7], o[7] + 4 }, [2]int{7, 8}},
		{"the first block", func(o []int) (int, int) { return o[0], o[0] + 200 }, [2]int{0, 1}},
		{"the segment's header", func(o []int) (int, int) { return 0, 32 }, [2]int{0, 0}},
		{"the segment's header and the first block", func(o []int) (int, int) { return 0, 99 }, [2]int{0, 1}},
		{"three blocks", func(o []int) (int, int) { return o[3] + 5, o[5] + 70 }, [2]int{3, 6}},
		{"the last block", func(o []int) (int, int) { return o[19] + 70, o[19] + 71 }, [2]int{19, 20}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, offsets := build(t)
			path := filepath.Join(dir, "0000000000000000.seg")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			from, to := tc.at(offsets)
			for i := from; i < to; i++ {
				data[i] ^= 0xff
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			s, repair, err := Open(Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			r := s.NewReader()
			want := 0
			for i, item := range frames(r) {
				if item.Gap != nil {
					if item.Gap.Reason != Damaged || want != tc.lost[0]*perBlock {
						t.Errorf("item %d: gap %+v before frame %d", i, *item.Gap, want)
					}
					want = tc.lost[1] * perBlock
					continue
				}
				if want == tc.lost[0]*perBlock && tc.lost[0] == tc.lost[1] {
					want = tc.lost[1] * perBlock
				}
				if got := int(frameTime(item.Frame)) - 1; got != want {
					t.Fatalf("item %d: frame %d, want %d", i, got, want)
				}
				want++
			}
			end := blocks * perBlock
			if tc.lost[1] == blocks {
				// Everything after the last good block is cut: the stream ends there.
				end = tc.lost[0] * perBlock
				if repair.CutBytes != int64(offsets[20]-offsets[19]) || repair.CutFile == "" {
					t.Errorf("repair %+v", repair)
				}
			}
			if want != end {
				t.Errorf("read up to frame %d, want %d", want, end)
			}
		})
	}
}

// TestLastBlockIsReturnedOnce: LastBlock returns the last block once, with its epoch.
func TestLastBlockIsReturnedOnce(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	a := &appender{s: s, epoch: 7}
	a.append(t, testFrame("stdout", 1, []byte("first")))
	second := testFrame("stdout", 2, []byte("second"))
	a.append(t, second)
	s.Close()
	s = mustOpen(t, Options{Dir: dir})
	defer s.Close()
	payload, info, epoch, ok := s.LastBlock()
	if !ok || !bytes.Equal(payload, second) || epoch != 7 || info.Frames != 1 || info.MinTime != 2 {
		t.Fatalf("got %q, %+v, epoch %d, %v", payload, info, epoch, ok)
	}
	if _, _, _, ok := s.LastBlock(); ok {
		t.Error("returned twice")
	}
}

// TestGarbageInTheStream puts bytes that are not frames between frames. All frames are read,
// and the bytes between them are gaps.
func TestGarbageInTheStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		s := mustOpen(t, Options{Dir: dir})
		defer s.Close()
		var content []byte
		var want []stream.Range
		garbage := 0
		for i := range rapid.IntRange(1, 30).Draw(t, "frames") {
			if rapid.IntRange(0, 3).Draw(t, "damage") == 0 {
				g := rapid.SliceOfN(rapid.ByteRange(0xf0, 0xff), 4, 100).Draw(t, "garbage")
				garbage += len(g)
				content = append(content, g...)
			}
			f := testFrame("stderr", int64(i)+1, []byte("line"))
			want = append(want, stream.Range{From: uint64(len(content)), To: uint64(len(content) + len(f))})
			content = append(content, f...)
		}
		a := &appender{s: s}
		// Like the intake, append whole frames if there are any.
		for p := content; len(p) > 0; {
			n := min(rapid.IntRange(1, 300).Draw(t, "look"), len(p))
			for {
				whole, info := a.tracker.Whole(p[:n])
				if whole > 0 {
					if err := s.Append(append(make([]byte, BlockHeaderSize), p[:whole]...), 0, info); err != nil {
						t.Fatal(err)
					}
					a.tracker.Advance(info)
					p = p[whole:]
					break
				}
				if n == len(p) {
					a.append(t, p)
					p = nil
					break
				}
				n++
			}
		}
		r := s.NewReader()
		defer r.Close()
		i := 0
		for _, item := range frames(r) {
			if item.Gap != nil {
				garbage -= int(item.Gap.Bytes)
				continue
			}
			if item.Range != want[i] {
				t.Fatalf("frame %d at %+v, want %+v", i, item.Range, want[i])
			}
			i++
		}
		if i != len(want) || garbage != 0 {
			t.Fatalf("%d frames of %d, %d bytes of garbage unaccounted for", i, len(want), garbage)
		}
	})
}

// HistorySize returns the bytes of the segments that are kept although everything in them is
// delivered.
func (s *Spool) HistorySize() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored.delivered
}
