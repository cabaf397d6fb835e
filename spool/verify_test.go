package spool

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/stream"
)

// written makes a spool of two segments, with a part of the first acknowledged and a gap, and
// returns its directory and its segments.
func written(t *testing.T) (dir string, segments []string) {
	t.Helper()
	dir = t.TempDir()
	s := mustOpen(t, Options{Dir: dir, MaxSize: MinSize, History: 1 << 20})
	a := &appender{s: s}
	for i := 0; s.Size() < minSegmentSize+10000; i++ {
		a.append(t, testFrame("stdout", 1e18+int64(i), bytes.Repeat([]byte("x"), 5000)))
	}
	s.AddGap(Gap{Reason: FirstForeign, Frames: 1, Bytes: 10})
	if err := s.Ack([]stream.Range{{From: 0, To: 3 * 5024}, {From: 30000, To: 30100}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(segments) != 2 {
		t.Fatalf("%q, %v", segments, err)
	}
	return dir, segments
}

func TestVerifyFindsNothingInSoundSpool(t *testing.T) {
	dir, _ := written(t)
	v, err := Verify(nil, dir)
	if err != nil || len(v.Findings) > 0 || v.Segments != 2 || v.Blocks < 15 || v.Bytes < minSegmentSize {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := Verify(nil, filepath.Join(dir, "missing")); err == nil {
		t.Errorf("a missing directory: %+v", v)
	}
}

// Each damage is found at its place: none is missed, and none is found twice.
func TestVerifyFindsDamage(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, dir string, segments []string)
		file   string // the end of its path
		offset int64
		text   string
	}{
		{"payload", flip(0, segmentHeaderSize+BlockHeaderSize+7), "0.seg", segmentHeaderSize, "checksum does not match"},
		{"block magic", flip(0, segmentHeaderSize), "0.seg", segmentHeaderSize, "no block header"},
		{"segment checksum", flip(1, 20), ".seg", 0, "segment header: checksum does not match"},
		{"segment magic", flip(1, 0), ".seg", 0, "this is not a segment"},
		{"cut block", truncate(0, -100), ".seg", -1, "block cut short"},
		{"cut block header", truncate(1, -5030), ".seg", -1, "bad block"},
		{"cut segment header", truncate(1, 17), ".seg", 0, "header is cut short"},
		{"empty segment", truncate(1, 0), ".seg", 0, "header is cut short: the file has 0 bytes"},
		{"missing segment", func(t *testing.T, _ string, segments []string) { must(t, os.Remove(segments[0])) }, ".seg", 0, "is missing"},
		{"cursor magic", flipCursor(0), "cursor", 0, "this is not a cursor"},
		{"cursor record", flipCursor(cursorSlotsEnd + 9), "cursor", int64(cursorSlotsEnd), "bad record"},
		{"pending gap", flipCursor(len(cursorMagic) + cursorRecordHead + slotSize + 20), "cursor", int64(len(cursorMagic) + cursorRecordHead + slotSize), "pending gap: checksum"},
		{"directory instead of a cursor", func(t *testing.T, dir string, _ []string) {
			must(t, os.Remove(filepath.Join(dir, "cursor")))
			must(t, os.Mkdir(filepath.Join(dir, "cursor"), 0o700))
		}, "cursor", -1, "cannot be read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, segments := written(t)
			test.damage(t, dir, segments)
			v, err := Verify(nil, dir)
			if err != nil || len(v.Findings) != 1 {
				t.Fatalf("%+v, %v", v, err)
			}
			f := v.Findings[0]
			if !f.Damage || !strings.HasSuffix(f.File, test.file) || test.offset >= 0 && f.Offset != test.offset || !strings.Contains(f.Text, test.text) {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// flip changes the byte at an offset of a segment.
func flip(segment int, offset int64) func(*testing.T, string, []string) {
	return func(t *testing.T, _ string, segments []string) { flipFile(t, segments[segment], offset) }
}

func flipCursor(offset int) func(*testing.T, string, []string) {
	return func(t *testing.T, dir string, _ []string) { flipFile(t, filepath.Join(dir, "cursor"), int64(offset)) }
}

func flipFile(t *testing.T, path string, offset int64) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	data[offset] ^= 0x40
	must(t, os.WriteFile(path, data, 0o600))
}

// truncate cuts a segment to a size, or by -size bytes if size is negative.
func truncate(segment int, size int64) func(*testing.T, string, []string) {
	return func(t *testing.T, _ string, segments []string) {
		if size < 0 {
			info, err := os.Stat(segments[segment])
			must(t, err)
			size += info.Size()
		}
		must(t, os.Truncate(segments[segment], size))
	}
}

// What a newer version wrote, and what a repair set aside, is mentioned, and is not damage.
func TestVerifyMentionsNewerVersions(t *testing.T) {
	dir, segments := written(t)
	data, err := os.ReadFile(segments[1])
	must(t, err)
	data[7] = '2'
	must(t, os.WriteFile(segments[1], data, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "cursor"), []byte("LSPLCUR2 and more"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, newerName), []byte("x"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "0000000000000001.cut"), []byte("x"), 0o600))
	v, err := Verify(nil, dir)
	if err != nil || len(v.Findings) != 4 {
		t.Fatalf("%+v, %v", v, err)
	}
	for _, f := range v.Findings {
		if f.Damage {
			t.Errorf("damage: %+v", f)
		}
	}
}

// Whatever bytes are changed, Verify ends, and changes no file.
func FuzzVerify(f *testing.F) {
	f.Add(uint16(3), []byte("LSPL"), true)
	f.Add(uint16(70), []byte("BLK1\xff\xff\xff\xff"), false)
	f.Fuzz(func(t *testing.T, at uint16, bytes []byte, inCursor bool) {
		dir := t.TempDir()
		s := mustOpen(t, Options{Dir: dir})
		a := &appender{s: s}
		for i := range 3 {
			a.append(t, testFrame("stdout", int64(i+1), []byte("line")))
		}
		must(t, s.Ack([]stream.Range{{From: 0, To: 5}}))
		must(t, s.Close())
		path := filepath.Join(dir, "cursor")
		if !inCursor {
			path = filepath.Join(dir, "0000000000000000.seg")
		}
		data, err := os.ReadFile(path)
		must(t, err)
		from := int(at) % len(data)
		data = append(data[:from:from], bytes...)
		must(t, os.WriteFile(path, data, 0o600))
		if _, err := verify(durable.OS, dir); err != nil {
			t.Fatal(err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(data) {
			t.Error("the file has changed")
		}
	})
}

// Verify of a spool that another process writes reports no damage.
func TestVerifyWhileSpoolIsWritten(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir, MaxSize: MinSize, History: 100 << 10})
	done := make(chan struct{})
	go func() {
		defer close(done)
		a := &appender{s: s}
		for i := range 2000 {
			a.append(t, testFrame("stdout", 1e18+int64(i), bytes.Repeat([]byte("x"), 500)))
			if i%3 == 0 {
				if err := s.Ack([]stream.Range{{From: 0, To: s.End()}}); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		v, err := Verify(nil, dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range v.Findings {
			t.Errorf("%+v", f)
		}
	}
	must(t, s.Close())
}

// After Drop, nothing is undelivered, gaps included, and the lines are history.
func TestDropAcknowledgesEverything(t *testing.T) {
	dir, segments := written(t)
	truncate(1, -10)(t, dir, segments)
	s := mustOpen(t, Options{Dir: dir, History: 1 << 30}) // the cut block is a pending gap now
	s.HoldGap(Gap{Reason: FirstForeign, Frames: 2, Bytes: 20})
	must(t, s.Close())
	before, err := Undelivered(nil, dir)
	if err != nil || before.Frames < 10 || before.Gaps < 2 {
		t.Fatalf("%+v, %v", before, err)
	}
	must(t, Drop(nil, dir))
	after, err := Undelivered(nil, dir)
	if err != nil || !after.Empty() || after.Delivered < before.Delivered+before.Bytes {
		t.Errorf("%+v, %v; before %+v", after, err, before)
	}
	if v, err := Verify(nil, dir); err != nil || len(v.Findings) > 1 { // the file that was set aside
		t.Errorf("%+v, %v", v, err)
	}
	must(t, Drop(nil, dir)) // nothing is left to drop
	if err := Drop(nil, filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing directory")
	}
}
