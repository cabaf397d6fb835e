// Package oneline makes text from outside fit for one line of a log or of an error: printable, of
// bounded length, and cut between characters.
//
// Names, labels, options and environments come from anybody who can start a container. Their control
// codes, terminal escapes and bidirectional marks must not reach an operator's terminal, and their
// newlines must not look like lines of the plugin's log.
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

// Quote quotes s as Go does, which escapes everything that is not printable. It repeats at most the
// first most bytes of s; an ellipsis behind the quotes marks a cut.
func Quote(s string, most int) string {
	if cut := Cut(s, most); cut != s {
		return strconv.Quote(cut) + ellipsis
	}
	return strconv.Quote(s)
}

// Text returns s without quotes, as one printable line of at most most bytes and an ellipsis. White
// space becomes spaces. Other characters that are not printable, and bytes that are not UTF-8, become
// escapes as in Go.
func Text(s string, most int) string {
	// Escapes only add bytes, so what is behind the limit need not be looked at.
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

// Cut returns the longest beginning of s that has at most most bytes and does not end within a
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
	return s[:most] // not UTF-8 anyway
}
