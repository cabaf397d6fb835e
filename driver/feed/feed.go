// Package feed turns the undelivered part of a container's spool into events, and
// acknowledgements of events back into acknowledged ranges of the spool.
//
// The package must not know FIFOs, log options, AWS, batches or retries.
package feed

import (
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// Feed returns the undelivered events of a container in order, read from its spool. If
// the two outputs of the container go to different streams, each has a feed. Only one
// goroutine may use a Feed at a time, except for EndAt and Backlog. The methods wait
// for nothing except the local disk.
type Feed struct {
	o        Options
	spool    *spool.Spool
	reader   *spool.Reader
	pipeline *events.Pipeline
	limit    atomic.Uint64 // limit is where the feed ends; 0 means no limit.

	out      handedOut
	run      *run // run is nil after a Release.
	progress progress
	acks     acks
	losses   losses
	markers  markers
	age      age
	poison   poison
}

// handedOut is the event that Next returned last.
type handedOut struct {
	events.Event
	joined bool // joined says that the pipeline made the event.
	unread bool // unread says that Next returns the event again.
	inRun  bool // inRun says that the event is the last one taken from the run instead.
}

// acks are acknowledgements on their way to the spool.
type acks struct {
	pending []stream.Range // pending has the ranges of frames that need no delivery.
	buf     []stream.Range // buf is reused by Ack.
}

// Options are the settings of a Feed. A nil function is not called.
type Options struct {
	Outputs Outputs
	// Ended reports that nothing more is written for now, so that the feed does not wait for
	// the rest of unfinished lines; nil means that more may come.
	Ended *atomic.Bool
	// Limit is the position at which the next run of the container begins, and before which
	// the feed ends; 0 means no limit.
	Limit  uint64
	Events events.Options
	// Name is the name of the feed in logs.
	Name string
	// Stats counts what is delivered; it may be nil.
	Stats *Stats

	// OnDropped is called for each loss that nothing has counted yet, once: those reported with
	// Lost, when an Ack covers them, and those of OnLost.
	OnDropped func(reason string, events int, bytes int64)
	// OnLost is called for each loss that the feed finds itself, but not for losses reported
	// with Lost.
	OnLost func(reason string, events int, bytes int64)
	// OnPanic is called once per feed, when the plugin has panicked on data of this feed.
	OnPanic func(cause any, stack []byte)
	// OnPoison is called with each frame that was being processed during a panic, to set it
	// aside, and must not keep the slice.
	OnPoison func(frame []byte, cause any)
}

// Outputs says which of a container's outputs a feed reads.
type Outputs struct {
	Stdout, Stderr bool
}

// BothOutputs is for a container whose outputs go to one stream.
var BothOutputs = Outputs{Stdout: true, Stderr: true}

// String returns the output's name, or both.
func (o Outputs) String() string {
	switch {
	case o == BothOutputs:
		return "both"
	case o.Stderr:
		return "stderr"
	}
	return "stdout"
}

// has reports whether events of the source belong to the feed. Gaps, and events of an
// unknown source, go with stdout.
func (o Outputs) has(source events.Source) bool {
	if source == events.Stderr {
		return o.Stderr
	}
	return o.Stdout
}

// owns reports whether a frame of the spool, or a gap if frame is nil, belongs to the
// feed. A frame that cannot be decoded becomes a gap.
func (o Outputs) owns(frame []byte) bool {
	var f events.Frame
	if frame == nil || decode(frame, &f) != nil {
		return o.has(events.Unknown)
	}
	return o.has(f.Source)
}

const (
	// maxPending is how many ranges that need no delivery are acknowledged together.
	maxPending = 1024
	// keptRanges is for how many ranges the feed keeps memory.
	keptRanges = 256
)

// New returns a feed of s. The caller must close it.
func New(s *spool.Spool, o Options) *Feed {
	f := &Feed{o: o, spool: s, reader: s.NewReader(), pipeline: events.NewPipeline(o.Events)}
	f.progress.search = maxSearch
	f.limit.Store(o.Limit)
	if o.Outputs != BothOutputs {
		f.reader.SetOwner(o.Outputs.owns)
	}
	f.markers.held = f.retriesMarkers() && s.HoldsGap()
	return f
}

// EndAt makes the feed end before this position, like Options.Limit. It may be called
// from any goroutine, before anything is written there.
func (f *Feed) EndAt(position uint64) { f.limit.Store(position) }

// complete reports whether nothing more is written for now.
func (f *Feed) complete() bool {
	return f.limit.Load() > 0 || f.o.Ended != nil && f.o.Ended.Load()
}

// Next returns the next event that has not been handed out since the last Rewind. It
// returns false if there is none now, or if it has not found one yet: then Due is now.
// The event is valid until the next call of any method except Backlog.
func (f *Feed) Next(now time.Time) (*events.Event, bool) {
	if e, ok := f.nextOfRun(); ok {
		return e, true
	}
	if !f.progress.now.Equal(now) {
		f.progress.now, f.progress.searched = now, 0
	}
	f.progress.retry = time.Time{}
	f.retryMarker(now)
	if f.out.unread {
		f.out.unread = false
		return &f.out.Event, true
	}
	var begun time.Time
	defer func() {
		if !begun.IsZero() {
			f.progress.searched += time.Since(begun)
		}
	}()
	for frames := 0; ; frames++ {
		if f.nextJoined() {
			return &f.out.Event, true
		}
		switch {
		case frames == 1:
			begun = time.Now()
		case frames > 0 && frames%searchFrames == 0 && f.progress.searched+time.Since(begun) >= f.progress.search:
			f.progress.retry = now
			f.flushAcks()
			return nil, false
		}
		if e, ok := f.read(now); ok {
			f.out = handedOut{Event: e}
			return &f.out.Event, true
		}
		if e, ok := f.nextOfRun(); ok {
			return e, true
		}
		if !f.progress.pushed {
			break
		}
	}
	// There is nothing to read now, so unfinished events may have waited long enough.
	at := f.reader.Position()
	f.flush(now, at)
	switch {
	case f.nextJoined():
		f.progress.flushed = at
		return &f.out.Event, true
	case f.progress.flushed == at && f.pipeline.Due().IsZero():
		f.progress.waited = at
	}
	f.flushAcks()
	return nil, false
}

// Unread makes the next Next return the same event again.
func (f *Feed) Unread() {
	if f.out.inRun {
		f.unreadOfRun()
	} else {
		f.out.unread = true
	}
}

// Due returns when the caller should call Next even if nothing has been written. It is
// the zero time if that is not necessary.
func (f *Feed) Due() time.Time {
	due := f.progress.retry
	if due.IsZero() && !f.complete() {
		due = f.pipeline.Due()
	}
	if at := f.markers.retry; f.markers.held && f.retriesMarkers() && (due.IsZero() || at.Before(due)) {
		due = at
	}
	return due
}

// Ack acknowledges the events that were made from these ranges: they are delivered or
// accounted for. After an error, the spool may return them again after a crash.
func (f *Feed) Ack(ranges []stream.Range) error {
	f.account(ranges)
	f.acks.buf = append(append(f.acks.buf[:0], ranges...), f.acks.pending...)
	f.acks.pending = f.acks.pending[:0]
	err := f.ack(f.acks.buf)
	if cap(f.acks.buf) > keptRanges {
		f.acks.buf = nil
	}
	return err
}

// flushAcks acknowledges what needs no delivery. After an error, the next read finds
// it again.
func (f *Feed) flushAcks() {
	if len(f.acks.pending) > 0 {
		_ = f.ack(f.acks.pending)
		f.acks.pending = f.acks.pending[:0]
	}
}

// ack acknowledges ranges in the spool, which sorts and merges them in place.
func (f *Feed) ack(ranges []stream.Range) error {
	n := size(ranges)
	err := f.spool.Ack(ranges)
	f.age.acked(n, f.spool.Acked)
	return err
}

// size returns the number of bytes in ranges.
func size(ranges []stream.Range) (n int64) {
	for _, r := range ranges {
		n += int64(r.To - r.From)
	}
	return n
}

// Rewind makes Next return all events again that are not acknowledged.
func (f *Feed) Rewind() {
	f.flushAcks()
	f.endRun()
	f.out = handedOut{}
	f.progress.rewind()
	f.losses, f.markers.sent, f.poison.at = losses{}, nil, stream.Range{}
	f.age.rewind()
	f.pipeline.Reset()
	f.reader.Rewind()
}

// SetMaxMessage limits the length of a message in bytes. The caller must call Rewind next.
func (f *Feed) SetMaxMessage(bytes int) {
	f.o.Events.MaxBytes = bytes
	f.renewPipeline()
}

// renewPipeline replaces the pipeline by one without any frame.
func (f *Feed) renewPipeline() {
	f.pipeline.Reset()
	f.pipeline = events.NewPipeline(f.o.Events)
	f.progress.pushed = false
}

// Release gives buffers and files back until the next Next. It copies an event that was
// taken back with Unread, and what the pipeline still needs of the last frame, because
// they are in those buffers.
func (f *Feed) Release() {
	f.releaseRun()
	if f.out.unread && f.out.joined {
		f.out.Event = f.pipeline.Keep()
	} else {
		f.pipeline.Release()
	}
	if cap(f.acks.pending) > keptRanges && len(f.acks.pending) == 0 {
		f.acks.pending = nil
	}
	f.poison.at = stream.Range{}
	f.reader.Release()
}

// Close ends the feed.
func (f *Feed) Close() {
	f.flushAcks()
	f.releaseRun()
	f.pipeline.Reset()
	f.reader.Close()
}
