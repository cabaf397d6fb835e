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

// poison is the state of a feed for data on which the plugin panics.
type poison struct {
	reported bool              // reported says that OnPanic was called.
	hook     func(text []byte) // hook is called with each event in tests.

	last    events.Frame // last is the frame that was pushed last.
	at      stream.Range // at is the position of last, or empty once its text may be gone.
	retried bool         // retried says that last was pushed again after a panic.
}

// panicked is the error of a panic.
type panicked struct {
	cause any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprint("panic: ", p.cause) }

// decodeHook is called with each frame in tests.
var decodeHook func(frame []byte)

// decode decodes a frame. A panic becomes an error.
func decode(p []byte, f *events.Frame) (err error) {
	panics := true
	defer func() {
		if panics {
			err = &panicked{recover(), debug.Stack()}
		}
	}()
	if decodeHook != nil {
		decodeHook(p)
	}
	err, panics = events.Decode(p, f), false
	return err
}

// recoverPanic recovers from a panic of the pipeline. The data that was being
// processed, which is everything unfinished and the event e, is lost and accounted for,
// so that the feed continues after it. The frame pushed last gets a second chance,
// because it may only have ended the poison line or event.
//
// The caller sets panics to false once there is no panic. A call of recover needs so much stack
// that the stacks of a thousand senders would grow, and shrink again with each collection of
// garbage.
func (f *Feed) recoverPanic(panics *bool, e *events.Event, ok *bool) {
	if !*panics {
		return
	}
	err := &panicked{recover(), debug.Stack()}
	lost := merge(slices.Concat(f.pipeline.Unfinished(), e.Ranges))
	*e, *ok = events.Event{}, false
	f.renewPipeline()
	if len(lost) == 0 { // The next try would have the same result.
		f.progress.retry = f.progress.now.Add(retryTime)
	}
	p := &f.poison
	last, at := p.last, p.at
	p.at = stream.Range{}
	p.retried = at.To > 0 && size(lost) > size([]stream.Range{at}) && within(at, lost)
	if p.retried {
		lost = without(lost, at)
	}
	f.setAside(lost, err)
	if p.retried {
		f.pipeline.Push(last, at.From, at.To, f.progress.now)
		f.progress.pushed = true
	}
}

// rejectPoison accounts for a frame that cannot be decoded without a panic.
func (f *Feed) rejectPoison(item spool.Item, err *panicked) {
	if !f.o.Outputs.has(events.Unknown) {
		return
	}
	f.age.read(item.Range, f.progress.latest)
	f.setAside([]stream.Range{item.Range}, err)
}

// setAside passes the frames in the ranges to OnPoison, puts a gap for them into the
// stream, and acknowledges them.
func (f *Feed) setAside(lost []stream.Range, err *panicked) {
	if !f.poison.reported && f.o.OnPanic != nil {
		f.o.OnPanic(err.cause, err.stack)
	}
	f.poison.reported = true
	if len(lost) == 0 {
		return
	}
	g := spool.Gap{Reason: gapReason(events.Unprocessable), Bytes: uint64(size(lost))}
	r := f.spool.NewReader() // The pipeline has only the text of the frames.
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
	f.foundLoss(g)
	f.putGap(g)
	f.acks.pending = append(f.acks.pending, lost...)
	f.flushAcks()
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

// without returns merged without r, which one of the merged ranges covers.
func without(merged []stream.Range, r stream.Range) (rest []stream.Range) {
	for _, o := range merged {
		if before := (stream.Range{From: o.From, To: min(o.To, r.From)}); before.From < before.To {
			rest = append(rest, before)
		}
		if after := (stream.Range{From: max(o.From, r.To), To: o.To}); after.From < after.To {
			rest = append(rest, after)
		}
	}
	return rest
}
