package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/durable"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// smallSpool returns a spool of 1 MiB, in segments of 64 KiB, on a disk in memory.
func smallSpool(t testing.TB, disk durable.FS) (*Spool, *appender) {
	s := mustOpen(t, Options{Dir: "/spool", FS: disk, MaxSize: 1 << 20})
	t.Cleanup(func() { s.Close() })
	return s, &appender{s: s}
}

// numbered returns the frames from to to. Their times are their numbers.
func numbered(from, to, size int) (p []byte) {
	for i := from; i <= to; i++ {
		p = append(p, testFrame("stdout", int64(i), bytes.Repeat([]byte("n"), size))...)
	}
	return p
}

// read reads everything and formats it in one line: frames by their numbers, gaps by reason and
// frames.
func read(r *Reader) string {
	var b strings.Builder
	from, last := int64(0), int64(0)
	end := func() {
		if from > 0 {
			fmt.Fprintf(&b, "%d-%d ", from, last)
		}
		from = 0
	}
	for _, item := range frames(r) {
		if g := item.Gap; g != nil {
			end()
			fmt.Fprintf(&b, "%v:%d ", g.Reason, g.Frames)
			continue
		}
		n := frameTime(item.Frame)
		if from > 0 && n == last+1 {
			last = n
			continue
		}
		end()
		from, last = n, n
	}
	end()
	return strings.TrimSpace(b.String())
}

// TestReleaseKeepsWhatWasHandedOut: a reader that is released while a frame is incomplete keeps
// its place. A full spool does not evict what the reader has handed out.
func TestReleaseKeepsWhatWasHandedOut(t *testing.T) {
	s, a := smallSpool(t, durabletest.NewDisk())
	r := s.NewReader()
	defer r.Close()
	a.append(t, numbered(1, 10, 100))
	next := numbered(11, 11, 200)
	a.append(t, next[:50])
	if got := read(r); got != "1-10" {
		t.Fatalf("read %s", got)
	}
	r.Release()
	a.append(t, next[50:])
	total := 11
	for range 200 { // twice what fits
		a.append(t, numbered(total+1, total+100, 100))
		total += 100
	}
	seen, lost := 10, 0
	for _, item := range frames(r) {
		if item.Gap != nil {
			lost += int(item.Gap.Frames)
		} else {
			seen++
		}
	}
	if seen+lost != total {
		t.Errorf("%d read + %d lost, %d were written", seen, lost, total)
	}
}

// TestReleaseWithinABlock: a released reader continues at its place, anywhere in a block, and
// holds no buffer and no file meanwhile.
func TestReleaseWithinABlock(t *testing.T) {
	s, a := smallSpool(t, durabletest.NewDisk())
	r := s.NewReader()
	defer r.Close()
	for i := range 3 {
		a.append(t, numbered(i*10+1, i*10+10, 100))
	}
	for n := int64(1); n <= 30; n++ {
		item, ok := r.Next()
		if !ok || item.Gap != nil || frameTime(item.Frame) != n {
			t.Fatalf("read %+v, %v, want frame %d", item, ok, n)
		}
		r.Release()
		if r.buffer != nil || r.file != nil || r.current.rest != nil {
			t.Fatal("a buffer or a file is still held")
		}
	}
}

// TestEndOfLostFrameIsSkipped: after a damaged block, the end of a frame that began in it is
// skipped, even if it looks like a frame.
func TestEndOfLostFrameIsSkipped(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	// The end of the line is a whole frame, as if a container printed another one's output.
	inner := numbered(99, 99, 50)
	p := testFrame("stdout", 1, append(bytes.Repeat([]byte("x"), 100), inner...))
	cut := len(p) - len(inner)
	a.append(t, p[:cut])
	a.append(t, append(p[cut:], numbered(2, 3, 100)...))
	f, err := disk.OpenFile("/spool/0000000000000000.seg", 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte{0xff}, segmentHeaderSize+BlockHeaderSize+10)
	f.Close()
	r := s.NewReader()
	defer r.Close()
	if got := read(r); got != "spool_damaged:0 unreadable:0 2-3" {
		t.Errorf("read %s", got)
	}
}

// TestReportedGapDoesNotGrow: what is evicted after a gap that a reader has reported is another
// gap.
func TestReportedGapDoesNotGrow(t *testing.T) {
	s, a := smallSpool(t, durabletest.NewDisk())
	r := s.NewReader()
	defer r.Close()
	total, seen, lost := 0, 0, 0
	write := func(blocks int) {
		for range blocks {
			a.append(t, numbered(total+1, total+100, 100))
			total += 100
		}
	}
	take := func(most int) {
		for range most {
			item, ok := r.Next()
			if !ok {
				return
			}
			if item.Gap != nil {
				lost += int(item.Gap.Frames)
			} else {
				seen++
			}
		}
	}
	write(200)
	take(1) // the gap
	if lost == 0 {
		t.Fatal("nothing was evicted: the test tests nothing")
	}
	write(200)
	take(1 << 20)
	if seen+lost != total {
		t.Errorf("%d read + %d lost, %d were written", seen, lost, total)
	}
}

// TestCutFrameIsCountedOnce: a frame that lies in two segments, of which the first is evicted,
// is one lost frame.
func TestCutFrameIsCountedOnce(t *testing.T) {
	s, a := smallSpool(t, durabletest.NewDisk())
	total := 0
	for range 40 {
		p := numbered(total+1, total+1, 60_000) // more than a segment
		total++
		a.append(t, p[:40_000])
		a.append(t, p[40_000:])
	}
	r := s.NewReader()
	defer r.Close()
	seen, lost := 0, 0
	for _, item := range frames(r) {
		if item.Gap != nil {
			lost += int(item.Gap.Frames)
		} else {
			seen++
		}
	}
	if seen+lost != total || lost == 0 {
		t.Errorf("%d read + %d lost, %d were written", seen, lost, total)
	}
}

// TestGapForEndLostInPowerCut: what the cursor knows and no segment holds after a power cut is
// reported once at the end of the last segment.
func TestGapForEndLostInPowerCut(t *testing.T) {
	disk := durabletest.NewDisk()
	s := mustOpen(t, Options{Dir: "/spool", FS: disk})
	a := &appender{s: s}
	a.append(t, numbered(1, 10, 100))
	kept := s.End()
	a.append(t, numbered(11, 30, 100))
	if err := s.Ack([]stream.Range{{From: s.End() - 10, To: s.End()}}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	f, err := disk.OpenFile("/spool/0000000000000000.seg", 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Truncate(int64(segmentHeaderSize + BlockHeaderSize + kept))
	f.Close()

	s = mustOpen(t, Options{Dir: "/spool", FS: disk})
	defer s.Close()
	r := s.NewReader()
	defer r.Close()
	if got := read(r); got != "1-10 spool_damaged:0" {
		t.Errorf("read %s", got)
	}
	if r.Position() != s.End() {
		t.Errorf("the reader is at %d, the end is %d", r.Position(), s.End())
	}
}

// TestGapForEvictedEnd: if the last segments were evicted and the process died before it
// started a new one, the gap is reported with its frames and its reason.
func TestGapForEvictedEnd(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	r := s.NewReader()
	total := 0
	for range 5 {
		a.append(t, numbered(total+1, total+200, 300))
		total += 200
	}
	for range 201 { // move into the second segment
		r.Next()
	}
	// Like evictForLocked for an Append that is killed before its write.
	s.mu.Lock()
	for s.evictUndeliveredLocked() {
	}
	s.mu.Unlock()
	killed := disk.Killed()
	r.Close()

	s = mustOpen(t, Options{Dir: "/spool", FS: killed, MaxSize: 1 << 20})
	defer s.Close()
	a.s = s
	a.append(t, numbered(total+1, total+1, 100))
	r = s.NewReader()
	defer r.Close()
	if got, want := read(r), "1-400 spool_full:600 1001-1001"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
}

// TestGapBetweenSegments: what was evicted between two segments stays a gap of its own, also
// when the segment before it is evicted after a restart.
func TestGapBetweenSegments(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	r := s.NewReader()
	total := 0
	write := func(blocks int) {
		for range blocks {
			a.append(t, numbered(total+1, total+200, 300)) // a segment
			total += 200
		}
	}
	write(10)
	for range 50 { // move into the first segment
		r.Next()
	}
	write(10)
	if len(s.cursor.evicted) == 0 {
		t.Fatal("nothing was evicted: the test tests nothing")
	}
	r.Close()
	s, _, err := Open(Options{Dir: "/spool", FS: disk.Killed(), MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a.s = s
	write(10)
	r = s.NewReader()
	defer r.Close()
	seen, lost := 0, 0
	for _, item := range frames(r) {
		if item.Gap != nil {
			lost += int(item.Gap.Frames)
		} else {
			seen++
		}
	}
	if seen+lost != total {
		t.Errorf("%d read + %d lost, %d were written", seen, lost, total)
	}
}

// TestFramesInsideGarbage: garbage that looks like the length of a long frame hides the frames
// after it only until the reader finds that there is no long frame.
func TestFramesInsideGarbage(t *testing.T) {
	garbage := binary.BigEndian.AppendUint32(nil, 50_000)
	garbage = append(garbage, 0x0a, 0xff, 0xff)
	for _, tc := range []struct {
		name   string
		frames int
		want   string
	}{
		{"the length is reached", 1000, "1-1 unreadable:1 2-1000"},
		{"the stream ends before", 100, "1-1 unreadable:1 2-100"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, a := smallSpool(t, durabletest.NewDisk())
			a.append(t, append(numbered(1, 1, 100), garbage...))
			for i := 2; i <= tc.frames; i += 10 {
				a.append(t, numbered(i, min(i+9, tc.frames), 100))
			}
			r := s.NewReader()
			defer r.Close()
			var b strings.Builder
			var last int64
			for {
				item, ok := r.Next()
				if !ok {
					if item, ok = r.GiveUp(); !ok {
						break
					}
				}
				if item.Gap == nil && frameTime(item.Frame) == 0 {
					item, _ = r.Reject()
				}
				if item.Gap != nil {
					fmt.Fprintf(&b, "%v:%d@%d ", item.Gap.Reason, item.Gap.Frames, last)
					continue
				}
				if n := frameTime(item.Frame); n != last+1 {
					t.Fatalf("frame %d after %d", n, last)
				} else {
					last = n
				}
			}
			if got := strings.TrimSpace(b.String()); last != int64(tc.frames) || got != "unreadable:1@1" {
				t.Errorf("read up to %d, and %s", last, got)
			}
		})
	}
}

// TestDamageToAcknowledgedBlockLosesNothing: damage in the header of an acknowledged block
// loses none of the blocks after it.
func TestDamageToAcknowledgedBlockLosesNothing(t *testing.T) {
	for at := range BlockHeaderSize {
		disk := durabletest.NewDisk()
		s, a := smallSpool(t, disk)
		a.append(t, numbered(1, 10, 100))
		first := s.End()
		for i := 1; i < 10; i++ {
			a.append(t, numbered(i*10+1, i*10+10, 100))
		}
		if err := s.Ack([]stream.Range{{From: 0, To: first}}); err != nil {
			t.Fatal(err)
		}
		f, err := disk.OpenFile("/spool/0000000000000000.seg", 2, 0)
		if err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		f.ReadAt(b[:], int64(segmentHeaderSize+at))
		b[0] ^= 0x10
		f.WriteAt(b[:], int64(segmentHeaderSize+at))
		f.Close()
		r := s.NewReader()
		if got := read(r); got != "11-100" {
			t.Errorf("byte %d: read %s", at, got)
		}
		r.Close()
	}
}

// TestShortActiveFileIsDamaged: if something has cut the file that the spool writes to, the reader
// reports a gap at once. It does not wait for the rest of the file.
func TestShortActiveFileIsDamaged(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	for i := range 3 {
		a.append(t, numbered(i*10+1, i*10+10, 1000))
	}
	f, err := disk.OpenFile("/spool/0000000000000000.seg", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(segmentHeaderSize + int64(s.End())/2); err != nil {
		t.Fatal(err)
	}
	r := s.NewReader()
	defer r.Close()
	if got := read(r); !strings.HasPrefix(got, "1-1") || !strings.Contains(got, Damaged.String()) || r.failure.err != nil {
		t.Errorf("read %s, error %v", got, r.failure.err)
	}
}

// TestReaderBeginsSmall: a reader that has returned a few frames of a backlog holds little
// memory and no descriptor. A reader that reads more uses larger reads, and is small again
// after Release.
func TestReaderBeginsSmall(t *testing.T) {
	disk := durabletest.NewDisk()
	s, a := smallSpool(t, disk)
	for i := range 400 {
		a.append(t, numbered(i+1, i+1, 1000))
	}
	r := s.NewReader()
	defer r.Close()
	held := func() int {
		if r.buffer == nil {
			return 0
		}
		return len(*r.buffer)
	}
	for range 2 {
		if _, ok := r.Next(); !ok || held() != chunks[0] || r.file != nil {
			t.Errorf("%v, %d bytes, file %v", ok, held(), r.file)
		}
		if got := read(r); !strings.HasSuffix(got, "-400") || held() != chunks[len(chunks)-1] {
			t.Errorf("%s, %d bytes", got, held())
		}
		r.Rewind()
		if held() != 0 || r.file != nil {
			t.Errorf("%d bytes, file %v after Rewind", held(), r.file)
		}
	}
}
