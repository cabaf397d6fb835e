// Package oneline makes text from outside fit into one line of a log or of an error. The line
// is printable, has a bounded length, and is cut between characters.
//
// Anyone who can start a container chooses its name, labels, options and environment. Their
// control codes, terminal escapes and bidirectional marks must not reach an operator's terminal,
// and their newlines must not look like lines of the plugin's log.
//
// The package must not know where a text comes from.
package oneline

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ellipsis marks a text that was cut.
const ellipsis = "…"

// Quote quotes s as Go does, which escapes everything that is not printable. It quotes at most
// the first most bytes of s. An ellipsis after the quotes marks a cut.
func Quote(s string, most int) string {
	if cut := Cut(s, most); cut != s {
		return strconv.Quote(cut) + ellipsis
	}
	return strconv.Quote(s)
}

// Text returns s without quotes, as one printable line of at most most bytes. An ellipsis after
// that marks a cut. White space becomes spaces. Other characters that are not printable, and bytes
// that are not UTF-8, are escaped as in Go.
func Text(s string, most int) string {
	// Escaping only adds bytes, so that what is beyond the limit does not matter.
	line, cut := printable(Cut(s, most)), len(s) > most
	if len(line) > most {
		line, cut = Cut(line, most), true
	}
	if cut {
		line += ellipsis
	}
	return line
}

func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += size
	}
	return b.String()
}

// Cut returns the longest prefix of s that has at most most bytes and does not end inside a
// character.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for i := most; i >= 0 && i > most-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:most] // s is not UTF-8
}
