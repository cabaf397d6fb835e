package spool

import (
	"bytes"
	"testing"

	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
)

// TestLiveReaderLosesNothingWhileOtherIsStuck: while one of two outputs is stuck, a full spool
// takes new blocks and evicts only frames of the stuck output. What that reader has handed out
// is not evicted. Each frame is delivered once or reported as lost once.
func TestLiveReaderLosesNothingWhileOtherIsStuck(t *testing.T) {
	for _, tc := range []struct {
		name  string
		stuck int64 // the parity of its frames; gaps belong to parity 0
		cut   int   // bytes of each block that come with the next one
	}{
		{"reader without gaps", 1, 0}, {"reader that reports gaps", 0, 0},
		{"reader without gaps, frames cut", 1, 70}, {"reader that reports gaps, frames cut", 0, 70},
	} {
		t.Run(tc.name, func(t *testing.T) {
			disk := durabletest.NewDisk()
			s := mustOpen(t, Options{Dir: "/s", FS: disk, MaxSize: 1 << 20})
			defer s.Close()
			a := &appender{s: s}
			seen, lost := map[int64]bool{}, 0
			var readers [2]*Reader
			for i := range readers {
				r := s.NewReader()
				defer r.Close()
				r.SetOwner(func(frame []byte) bool {
					return frame == nil && i == 0 || frame != nil && frameTime(frame)&1 == int64(i)
				})
				readers[i] = r
			}
			var inFlight []stream.Range // of the stuck reader
			take := func(i int64, most int, inFlight *[]stream.Range) {
				var done []stream.Range
				for range most {
					item, ok := readers[i].Next()
					if !ok {
						break
					}
					if item.Gap == nil && frameTime(item.Frame)&1 != i || item.Gap != nil && i != 0 {
						continue
					}
					if item.Gap != nil {
						lost += int(item.Gap.Frames)
					} else if n := frameTime(item.Frame); seen[n] {
						t.Fatalf("frame %d is delivered twice", n)
					} else {
						seen[n] = true
					}
					done = append(done, item.Range)
				}
				if inFlight != nil {
					*inFlight = append(*inFlight, done...)
				} else if err := s.Ack(done); err != nil {
					t.Fatal(err)
				}
			}
			total, refused := 0, 0
			var rest []byte
			for i := range 400 {
				p := append(rest, numbered(total+1, total+50, 100)...)
				total += 50
				cut := len(p)
				if i < 399 {
					cut -= tc.cut
				}
				rest = bytes.Clone(p[cut:])
				info := a.tracker.All(p[:cut])
				a.tracker.Advance(info)
				if s.Append(append(make([]byte, BlockHeaderSize), p[:cut]...), 0, info) != nil {
					refused++
				}
				if i == 20 {
					take(tc.stuck, 900, &inFlight)
				}
				take(1-tc.stuck, 1<<20, nil)
			}
			missed := 0
			for n := int64(1); n <= int64(total); n++ {
				if n&1 != tc.stuck && !seen[n] {
					missed++
				}
			}
			// If the gap comes between the parts of a frame, one frame is lost for each segment.
			if refused > 0 || missed > 0 && tc.cut == 0 || missed > 400*50*120/minSegmentSize {
				t.Errorf("%d blocks were refused, %d frames of the live reader are missing", refused, missed)
			}
			if err := s.Ack(inFlight); err != nil { // it is no longer stuck
				t.Fatal(err)
			}
			for s.Pending() {
				at := s.Acked()
				take(0, 1<<20, nil)
				take(1, 1<<20, nil)
				if s.Acked() == at {
					for _, r := range readers {
						r.Rewind()
					}
				}
			}
			if len(seen)+lost != total || lost == 0 {
				t.Errorf("%d delivered + %d reported as lost, %d were written", len(seen), lost, total)
			}
		})
	}
}

// TestUnkeptGapPrecedesGapOfEviction: if the process dies just after a segment behind one of
// two readers was evicted, the unkept gap is still reported. The gap of the eviction must not
// take its place.
func TestUnkeptGapPrecedesGapOfEviction(t *testing.T) {
	disk := durabletest.NewDisk()
	o := Options{Dir: "/s", FS: disk, MaxSize: 1 << 20}
	s := mustOpen(t, o)
	a := &appender{s: s}
	ahead, behind := s.NewReader(), s.NewReader()
	defer ahead.Close()
	defer behind.Close()
	ahead.SetOwner(func(frame []byte) bool { return frame == nil })
	for i := range 5 {
		a.append(t, numbered(i*200+1, i*200+200, 400)) // a segment
		if i == 0 {
			behind.Next()
		}
	}
	frames(ahead)
	disk.Limit(1)
	p := numbered(1001, 1007, 100)
	if s.Append(append(make([]byte, BlockHeaderSize), p...), 0, a.tracker.All(p)) == nil {
		t.Fatal("there was space on the disk")
	}
	disk.Limit(0)
	s.mu.Lock()
	evicted := s.evictUnownedLocked() // like an Append that is killed before its write
	s.mu.Unlock()
	if !evicted {
		t.Fatal("nothing was evicted")
	}
	o.FS = disk.Killed()
	s = mustOpen(t, o)
	defer s.Close()
	r := s.NewReader()
	defer r.Close()
	if got, want := read(r), "1-200 401-1000 spool_unwritable:7 spool_full:200"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
}

// TestDropOldestWithQuietOutput: while nothing can be delivered, the reader of an output that
// prints nothing reaches the end of the spool. A full spool still takes new blocks and evicts
// the oldest.
func TestDropOldestWithQuietOutput(t *testing.T) {
	s := mustOpen(t, Options{Dir: "/s", FS: durabletest.NewDisk(), MaxSize: 1 << 20})
	defer s.Close()
	a := &appender{s: s}
	busy, quiet := s.NewReader(), s.NewReader()
	defer busy.Close()
	defer quiet.Close()
	busy.SetOwner(func([]byte) bool { return true })
	quiet.SetOwner(func([]byte) bool { return false })
	const blocks, perBlock = 400, 50
	for i := range blocks {
		a.append(t, numbered(i*perBlock+1, (i+1)*perBlock, 100)) // fails if the block is refused
		frames(quiet)
	}
	read, lost := 0, 0
	newest := int64(0)
	for _, item := range frames(busy) {
		if item.Gap != nil {
			lost += int(item.Gap.Frames)
			continue
		}
		read, newest = read+1, frameTime(item.Frame)
	}
	if newest != blocks*perBlock || lost == 0 || read+lost != blocks*perBlock {
		t.Errorf("%d frames are read, up to number %d, and %d are lost, of %d", read, newest, lost, blocks*perBlock)
	}
}
