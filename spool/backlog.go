package spool

import (
	"context"
	"slices"
	"sort"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/stream"
)

const (
	// A checkpoint is taken after this many bytes of the stream, or this much time between
	// two blocks.
	checkpointBytes = 64 << 10
	checkpointTime  = time.Second

	// maxCheckpoints is the number of checkpoints after which every second one is forgotten.
	maxCheckpoints = 128

	// keptPoints is for how many checkpoints an idle spool keeps memory.
	keptPoints = 16

	// maxGapsAt limits the places of gap blocks that are remembered.
	maxGapsAt = 1024
)

// backlog follows what is in the stream and not acknowledged, so that Spool.Backlog takes no
// lock and reads nothing. Spool.mu guards it, except published.
//
// The numbers of the blocks from since on are known: those that this process has appended,
// and those that CountBacklog has read.
type backlog struct {
	census
	since     uint64 // since is the position from which on the blocks are counted.
	firstTime int64  // firstTime is the time of the first block before since, or 0.
	gone      int64  // gone is how many of the frames are not waiting any more.
	published published
}

// published is what Spool.Backlog returns. It is written with Spool.mu held.
type published struct {
	lines   atomic.Int64 // lines is the number of waiting frames, or -1 if it is not known.
	oldest  atomic.Int64 // oldest is the time of the first of them, or 0.
	evicted atomic.Int64 // evicted is the bytes that are evicted and not acknowledged.
	gaps    atomic.Int64 // gaps is the number of losses that are not acknowledged.
	disk    atomic.Int64 // disk is usage.charged.
}

// census counts the frames of a part of the stream.
type census struct {
	points   []checkpoint // points has checkpoints of what is not acknowledged, in order.
	frames   int64        // frames is the number of frames in the part.
	stride   int          // stride is how many checkpoints there are for each that is kept.
	skipped  int          // skipped counts the checkpoints since the last one that was kept.
	afterGap bool         // afterGap says that the last block is a gap block.
	gapsAt   []uint64     // gapsAt has the positions of the gap blocks that are not acknowledged.
}

// checkpoint describes a block and the blocks after it, up to the next checkpoint.
type checkpoint struct {
	at     uint64 // at is where the first block begins.
	end    uint64 // end is where the last block ends.
	frames int64  // frames is how many frames of the census come before the first block.
	time   int64  // time is the least time of the first block's frames.
}

// add counts a block that follows everything that was counted before.
func (c *census) add(h *blockHeader) {
	if h.kind == kindGap {
		if len(c.gapsAt) < maxGapsAt {
			c.gapsAt = append(c.gapsAt, h.position)
		}
		c.afterGap = true
		return
	}
	c.addPoint(checkpoint{h.position, h.end(), c.frames, h.info.MinTime})
	c.frames += int64(h.info.Frames)
}

func (c *census) addPoint(p checkpoint) {
	n := len(c.points)
	if n > 0 {
		last := &c.points[n-1]
		near := p.at-last.at < checkpointBytes && p.time-last.time < int64(checkpointTime) && !c.afterGap
		if !near {
			c.skipped++
		}
		if near || c.skipped < c.stride {
			last.end, c.afterGap = p.end, false
			return
		}
	}
	c.skipped, c.afterGap = 0, false
	if n == maxCheckpoints {
		for i := range n / 2 {
			c.points[i] = c.points[2*i]
			c.points[i].end = c.points[2*i+1].end
		}
		c.points = c.points[:n/2]
		c.stride = 2 * max(c.stride, 1)
	}
	c.points = append(c.points, p)
}

// index returns the last checkpoint that is not after pos; -1 if there is none.
func (c *census) index(pos uint64) int {
	return sort.Search(len(c.points), func(i int) bool { return c.points[i].at > pos }) - 1
}

// before returns how many of the frames come before pos. Within a checkpoint, it takes the
// frames to be of one length, and rounds down, so that a frame is left until pos is the end.
func (c *census) before(pos uint64) int64 {
	i := c.index(pos)
	if i < 0 {
		return 0
	}
	p, next := c.points[i], c.frames
	if i+1 < len(c.points) {
		next = c.points[i+1].frames
	}
	if pos >= p.end {
		return next
	}
	return p.frames + int64(float64(next-p.frames)*float64(pos-p.at)/float64(p.end-p.at))
}

// time returns the time of the checkpoint before pos. It returns 0 if nothing is known.
func (c *census) time(pos uint64) int64 {
	if len(c.points) == 0 {
		return 0
	}
	return c.points[max(c.index(pos), 0)].time
}

// forget forgets the checkpoints before the part that follows pos.
func (c *census) forget(pos uint64) {
	if i := c.index(pos); i > 0 {
		c.points = c.points[:copy(c.points, c.points[i:])]
	}
}

// append adds o, which counts the part that follows c's.
func (c *census) append(o census) {
	for _, p := range o.points {
		p.frames += c.frames
		c.addPoint(p)
	}
	c.frames += o.frames
	c.gapsAt = append(c.gapsAt, o.gapsAt...)
}

// publishLocked publishes the backlog. It is called after each change of the stream, of what
// is acknowledged, and of what is evicted.
func (s *Spool) publishLocked() {
	b, p := &s.backlog, &s.backlog.published
	acked, end := s.cursor.acked.prefix, s.end.Load()
	if acked >= end {
		b.census = census{points: b.points[:0], gapsAt: b.gapsAt[:0]}
		if cap(b.points) > keptPoints {
			b.points = nil
		}
		b.since = end
		p.lines.Store(0)
		p.oldest.Store(0)
		p.evicted.Store(0)
		p.gaps.Store(int64(s.unwrittenGapsLocked()))
		return
	}
	b.forget(acked)
	first, evicted, gaps := acked, uint64(0), s.unwrittenGapsLocked()
	lines := b.frames - b.before(acked)
	for _, e := range s.cursor.evicted {
		from := max(e.From, acked)
		if from >= e.To {
			continue
		}
		gaps++
		evicted += e.To - from
		lines -= b.before(e.To) - b.before(from)
		if from <= first {
			first = max(first, e.To)
		}
	}
	b.gapsAt = slices.DeleteFunc(b.gapsAt, s.gapIsGoneLocked)
	gaps += len(b.gapsAt)
	oldest := b.time(first)
	switch {
	case first < b.since:
		lines, oldest = -1, b.firstTime
	case lines <= 0:
		lines, oldest = 0, 0
	}
	b.gone = b.frames - lines
	p.lines.Store(lines)
	p.oldest.Store(oldest)
	p.evicted.Store(int64(evicted))
	p.gaps.Store(int64(gaps))
}

// publishAppendLocked is publishLocked after an append. It is cheap in the usual case, in which
// there is no loss and other frames are waiting already.
func (s *Spool) publishAppendLocked() {
	b := &s.backlog
	if len(s.cursor.evicted) == 0 && len(b.gapsAt) == 0 && s.unwrittenGapsLocked() == 0 && b.published.lines.Load() > 0 {
		b.published.lines.Store(b.frames - b.gone)
		return
	}
	s.publishLocked()
}

// gapIsGoneLocked reports whether a gap block is acknowledged, or is a part of an evicted
// range.
func (s *Spool) gapIsGoneLocked(at uint64) bool {
	return s.cursor.acked.through(at) > at ||
		slices.ContainsFunc(s.cursor.evicted, func(e evicted) bool { return e.From <= at && at < e.To })
}

// unwrittenGapsLocked returns the number of gaps that are not in the stream yet.
func (s *Spool) unwrittenGapsLocked() int {
	n := len(s.gaps.added)
	if s.gaps.unkept.Bytes > 0 {
		n++
	}
	if s.gaps.held != (Gap{}) {
		n++
	}
	return n
}

// Backlog returns what is not delivered: from the first position that has not been
// acknowledged to the end of the stream, without what was evicted. It takes no lock and reads
// no file, so it may be called while the disk hangs.
//
// Bytes is exact, and counts a few bytes for each frame. Frames is exact when nothing is
// waiting and when nothing of a block is acknowledged; otherwise it may be off by a part of
// 64 KiB, or of a 64th of the backlog. Oldest may be too early by as much, and by two
// seconds. Frames is -1, and Oldest may be zero, until CountBacklog has counted what an
// earlier process has left.
func (s *Spool) Backlog() Backlog {
	p := &s.backlog.published
	b := Backlog{Frames: int(p.lines.Load()), Bytes: max(s.Undelivered()-p.evicted.Load(), 0), Gaps: int(p.gaps.Load())}
	if at := p.oldest.Load(); at != 0 {
		b.Oldest = time.Unix(0, at)
	}
	if b.Bytes == 0 {
		b.Frames, b.Oldest = 0, time.Time{}
	}
	return b
}

// DiskUsage returns the bytes on disk that the budget counts for the spool. It takes no lock.
func (s *Spool) DiskUsage() int64 { return s.backlog.published.disk.Load() }

// CountBacklog counts the frames that an earlier process has left, by the headers of their
// blocks. It is for one goroutine, and blocks for the local disk, until ctx is done at the
// latest. It holds the spool's lock only for moments, and not while it reads.
func (s *Spool) CountBacklog(ctx context.Context) {
	var c census
	from, to := s.uncounted()
	for pos := from; pos < to && ctx.Err() == nil; {
		seg, found := s.segmentFrom(pos)
		if !found || seg.base >= to {
			break
		}
		pos = max(pos, seg.base)
		at := s.countHeaders(ctx, seg, stream.Range{From: pos, To: to}, &c)
		if again, _ := s.segmentFrom(at); at < seg.end && again.base == seg.base {
			at = seg.end // the rest of the segment is damaged
		}
		pos = max(at, pos+1)
		if acked, _ := s.uncounted(); acked >= to {
			return // it is delivered meanwhile
		}
	}
	if ctx.Err() != nil || from >= to {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.backlog.since != to {
		return
	}
	c.append(s.backlog.census)
	s.backlog.census, s.backlog.since = c, from
	s.publishLocked()
}

// countHeaders counts the blocks of a segment that are in the range, and returns the position
// that it has reached.
func (s *Spool) countHeaders(ctx context.Context, seg segment, in stream.Range, c *census) (at uint64) {
	at = in.From
	s.walkHeaders(seg, func(_ int64, h blockHeader) bool {
		if h.position >= in.To || ctx.Err() != nil {
			return false
		}
		if h.end() > in.From {
			if len(c.points) == 0 {
				s.setFirstTime(h.info.MinTime)
			}
			c.add(&h)
			at = h.end()
		}
		return true
	})
	return at
}

// uncounted returns the positions between which the blocks are not counted.
func (s *Spool) uncounted() (from, to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor.acked.prefix, s.backlog.since
}

// setFirstTime publishes the time of the first block while the others are being counted.
func (s *Spool) setFirstTime(t int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.backlog.firstTime == 0 {
		s.backlog.firstTime = t
		s.publishLocked()
	}
}

// segmentFrom returns the segment that holds pos, or else the next one.
func (s *Spool) segmentFrom(pos uint64) (seg segment, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := s.findLocked(pos)
	if !found && i > 0 && pos < s.segments[i-1].end {
		i--
	}
	if i >= len(s.segments) {
		return segment{}, false
	}
	return s.segments[i], true
}

// LastTime returns the time of the last frame that the spool had when it was opened, in Unix
// nanoseconds. It is 0 if that is not known. It may be the time of the write of the frame.
func (s *Spool) LastTime() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active.maxTime
}
