package protocol

import (
	"bytes"
	"math"
	"unicode/utf16"
	"unicode/utf8"
)

// A reader reads a JSON document in one pass, without building a tree. Reading a batch of a
// mebibyte takes a few milliseconds, so that benchmarks do not measure the stand-in. It
// follows RFC 8259 strictly, with one exception: it replaces invalid UTF-8 by U+FFFD, as
// the service does. Its errors are the service's SerializationException.
type reader struct {
	b []byte
	i int // i is the index of the next byte in b.

	arena    []byte // arena has the decoded strings, one after the other.
	replaced int    // replaced counts strings in which invalid UTF-8 was replaced.
}

// peek skips white space and returns the next byte, or 0 at the end.
func (r *reader) peek() byte {
	for ; r.i < len(r.b); r.i++ {
		switch c := r.b[r.i]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (r *reader) expect(c byte) *Error {
	if r.peek() != c || r.i == len(r.b) {
		return ErrNotJSON
	}
	r.i++
	return nil
}

// null reads a null if it comes next. A member that is null counts as missing.
func (r *reader) null() bool {
	if r.peek() == 'n' && bytes.HasPrefix(r.b[r.i:], []byte("null")) {
		r.i += len("null")
		return true
	}
	return false
}

// mismatch returns the service's error for a next value that is not of the wanted type.
func (r *reader) mismatch(want string) *Error {
	switch c := r.peek(); {
	case c == '{':
		return serialization("Start of structure or map found where not expected.")
	case c == '[':
		return serialization("Start of list found where not expected")
	case c == '"':
		return serialization("STRING_VALUE can not be converted to a %s", want)
	case c == 't':
		return serialization("TRUE_VALUE can not be converted to a %s", want)
	case c == 'f':
		return serialization("FALSE_VALUE can not be converted to a %s", want)
	case c == '-' || c >= '0' && c <= '9':
		return serialization("NUMBER_VALUE can not be converted to a %s", want)
	}
	return ErrNotJSON
}

// object reads an object. It calls member for each member, which must read the value. The
// name is valid until then.
func (r *reader) object(member func(name []byte) *Error) *Error {
	if r.peek() != '{' {
		return r.mismatch("Map")
	}
	r.i++
	if r.peek() == '}' {
		r.i++
		return nil
	}
	for {
		if r.peek() != '"' {
			return ErrNotJSON
		}
		mark := len(r.arena)
		from, to, err := r.str()
		if err != nil {
			return err
		}
		name := r.arena[from:to]
		r.arena = r.arena[:mark]
		if err := r.expect(':'); err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
		if done, err := r.more('}'); done || err != nil {
			return err
		}
	}
}

// list reads a list. It calls element for each element, which must read it.
func (r *reader) list(element func() *Error) *Error {
	if r.peek() != '[' {
		return r.mismatch("List")
	}
	r.i++
	if r.peek() == ']' {
		r.i++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if done, err := r.more(']'); done || err != nil {
			return err
		}
	}
}

// more reads the comma or the end that must follow a member or an element.
func (r *reader) more(end byte) (done bool, err *Error) {
	switch r.peek() {
	case ',':
		r.i++
		return false, nil
	case end:
		r.i++
		return true, nil
	}
	return false, ErrNotJSON
}

// plain marks the bytes that a string contains without escaping or decoding.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// str decodes a string to the end of the arena, and returns its bounds there.
func (r *reader) str() (from, to int, err *Error) {
	if r.peek() != '"' {
		return 0, 0, r.mismatch("String")
	}
	r.i++
	from = len(r.arena)
	replaced := 0
	for {
		j := r.i
		for j < len(r.b) && plain[r.b[j]] {
			j++
		}
		r.arena = append(r.arena, r.b[r.i:j]...)
		r.i = j
		switch {
		case j == len(r.b) || r.b[j] < 0x20:
			return 0, 0, ErrNotJSON
		case r.b[j] == '"':
			r.i++
			r.replaced += replaced
			return from, len(r.arena), nil
		case r.b[j] == '\\':
			c, ok := r.escape()
			if !ok {
				return 0, 0, ErrNotJSON
			}
			if utf16.IsSurrogate(c) {
				replaced = 1
			}
			r.arena = utf8.AppendRune(r.arena, c) // U+FFFD for a surrogate
		default:
			c, n := utf8.DecodeRune(r.b[j:])
			if c == utf8.RuneError && n == 1 {
				replaced = 1
			}
			r.arena = utf8.AppendRune(r.arena, c)
			r.i += n
		}
	}
}

// escape decodes the escape sequence that starts at a backslash. It returns half a
// surrogate pair as it is.
func (r *reader) escape() (rune, bool) {
	if r.i+1 >= len(r.b) {
		return 0, false
	}
	c := r.b[r.i+1]
	r.i += 2
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		first, ok := r.hex4()
		if !ok || !utf16.IsSurrogate(first) {
			return first, ok
		}
		if bytes.HasPrefix(r.b[r.i:], []byte(`\u`)) {
			mark := r.i
			r.i += 2
			second, ok := r.hex4()
			if !ok {
				return 0, false
			}
			if c := utf16.DecodeRune(first, second); c != utf8.RuneError {
				return c, true
			}
			r.i = mark // the second escape is another character
		}
		return first, true
	}
	return 0, false
}

func (r *reader) hex4() (rune, bool) {
	if r.i+4 > len(r.b) {
		return 0, false
	}
	var v rune
	for _, c := range r.b[r.i : r.i+4] {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			v = v<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	r.i += 4
	return v, true
}

// number reads a number and returns its text.
func (r *reader) number(want string) ([]byte, *Error) {
	if c := r.peek(); c != '-' && (c < '0' || c > '9') {
		return nil, r.mismatch(want)
	}
	from := r.i
	if r.b[r.i] == '-' {
		r.i++
	}
	digits := r.digits()
	if digits == 0 || digits > 1 && r.b[r.i-digits] == '0' {
		return nil, ErrNotJSON
	}
	if r.i < len(r.b) && r.b[r.i] == '.' {
		r.i++
		if r.digits() == 0 {
			return nil, ErrNotJSON
		}
	}
	if r.i < len(r.b) && r.b[r.i]|0x20 == 'e' {
		r.i++
		if r.i < len(r.b) && (r.b[r.i] == '+' || r.b[r.i] == '-') {
			r.i++
		}
		if r.digits() == 0 {
			return nil, ErrNotJSON
		}
	}
	return r.b[from:r.i], nil
}

func (r *reader) digits() (n int) {
	for r.i < len(r.b) && r.b[r.i] >= '0' && r.b[r.i] <= '9' {
		r.i++
		n++
	}
	return n
}

// long reads an integer. It refuses the smallest one of 64 bits, which no client sends.
func (r *reader) long() (int64, *Error) {
	text, err := r.number("Long")
	if err != nil {
		return 0, err
	}
	digits := bytes.TrimPrefix(text, []byte("-"))
	var v uint64
	for _, c := range digits {
		if c < '0' || c > '9' || v > (math.MaxInt64-uint64(c-'0'))/10 {
			return 0, serialization("NUMBER_VALUE can not be converted to a Long")
		}
		v = v*10 + uint64(c-'0')
	}
	if len(digits) < len(text) {
		return -int64(v), nil
	}
	return int64(v), nil
}

func (r *reader) boolean() (bool, *Error) {
	r.peek()
	for text, v := range map[string]bool{"true": true, "false": false} {
		if bytes.HasPrefix(r.b[r.i:], []byte(text)) {
			r.i += len(text)
			return v, nil
		}
	}
	return false, r.mismatch("Boolean")
}

// end checks that only white space is left.
func (r *reader) end() *Error {
	if r.peek(); r.i != len(r.b) {
		return ErrNotJSON
	}
	return nil
}
