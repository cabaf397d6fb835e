package spool

import (
	"context"
	"io/fs"
	"time"
)

// HistoryOptions say where in the stream a History begins: at the later of the two places.
// The zero value begins at the end.
//
// If the stream ends with an incomplete frame, Tail does not count it, and it is returned
// once it is complete. Frames earlier than Since are returned if their block is not skipped.
type HistoryOptions struct {
	// Tail is the number of whole frames before the end of the stream; negative means all.
	Tail int
	// Since is a time in Unix nanoseconds, and blocks in which all frames are earlier are
	// skipped; 0 means that no block is.
	Since int64
}

// History returns the frames of a spool in the order of the stream, delivered or not. It skips
// damage and gaps. It pins nothing: Append and Ack do not wait for it, and if its segment is
// removed, it continues at the first one that is left.
//
// A History belongs to one goroutine. Its methods block for the local disk only, except
// Wait. It has one open file, until Pause, and a buffer of 256 KiB (a little over 1 MiB
// if blocks are longer), which it returns while it waits.
type History struct {
	r          *Reader
	endAtStart uint64 // endAtStart is the end of the stream when the History was made.

	endSeen uint64    // endSeen is the end of the stream when Next last found nothing.
	wokenAt time.Time // wokenAt is when Wait last returned.
}

// followPause is the least time between two wake-ups of a History. Without it, twenty
// followers of a container that writes without a pause would cost its intake twenty
// wake-ups for each block.
const followPause = 10 * time.Millisecond

// NewHistory returns a History of the spool. Close it after use. NewHistory blocks for the
// local disk, longer if Tail is large, until ctx is done at the latest. The error is that of
// ctx, a failure to read that may pass, or fs.ErrClosed. Damage is not an error.
func (s *Spool) NewHistory(ctx context.Context, o HistoryOptions) (*History, error) {
	for try := 1; ; try++ {
		if s.isClosed() {
			return nil, fs.ErrClosed
		}
		h, gone, err := newFinder(ctx, s).history(o)
		if err != nil || !gone || try == maxTries {
			return h, err
		}
		h.Close() // and try again with the segments that are left
	}
}

// maxTries limits the tries of NewHistory. A segment is usually kept for much longer than a
// search takes.
const maxTries = 10

// Next returns the protobuf of the next frame, which is valid until the next call of any
// method. ok is false if there is none now; Wait waits for one. An error is a failure to read
// that may pass: try again later.
func (h *History) Next() (frame []byte, ok bool, err error) {
	end := h.r.s.End()
	for {
		item, ok := h.r.Next()
		switch {
		case !ok && h.r.failure.err != nil:
			return nil, false, h.r.failure.err
		case !ok:
			h.endSeen = end
			return nil, false, nil
		case item.Gap == nil:
			return item.Frame, true, nil
		}
	}
}

// Pause closes the file until the next Next. Call it if that may take long: if the segment is
// removed meanwhile, an open file would still take space on the disk, which nothing counts.
func (h *History) Pause() { h.r.closeFile() }

// End returns the end of the stream when the History was made. HistoryOptions.Tail counts from
// there.
func (h *History) End() uint64 { return h.endAtStart }

// Position returns the position after what Next has returned.
func (h *History) Position() uint64 { return h.r.Position() }

// Reject is called if the frame that Next has just returned is not a frame. If its bytes
// contain frames, the next Next continues with those.
func (h *History) Reject() { h.r.Reject() }

// Wait blocks until something has been appended since Next last found nothing. It returns the
// error of ctx when ctx is done, and fs.ErrClosed if nothing will be appended any more.
func (h *History) Wait(ctx context.Context) error {
	if len(h.r.current.rest) > 0 {
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
		closed := s.isClosed() // before the end, because Close may append
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

// Close releases the buffer and the file.
func (h *History) Close() { h.r.Release() }
