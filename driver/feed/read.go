package feed

import (
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
)

const (
	// maxSearch is how long all calls of Next with the same time look for events among those
	// that the container's filters drop: the caller has other feeds to serve.
	maxSearch = time.Second
	// searchFrames is the number of frames after which Next looks at the clock.
	searchFrames = 16

	// maxFragments limits the ranges acknowledged out of order that a spool keeps. Past
	// it, the feed that is ahead of the other output waits.
	maxFragments = 1 << 16
	// minAhead is how far a feed may always be ahead of the acknowledged position, in
	// bytes.
	minAhead = 1 << 20
	// aheadInterval is how many bytes a feed reads before it checks that again: asking
	// the spool takes its lock.
	aheadInterval = 64 << 10

	// retryTime is how long a feed waits after an error of the disk.
	retryTime = time.Second
)

// progress is how far a feed has read.
type progress struct {
	search   time.Duration // search is how long Next may look for events at the same time now.
	searched time.Duration // searched is how long it has looked at the time now.
	now      time.Time     // now is the time of the last Next.
	retry    time.Time     // retry is when to read again after an error, or the zero time.
	latest   int64         // latest is the time of the last frame.
	pushed   bool          // pushed says that the pipeline may point into a pushed frame.
	ended    bool          // ended says that the feed was complete and everything was read.
	check    uint64        // check is the position at which tooFarAhead asks the spool again.

	// These are positions of the reader. 0 means that there is none. What is unfinished at
	// waitedOnce has waited long enough.
	flushed    uint64 // flushed is where unfinished events were last handed out.
	waited     uint64 // waited is where, in addition, nothing was left unfinished.
	waitedOnce uint64 // waitedOnce is the value of waited at the last rewind.
}

// rewind is for a reader that begins again.
func (p *progress) rewind() { p.pushed, p.check, p.waitedOnce = false, 0, p.waited }

// read starts a run, or pushes the next frame of this feed to the pipeline, or returns the
// marker of a gap. If it does none of this, there is nothing to read now.
func (f *Feed) read(now time.Time) (events.Event, bool) {
	f.progress.ended = false
	if f.tooFarAhead() {
		f.progress.retry = now.Add(retryTime)
		return events.Event{}, false
	}
	for {
		// This comes before the read, so that what was written before the feed was
		// complete is read.
		complete := f.complete()
		f.reader.SetLimit(f.limit.Load())
		item, ok := f.reader.Next()
		switch {
		case !ok && f.reader.Err() != nil:
			f.progress.retry = now.Add(retryTime)
			return events.Event{}, false
		case !ok && complete:
			item, ok = f.reader.GiveUp()
			f.progress.ended = !ok
		}
		if limit := f.limit.Load(); !ok || limit > 0 && item.From >= limit {
			// What is after a limit that was just set belongs to another feed.
			return events.Event{}, false
		}
		if item.Gap == nil {
			if done, ok := f.startRun(item.Range); ok {
				return events.Event{}, false
			} else if done > item.From {
				continue
			}
		}
		var frame events.Frame
		if item.Gap == nil {
			switch err := decode(item.Frame, &frame).(type) {
			case nil:
			case *panicked:
				f.rejectPoison(item, err)
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
		f.progress.latest = frame.Time
		if f.o.Outputs.has(frame.Source) {
			f.age.read(item.Range, frame.Time)
			f.progress.pushed = true
			f.push(frame, item.Range, now)
			return events.Event{}, false
		}
	}
}

// tooFarAhead reports whether the feed must wait for the feed of the other output.
func (f *Feed) tooFarAhead() bool {
	at := f.reader.Position()
	if at < f.progress.check {
		return false
	}
	if at > f.spool.Acked()+minAhead && f.spool.Fragments() > maxFragments {
		return true
	}
	f.progress.check = at + aheadInterval
	return false
}

// push gives a frame to the pipeline.
func (f *Feed) push(frame events.Frame, at stream.Range, now time.Time) {
	e, ok, panics := events.Event{}, false, true
	defer f.recoverPanic(&panics, &e, &ok)
	f.poison.last, f.poison.at = frame, at
	f.pipeline.Push(frame, at.From, at.To, now)
	panics = false
}

// flush ends unfinished events that have waited long enough. at is the position of the
// reader.
func (f *Feed) flush(now time.Time, at uint64) {
	e, ok, panics := events.Event{}, false, true
	defer f.recoverPanic(&panics, &e, &ok)
	if f.progress.ended || at == f.progress.waitedOnce {
		f.pipeline.Close()
	} else {
		f.pipeline.Flush(now)
	}
	panics = false
}

// nextJoined takes the next event with a message from the pipeline into f.out. Events without one
// cannot be sent (PutLogEvents takes no empty message), so they are acknowledged as
// they are found.
func (f *Feed) nextJoined() bool {
	for {
		f.poison.retried = false
		if ok := f.tryNextJoined(); ok || !f.poison.retried {
			return ok
		}
	}
}

// tryNextJoined is nextJoined until the pipeline panics.
func (f *Feed) tryNextJoined() (ok bool) {
	e, panics := events.Event{}, true
	defer f.recoverPanic(&panics, &e, &ok)
	for {
		e, ok = f.pipeline.Next()
		if !ok {
			f.progress.pushed, panics = false, false
			return false
		}
		if len(e.Message) > 0 {
			if f.poison.hook != nil {
				f.poison.hook(e.Message)
			}
			f.out, panics = handedOut{Event: e, joined: true}, false
			return true
		}
		f.acks.pending, e = append(f.acks.pending, e.Ranges...), events.Event{}
		if len(f.acks.pending) >= maxPending {
			f.flushAcks()
		}
	}
}
