package driver

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxName bounds how much of a container's name is logged, in bytes, and shortID of its ID.
	maxName = 64
	shortID = 12
)

// label names a container in the log: by its name and the first 12 characters of its ID, as docker ps does.
func label(name, id string) string {
	name, id = printable(strings.TrimPrefix(name, "/"), maxName), printable(id, shortID)
	switch {
	case name == "":
		return id
	case id == "":
		return name
	}
	return name + " (" + id + ")"
}

// printable makes one printable line of what came from outside, of at most so many bytes, cut between characters.
func printable(s string, most int) string {
	if len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most--
		}
		s = s[:most]
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, s)
}

// maxShown bounds what is shown of a value from a request.
const maxShown = 128

// shorten quotes what came from outside, in one line of bearable length.
func shorten(s string) string {
	p := printable(s, maxShown)
	if len(s) > maxShown {
		p += "…"
	}
	return strconv.Quote(p)
}
