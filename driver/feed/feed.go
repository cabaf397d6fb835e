// Package feed turns the undelivered part of a container's spool into events, and turns the acknowledgement of events
// back into acknowledged ranges of the spool.
//
// The package must not know FIFOs, log options, AWS, batches or retries.
package feed

import (
	"bytes"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/spool"
)

// Feed is a container's events that have not been delivered, in order, read from its spool; or those of one of its
// two outputs where they go to different streams. Its methods are for one goroutine at a time and wait for
// nothing but the local disk.
type Feed struct {
	spool  *spool.Spool
	reader *spool.Reader
	joiner *events.Pipeline
	sink   Outputs
	ended  *atomic.Bool // nothing more will come for now: unfinished lines are not waited for
	limit  atomic.Uint64
	onLost func(reason string, events int, bytes int64)

	event   events.Event // that Next returned last
	unread  bool         // it is to be returned again
	frame   bool         // a frame was pushed that the joiner may still point into
	kept    []events.Event
	pending []spool.Range // of what needs no delivery, to be acknowledged
	ranges  []spool.Range // reused by Ack
	last    int64         // time of the last frame
	look    uint64        // position at which to look again whether it is too far ahead
	search  time.Duration // how long Next may look for an event
	losses  []spool.Gap   // told by Lost since the last Ack
	markers []spool.Range // of markers handed out that tell of a loss behind the spool
	retry   time.Time     // when to read again after trouble
}

// Outputs says which of a container's outputs a feed reads.
type Outputs struct {
	Stdout, Stderr bool
}

var BothOutputs = Outputs{Stdout: true, Stderr: true}

// has reports whether events of the source belong to the feed. What names neither goes with stdout, and so
// do gaps.
func (o Outputs) has(source events.Source) bool {
	if source == events.Stderr {
		return o.Stderr
	}
	return o.Stdout
}

// owns reports whether a frame of the spool, or a gap where it is nil, is the feed's. A frame that cannot be decoded
// becomes a gap.
func (o Outputs) owns(frame []byte) bool {
	var f events.Frame
	if frame == nil || events.Decode(frame, &f) != nil {
		return o.has(events.Unknown)
	}
	return o.has(f.Source)
}

const (
	// maxPending is how many ranges that need no delivery are put off to be acknowledged together.
	maxPending = 1024

	// maxFragments bounds the ranges acknowledged out of order that a spool keeps: past it the feed that is
	// ahead of the other output waits for it.
	maxFragments = 1 << 16

	// maxSearch is how long Next looks for an event among what the container's filters keep back: whoever calls it has
	// things in hand that others wait for.
	maxSearch = time.Second
	// searchFrames is after how many frames it looks at the clock.
	searchFrames = 16

	// readAhead is after how many bytes that is looked at: asking the spool takes its lock.
	readAhead = 64 << 10

	// retryTime is how long a feed waits after trouble with the disk.
	retryTime = time.Second
)

// Options configure a Feed.
type Options struct {
	Outputs Outputs      // whose events it has
	Ended   *atomic.Bool // nothing more will be written for now
	Limit   uint64       // the feed ends before this position; 0: no limit
	Events  events.Options
	Name    string // of the container, for the log
	// OnLost, if set, is called when events are lost behind the spool.
	OnLost func(reason string, events int, bytes int64)
}

// New returns a feed of the events of s. Close it after use.
func New(s *spool.Spool, o Options) *Feed {
	f := &Feed{spool: s, reader: s.NewReader(), joiner: events.NewPipeline(o.Events), sink: o.Outputs, ended: o.Ended,
		onLost: o.OnLost, search: maxSearch}
	if o.Outputs != BothOutputs {
		f.reader.Own(o.Outputs.owns)
	}
	f.limit.Store(math.MaxUint64)
	if o.Limit > 0 {
		f.limit.Store(o.Limit)
	}
	return f
}

// EndAt makes the feed end before this position, as Options.Limit does. It may be called from any goroutine, at the
// latest before anything is written there.
func (f *Feed) EndAt(position uint64) { f.limit.Store(position) }

// Next returns the next event that has not been handed out since the last Rewind, and false when there is
// none now, or has not been found yet: then Due is now. The event is valid until the next call of any method.
func (f *Feed) Next(now time.Time) (events.Event, bool) {
	f.retry = time.Time{}
	if f.unread {
		f.unread = false
		return f.event, true
	}
	var begun time.Time
	for frames := 0; ; frames++ {
		if len(f.kept) > 0 {
			f.event, f.kept = f.kept[0], f.kept[1:]
			return f.event, true
		}
		if e, ok := f.joined(); ok {
			f.event = e
			return e, true
		}
		switch {
		case frames == 1:
			begun = time.Now()
		case frames > 0 && frames%searchFrames == 0 && time.Since(begun) >= f.search:
			f.retry = now
			f.settle()
			return events.Event{}, false
		}
		if e, ok := f.read(now); ok {
			f.event = e
			return e, true
		} else if !f.frame {
			break
		}
	}
	// There is nothing to read now. What waits for more may have waited long enough; where it cannot be read,
	// though it may be there, the end has not come yet.
	if f.ended.Load() && f.retry.IsZero() {
		f.joiner.Close()
	} else {
		f.joiner.Flush(now)
	}
	e, ok := f.joined()
	f.event = e
	if !ok {
		f.settle()
	}
	return e, ok
}

// joined takes the next event that is more than an empty line out of the joiner. Empty lines cannot be
// sent (PutLogEvents takes no empty message): they are done with as they are found.
func (f *Feed) joined() (events.Event, bool) {
	for {
		e, ok := f.joiner.Next()
		if !ok {
			f.frame = false
			return e, false
		}
		if len(e.Message) > 0 {
			return e, true
		}
		f.pending = appendRanges(f.pending, e.Ranges)
		if len(f.pending) >= maxPending {
			f.settle()
		}
	}
}

// read pushes the next frame of this feed to the joiner, or returns the marker of a gap. When it does
// neither there is nothing to read now.
func (f *Feed) read(now time.Time) (events.Event, bool) {
	if at := f.reader.Position(); at >= f.look {
		if at > f.spool.Acked()+1<<20 && f.spool.Fragments() > maxFragments {
			f.retry = now.Add(retryTime)
			return events.Event{}, false
		}
		f.look = at + readAhead
	}
	for {
		f.reader.SetLimit(f.limit.Load())
		item, ok := f.reader.Next()
		if ok && item.From >= f.limit.Load() {
			return events.Event{}, false // it was written after the limit was set, and is left to the next feed
		}
		switch {
		case !ok && f.reader.Err() != nil:
			f.retry = now.Add(retryTime)
			return events.Event{}, false
		case !ok && f.ended.Load():
			item, ok = f.reader.GiveUp()
		}
		if !ok {
			return events.Event{}, false
		}
		var frame events.Frame
		if item.Gap == nil && events.Decode(item.Frame, &frame) != nil {
			if item, ok = f.reader.Reject(); !ok {
				continue
			}
		}
		if item.Gap != nil {
			if f.sink.has(events.Unknown) {
				return f.marker(item, now), true
			}
			continue
		}
		f.last = frame.Time
		if f.sink.has(frame.Source) {
			f.joiner.Push(frame, item.From, item.To, now)
			f.frame = true
			return events.Event{}, false
		}
	}
}

// marker is the event that stands in the place of what is missing.
func (f *Feed) marker(item spool.Item, now time.Time) events.Event {
	g := *item.Gap
	at := g.MinTime
	if at == 0 {
		at = f.last
	}
	switch g.Reason {
	case tooOld, expired, tooNew:
		at = 0 // the service would not take the marker either
	}
	if g.Reason >= spool.FirstForeign {
		f.markers = append(f.markers, item.Range)
	}
	if at == 0 {
		at = now.UnixNano()
	}
	return events.Event{
		Time:    at,
		Source:  events.Stdout,
		Message: []byte(gapText(g)),
		Ranges:  []events.Range{events.Range(item.Range)},
	}
}

// Lost takes note that events were lost behind the spool. At the next Ack it becomes a gap in the stream, on disk
// before what it tells of is acknowledged.
func (f *Feed) Lost(why string, events int, bytes int64, from, to time.Time) {
	if f.onLost != nil {
		f.onLost(why, events, bytes)
	}
	f.losses = append(f.losses, spool.Gap{
		Reason: lossReasons[why], Frames: uint64(events), Bytes: uint64(bytes), MinTime: from.UnixNano(), MaxTime: to.UnixNano(),
	})
}

// account puts what Lost told into the stream, before the ranges are acknowledged. A marker that is itself lost makes
// no further one: a service that refuses everything would never see the end of it.
func (f *Feed) account(ranges []spool.Range) {
	isMarker := func(r spool.Range) bool { return slices.Contains(f.markers, r) }
	if len(ranges) == 0 || !isMarker(ranges[0]) || len(ranges) > 1 {
		for _, g := range f.losses {
			f.spool.AddGap(g)
		}
	}
	f.losses = f.losses[:0]
	f.markers = slices.DeleteFunc(f.markers, func(m spool.Range) bool {
		return slices.ContainsFunc(ranges, func(r spool.Range) bool { return r.From <= m.From && m.To <= r.To })
	})
}

// settle acknowledges what needs no delivery. An error would only have it found again.
func (f *Feed) settle() {
	if len(f.pending) > 0 {
		_ = f.spool.Ack(f.pending)
		f.pending = f.pending[:0]
	}
}

func appendRanges(to []spool.Range, ranges []events.Range) []spool.Range {
	for _, r := range ranges {
		to = append(to, spool.Range(r))
	}
	return to
}

// Unread makes the next Next return the same event again.
func (f *Feed) Unread() { f.unread = true }

// Due returns when Next should be called even if nothing has been written, and the zero time when it need not.
func (f *Feed) Due() time.Time {
	if !f.retry.IsZero() {
		return f.retry
	}
	if f.ended.Load() {
		return time.Time{}
	}
	return f.joiner.Due()
}

// Ack says that the events made from these ranges are delivered or accounted for.
func (f *Feed) Ack(ranges []events.Range) error {
	f.ranges = appendRanges(f.ranges[:0], ranges)
	if len(f.losses) > 0 || len(f.markers) > 0 {
		f.account(f.ranges)
	}
	f.ranges = append(f.ranges, f.pending...)
	f.pending = f.pending[:0]
	return f.spool.Ack(f.ranges)
}

// Rewind makes Next hand out again all that has been handed out and not acknowledged.
func (f *Feed) Rewind() {
	f.settle()
	f.event, f.unread, f.frame, f.kept = events.Event{}, false, false, nil
	f.losses, f.markers, f.look = nil, nil, 0
	f.joiner.Reset()
	f.reader.Rewind()
}

// Release gives buffers and files back until the next Next. What was handed out last and taken back, and what
// the joiner still has of the last frame, is copied, for it stands in those buffers.
func (f *Feed) Release() {
	var kept []events.Event
	if f.unread {
		kept = append(kept, clone(f.event))
		f.unread = false
	}
	kept = append(kept, f.kept...)
	if f.frame {
		for e, ok := f.joined(); ok; e, ok = f.joined() {
			kept = append(kept, clone(e))
		}
	}
	f.kept, f.event = kept, events.Event{}
	f.joiner.Release()
	f.reader.Release()
}

func clone(e events.Event) events.Event {
	e.Message, e.Ranges = bytes.Clone(e.Message), slices.Clone(e.Ranges)
	return e
}

// Close ends the feed.
func (f *Feed) Close() {
	f.settle()
	f.reader.Close()
}
