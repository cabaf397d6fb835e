package events

import (
	"unicode/utf8"
	"unsafe"

	"github.com/logspool/logspool/internal/stream"
)

const (
	// keptRanges is how many ranges a text that has gone out keeps room for.
	keptRanges = 128
	// fewRanges is how many ranges an idle text keeps room for.
	fewRanges = 8
)

// text is the text of one line or event that has not gone out, with the frames that it
// came from. It is handed out in parts, each within a limit: data[out:end] is the next
// part. The bytes after end do not fit, or may begin a character or a control sequence
// whose rest has not come yet.
//
// ranges is valid once collect was called. marks lacks the frames whose ranges have been
// handed out.
type text struct {
	data    []byte
	buf     *[]byte        // buf is the buffer of data, or nil if data is the caller's.
	sure    int            // sure is where an unfinished control sequence may begin in data.
	out     int            // out is the number of bytes of data that have been handed out.
	end     int            // end is the index in data of the end of the next part.
	counted int            // counted is how many bytes CloudWatch counts for the next part.
	ranges  []stream.Range // ranges are the merged ranges of the frames that end in the part.
	marks   []mark         // marks has the frames that are not in ranges.
}

// mark says that a frame's text ends at data[:end].
type mark struct {
	end int
	stream.Range
}

// alias makes t the text of one frame, without copying it.
func (t *text) alias(line []byte, at stream.Range) {
	t.data, t.sure = line, len(line)
	t.marks = append(t.marks, mark{len(line), at})
}

// add copies more text into a buffer of t's own. With strip, it removes control sequences
// as soon as they are complete.
func (t *text) add(more []byte, strip bool) {
	if t.out > 0 {
		t.data = t.data[:copy(t.data, t.data[t.out:])]
		t.end -= t.out
		t.sure -= t.out
		for i := range t.marks {
			t.marks[i].end -= t.out
		}
		t.out = 0
	}
	if t.buf == nil || cap(t.data)-len(t.data) < len(more) {
		t.move(len(t.data) + len(more))
	}
	t.data = append(t.data, more...)
	if !strip {
		t.sure = len(t.data)
		return
	}
	before := t.sure
	kept, sure := stripANSI(t.data[before:])
	t.data, t.sure = t.data[:before+kept], before+sure
	// Frames that ended in the uncertain text now end with this one. That is later than
	// necessary, which is always safe.
	for i := len(t.marks) - 1; i >= 0 && t.marks[i].end > before; i-- {
		t.marks[i].end = len(t.data)
	}
}

// move copies the text into a buffer of t's own that has room for n bytes.
func (t *text) move(n int) {
	b := getBuffer(n)
	data := append(*b, t.data...)
	if t.buf != nil {
		putBuffer(t.buf)
	}
	t.buf, t.data = b, data
}

// drop gives the buffer back. All of its text has been handed out.
func (t *text) drop() {
	if t.buf != nil {
		putBuffer(t.buf)
	}
	t.buf, t.data, t.sure, t.out, t.end = nil, nil, 0, 0, 0
}

// trim moves the rest of the text into a smaller buffer if its buffer is much too large.
func (t *text) trim() {
	rest := len(t.data) - t.out
	if t.buf == nil || cap(t.data) <= smallBytes || rest > cap(t.data)/4 {
		return
	}
	t.add(nil, false) // moves the rest to the beginning
	t.move(rest)
}

// forget gives up the room for more than n ranges.
func (t *text) forget(n int) {
	if cap(t.ranges) > n {
		t.ranges = nil
	}
	if cap(t.marks) > n {
		t.marks = nil
	}
}

// memory returns how many bytes t holds.
func (t *text) memory() int {
	n := cap(t.ranges)*int(unsafe.Sizeof(stream.Range{})) + cap(t.marks)*int(unsafe.Sizeof(mark{}))
	if t.buf != nil {
		n += cap(t.data)
	}
	return n
}

// mark records that a frame's text ends at the end of the data. Adjacent frames share a
// mark of at most maxMarkBytes, so that an event of many short lines costs little more
// than its text.
func (t *text) mark(at stream.Range, maxMarkBytes int) {
	if n := len(t.marks); n > 0 && t.marks[n-1].To == at.From {
		begin := t.out
		if n > 1 {
			begin = t.marks[n-2].end
		}
		if len(t.data)-begin <= maxMarkBytes {
			t.marks[n-1] = mark{len(t.data), stream.Range{From: t.marks[n-1].From, To: at.To}}
			return
		}
	}
	t.marks = append(t.marks, mark{len(t.data), at})
}

// fill moves end forward as far as the limit allows, and reports whether there is text
// beyond the limit. final says that no more text follows, so that the beginning of a
// character or of a control sequence at the end of the data is plain text.
func (t *text) fill(limit int, final bool) (full bool) {
	upto := t.sure
	if final {
		upto = len(t.data)
	}
	n, counted, full := fit(t.data[t.end:upto], limit-t.counted, final)
	t.end += n
	t.counted += counted
	return full
}

// shorter returns how many bytes of the part that fill has found are within a limit
// that is slightly lower. It examines only the end of the part.
func (t *text) shorter(limit int) int {
	part := t.part()
	from := len(part) - (t.counted - limit) // Each byte counts as at least 1.
	if from >= len(part) {
		return len(part)
	}
	// The first byte of a character is recognisable. If four bytes in a row are none,
	// they are not part of a character.
	from = max(from, 0)
	for i := from; i >= 0 && i > from-utf8.UTFMax; i-- {
		if utf8.RuneStart(part[i]) {
			from = i
			break
		}
	}
	n, _, _ := fit(part[from:], limit-(t.counted-repairedLen(part[from:])), true)
	return from + n
}

// collect moves the frames that end in the next part into ranges.
func (t *text) collect() {
	n := 0
	for n < len(t.marks) && t.marks[n].end <= t.end {
		t.ranges = addRange(t.ranges, t.marks[n].Range)
		n++
	}
	t.marks = t.marks[:copy(t.marks, t.marks[n:])]
}

// part returns the text of the next part.
func (t *text) part() []byte { return t.data[t.out:t.end] }

// frames returns how many ranges t holds.
func (t *text) frames() int { return len(t.ranges) + len(t.marks) }

// advance goes past the part that was handed out, and reports whether there is more text.
func (t *text) advance() bool {
	t.out, t.counted, t.ranges = t.end, 0, t.ranges[:0]
	return t.out < len(t.data)
}

// reset forgets the text and gives its buffer back.
func (t *text) reset() {
	t.drop()
	t.forget(keptRanges)
	t.counted, t.ranges, t.marks = 0, t.ranges[:0], t.marks[:0]
}

// addRange appends r to ranges, or extends the last range if r begins at its end.
func addRange(ranges []stream.Range, r stream.Range) []stream.Range {
	if n := len(ranges); n > 0 && ranges[n-1].To == r.From {
		ranges[n-1].To = r.To
		return ranges
	}
	return append(ranges, r)
}
