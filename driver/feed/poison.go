package feed

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// poison is what is known of data on which the plugin panicked.
type poison struct {
	reported bool              // OnPanic was called
	hook     func(text []byte) // of tests: called with each event

	// The frame that was pushed last, and where it is; nowhere once its text may be gone.
	last  events.Frame
	at    stream.Range
	again bool // it was pushed again
}

// panicked is the error of a panic.
type panicked struct {
	cause any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprint("panic: ", p.cause) }

// decodeHook is called with each frame, in tests.
var decodeHook func(frame []byte)

// decode decodes a frame. A panic becomes an error.
func decode(p []byte, f *events.Frame) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = &panicked{cause, debug.Stack()}
		}
	}()
	if decodeHook != nil {
		decodeHook(p)
	}
	return events.Decode(p, f)
}

// survive recovers from a panic of the joiner. The data that it has in work, which is everything unfinished and the
// event e, is lost and accounted for, so that the feed goes on behind it. The frame pushed last gets a second chance: it
// may only have ended the line or event that is to blame.
func (f *Feed) survive(e *events.Event, ok *bool) {
	cause := recover()
	if cause == nil {
		return
	}
	err := &panicked{cause, debug.Stack()}
	lost := merge(appendRanges(appendRanges(nil, f.joiner.Unfinished()), e.Ranges))
	*e, *ok = events.Event{}, false
	f.renew()
	if len(lost) == 0 { // nothing would be different the next time
		f.retry = f.losses.now.Add(retryTime)
	}
	last, at := f.poison.last, f.poison.at
	f.poison.at = stream.Range{}
	f.poison.again = at.To > 0 && size(lost) > size([]stream.Range{at}) && within(at, lost)
	if f.poison.again {
		lost = without(lost, at)
	}
	f.setAside(lost, err)
	if f.poison.again {
		f.joiner.Push(last, at.From, at.To, f.losses.now)
		f.frame = true
	}
}

// poisoned accounts for a frame that cannot even be decoded without a panic.
func (f *Feed) poisoned(item spool.Item, err *panicked) {
	if !f.o.Outputs.has(events.Unknown) {
		return
	}
	f.age.read(item.Range, f.last)
	f.setAside([]stream.Range{item.Range}, err)
}

// setAside hands the frames in the ranges to OnPoison, puts a gap for them into the stream, and acknowledges them.
func (f *Feed) setAside(lost []stream.Range, err *panicked) {
	if !f.poison.reported && f.o.OnPanic != nil {
		f.o.OnPanic(err.cause, err.stack)
	}
	f.poison.reported = true
	if len(lost) == 0 {
		return
	}
	g := spool.Gap{Reason: gapReason(events.Unprocessable), Bytes: uint64(size(lost))}
	r := f.spool.NewReader() // the joiner had but the text of the frames
	for {
		item, ok := r.Next()
		if !ok || item.From >= lost[len(lost)-1].To {
			break
		}
		if item.Gap != nil || !within(item.Range, lost) {
			continue
		}
		g.Frames++
		var frame events.Frame
		if decode(item.Frame, &frame) == nil {
			if g.MinTime == 0 || frame.Time < g.MinTime {
				g.MinTime = frame.Time
			}
			g.MaxTime = max(g.MaxTime, frame.Time)
		}
		if f.o.OnPoison != nil {
			f.o.OnPoison(item.Frame, err.cause)
		}
	}
	r.Close()
	f.addLoss(g)
	if f.o.OnLost != nil {
		f.o.OnLost(reasonWord(g.Reason), int(g.Frames), int64(g.Bytes))
	}
	f.pending = append(f.pending, lost...)
	f.settle()
}

// merge sorts ranges and joins those that overlap.
func merge(ranges []stream.Range) []stream.Range {
	slices.SortFunc(ranges, func(a, b stream.Range) int { return cmp.Compare(a.From, b.From) })
	merged := ranges[:0]
	for _, r := range ranges {
		if n := len(merged); n > 0 && r.From <= merged[n-1].To {
			merged[n-1].To = max(merged[n-1].To, r.To)
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}

// without returns what of the merged ranges is outside r, which one of them covers.
func without(merged []stream.Range, r stream.Range) (rest []stream.Range) {
	for _, o := range merged {
		if before := (stream.Range{From: o.From, To: min(o.To, r.From)}); before.From < before.To {
			rest = append(rest, before)
		}
		if behind := (stream.Range{From: max(o.From, r.To), To: o.To}); behind.From < behind.To {
			rest = append(rest, behind)
		}
	}
	return rest
}
