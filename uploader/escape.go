package uploader

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080

	hexDigits = "0123456789abcdef"
	// replacement is U+FFFD in UTF-8: what the service shows for an invalid byte.
	replacement = "\ufffd"
)

// special says which ASCII bytes cannot stand in a JSON string as they are (RFC 8259, section 7).
var special = func() (t [utf8.RuneSelf]bool) {
	for c := range 0x20 {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

// appendEscaped appends msg to dst as the inside of a JSON string and returns the extended buffer
// and the number of bytes that the service will count: msg's length in UTF-8 after each invalid byte has
// become U+FFFD, as when Go ranges over a string.
func appendEscaped(dst, msg []byte) (out []byte, counted int) {
	counted = len(msg)
	start := 0 // first byte that is not in dst yet
	i := 0
	for i < len(msg) {
		// Eight plain ASCII bytes at a time: none above 0x7f, below 0x20, a quote or a backslash.
		// A byte b is below n if b-n borrows; a byte equals c if (b^c) is below 1. A borrow spoils only the
		// bytes above it, so the lowest hit is a true one.
		for len(msg)-i >= 8 {
			w := binary.LittleEndian.Uint64(msg[i:])
			quote := w ^ ones*'"'
			slash := w ^ ones*'\\'
			if hit := (w | (w - ones*0x20) | (quote - ones) | (slash - ones)) & highs; hit != 0 {
				i += bits.TrailingZeros64(hit) / 8
				break
			}
			i += 8
		}
		if i == len(msg) {
			break
		}
		if c := msg[i]; c < utf8.RuneSelf {
			if special[c] {
				dst = append(dst, msg[start:i]...)
				dst = appendEscape(dst, c)
				start = i + 1
			}
			i++
			continue
		}
		for i < len(msg) && msg[i] >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(msg[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, msg[start:i]...)
				dst = append(dst, replacement...)
				counted += len(replacement) - 1
				start = i + 1
			}
			i += size
		}
	}
	return append(dst, msg[start:]...), counted
}

// appendEscape appends the escape of c, one of the special bytes.
func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
	}
}

// cut returns the longest prefix of msg that the service counts as at most limit bytes and that does not
// end inside a character.
func cut(msg []byte, limit int) []byte {
	counted := 0
	for i := 0; i < len(msg); {
		r, size := utf8.DecodeRune(msg[i:])
		if r == utf8.RuneError && size == 1 {
			counted += len(replacement)
		} else {
			counted += size
		}
		if counted > limit {
			return msg[:i]
		}
		i += size
	}
	return msg
}
