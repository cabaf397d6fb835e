package events

import "unicode/utf8"

// replacement is U+FFFD. CloudWatch and json-file put it in the place of each byte that
// is not part of valid UTF-8. So no byte of text counts as more than three.
const replacement = "\uFFFD"

// escapes holds, for each ASCII character that must be escaped in a JSON string (RFC
// 8259, section 7), the character that follows the backslash. It is 0 for the others.
// After 'u' there are four hexadecimal digits.
var escapes = func() (all [utf8.RuneSelf]byte) {
	for c := range 0x20 {
		all[c] = 'u'
	}
	all['\b'], all['\f'], all['\n'], all['\r'], all['\t'] = 'b', 'f', 'n', 'r', 't'
	all['"'], all['\\'] = '"', '\\'
	return all
}()

const (
	// longestEscape is the most bytes that AppendEscaped appends for one byte of text.
	longestEscape = len(`\u0000`)

	hexDigits = "0123456789abcdef"
)

// AppendEscaped appends text to dst as the inside of a JSON string. Each byte that is not
// part of valid UTF-8 becomes U+FFFD. AppendEscaped returns the extended buffer and the
// number of bytes that CloudWatch counts for the text: its length in UTF-8 with these
// U+FFFD, before it is escaped.
func AppendEscaped(dst, text []byte) (out []byte, counted int) {
	out, ascii := appendValid(dst, text)
	if ascii || utf8.Valid(text) {
		return out, len(text)
	}
	out, counted = out[:len(dst)], len(text)
	for {
		n := validLen(text)
		out, _ = appendValid(out, text[:n])
		if n == len(text) {
			return out, counted
		}
		out, text = append(out, replacement...), text[n+1:]
		counted += len(replacement) - 1
	}
}

// validLen returns the length of the longest beginning of text that is valid UTF-8.
func validLen(text []byte) (n int) {
	for n < len(text) {
		r, size := utf8.DecodeRune(text[n:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	return n
}

// escapedFit returns how many bytes of text, up to the end of a character, AppendEscaped
// turns into at most limit bytes.
func escapedFit(text []byte, limit int) (n int) {
	if len(text)*longestEscape <= limit {
		return len(text)
	}
	for n < len(text) {
		size, cost := firstRune(text[n:])
		if c := text[n]; c < utf8.RuneSelf {
			switch escapes[c] {
			case 0:
			case 'u':
				cost = longestEscape
			default:
				cost = len(`\n`)
			}
		}
		if limit -= cost; limit < 0 {
			break
		}
		n += size
	}
	return n
}

// firstRune returns the length of the first character of text, and the number of bytes
// that CloudWatch counts for it. A byte that is not part of valid UTF-8 is a character of
// its own.
func firstRune(text []byte) (size, counted int) {
	r, size := utf8.DecodeRune(text)
	if r == utf8.RuneError {
		return size, len(replacement) // U+FFFD itself is as long.
	}
	return size, size
}

// fit returns how many bytes of text, up to the end of a character, CloudWatch counts as
// at most limit bytes. It also returns how many bytes CloudWatch counts for them, and
// whether the limit excludes the rest. If final is false, fit leaves out the beginning of
// a character at the end of text. If final is true and text certainly fits, it is not
// counted: counted is 0.
func fit(text []byte, limit int, final bool) (n, counted int, full bool) {
	if final && len(text)*len(replacement) <= limit {
		return len(text), 0, false
	}
	for n < len(text) {
		plain := n
		for upto := min(len(text), n+limit-counted); plain < upto && text[plain] < utf8.RuneSelf; {
			plain++
		}
		counted += plain - n
		n = plain
		rest := text[n:]
		if len(rest) == 0 || !final && !utf8.FullRune(rest) {
			break
		}
		size, c := firstRune(rest)
		if counted+c > limit {
			return n, counted, true
		}
		n += size
		counted += c
	}
	return n, counted, false
}

// Truncate returns the longest beginning of text that CloudWatch counts as at most limit
// bytes and that does not end inside a character.
func Truncate(text []byte, limit int) []byte {
	n, _, _ := fit(text, limit, true)
	return text[:n]
}

// fits reports whether CloudWatch counts text as at most limit bytes.
func fits(text []byte, limit int) bool {
	_, _, full := fit(text, limit, true)
	return !full
}

// repairedLen returns the number of bytes that appendRepaired appends, which is what
// CloudWatch counts for text.
func repairedLen(text []byte) (n int) {
	if utf8.Valid(text) {
		return len(text)
	}
	for len(text) > 0 {
		size, counted := firstRune(text)
		n += counted
		text = text[size:]
	}
	return n
}

// appendRepaired appends text with U+FFFD in the place of each byte that is not part of
// valid UTF-8.
func appendRepaired(dst, text []byte) []byte {
	if utf8.Valid(text) {
		return append(dst, text...)
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		dst = utf8.AppendRune(dst, r)
		text = text[size:]
	}
	return dst
}
