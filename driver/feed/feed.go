// Package feed turns the undelivered part of a container's spool into events, and turns the acknowledgement of events
// back into acknowledged ranges of the spool.
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

// Feed is a container's events that have not been delivered, in order, read from its spool; or those of one of its
// two outputs where they go to different streams. Its methods are for one goroutine at a time, except Backlog. They
// wait for nothing but the local disk.
type Feed struct {
	o      Options
	spool  *spool.Spool
	reader *spool.Reader
	joiner *events.Pipeline
	limit  atomic.Uint64 // the feed ends before this position; 0: no limit
	search time.Duration // how long Next may look for an event

	event    events.Event // that Next returned last
	joinedIt bool         // the joiner made it
	unread   bool         // it is to be returned again
	frame    bool         // a frame was pushed that the joiner may still point into

	pending []stream.Range // of what needs no delivery, to be acknowledged
	ranges  []stream.Range // reused by Ack
	last    int64          // time of the last frame
	end     bool           // nothing more will come: all was read after the feed was complete
	flushed uint64         // position of the reader when unfinished events were last handed out; 0: none were
	waited  uint64         // the same, where nothing was left unfinished
	again   uint64         // waited, at the last Rewind
	look    uint64         // position at which to look again whether it is too far ahead
	retry   time.Time      // when to read again after a failed read

	losses losses
	age    age
	poison poison
}

// Options are the settings of a Feed.
type Options struct {
	Outputs Outputs
	// Ended says that nothing more will be written for now: unfinished lines are not waited for. Nil: more may come.
	Ended *atomic.Bool
	// Limit is the position at which the next run of the container begins. The feed ends before it, as if nothing had been
	// written behind it. 0: no limit.
	Limit  uint64
	Events events.Options
	// Name is what the log calls the feed.
	Name string

	// OnLost is called for each loss that the feed finds itself, after it is recorded in the spool; of what Lost reports
	// the caller knows already. Nil: nothing is called.
	OnLost func(reason string, events int, bytes int64)
	// OnPanic is called when the plugin has panicked on data of this feed, once for each feed. Nil: nothing is called.
	OnPanic func(cause any, stack []byte)
	// OnPoison is called with each frame that was in work when that happened, to be set aside. It must not keep the slice.
	// Nil: nothing is called.
	OnPoison func(frame []byte, cause any)
}

// Outputs says which of a container's outputs a feed reads.
type Outputs struct {
	Stdout, Stderr bool
}

// BothOutputs is for a container whose outputs go to one stream.
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
	if frame == nil || decode(frame, &f) != nil {
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

	// maxSearch is how long Next looks for an event among what the container's filters keep back: its caller has
	// other feeds to serve.
	maxSearch = time.Second
	// searchFrames is after how many frames it looks at the clock.
	searchFrames = 16

	// readAhead is after how many bytes that is looked at: asking the spool takes its lock.
	readAhead = 64 << 10

	// retryTime is how long a feed waits after trouble with the disk.
	retryTime = time.Second
)

// New returns a feed of s. Close it after use.
func New(s *spool.Spool, o Options) *Feed {
	f := &Feed{o: o, spool: s, reader: s.NewReader(), joiner: events.NewPipeline(o.Events), search: maxSearch}
	f.limit.Store(o.Limit)
	if o.Outputs != BothOutputs {
		f.reader.SetOwner(o.Outputs.owns)
	}
	f.losses.held = f.retriesMarkers() && s.HoldsGap()
	return f
}

// EndAt makes the feed end before this position, as Options.Limit does. It may be called from any goroutine, at the
// latest before anything is written there.
func (f *Feed) EndAt(position uint64) { f.limit.Store(position) }

// complete reports whether nothing more will be written for now.
func (f *Feed) complete() bool { return f.limit.Load() > 0 || f.o.Ended != nil && f.o.Ended.Load() }

// Next returns the next event that has not been handed out since the last Rewind, and false when there is
// none now, or has not been found yet: then Due is now. The event is valid until the next call of any method.
func (f *Feed) Next(now time.Time) (events.Event, bool) {
	f.retry = time.Time{}
	f.retryMarker(now)
	if f.unread {
		f.unread = false
		return f.event, true
	}
	var begun time.Time
	for frames := 0; ; frames++ {
		if e, ok := f.joined(); ok {
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
			f.event, f.joinedIt = e, false
			return e, true
		} else if !f.frame {
			break
		}
	}
	// There is nothing to read now. What waits for more may have waited long enough; where it cannot be read,
	// though it may be there, the end has not come yet.
	at := f.reader.Position()
	f.flush(now, at)
	e, ok := f.joined()
	switch {
	case ok:
		f.flushed = at
		return e, true
	case f.flushed == at && f.joiner.Due().IsZero():
		f.waited = at
	}
	f.settle()
	return e, false
}

// flush ends what has waited long enough. at is where the reader is.
func (f *Feed) flush(now time.Time, at uint64) {
	var e events.Event
	var ok bool
	defer f.survive(&e, &ok)
	if f.end || at == f.again { // all of it had waited long enough before the Rewind
		f.joiner.Close()
	} else {
		f.joiner.Flush(now)
	}
}

// joined takes the next event that is more than an empty line out of the joiner. Empty lines cannot be
// sent (PutLogEvents takes no empty message): they are acknowledged as they are found.
func (f *Feed) joined() (e events.Event, ok bool) {
	for {
		f.poison.again = false
		if e, ok = f.tryJoined(); ok || !f.poison.again {
			return e, ok
		}
	}
}

// tryJoined is joined until the joiner panics.
func (f *Feed) tryJoined() (e events.Event, ok bool) {
	defer f.survive(&e, &ok)
	for {
		e, ok = f.joiner.Next()
		if !ok {
			f.frame = false
			return e, false
		}
		if len(e.Message) > 0 {
			if f.poison.hook != nil {
				f.poison.hook(e.Message)
			}
			f.event, f.joinedIt = e, true
			return e, true
		}
		f.pending, e = appendRanges(f.pending, e.Ranges), events.Event{}
		if len(f.pending) >= maxPending {
			f.settle()
		}
	}
}

// read pushes the next frame of this feed to the joiner, or returns the marker of a gap. When it does
// neither there is nothing to read now.
func (f *Feed) read(now time.Time) (events.Event, bool) {
	f.end = false
	if at := f.reader.Position(); at >= f.look {
		if at > f.spool.Acked()+1<<20 && f.spool.Fragments() > maxFragments {
			f.retry = now.Add(retryTime)
			return events.Event{}, false
		}
		f.look = at + readAhead
	}
	for {
		complete := f.complete() // before the feed reads: what was written before it was complete is read
		f.reader.SetLimit(f.limit.Load())
		item, ok := f.reader.Next()
		switch {
		case !ok && f.reader.Err() != nil:
			f.retry = now.Add(retryTime)
			return events.Event{}, false
		case !ok && complete:
			item, ok = f.reader.GiveUp()
			f.end = !ok
		}
		if limit := f.limit.Load(); !ok || limit > 0 && item.From >= limit {
			return events.Event{}, false // what is behind a limit that was set just now is another feed's
		}
		var frame events.Frame
		if item.Gap == nil {
			switch err := decode(item.Frame, &frame).(type) {
			case nil:
			case *panicked:
				f.poisoned(item, err)
				continue
			default:
				if item, ok = f.reader.Reject(); !ok {
					continue
				}
			}
		}
		if item.Gap != nil {
			if e, ok := f.marker(item, now); ok {
				return e, true
			}
			continue
		}
		f.last = frame.Time
		if f.o.Outputs.has(frame.Source) {
			f.age.read(item.Range, frame.Time)
			f.frame = true
			f.push(frame, item.Range, now)
			return events.Event{}, false
		}
	}
}

func (f *Feed) push(frame events.Frame, at stream.Range, now time.Time) {
	e, ok := events.Event{}, false
	defer f.survive(&e, &ok)
	f.poison.last, f.poison.at = frame, at
	f.joiner.Push(frame, at.From, at.To, now)
}

// settle acknowledges what needs no delivery. An error would only have it found again.
func (f *Feed) settle() {
	if len(f.pending) > 0 {
		n := size(f.pending)
		_ = f.spool.Ack(f.pending) // which sorts and merges them
		f.age.acked(n, f.spool.Acked)
		f.pending = f.pending[:0]
	}
}

func appendRanges(to []stream.Range, ranges []stream.Range) []stream.Range {
	for _, r := range ranges {
		to = append(to, stream.Range(r))
	}
	return to
}

// Unread makes the next Next return the same event again.
func (f *Feed) Unread() { f.unread = true }

// Due returns when Next should be called even if nothing has been written, and the zero time when it need not.
func (f *Feed) Due() time.Time {
	due := f.retry
	if due.IsZero() && !f.complete() {
		due = f.joiner.Due()
	}
	if at := f.losses.retry; f.losses.held && f.retriesMarkers() && (due.IsZero() || at.Before(due)) {
		due = at
	}
	return due
}

// keptRanges is for how many ranges Ack keeps memory.
const keptRanges = 256

// Ack says that the events made from these ranges are delivered or accounted for.
func (f *Feed) Ack(ranges []stream.Range) error {
	f.ranges = appendRanges(f.ranges[:0], ranges)
	f.account(f.ranges)
	f.ranges = append(f.ranges, f.pending...)
	f.pending = f.pending[:0]
	n := size(f.ranges)
	err := f.spool.Ack(f.ranges) // which sorts and merges them
	f.age.acked(n, f.spool.Acked)
	if cap(f.ranges) > keptRanges {
		f.ranges = nil
	}
	return err
}

// Rewind makes Next hand out again all that has been handed out and not acknowledged.
func (f *Feed) Rewind() {
	f.settle()
	f.event, f.unread, f.frame = events.Event{}, false, false
	f.losses.forget()
	f.look, f.again, f.poison.at = 0, f.waited, stream.Range{}
	f.age.rewind()
	f.joiner.Reset()
	f.reader.Rewind()
}

// SetMaxMessage bounds the length of a message in bytes. Rewind must follow at once.
func (f *Feed) SetMaxMessage(bytes int) {
	f.o.Events.MaxBytes = bytes
	f.renew()
}

// renew replaces the joiner by one without any frame.
func (f *Feed) renew() {
	f.joiner.Reset()
	f.joiner = events.NewPipeline(f.o.Events)
	f.frame = false
}

// Release gives buffers and files back until the next Next. What was handed out last and taken back, and what
// the joiner still needs of the last frame, is copied, because it is in those buffers.
func (f *Feed) Release() {
	if f.unread && f.joinedIt {
		f.event = f.joiner.Keep()
	} else {
		f.joiner.Release()
	}
	if cap(f.pending) > keptRanges && len(f.pending) == 0 {
		f.pending = nil
	}
	f.poison.at = stream.Range{}
	f.reader.Release()
}

// Close ends the feed.
func (f *Feed) Close() {
	f.settle()
	f.joiner.Reset()
	f.reader.Close()
}
