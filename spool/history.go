package spool

import (
	"context"
	"io/fs"
	"time"
)

// HistoryOptions say where in the stream a History begins: at the later of the two places. The zero value begins at
// the end.
type HistoryOptions struct {
	// Tail is how many whole frames, counted from the end, are given; negative: all. What the stream ends with of a
	// frame that has not come whole is given in addition, once it has.
	Tail int
	// Since lets blocks be passed over in which all frames are earlier, in nanoseconds since the Unix epoch; 0: none.
	// Earlier frames may be given all the same.
	Since int64
}

// History gives the frames of a spool in the order of the stream, whether they have been delivered or not. What is
// damaged, or was never kept, is passed over. It holds nothing: neither Append nor Ack waits for it, and segments are
// removed under it, in which case it goes on at the first one that is left.
//
// A History belongs to one goroutine. Its methods wait for nothing but the local disk, Wait apart. It holds one open
// file, until Pause, and a buffer of 256 KiB (1 MiB and some where blocks are longer) that is given back while it waits.
type History struct {
	r          *Reader
	endAtStart uint64 // where the stream ended when it was

	endSeen uint64    // where the stream ended when there was nothing more
	wokenAt time.Time // when Wait last returned
}

// followPause is how long a History that has been woken waits before it may be woken again: twenty that follow a
// container which writes without end would otherwise cost its intake twenty wake-ups for each block.
const followPause = 10 * time.Millisecond

// NewHistory returns a History of the spool. Close it after use. It blocks for the local disk, longer where Tail is
// large, and no longer than until ctx is done. An error is ctx's, trouble with reading that may pass, or fs.ErrClosed;
// damage is none.
func (s *Spool) NewHistory(ctx context.Context, o HistoryOptions) (*History, error) {
	for try := 1; ; try++ {
		if s.isClosed() {
			return nil, fs.ErrClosed
		}
		h, gone, err := newFinder(ctx, s).history(o)
		if err != nil || !gone || try == maxTries {
			return h, err
		}
		h.Close() // and once more, with what is left
	}
}

// maxTries bounds how often NewHistory begins anew. A segment lasts much longer than it takes to look for its frames.
const maxTries = 10

// Next returns the protobuf of the next frame, which is valid until the next call of any method. ok is false when
// there is none now: Wait says when there may be. An error is trouble with reading that may pass: try again later.
func (h *History) Next() (frame []byte, ok bool, err error) {
	end := h.r.s.End()
	for {
		item, ok := h.r.Next()
		switch {
		case !ok && h.r.err != nil:
			return nil, false, h.r.err
		case !ok:
			h.endSeen = end
			return nil, false, nil
		case item.Gap == nil:
			return item.Frame, true, nil
		}
	}
}

// Pause is for when it may be long until the next Next: it closes the file, which would stay on disk although its segment
// is removed, and be counted nowhere.
func (h *History) Pause() { h.r.closeFile() }

// End returns where the stream ended when the History was made: what HistoryOptions.Tail counts ends there.
func (h *History) End() uint64 { return h.endAtStart }

// Position returns where the stream goes on behind what Next has returned.
func (h *History) Position() uint64 { return h.r.Position() }

// Reject says that the frame which Next has just returned is not one. The next Next goes on with the frames inside
// it, if there are any.
func (h *History) Reject() { h.r.Reject() }

// Wait blocks until something has been appended since Next last found nothing, and no longer than until ctx is done,
// which is the error then. It returns fs.ErrClosed when nothing will be appended any more.
func (h *History) Wait(ctx context.Context) error {
	if len(h.r.rest) > 0 {
		return nil
	}
	h.r.releaseBuffer()
	s := h.r.s
	if pause := time.Until(h.wokenAt.Add(followPause)); pause > 0 && !s.isClosed() {
		t := time.NewTimer(pause)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		more := s.appended.wait()
		closed := s.isClosed() // asked first: Close appends, too
		if s.End() > h.endSeen {
			h.wokenAt = time.Now()
			return nil
		}
		if closed {
			return fs.ErrClosed
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Spool) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close gives back what the History holds. It has nothing to fail with.
func (h *History) Close() { h.r.Release() }
