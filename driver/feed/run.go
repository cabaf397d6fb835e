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
	next int    // next is the index of the next event.
	n    int    // n is the number of events, or 0 if there is no run.
	from uint64 // from is the position of the first frame.

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
	e = &r.events[r.next]
	f.age.read(r.ranges[r.next], e.Time)
	r.next++
	f.progress.latest, f.out.inRun = e.Time, true
	return e, true
}

// unreadOfRun takes back the last event of the run.
func (f *Feed) unreadOfRun() {
	f.run.next--
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
	f.run.from = from
	f.decodeRun(p, longest)
	return f.run.n > 0
}

// decodeRun decodes lines from p. It skips those of the other output. A panic ends the run
// before the frame that caused it, so that the general path accounts for it.
func (f *Feed) decodeRun(p []byte, longest int) {
	defer func() { _ = recover() }()
	r := f.run
	var w events.Whole
	for at := r.from; r.n < maxRun && events.DecodeWhole(p, &w) && len(w.Line) > 0 && len(w.Line) <= longest; {
		if decodeHook != nil {
			decodeHook(p[:w.Size])
		}
		from := at
		at, p = at+uint64(w.Size), p[w.Size:]
		switch {
		case f.o.Outputs.has(w.Source):
			e := &r.events[r.n]
			e.Time, e.Source, e.Message = w.Time, w.Source, w.Line
			r.ranges[r.n] = stream.Range{From: from, To: at}
			r.n++
		case r.n == 0:
			f.reader.Skip(w.Size)
			r.from, f.progress.latest = at, w.Time
		}
	}
}

// endRun ends the run, if there is one, and moves the reader past the lines that were handed
// out.
func (f *Feed) endRun() {
	r := f.run
	if r == nil {
		return
	}
	if r.next > 0 {
		f.reader.Skip(int(r.ranges[r.next-1].To - r.from))
	}
	r.next, r.n, f.out.inRun = 0, 0, false
}

// releaseRun ends the run and gives its memory back.
func (f *Feed) releaseRun() {
	f.endRun()
	if r := f.run; r != nil {
		for i := range r.events {
			r.events[i].Message = nil
		}
		runs.Put(r)
		f.run = nil
	}
}
