package events

import (
	"bytes"
	"time"

	"github.com/logspool/logspool/internal/stream"
)

// line is a line that is being joined from pieces, or an event that is being joined from
// lines. It is in use while it is open or ended.
type line struct {
	text
	open   bool      // open says that more pieces may follow.
	ended  bool      // ended says that no piece follows, so that the rest goes out.
	pushed time.Time // pushed is when the last piece was pushed.

	origin
	parts
	usage

	// These fields are for an event of several lines.
	newlineDue bool  // newlineDue says that the text still lacks the last line's newline.
	latest     int64 // latest is the time of the last line.
}

// origin is what a line has from its first piece.
type origin struct {
	source Source
	id     []byte // id is the PartialID that all pieces share.
	time   int64  // time is dockerd's time.
	from   uint64 // from is the position in the stream.
}

// parts is the state of a line that goes out in parts.
type parts struct {
	full       bool      // full says that there is more text than fits into the next part.
	early      bool      // early says that a part goes out although more text would fit.
	unwanted   bool      // unwanted says that the filters drop the event.
	count      int       // count is the number of parts handed out.
	made       *[]byte   // made is the buffer of the message, or nil if that is in the text.
	partTime   int64     // partTime is dockerd's time of the next part's first frame.
	partPushed time.Time // partPushed is when the next part's first piece or line was pushed.
}

// usage is what a line holds of a budget.
type usage struct {
	budget  *Budget
	charged int64
}

// begin makes l the line whose first frame is f.
func (l *line) begin(f *Frame, at stream.Range) {
	l.open, l.full, l.early, l.count, l.unwanted = true, false, false, 0, false
	l.source, l.time, l.partTime, l.from = f.Source, f.Time, f.Time, at.From
	l.id = append(l.id[:0], f.PartialID...)
}

// finish ends l: no more pieces are added.
func (l *line) finish() { l.open, l.ended = false, true }

// continuedBy reports whether f is the next piece of l.
func (l *line) continuedBy(f *Frame) bool {
	if !f.Partial {
		return len(l.id) == 0 // Until Docker 18.03 the last piece is not marked.
	}
	return bytes.Equal(l.id, f.PartialID)
}

// endedBy reports whether no piece can follow f, which has become part of l.
func (l *line) endedBy(f *Frame) bool {
	return !f.Partial || f.Last || len(l.id) == 0 && len(f.Line) < pieceBytes
}

// due returns when l will have waited long enough: for its next piece, or since its first.
func (l *line) due(wait time.Duration) time.Time {
	due := l.pushed.Add(wait)
	if last := l.partPushed.Add(maxWaits * wait); last.Before(due) {
		return last
	}
	return due
}

// waitOver reports whether a part of l would have gone out before the time of a frame. All
// pieces of a line have one time, so only frames of the other output show it.
func (l *line) waitOver(at int64, wait time.Duration) bool {
	return time.Duration(at-l.partTime) >= maxWaits*wait
}

// unfinished appends the frames of l, without those of the part that was handed out last.
func (l *line) unfinished(to []stream.Range, handedOut bool) []stream.Range {
	if !handedOut {
		to = append(to, l.ranges...)
	}
	for _, m := range l.marks {
		to = append(to, m.Range)
	}
	return to
}

// addNewline adds the last line's newline to an event that has ended, if the limit allows
// it. An event is not divided because of that newline.
func (l *line) addNewline(limit int) {
	if !l.newlineDue || !l.ended {
		return
	}
	l.newlineDue = false
	if l.full || fits(l.part(), limit-1) {
		l.add([]byte{'\n'}, false)
		if !l.full {
			l.end = len(l.data)
		}
	}
}

// make returns a buffer for the message of the next part, with room for extra bytes
// beside the text. advance gives the buffer back.
func (l *line) make(extra int) []byte {
	l.made = getBuffer(len(l.part()) + extra)
	return *l.made
}

// returnBuffer gives the message's buffer back.
func (l *line) returnBuffer() {
	if l.made != nil {
		putBuffer(l.made)
		l.made = nil
	}
}

// advance goes past the part that was handed out last.
func (l *line) advance() {
	l.returnBuffer()
	l.early = false
	switch more := l.text.advance(); {
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
	if cap(l.id) > 128 && !l.open { // dockerd's IDs have 64 bytes.
		l.id = nil
	}
	l.charge()
}

// charge tells the budget how much l holds.
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

// reset forgets the line.
func (l *line) reset() {
	l.returnBuffer()
	l.text.reset()
	l.open, l.ended, l.newlineDue, l.early = false, false, false, false
	l.charge()
}
