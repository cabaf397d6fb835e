package events

import "bytes"

// maxSequence is the maximum length of a control sequence, and therefore of text that
// waits for the rest of one. Anything longer is text.
const maxSequence = 64 * 1024

const (
	esc = 0x1b
	bel = 0x07

	// c1 is the first byte of U+0080 to U+00BF in UTF-8. The second byte is the
	// character's number. U+0080 to U+009F are the C1 control characters. A lone byte
	// 0x9b is not one, because it may be part of any character.
	c1  = 0xc2
	dcs = 0x90
	sos = 0x98
	csi = 0x9b
	st  = 0x9c
	osc = 0x9d
	pm  = 0x9e
	apc = 0x9f
)

// hasANSI reports whether b may contain a control sequence.
func hasANSI(b []byte) bool {
	return bytes.IndexByte(b, esc) >= 0 || bytes.IndexByte(b, c1) >= 0
}

// stripANSI removes the terminal's control sequences from b in place, and nothing else.
// kept is the length of the result. Its first sure bytes are final. The others begin a
// sequence whose rest may follow in the next piece of the line. If the line ends there,
// they are text.
//
// Malformed and overlong sequences are text. The time is linear: no sequence contains the
// beginning of another, so a failed one is not examined again before the next begins.
//
// The available libraries do not work here. charmbracelet/x/ansi takes whole strings, and
// removes an unfinished sequence with everything after it. acarl005/stripansi is a
// regular expression that does not know strings that end with ESC \.
func stripANSI(b []byte) (kept, sure int) {
	w, i := 0, 0
	for {
		text := i
		for i < len(b) && b[i] != esc && b[i] != c1 {
			i++
		}
		if w == text {
			w = i // nothing has been removed yet
		} else {
			w += copy(b[w:], b[text:i])
		}
		if i == len(b) {
			return w, w
		}
		switch n := sequence(b[i:]); {
		case n > 0:
			i += n
		case n == 0: // This byte is text. The next ones may not be.
			b[w] = b[i]
			w++
			i++
		default:
			return w + copy(b[w:], b[i:]), w
		}
	}
}

// sequence returns the length of the control sequence that b begins with (ECMA-48, 5.3 to
// 5.6, and ECMA-35, 13.2). It returns 0 if b does not begin with one, and unfinished if b
// ends too early to tell.
func sequence(b []byte) int {
	if len(b) < 2 {
		return unfinished
	}
	cut := min(len(b), maxSequence)
	n := unfinished
	switch second := b[1]; {
	case b[0] == esc && second == '[', b[0] == c1 && second == csi:
		n = parameters(b[:cut])
	case b[0] == esc && second == ']', b[0] == c1 && second == osc:
		n = controlString(b[:cut], true)
	case b[0] == esc && (second == 'P' || second == 'X' || second == '^' || second == '_'),
		b[0] == c1 && (second == dcs || second == sos || second == pm || second == apc):
		n = controlString(b[:cut], false)
	case b[0] == esc:
		n = escape(b[:cut])
	default:
		return 0
	}
	if n == unfinished && len(b) >= maxSequence {
		return 0
	}
	return n
}

const unfinished = -1

// parameters measures a control sequence with parameters, such as colours and cursor
// movements.
func parameters(b []byte) int {
	i := 2
	for i < len(b) && b[i] >= 0x30 && b[i] <= 0x3f {
		i++
	}
	return final(b, i, 0x40)
}

// escape measures ESC and one character, possibly with intermediate ones before it: ESC
// 7, ESC ( B.
func escape(b []byte) int { return final(b, 1, 0x30) }

// final measures intermediate characters from b[i] and a final one of at least lowest.
func final(b []byte, i int, lowest byte) int {
	for i < len(b) && b[i] >= 0x20 && b[i] <= 0x2f {
		i++
	}
	switch {
	case i == len(b):
		return unfinished
	case b[i] >= lowest && b[i] <= 0x7e:
		return i + 1
	}
	return 0
}

// controlString measures a string that ends with ST, such as a title, a hyperlink or an
// image. With belEnds, BEL also ends it, as terminals accept.
func controlString(b []byte, belEnds bool) int {
	for i := 2; i < len(b); i++ {
		switch c := b[i]; {
		case c == bel && belEnds:
			return i + 1
		case c == esc || c == c1:
			if i+1 == len(b) {
				return unfinished
			}
			if c == esc && b[i+1] == '\\' || c == c1 && b[i+1] == st {
				return i + 2
			}
			if c == esc || b[i+1] <= apc { // another control function
				return 0
			}
		case c < 0x08, c > 0x0d && c < 0x20, c == 0x7f:
			return 0
		}
	}
	return unfinished
}
