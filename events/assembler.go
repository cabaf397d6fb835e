package events

import (
	"bytes"
	"time"

	"github.com/logspool/logspool/internal/stream"
)

const (
	// pieceBytes is how much of a line dockerd's copier can hold; a piece that is not a line's end
	// is exactly as long (defaultBufSize in moby, daemon/logger/copier.go).
	pieceBytes = 16 * 1024

	// maxRanges bounds what is kept for a line or an event beside its text. dockerd's pieces make 65
	// ranges at most in a message of the largest size.
	maxRanges = 1024
)

// assembler makes events from the frames of one container: a complete line becomes an event, the
// pieces of a long line are joined, per source, and a line that is too long for one event becomes
// several, divided between characters, in order, and marked as what they are. It is a Pipeline
// without Options.Pattern.
//
// It keeps at most one unfinished line a source. What is there of a line goes out as a part 12 times Options.Wait after
// its first piece, or when the memory for it is short (Budget). A line ends
//   - with the piece that says it is the last;
//   - before a piece with another ID, or a complete line, of the same source;
//   - when Flush finds that it has waited too long, and at Close.
//
// Pieces that come after their line has ended make events of their own. Pieces without an ID come
// from a dockerd before 20.10 and are joined until one comes that cannot be followed by another: a
// frame without the partial mark (until 18.03), or a piece shorter than dockerd's buffer (18.06 to
// 19.03 mark the last piece like the others; moby#35831, moby#39038).
//
// All events of one line carry the time of its first piece. An event that was waited for comes out
// after events with later times.
//
// The caller pushes a frame, and then takes events until there are none:
//
//	a.Push(frame, from, to, now)
//	for e, ok := a.Next(); ok; e, ok = a.Next() { … }
//
// An assembler is not safe for use by several goroutines at once. No method blocks.
type assembler struct {
	wait   time.Duration
	strip  bool
	out    output
	budget *Budget

	lines [Stderr + 1]line // by source: the unfinished lines, and ended ones that are not out yet
	whole line             // a complete line, straight from the pushed frame; ended, or not there

	// The frame that was pushed and has not been looked at.
	pushed bool
	frame  Frame
	at     stream.Range
	now    time.Time

	last *line // the one that the last event was made from
}

// line is a line in the making, or an event of several lines. It is there if it is open or ended.
type line struct {
	text
	open  bool // more pieces may come
	ended bool // what is there goes out
	full  bool // there is more than fits into the part that goes out next
	early  bool // a part goes out although there is room for more
	parts int  // how many parts have gone out
	unwanted bool // the filters do not want it

	budget  *Budget
	charged int64 // to the budget

	src   Source
	id    []byte
	time  int64     // of the first piece
	from  uint64    // where the first piece begins
	begun int64     // time of the first frame of the next part
	born  time.Time // when the first piece, or line of an event, of the next part was pushed
	since time.Time // when the last piece was pushed
	made  *[]byte   // the buffer of the message handed out, where it is not in the text

	// Of an event of several lines:
	owes   bool  // the last line's newline is not in the text yet
	latest int64 // time of the last line
}

// newAssembler returns an Assembler without any frame. It heeds all options but Pattern.
func newAssembler(o Options) *assembler {
	o = o.withDefaults()
	a := &assembler{wait: o.Wait, strip: o.StripANSI, out: newOutput(o), budget: o.Budget}
	a.whole.budget = o.Budget
	for i := range a.lines {
		a.lines[i].budget = o.Budget
	}
	return a
}

// push takes the frame that stands at [from, to) of the stream, at the time now. Frames are pushed
// in the order of the stream. The frame's text must stay as it is until Next returns false, which
// it must have done since the last push.
func (a *assembler) push(f Frame, from, to uint64, now time.Time) {
	if a.pushed {
		panic("events: Push before Next returned false")
	}
	a.advance()
	if f.Source > Stderr {
		f.Source = Unknown
	}
	for i := range a.lines {
		l := &a.lines[i]
		if l.open && l.outlived(f.Time, a.wait) && (l.src != f.Source || l.continuedBy(&f)) {
			l.early, l.born, l.begun = true, now, f.Time
		}
	}
	a.pushed, a.frame, a.at, a.now = true, f, stream.Range{From: from, To: to}, now
}

// next returns the next event, and false when there is none before the next frame, Flush or Close.
// The event is valid until the next call of any method.
func (a *assembler) next() (Event, bool) {
	l := a.nextLine()
	if l == nil {
		return Event{}, false
	}
	return a.out.take(l), true
}

// nextLine returns the line that the nextLine event is made from, which is valid until the nextLine call; nil if
// there is none.
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

// take puts the pushed frame where it belongs, or ends the line that must go out before it.
func (a *assembler) take() {
	f, l := &a.frame, &a.lines[a.frame.Source]
	if l.open && (!l.continuedBy(f) || l.frames() >= maxRanges) {
		l.finish()
		return
	}
	a.pushed = false
	if !l.open && !f.Partial {
		a.whole.begin(f, a.at)
		if a.whole.since = a.now; a.strip && hasANSI(f.Line) {
			a.whole.add(f.Line, true)
			a.whole.mark(a.at, 0)
		} else {
			a.whole.alias(f.Line, a.at)
		}
		a.whole.finish()
		return
	}
	if !l.open {
		l.begin(f, a.at)
		l.born = a.now
	}
	l.add(f.Line, a.strip)
	l.mark(a.at, a.out.grain())
	l.charge()
	l.since = a.now
	if l.endedBy(f) {
		l.finish()
	} else if a.budget.short(l.memory()) {
		l.early = true
	}
}

// ready returns a line that has an event to give, with the event's part filled in: one that has
// ended, or has outgrown an event. Of several it is the one that began first, but a complete line,
// which is the frame just pushed, goes before those that ended while it was handed out.
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

// advance drops what the last event was made from, which its taker needs no more.
func (a *assembler) advance() {
	if a.last != nil {
		a.last.advance()
		a.last = nil
	}
}

// flush ends the unfinished lines that have had no piece for the time Options.Wait. Of those that go on for 12 times as
// long, what is there goes out as a part. Next returns their events. The caller flushes when there is no frame to push,
// so that a piece that is already there does not come too late.
func (a *assembler) flush(now time.Time) {
	for i := range a.lines {
		l := &a.lines[i]
		switch {
		case !l.open:
		case now.Sub(l.since) >= a.wait:
			l.finish()
		case now.Sub(l.born) >= patience*a.wait:
			l.early, l.born = true, now
			l.begun += int64(patience * a.wait)
		}
	}
}

// due returns when Flush will next have something to do; the zero time if there is no unfinished
// line.
func (a *assembler) due() time.Time {
	var due time.Time
	for i := range a.lines {
		if l := &a.lines[i]; l.open && (due.IsZero() || l.due(a.wait).Before(due)) {
			due = l.due(a.wait)
		}
	}
	return due
}

// due returns when l will have waited long enough, for its next piece or since its first.
func (l *line) due(wait time.Duration) time.Time {
	due := l.since.Add(wait)
	if last := l.born.Add(patience * wait); last.Before(due) {
		return last
	}
	return due
}

// outlived returns whether l would not have gone on until the time of a frame without a part of it going out. All
// pieces of a line have one time: only the other output's frames show it.
func (l *line) outlived(at int64, wait time.Duration) bool {
	return time.Duration(at-l.begun) >= patience*wait
}

// close ends all unfinished lines, because the log has ended. Next returns their events. If frames
// come after all, the Assembler goes on as before.
func (a *assembler) close() {
	for i := range a.lines {
		if l := &a.lines[i]; l.open {
			l.finish()
		}
	}
}

// release gives up the event that Next returned last, and with it its buffer, and what the Assembler needs of the frame
// pushed last is copied. Unfinished lines stay.
func (a *assembler) release() {
	a.advance()
	a.detach()
	for i := range a.lines {
		a.lines[i].shrink()
	}
	a.whole.shrink()
}

// detach copies what is still needed of the frame pushed last, whose buffer the caller uses again.
func (a *assembler) detach() {
	if a.pushed {
		a.frame.Line, a.frame.PartialID = bytes.Clone(a.frame.Line), bytes.Clone(a.frame.PartialID)
	}
	if l := &a.whole; l.ended && l.buf == nil && len(l.data) > 0 {
		l.move(len(l.data))
		l.charge()
	}
}

// keep makes the event that Next returned last independent of the caller's buffers.
func (a *assembler) keep() Event {
	a.detach()
	if a.last == nil {
		return Event{}
	}
	return a.out.again(a.last)
}

// reset forgets every frame that was pushed, as after a rewind of the stream.
func (a *assembler) reset() {
	a.last, a.pushed, a.frame = nil, false, Frame{}
	a.whole.reset()
	for i := range a.lines {
		a.lines[i].reset()
	}
}

// unfinished appends the frames that no event has.
func (a *assembler) unfinished(to []stream.Range) []stream.Range {
	if a.pushed {
		to = append(to, a.at)
	}
	to = a.whole.unfinished(to, &a.whole == a.last)
	for i := range a.lines {
		to = a.lines[i].unfinished(to, &a.lines[i] == a.last)
	}
	return to
}

// unfinished appends the frames of l, apart from those of the part that was handed out last.
func (l *line) unfinished(to []stream.Range, handedOut bool) []stream.Range {
	if !handedOut {
		to = append(to, l.ranges...)
	}
	for _, m := range l.marks {
		to = append(to, m.Range)
	}
	return to
}

// begin makes l the line whose first frame is f.
func (l *line) begin(f *Frame, at stream.Range) {
	l.open, l.full, l.early, l.parts, l.unwanted = true, false, false, 0, false
	l.src, l.time, l.begun, l.from = f.Source, f.Time, f.Time, at.From
	l.id = append(l.id[:0], f.PartialID...)
}

// finish says that no more pieces of l will be taken.
func (l *line) finish() { l.open, l.ended = false, true }

// advance goes past the part that was handed out last.
func (l *line) advance() {
	l.unmake()
	l.early = false
	switch more := l.next(); {
	case more:
	case l.ended:
		l.reset()
	default:
		l.drop()
	}
	l.charge()
}

// shrink gives up what an idle line does not need.
func (l *line) shrink() {
	if !l.open && !l.ended {
		l.forget(fewRanges)
	} else {
		l.trim()
	}
	if cap(l.id) > 128 && !l.open { // dockerd's have 64 bytes
		l.id = nil
	}
	l.charge()
}

// charge reports to the budget how much l holds.
func (l *line) charge() {
	if l.buf == nil && l.made == nil && l.charged == 0 && cap(l.marks) <= fewRanges && cap(l.ranges) <= fewRanges {
		return // a complete line in the caller's buffer
	}
	n := int64(l.memory())
	if l.made != nil {
		n += int64(cap(*l.made))
	}
	if n <= smallBytes {
		n = 0
	}
	if n != l.charged {
		l.budget.used.Add(n - l.charged)
		l.charged = n
	}
}

func (l *line) reset() {
	l.unmake()
	l.text.reset()
	l.open, l.ended, l.owes, l.early = false, false, false, false
	l.charge()
}

// continuedBy returns whether f is the next piece of l.
func (l *line) continuedBy(f *Frame) bool {
	if !f.Partial {
		return len(l.id) == 0 // Until Docker 18.03 the last piece is not marked.
	}
	return bytes.Equal(l.id, f.PartialID)
}

// endedBy returns whether no piece can follow f, which has become part of l.
func (l *line) endedBy(f *Frame) bool {
	return !f.Partial || f.Last || len(l.id) == 0 && len(f.Line) < pieceBytes
}
