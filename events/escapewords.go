package events

import (
	"encoding/binary"
	"slices"
)

const (
	// wordBytes is how many bytes are examined at a time.
	wordBytes = 8
	// reservedBytes is for how much text appendValid makes room at a time.
	reservedBytes = 512

	ones  = 0x0101010101010101 // ones*c is a word that has c in each byte.
	highs = ones * 0x80
)

// appendValid is AppendEscaped for text that is valid UTF-8. It also reports whether text is
// ASCII.
func appendValid(dst, text []byte) (out []byte, ascii bool) {
	plain, seen := plainWords(text)
	dst = append(dst, text[:plain]...)
	text = text[plain:]
	for len(text) > 0 {
		piece := text[:min(len(text), reservedBytes)]
		text = text[len(piece):]
		dst = slices.Grow(dst, (len(piece)+wordBytes)*longestEscape)
		n, bits := escapeWords(dst[len(dst):cap(dst)], piece)
		dst = dst[:len(dst)+n]
		seen |= bits
	}
	return dst, seen&highs == 0
}

// plainWords returns the length of the words at the beginning of text that need no escape,
// which is all of most logs, and the bits that are set in any byte of them.
func plainWords(text []byte) (n int, seen uint64) {
	rest := text
	for len(rest) >= 2*wordBytes {
		v, w := binary.LittleEndian.Uint64(rest), binary.LittleEndian.Uint64(rest[wordBytes:])
		if needsEscape(v)|needsEscape(w) != 0 {
			break
		}
		seen |= v | w
		rest = rest[2*wordBytes:]
	}
	return len(text) - len(rest), seen
}

// escapeWords writes the escaped text to out, which has room for the longest escapes of text
// and of one more word. It returns the number of bytes, and the bits that are set in any byte
// of text.
func escapeWords(out, text []byte) (n int, seen uint64) {
	for i := 0; i < len(text); i += wordBytes {
		var w uint64
		if len(text)-i >= wordBytes {
			w = binary.LittleEndian.Uint64(text[i:])
		} else {
			w = lastWord(text)
		}
		seen |= w
		if needsEscape(w) == 0 {
			binary.LittleEndian.PutUint64(out[n:], w)
			n += wordBytes
		} else {
			n += escapeWord(out[n:], w)
		}
	}
	return n - fillers(text), seen
}

// fillers returns how many bytes are missing in the last word of text.
func fillers(text []byte) int { return -len(text) & (wordBytes - 1) }

// lastWord returns the last word of text, which is incomplete, with spaces after it.
func lastWord(text []byte) uint64 {
	missing := fillers(text)
	if len(text) < wordBytes {
		word := [wordBytes]byte{' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '}
		copy(word[:], text)
		return binary.LittleEndian.Uint64(word[:])
	}
	w := binary.LittleEndian.Uint64(text[len(text)-wordBytes:])
	return w>>(8*missing) | ones*' '<<(8*(wordBytes-missing))
}

// needsEscape returns the high bits of the bytes of w that must be escaped.
//
// In each byte of ascii, the sum with 0x7f sets the high bit unless the byte is 0, and the sum
// with 0x60 sets it unless the byte is below 0x20. No sum exceeds a byte. A byte of w that
// is not ASCII needs no escape.
func needsEscape(w uint64) uint64 {
	ascii := w &^ highs
	noQuote, noSlash := (ascii^ones*'"')+ones*0x7f, (ascii^ones*'\\')+ones*0x7f
	return ^(noQuote&noSlash&(ascii+ones*0x60) | w) & highs
}

// controls returns the high bits of the bytes of w that are control characters.
func controls(w uint64) uint64 { return ^(w&^highs + ones*0x60 | w) & highs }

// quoting says where the bytes of half a word go if some of them need a backslash.
type quoting struct {
	move    [wordBytes / 2]uint64 // move is for each byte the product that moves it to its place.
	slashes uint64                // slashes has the backslashes.
	size    int                   // size is the number of bytes.
}

// quotings has a quoting for each set of bytes that need a backslash: bit i is for byte i.
var quotings = func() (all [1 << (wordBytes / 2)]quoting) {
	for set := range all {
		q := &all[set]
		for i := range wordBytes / 2 {
			if set>>i&1 != 0 {
				q.slashes |= '\\' << (8 * q.size)
				q.size++
			}
			q.move[i] = 1 << (8 * (q.size - i))
			q.size++
		}
	}
	return all
}()

// spread moves the bytes of half a word to their places, and adds the backslashes.
func (q *quoting) spread(half uint64) uint64 {
	return half&0xff*q.move[0] | half&0xff00*q.move[1] | half&0xff0000*q.move[2] | half&0xff000000*q.move[3] | q.slashes
}

// escapeWord writes w, which needs an escape. In most logs that is because of quotation marks
// and backslashes only. Where they are in a word is hard to predict, so there is no branch for
// each.
func escapeWord(out []byte, w uint64) (n int) {
	if controls(w) != 0 {
		return escapeBytes(out, w)
	}
	set := needsEscape(w) >> 7 * 0x0102040810204080 >> 56 // bit i is byte i's
	first, second := &quotings[set&0xf], &quotings[set>>4]
	binary.LittleEndian.PutUint64(out, first.spread(w&0xffffffff))
	binary.LittleEndian.PutUint64(out[first.size:], second.spread(w>>32))
	return first.size + second.size
}

// escapeBytes writes the bytes of w one by one.
func escapeBytes(out []byte, w uint64) (n int) {
	for range wordBytes {
		c := byte(w)
		w >>= 8
		switch e := escapeOf(c); e {
		case 0:
			out[n] = c
			n++
		case 'u':
			n += copy(out[n:], []byte{'\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf]})
		default:
			out[n], out[n+1] = '\\', e
			n += 2
		}
	}
	return n
}

// escapeOf returns the character after the backslash in the escape of c, or 0 if there is none.
func escapeOf(c byte) byte {
	if int(c) < len(escapes) {
		return escapes[c]
	}
	return 0
}
