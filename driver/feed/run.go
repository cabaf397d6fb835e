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

// startRun begins a run with the frame that the reader has just returned. It returns false if
// that is not a line that is an event as it is. Then done is the position after the frames
// before it, which are of the other output, and the reader is there if there are any.
func (f *Feed) startRun(at stream.Range) (done uint64, ok bool) {
	longest, p := f.pipeline.Passes(), f.reader.Ahead()
	if longest == 0 || len(p) == 0 || f.poison.hook != nil {
		return at.From, false
	}
	if limit := f.limit.Load(); limit > 0 {
		p = p[:min(uint64(len(p)), max(limit, at.From)-at.From)]
	}
	if f.run == nil {
		f.run = runs.Get().(*run)
	}
	if done = f.decodeRun(p, at.From, longest); f.run.n > 0 {
		f.reader.Seek(at.From)
		return done, true
	}
	if done > at.From {
		f.reader.Seek(done)
	}
	return done, false
}

// decodeRun decodes lines from p, which is at a position. It skips those of the other output.
// It returns the position after the last one. A panic ends the run before the frame that caused
// it, so that the general path accounts for it.
func (f *Feed) decodeRun(p []byte, at uint64, longest int) (end uint64) {
	end = at
	panics := true
	defer func() {
		if panics { // see recoverPanic
			_ = recover()
		}
	}()
	r := f.run
	var w events.Whole
	for r.n < maxRun && events.DecodeWhole(p, &w) && len(w.Line) > 0 && len(w.Line) <= longest {
		if decodeHook != nil {
			decodeHook(p[:w.Size])
		}
		from := end
		end, p = end+uint64(w.Size), p[w.Size:]
		switch {
		case f.o.Outputs.has(w.Source):
			e := &r.events[r.n]
			e.Time, e.Source, e.Message = w.Time, w.Source, w.Line
			r.ranges[r.n] = stream.Range{From: from, To: end}
			r.n++
		case r.n == 0:
			f.progress.latest = w.Time
		}
	}
	panics = false
	return end
}

// endRun ends the run, if there is one, and moves the reader past the lines that were handed
// out.
func (f *Feed) endRun() {
	r := f.run
	if r == nil {
		return
	}
	if r.next > 0 {
		f.reader.Seek(r.ranges[r.next-1].To)
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
