package events

import (
	"bytes"
	"strconv"
	"strings"
)

// What stands in the parts of an event that is too long for one message, with the number of a part,
// counted from 1, in the place of %d.
const (
	// PartMark begins each part but the first, with its own number.
	PartMark = "[logspool: part %d] "
	// ContinuedMark ends each part but the last, with the next part's number.
	ContinuedMark = " [logspool: continued in part %d]"
)

// output says what becomes of a line, or an event of several lines: is it wanted, is it text or JSON,
// and where it is divided.
type output struct {
	max              int
	raw              bool // it is for another stage, which does all that
	plain            bool // a line that fits is sent as it is
	lines            bool // there may be several lines in an event
	include, exclude matcher
	json             *jsonObject
}

func newOutput(o Options) output {
	out := output{max: o.MaxBytes, include: newMatcher(o.Include), exclude: newMatcher(o.Exclude)}
	if o.JSON != nil {
		out.json = newJSONObject(o.JSON, o.MaxBytes)
	}
	out.plain = o.Include == nil && o.Exclude == nil && o.JSON == nil
	return out
}

// grain is how much text the frames that share a mark may have.
func (o *output) grain() int { return o.max / 64 }

// room is how much text l's next part has room for, if it is the last. Text for JSON is
// counted before it is escaped, because an object is not.
func (o *output) room(l *line) int {
	if l.parts == 0 || o.raw || o.json != nil || l.unwanted {
		return o.max
	}
	return o.max - markLen(PartMark, l.parts+1)
}

// fill finds how much of l goes out next at most, and returns whether there is more.
func (o *output) fill(l *line, whole bool) bool {
	l.full = l.fill(o.room(l), whole)
	return l.full
}

// fillOpen finds how much of an unfinished l goes out next at most, and returns whether it goes out now.
func (o *output) fillOpen(l *line) bool {
	o.fill(l, false)
	l.full = l.full || l.early && l.end > l.out
	return l.full
}

// take makes an event of l's next part, for which fill was called. It is empty where l is not wanted:
// that is decided by the first part.
func (o *output) take(l *line) Event {
	e := Event{Time: l.time, Source: l.src}
	switch {
	case o.raw:
	case o.plain && !l.full && l.parts == 0 && !l.owes:
		e.Message = l.part()
	default:
		if l.parts == 0 {
			l.unwanted = !o.wants(l.part())
		}
		switch {
		case l.unwanted:
		case o.json != nil:
			e.Message = o.object(l)
		default:
			l.newline(o.room(l))
			e.Message = o.text(l)
		}
	}
	l.parts++
	l.collect()
	l.charge()
	e.Ranges = l.ranges
	return e
}

// again returns the event that take has made of l, whose text may have moved since.
func (o *output) again(l *line) Event {
	e := Event{Time: l.time, Source: l.src, Ranges: l.ranges}
	switch {
	case l.made != nil:
		e.Message = *l.made
	case !l.unwanted && o.json == nil:
		e.Message = l.part()
	}
	return e
}

// wants returns whether the filters want an event with this text. They see what a terminal shows: a container with a
// TTY ends its lines with a carriage return, which json-file and the service keep.
func (o *output) wants(text []byte) bool {
	if o.include.re == nil && o.exclude.re == nil {
		return true
	}
	text = bytes.TrimRight(text, "\r")
	if o.lines && bytes.Contains(text, []byte("\r\n")) {
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	}
	return (o.include.re == nil || o.include.match(text)) && (o.exclude.re == nil || !o.exclude.match(text))
}

// text returns the message of l's next part, and moves end back if it must be divided earlier to make
// room for the marks.
func (o *output) text(l *line) []byte {
	if l.parts == 0 && !l.full {
		return l.part()
	}
	buf := l.make(markRoom)
	if l.parts > 0 {
		buf = appendMark(buf, PartMark, l.parts+1)
	}
	if l.full {
		n := l.shorter(o.room(l) - markLen(ContinuedMark, l.parts+2))
		l.end = l.out + o.divide(l.part(), n)
	}
	buf = append(buf, l.part()...)
	if l.full {
		buf = appendMark(buf, ContinuedMark, l.parts+2)
	}
	*l.made = buf
	return buf
}

// divide returns where to divide text of which n bytes fit: at a line's end, if there is one. If all of it fits, the
// event is not divided for its length, and nothing is held back.
func (o *output) divide(text []byte, n int) int {
	if o.lines && n < len(text) {
		if i := bytes.LastIndexByte(text[:n], '\n'); i >= 0 {
			return i + 1
		}
	}
	return n
}

// markRoom is what the marks of a part take at most, or the beginning of a JSON object before its text.
const markRoom = 128

// make returns a buffer for a message with so much beside the text. It is given back with the part that the message is
// of.
func (l *line) make(beside int) []byte {
	l.made = getBuffer(len(l.part()) + beside)
	return *l.made
}

func (l *line) unmake() {
	if l.made != nil {
		putBuffer(l.made)
		l.made = nil
	}
}

func appendMark(buf []byte, mark string, part int) []byte {
	before, after, _ := strings.Cut(mark, "%d")
	buf = append(buf, before...)
	buf = strconv.AppendInt(buf, int64(part), 10)
	return append(buf, after...)
}

func markLen(mark string, part int) int {
	return len(mark) - len("%d") + digits(part)
}

func digits(n int) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}
