package feed

import (
	"sync"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
)

// run is the fast path of a Feed: complete lines that follow each other in a block of the
// spool and are events as they are, because nothing is unfinished and the options change
// nothing. They are decoded together, and do not go through the pipeline. Any other frame
// ends the run and takes the general path: pieces of long lines, empty lines, gaps, damage,
// and frames on which the plugin panics.
//
// The reader stays at the run's first frame until the run ends. So the lines that were not
// handed out are read again after a Release.
type run struct {
	next int // next is the index of the next event.
	n    int // n is the number of events, or 0 if there is no run.

	from   uint64 // from is the position of the first frame.
	to     uint64 // to is the position after the last frame.
	latest int64  // latest is the time of the last frame, which may be of the other output.

	events [maxRun]events.Event
	ranges [maxRun]stream.Range // ranges has the range of each event.
}

// maxRun is how many lines are decoded together.
const maxRun = 64

// runs holds free runs, so that an idle feed needs no memory for one.
var runs = sync.Pool{New: func() any {
	r := new(run)
	for i := range r.events {
		r.events[i].Ranges = r.ranges[i : i+1 : i+1]
	}
	return r
}}

// nextOfRun returns the next event of the run. If there is none, the run ends.
func (f *Feed) nextOfRun() (e *events.Event, ok bool) {
	r := f.run
	if r == nil {
		return nil, false
	}
	if r.next == r.n {
		f.endRun()
		return nil, false
	}
	i := r.next
	r.next++
	f.age.read(r.ranges[i], r.events[i].Time)
	f.out.inRun = true
	return &r.events[i], true
}

// unreadOfRun takes back the last event of the run.
func (f *Feed) unreadOfRun() {
	f.run.next--
	f.age.unread(f.run.ranges[f.run.next])
	f.out.inRun = false
}

// startRun begins a run with what the reader has in memory. It returns false if that does not
// begin with a line that is an event as it is.
func (f *Feed) startRun() bool {
	longest := f.pipeline.Passes()
	if longest == 0 || f.poison.hook != nil {
		return false
	}
	from, p := f.reader.Ahead()
	if limit := f.limit.Load(); limit > 0 {
		p = p[:min(uint64(len(p)), max(limit, from)-from)]
	}
	if len(p) == 0 || f.tooFarAhead() {
		return false
	}
	if f.run == nil {
		f.run = runs.Get().(*run)
	}
	f.run.from, f.run.to = from, from
	f.decodeRun(p, longest)
	if f.run.n == 0 {
		f.endRun()
		return false
	}
	return true
}

// decodeRun decodes lines from p. A panic ends the run before the frame that caused it, so that
// the general path accounts for it.
func (f *Feed) decodeRun(p []byte, longest int) {
	defer func() { _ = recover() }()
	r := f.run
	var w events.Whole
	for r.n < maxRun && events.DecodeWhole(p, &w) && len(w.Line) > 0 && len(w.Line) <= longest {
		if decodeHook != nil {
			decodeHook(p[:w.Size])
		}
		at := stream.Range{From: r.to, To: r.to + uint64(w.Size)}
		if f.o.Outputs.has(w.Source) {
			e := &r.events[r.n]
			e.Time, e.Source, e.Message = w.Time, w.Source, w.Line
			r.ranges[r.n] = at
			r.n++
		}
		r.to, r.latest, p = at.To, w.Time, p[w.Size:]
	}
}

// endRun moves the reader past the lines that were handed out, and ends the run.
func (f *Feed) endRun() {
	r := f.run
	if r == nil {
		return
	}
	to := r.to
	if r.next < r.n {
		to = r.ranges[r.next].From
		if r.next > 0 {
			f.progress.latest = r.events[r.next-1].Time
		}
	} else if to > r.from {
		f.progress.latest = r.latest
	}
	f.reader.Skip(int(to - r.from))
	f.dropRun()
}

// dropRun ends the run without moving the reader.
func (f *Feed) dropRun() {
	if r := f.run; r != nil {
		r.next, r.n, r.to = 0, 0, r.from
	}
	f.out.inRun = false
}

// releaseRun gives back the memory of a run that has ended.
func (f *Feed) releaseRun() {
	if r := f.run; r != nil {
		for i := range r.events {
			r.events[i].Message = nil
		}
		runs.Put(r)
		f.run = nil
	}
}
