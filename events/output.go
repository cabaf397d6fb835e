package events

import (
	"bytes"
	"strconv"
	"strings"
)

// These marks are in the parts of an event that is too long for one message. %d is the
// number of a part, counted from 1.
const (
	// PartMark begins each part except the first, with its own number.
	PartMark = "[logspool: part %d] "
	// ContinuedMark ends each part except the last, with the next part's number.
	ContinuedMark = " [logspool: continued in part %d]"
)

// output turns a line, or an event of several lines, into events: it filters, divides and
// formats.
type output struct {
	max              int
	raw              bool // raw leaves all of that to another stage.
	plain            bool // plain says that a line that fits is sent as it is.
	lines            bool // lines says that an event may have several lines.
	noNewline        bool // noNewline says that an event does not end in a newline.
	include, exclude matcher
	json             *jsonObject // json is nil for plain text.
}

func newOutput(o Options) output {
	out := output{max: o.MaxBytes, include: newMatcher(o.Include), exclude: newMatcher(o.Exclude)}
	if o.JSON != nil {
		out.json = newJSONObject(o.JSON, o.MaxBytes)
	}
	out.plain = o.Include == nil && o.Exclude == nil && o.JSON == nil
	return out
}

// maxMarkBytes returns how much text the frames that share a mark may have.
func (o *output) maxMarkBytes() int { return o.max / 64 }

// limit returns how much text l's next part may have if it is the last. Text for JSON is
// counted before it is escaped, because a text that is an object is not escaped.
func (o *output) limit(l *line) int {
	if l.count == 0 || o.raw || o.json != nil || l.unwanted {
		return o.max
	}
	return o.max - markLen(PartMark, l.count+1)
}

// fill finds the longest possible next part of l, and reports whether there is more text.
func (o *output) fill(l *line, final bool) bool {
	l.full = l.fill(o.limit(l), final)
	return l.full
}

// fillOpen finds the longest possible next part of an unfinished l, and reports whether
// it goes out now.
func (o *output) fillOpen(l *line) bool {
	o.fill(l, false)
	l.full = l.full || l.early && l.end > l.out
	return l.full
}

// take makes an event of l's next part, for which fill was called. The message is empty
// if the filters drop the event, which the first part decides.
func (o *output) take(l *line) Event {
	e := Event{Time: l.time, Source: l.source}
	switch {
	case o.raw:
	case o.plain && !l.full && l.count == 0 && (o.noNewline || !l.newlineDue):
		e.Message = l.part()
	default:
		if l.count == 0 {
			l.unwanted = !o.passesFilters(l.part())
		}
		switch {
		case l.unwanted:
		case o.json != nil:
			e.Message = o.object(l)
		default:
			if !o.noNewline {
				l.addNewline(o.limit(l))
			}
			e.Message = o.text(l)
		}
	}
	l.count++
	l.collect()
	l.charge()
	e.Ranges = l.ranges
	return e
}

// again returns the event that take made of l, whose text may have moved since.
func (o *output) again(l *line) Event {
	e := Event{Time: l.time, Source: l.source, Ranges: l.ranges}
	switch {
	case l.made != nil:
		e.Message = *l.made
	case !l.unwanted && o.json == nil:
		e.Message = l.part()
	}
	return e
}

// passesFilters reports whether an event with this text passes the filters. They see the
// text as a terminal shows it: a container with a TTY ends its lines with a carriage return,
// which json-file and CloudWatch keep.
func (o *output) passesFilters(text []byte) bool {
	if o.include.re == nil && o.exclude.re == nil {
		return true
	}
	text = bytes.TrimRight(text, "\r")
	if o.lines && bytes.Contains(text, []byte("\r\n")) {
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	}
	return (o.include.re == nil || o.include.match(text)) && (o.exclude.re == nil || !o.exclude.match(text))
}

// text returns the message of l's next part. It moves end back if the marks need the room.
func (o *output) text(l *line) []byte {
	if l.count == 0 && !l.full {
		return l.part()
	}
	buf := l.make(markRoom)
	if l.count > 0 {
		buf = appendMark(buf, PartMark, l.count+1)
	}
	if l.full {
		n := l.shorter(o.limit(l) - markLen(ContinuedMark, l.count+2))
		l.end = l.out + o.divide(l.part(), n)
	}
	buf = append(buf, l.part()...)
	if l.full {
		buf = appendMark(buf, ContinuedMark, l.count+2)
	}
	*l.made = buf
	return buf
}

// divide returns where to divide text of which n bytes fit: after the last newline if an
// event may have several lines. If all of text fits, it goes out early and whole.
func (o *output) divide(text []byte, n int) int {
	if o.lines && n < len(text) {
		if i := bytes.LastIndexByte(text[:n], '\n'); i >= 0 {
			return i + 1
		}
	}
	return n
}

// markRoom is at least the length of a part's marks, or of a JSON object before its text.
const markRoom = 128

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
