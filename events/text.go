package events

import (
	"sync"
	"unicode/utf8"
)

// buffers holds the buffers of lines that have gone out, for the lines of all containers: what an
// idle container keeps for itself is nothing, however long its lines were.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// text is one line's text on its way out, with the frames that it came from. It is handed out in
// parts, each within a limit: out tells where the next part begins, end how far it goes so far.
// What follows end does not fit any more, or may be the beginning of a character whose rest has not
// come yet.
type text struct {
	data   []byte
	buf    *[]byte // the buffer that data is in; nil where data is somebody else's
	out    int     // data[:out] has been handed out
	end    int     // data[out:end] is within the limit
	cost   int     // of data[out:end]
	ranges []Range // of the frames that end in data[:end] and have not been handed out, merged
	held   []mark  // of the frames that end after data[:end]
}

// mark says that a frame's text ends at data[:end].
type mark struct {
	end int
	Range
}

// alias makes t the text of one frame, without copying it.
func (t *text) alias(line []byte, at Range) {
	t.data = line
	t.held = append(t.held, mark{len(line), at})
}

// append copies one more frame's text into a buffer of t's own.
func (t *text) append(line []byte, at Range) {
	if t.buf == nil {
		t.buf = buffers.Get().(*[]byte)
		t.data = (*t.buf)[:0]
	}
	if t.out > 0 {
		t.data = t.data[:copy(t.data, t.data[t.out:])]
		t.end -= t.out
		for i := range t.held {
			t.held[i].end -= t.out
		}
		t.out = 0
	}
	t.data = append(t.data, line...)
	t.held = append(t.held, mark{len(t.data), at})
}

// fill moves end forward as far as the limit allows: limit bytes as the service counts them, where
// each byte that is not part of valid UTF-8 counts as the three bytes of U+FFFD. Part ends are
// character boundaries. whole says that no more text will come, so that what begins like a
// character at the end of the data is not one. It returns whether there is text beyond the limit.
func (t *text) fill(limit int, whole bool) (full bool) {
	const repaired = len("\uFFFD") // What a byte costs at most.
	if rest := len(t.data) - t.end; whole && t.cost+rest*repaired <= limit {
		t.end = len(t.data)
	}
	for t.end < len(t.data) {
		plain := t.end
		for upto := min(len(t.data), t.end+limit-t.cost); plain < upto && t.data[plain] < utf8.RuneSelf; {
			plain++
		}
		t.cost += plain - t.end
		t.end = plain
		rest := t.data[t.end:]
		if len(rest) == 0 || !whole && !utf8.FullRune(rest) {
			break
		}
		r, size := utf8.DecodeRune(rest)
		cost := size
		if r == utf8.RuneError {
			cost = repaired // Also where it is U+FFFD itself.
		}
		if t.cost+cost > limit {
			full = true
			break
		}
		t.end += size
		t.cost += cost
	}

	n := 0
	for n < len(t.held) && t.held[n].end <= t.end {
		t.ranges = addRange(t.ranges, t.held[n].Range)
		n++
	}
	t.held = t.held[:copy(t.held, t.held[n:])]
	return full
}

// part returns what fill has found to fit.
func (t *text) part() []byte { return t.data[t.out:t.end] }

// frames returns how many ranges t holds.
func (t *text) frames() int { return len(t.ranges) + len(t.held) }

// next goes past the part that was handed out, and returns whether there is more.
func (t *text) next() bool {
	t.out, t.cost, t.ranges = t.end, 0, t.ranges[:0]
	return t.out < len(t.data)
}

// reset forgets the text and gives its buffer back.
func (t *text) reset() {
	if t.buf != nil {
		*t.buf = t.data[:0]
		buffers.Put(t.buf)
	}
	*t = text{ranges: t.ranges[:0], held: t.held[:0]}
}

// addRange appends r to ranges, or lengthens the last one where r begins at its end.
func addRange(ranges []Range, r Range) []Range {
	if n := len(ranges); n > 0 && ranges[n-1].To == r.From {
		ranges[n-1].To = r.To
		return ranges
	}
	return append(ranges, r)
}
