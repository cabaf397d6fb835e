package events

import (
	"bytes"
	"time"

	"github.com/logspool/logspool/internal/stream"
)

const (
	// pieceBytes is the size of dockerd's copy buffer (defaultBufSize in moby,
	// daemon/logger/copier.go). A piece that does not end its line is exactly as long.
	pieceBytes = 16 * 1024

	// maxRanges bounds what is kept for a line or an event beside its text. dockerd's
	// pieces result in at most 65 ranges in a message of the largest size.
	maxRanges = 1024
)

// assembler makes events from the frames of one container. A complete line becomes an
// event, and the pieces of a long line are joined, per source. It is the stage of a
// Pipeline that has no Options.Pattern, and the first stage of one that has.
//
// It keeps at most one unfinished line per source. A line ends
//   - with the piece that is marked as its last;
//   - before a piece with another ID, or a complete line, of the same source;
//   - when flush finds that it has waited too long, and at close.
//
// A part of an unfinished line goes out 12 times Options.Wait after its first piece, or
// when memory is short (Budget).
//
// Pieces that come after their line has ended make events of their own. Pieces without an
// ID come from a dockerd before 20.10. They are joined until one comes that no other can
// follow: a frame without the partial mark (until 18.03), or a piece shorter than
// dockerd's buffer (18.06 to 19.03 mark the last piece like the others; moby#35831,
// moby#39038).
//
// All events of one line carry the time of its first piece. An event that was waited for
// comes out after events with later times.
type assembler struct {
	wait   time.Duration
	strip  bool
	out    output
	budget *Budget

	lines [Stderr + 1]line // lines has the line of each source that has not gone out.
	whole line             // whole is a complete line, in use until it has gone out.

	// These fields describe the frame that was pushed last.
	pushed bool // pushed says that the frame has not been processed.
	frame  Frame
	at     stream.Range
	now    time.Time

	last *line // last is the line of the event that was handed out last.
}

// newAssembler returns an assembler without any frame. It ignores o.Pattern. o has its
// defaults.
func newAssembler(o Options) *assembler {
	a := &assembler{wait: o.Wait, strip: o.StripANSI, out: newOutput(o), budget: o.Budget}
	a.whole.budget = o.Budget
	for i := range a.lines {
		a.lines[i].budget = o.Budget
	}
	return a
}

func (a *assembler) push(f Frame, at stream.Range, now time.Time) {
	if a.pushed {
		panic("events: Push before Next returned false")
	}
	a.advance()
	if f.Source > Stderr {
		f.Source = Unknown
	}
	for i := range a.lines {
		l := &a.lines[i]
		if l.open && l.waitOver(f.Time, a.wait) && (l.source != f.Source || l.continuedBy(&f)) {
			l.early, l.partPushed, l.partTime = true, now, f.Time
		}
	}
	a.pushed, a.frame, a.at, a.now = true, f, at, now
}

func (a *assembler) next() (Event, bool) {
	l := a.nextLine()
	if l == nil {
		return Event{}, false
	}
	return a.out.take(l), true
}

// nextLine returns the line that the next event is made from, with its next part filled
// in. The line is valid until the next call. It is nil if there is no event.
func (a *assembler) nextLine() *line {
	a.advance()
	for {
		if l := a.ready(); l != nil {
			a.last = l
			return l
		}
		if !a.pushed {
			a.frame = Frame{} // Its text is the caller's again.
			return nil
		}
		a.take()
	}
}

// take adds the pushed frame to its line, or ends the line that must go out before it.
func (a *assembler) take() {
	f, l := &a.frame, &a.lines[a.frame.Source]
	if l.open && (!l.continuedBy(f) || l.frames() >= maxRanges) {
		l.finish()
		return
	}
	a.pushed = false
	if !l.open && !f.Partial {
		a.takeWhole()
		return
	}
	if !l.open {
		l.begin(f, a.at)
		l.partPushed = a.now
	}
	l.add(f.Line, a.strip)
	l.mark(a.at, a.out.maxMarkBytes())
	l.charge()
	l.pushed = a.now
	if l.endedBy(f) {
		l.finish()
	} else if a.budget.short(l.memory()) {
		l.early = true
	}
}

// takeWhole takes a complete line. It copies the text only to strip it.
func (a *assembler) takeWhole() {
	f, l := &a.frame, &a.whole
	l.begin(f, a.at)
	if l.pushed = a.now; a.strip && hasANSI(f.Line) {
		l.add(f.Line, true)
		l.mark(a.at, 0)
	} else {
		l.alias(f.Line, a.at)
	}
	l.finish()
}

// ready returns a line with an event to hand out, with the event's part filled in. The
// line has ended, or has outgrown an event. Of several lines it is the one that began
// first. A complete line, which is the frame just pushed, goes before lines that ended
// while it was handed out.
func (a *assembler) ready() *line {
	if a.whole.ended {
		a.out.fill(&a.whole, true)
		return &a.whole
	}
	var first *line
	for i := range a.lines {
		l := &a.lines[i]
		if (l.ended || l.open && a.out.fillOpen(l)) && (first == nil || l.from < first.from) {
			first = l
		}
	}
	if first != nil && first.ended {
		a.out.fill(first, true)
	}
	return first
}

// advance drops the text of the event that was handed out last.
func (a *assembler) advance() {
	if a.last != nil {
		a.last.advance()
		a.last = nil
	}
}

func (a *assembler) passes() int {
	if !a.out.plain || a.strip || a.pushed || a.last != nil || a.whole.ended {
		return 0
	}
	for i := range a.lines {
		if l := &a.lines[i]; l.open || l.ended {
			return 0
		}
	}
	return a.out.max / len(replacement)
}

func (a *assembler) flush(now time.Time) {
	for i := range a.lines {
		l := &a.lines[i]
		switch {
		case !l.open:
		case now.Sub(l.pushed) >= a.wait:
			l.finish()
		case now.Sub(l.partPushed) >= maxWaits*a.wait:
			l.early, l.partPushed = true, now
			l.partTime += int64(maxWaits * a.wait)
		}
	}
}

func (a *assembler) due() time.Time {
	var due time.Time
	for i := range a.lines {
		if l := &a.lines[i]; l.open && (due.IsZero() || l.due(a.wait).Before(due)) {
			due = l.due(a.wait)
		}
	}
	return due
}

func (a *assembler) close() {
	for i := range a.lines {
		if l := &a.lines[i]; l.open {
			l.finish()
		}
	}
}

func (a *assembler) release() {
	a.advance()
	a.detach()
	for i := range a.lines {
		a.lines[i].shrink()
	}
	a.whole.shrink()
}

// detach copies what is still needed of the frame pushed last: the caller reuses its
// buffer.
func (a *assembler) detach() {
	if a.pushed {
		a.frame.Line, a.frame.PartialID = bytes.Clone(a.frame.Line), bytes.Clone(a.frame.PartialID)
	}
	if l := &a.whole; l.ended && l.buf == nil && len(l.data) > 0 {
		l.move(len(l.data))
		l.charge()
	}
}

func (a *assembler) keep() Event {
	a.detach()
	if a.last == nil {
		return Event{}
	}
	return a.out.again(a.last)
}

func (a *assembler) unfinished() (all []stream.Range) {
	if a.pushed {
		all = append(all, a.at)
	}
	all = a.whole.unfinished(all, &a.whole == a.last)
	for i := range a.lines {
		all = a.lines[i].unfinished(all, &a.lines[i] == a.last)
	}
	return all
}

func (a *assembler) reset() {
	a.last, a.pushed, a.frame = nil, false, Frame{}
	a.whole.reset()
	for i := range a.lines {
		a.lines[i].reset()
	}
}
