package feed

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/durable/durabletest"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// feedRig is a spool in memory that a test appends to. ended is Options.Ended of its
// feeds.
type feedRig struct {
	t       fataler
	disk    *durabletest.Hooked
	spool   *spool.Spool
	tracker spool.Tracker
	ended   atomic.Bool
	n       int64
}

type fataler interface {
	Fatalf(string, ...any)
	Helper()
}

func newFeedRig(t fataler) *feedRig { return newBoundedFeedRig(t, 0) }

func newBoundedFeedRig(t fataler, maxSize int64) *feedRig {
	disk := durabletest.NewHooked(durabletest.NewDisk())
	s, _, err := spool.Open(spool.Options{Dir: "/spool", FS: disk, MaxSize: maxSize})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return &feedRig{t: t, disk: disk, spool: s, n: 1_790_000_000_000_000_000}
}

func (r *feedRig) append(p []byte) {
	if err := r.tryAppend(p); err != nil {
		r.t.Fatalf("Append: %v", err)
	}
}

func (r *feedRig) tryAppend(p []byte) error {
	info := r.tracker.All(p)
	r.tracker.Advance(info)
	return r.spool.Append(append(make([]byte, spool.BlockHeaderSize), p...), 1, info)
}

// damage changes a byte of the second segment, if there are two. at, which is less than 1, says
// which byte. It returns false if there is none.
func (r *feedRig) damage(at float64) bool {
	entries, err := r.disk.ReadDir("/spool")
	if err != nil {
		r.t.Fatalf("%v", err)
	}
	segments := slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !strings.HasSuffix(e.Name(), ".seg") })
	if len(segments) < 2 {
		return false
	}
	f, err := r.disk.OpenFile("/spool/"+segments[1].Name(), os.O_RDWR, 0)
	if err != nil {
		r.t.Fatalf("%v", err)
	}
	defer f.Close()
	off, b := int64(at*(64<<10)), make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		return false
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b, off); err != nil {
		r.t.Fatalf("%v", err)
	}
	return true
}

func (r *feedRig) line(source, line string) []byte {
	r.n++
	return dockertest.Frame(source, r.n, line, nil)
}

// pieces returns the frames of a line as dockerd divides it.
func (r *feedRig) pieces(source string, line string) (frames [][]byte) {
	r.n++
	for i, piece := range slices.Collect(slices.Chunk([]byte(line), 16<<10)) {
		last := byte(0)
		if (i+1)*16<<10 >= len(line) {
			last = 1
		}
		id := fmt.Sprintf("id%d", r.n)
		meta := append([]byte{0x08, last, 0x12, byte(len(id))}, id...)
		meta = append(meta, 0x18, byte(i+1))
		frames = append(frames, dockertest.Frame(source, r.n, string(piece), append([]byte{0x20, 1, 0x2a, byte(len(meta))}, meta...)))
	}
	return frames
}

var someTime = time.Unix(1e9, 0)

// handed is an event that a feed handed out.
type handed struct {
	message string
	ranges  []stream.Range
}

func take(f *Feed, most int) (out []handed) {
	for len(out) < most {
		e, ok := f.Next(someTime)
		if !ok {
			break
		}
		out = append(out, handed{string(e.Message), slices.Clone(e.Ranges)})
	}
	return out
}

func messages(all []handed) (out []string) {
	for _, h := range all {
		out = append(out, h.message)
	}
	return out
}
