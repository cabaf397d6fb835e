package spool

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
)

// TestOpenReadsLittle: Open reads the headers of a long segment and its last block, also if a
// torn one follows.
func TestOpenReadsLittle(t *testing.T) {
	for _, tc := range []struct{ frames, part int }{
		{400, 64}, // long blocks: little more than the headers
		{1, 1},    // short blocks: what is between the headers too
	} {
		t.Run(fmt.Sprintf("%d frames in a block", tc.frames), func(t *testing.T) {
			disk := &countingFS{FS: durabletest.NewDisk()}
			o := Options{Dir: "/spool", FS: disk, MaxSize: 256 << 20}
			s := mustOpen(t, o)
			a := &appender{s: s}
			block := numbered(1, tc.frames, 120)
			for s.Size() < 3<<20 {
				a.append(t, block)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if len(s.segments) != 1 {
				t.Fatalf("there are %d segments", len(s.segments))
			}
			// A crash has left a part of the last block.
			path := s.segmentPath(s.segments[0].base)
			f, err := disk.OpenFile(path, os.O_RDWR, durable.FilePerm)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(s.Size() - 10); err != nil {
				t.Fatal(err)
			}
			disk.bytes.Store(0)
			s = mustOpen(t, o)
			defer s.Close()
			read := disk.bytes.Load()
			if most := s.Size()/int64(tc.part) + int64(2*len(block)) + headerChunk; read > most {
				t.Errorf("Open reads %d bytes of %d, more than %d", read, s.Size(), most)
			}
			if last, _, _, ok := s.LastBlock(); !ok || !bytes.Equal(last, block) || s.Torn() == nil {
				t.Errorf("the last block has %d bytes, want %d; the torn one is %v", len(last), len(block), s.Torn())
			}
		})
	}
}

// TestLastBlocksAreThoseOfAFullScan: whatever is damaged, the headers lead to the same end of
// the segment as a scan of all blocks.
func TestLastBlocksAreThoseOfAFullScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := durabletest.NewDisk()
		s := mustOpen(t, Options{Dir: "/spool", FS: disk, MaxSize: rapid.SampledFrom([]int64{4, 256}).Draw(t, "MiB") << 20})
		a := &appender{s: s}
		for n := range rapid.IntRange(0, 12).Draw(t, "blocks") {
			frame := numbered(n+1, n+1, rapid.SampledFrom([]int{1, 100, 20_000}).Draw(t, "size"))
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0: // a frame in two blocks
				a.append(t, frame[:10])
				a.append(t, frame[10:])
			case 1:
				a.append(t, frame)
				s.AddGap(Gap{Reason: FirstForeign, Frames: 1, Bytes: 1})
			default:
				a.append(t, frame)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if len(s.segments) == 0 {
			return
		}
		base := s.segments[len(s.segments)-1].base
		data, err := disk.ReadFile(s.segmentPath(base))
		if err != nil {
			t.Fatal(err)
		}
		compareWithScan(t, s, base, damage(t, data))
	})
}

// damage changes or cuts some bytes.
func damage(t *rapid.T, data []byte) []byte {
	for range rapid.IntRange(0, 3).Draw(t, "damages") {
		if len(data) == 0 {
			break
		}
		at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
		switch rapid.IntRange(0, 3).Draw(t, "damage") {
		case 0:
			data = data[:at]
		case 1:
			data[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case 2:
			clear(data[at:min(at+4096, len(data))])
		case 3: // the magic bytes of a block in the middle of something
			copy(data[at:], blockMagicBytes)
		}
	}
	return data
}

func compareWithScan(t *rapid.T, s *Spool, base uint64, data []byte) {
	f, err := durabletest.NewDisk().OpenFile("/segment", os.O_CREATE|os.O_RDWR, durable.FilePerm)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	seg := segment{base: base, size: int64(len(data))}
	seg.end = base + uint64(max(0, seg.size-segmentHeaderSize))
	got, err := s.lastBlocks(f, seg)
	if err != nil {
		t.Fatal(err)
	}
	head := min(segmentHeaderSize, len(data))
	want := goodBlocks(data[head:], foundBlocks{size: int64(head), end: base})
	// A damaged block that is passed over may count.
	if got.maxTime < want.maxTime || want.cutFrames && !got.cutFrames || got.blocks < want.blocks {
		t.Errorf("got %d blocks to %d, cut %v; want %d to %d, cut %v", got.blocks, got.maxTime, got.cutFrames, want.blocks, want.maxTime, want.cutFrames)
	}
	describe := func(f foundBlocks) string {
		return fmt.Sprintf("size %d, end %d, last %v, mid-frame %v, last size %d, rest %d", f.size, f.end, f.last.header, f.midFrame, f.lastSize, len(f.rest))
	}
	if diff := cmp.Diff(describe(want), describe(got)); diff != "" || !bytes.Equal(got.last.payload, want.last.payload) || !bytes.Equal(got.rest, want.rest) {
		t.Error(diff)
	}
	if !bytes.Equal(got.start, data[:head]) {
		t.Error("the segment's header is not what was read")
	}
}
