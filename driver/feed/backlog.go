package feed

import (
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/stream"
)

const (
	// A checkpoint is taken after this many bytes of the stream, or this much time
	// between two frames.
	checkpointBytes = 64 << 10
	checkpointTime  = time.Second

	// maxCheckpoints is the number of checkpoints after which every second one is
	// forgotten.
	maxCheckpoints = 128
)

// checkpoint is the time of the frame at a position.
type checkpoint struct {
	at   uint64
	time int64
}

// age is the age of the oldest event that has been read and not acknowledged. After a
// rewind it is exact. Otherwise the time may be too early by the distance of two
// checkpoints: about two seconds of the log, or a sixteenth of what is in flight.
type age struct {
	oldest atomic.Int64 // oldest is the event's time, or 0 if nothing is known.

	points  []checkpoint // points has the checkpoints of what is read and not acknowledged.
	stride  int          // stride is how many checkpoints there are for each one that is kept.
	skipped int          // skipped counts the checkpoints since the last one that was kept.
	out     int64        // out is how many bytes are read and not acknowledged.
	end     uint64       // end is the position after what is read.
}

// read records that a frame of the feed was read. It may be read again after a Release.
func (a *age) read(at stream.Range, time int64) {
	if at.From < a.end {
		return
	}
	a.end = at.To
	a.out += int64(at.To - at.From)
	n := len(a.points)
	if n > 0 && at.From-a.points[n-1].at < checkpointBytes && time-a.points[n-1].time < int64(checkpointTime) {
		return
	}
	if n == 0 {
		a.oldest.Store(time)
	} else if a.skipped++; a.skipped < a.stride {
		return
	}
	a.skipped = 0
	if n == maxCheckpoints {
		for i := range n / 2 {
			a.points[i] = a.points[2*i]
		}
		a.points = a.points[:n/2]
		a.stride = 2 * max(a.stride, 1)
	}
	a.points = append(a.points, checkpoint{at.From, time})
}

// acked records that this many bytes are acknowledged. prefix returns the first
// position of the stream that is not acknowledged.
func (a *age) acked(bytes int64, prefix func() uint64) {
	if a.out -= bytes; a.out <= 0 {
		a.points, a.stride, a.out = a.points[:0], 1, 0
		a.oldest.Store(0)
		return
	}
	if len(a.points) < 2 {
		return
	}
	upTo, n := prefix(), 0
	for n+1 < len(a.points) && a.points[n+1].at <= upTo {
		n++
	}
	if n > 0 {
		a.points = a.points[:copy(a.points, a.points[n:])]
		a.oldest.Store(a.points[0].time)
	}
}

// rewind forgets what was read. The time remains the best known one until the first
// frame is read again.
func (a *age) rewind() { a.points, a.stride, a.skipped, a.out, a.end = a.points[:0], 1, 0, 0, 0 }

// Backlog describes the feed for the log: its name, the number of bytes of the stream
// that are neither acknowledged nor evicted, and the time of the oldest event among them.
// The time is zero if it is unknown or if there are no such bytes. Backlog may be called
// from any goroutine, and takes no lock.
func (f *Feed) Backlog() (name string, bytes int64, oldest time.Time) {
	if bytes = f.spool.Backlog().Bytes; bytes > 0 {
		if at := f.age.oldest.Load(); at != 0 {
			oldest = time.Unix(0, at)
		}
	}
	return f.o.Name, bytes, oldest
}
