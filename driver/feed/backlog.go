package feed

import (
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/stream"
)

const (
	// A checkpoint is taken after so many bytes of stream, or so much time between two frames.
	checkpointBytes = 64 << 10
	checkpointTime  = time.Second

	// If there are more, every second one is forgotten.
	maxCheckpoints = 128
)

// checkpoint says when the frame at a position was written.
type checkpoint struct {
	at   uint64
	time int64
}

// age knows how old the oldest event is that has been read and not acknowledged. After a rewind it is exact. Else the time
// may be earlier than that, by the distance of two checkpoints: about two seconds of the log, or a sixteenth of what is in
// flight.
type age struct {
	oldest atomic.Int64 // 0: nothing is known

	points  []checkpoint // of what has been read since the last rewind and is not acknowledged
	stride  int          // only one in so many checkpoints is kept, after there were too many
	skipped int
	out     int64 // bytes that have been read and are not acknowledged
}

// read takes note of a frame of the feed.
func (a *age) read(at stream.Range, time int64) {
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

// acked takes note that so many bytes are acknowledged. prefix returns the first position of the stream that is not.
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

// rewind forgets what was read. The time stays as the best that is known until the first frame is read again.
func (a *age) rewind() { a.points, a.stride, a.skipped, a.out = a.points[:0], 1, 0, 0 }

// Backlog describes the feed for the log: its name, how many bytes of the stream are not acknowledged, and the time of
// the oldest event among them, as far as it is known; the zero time if nothing is known, or nothing waits. It may be
// called from any goroutine.
func (f *Feed) Backlog() (name string, bytes int64, oldest time.Time) {
	if bytes = f.spool.Undelivered(); bytes > 0 {
		if at := f.age.oldest.Load(); at != 0 {
			oldest = time.Unix(0, at)
		}
	}
	return f.o.Name, bytes, oldest
}
