package driver

import (
	"strings"

	"github.com/logspool/logspool/internal/oneline"
)

const (
	// maxName bounds how much of a container's name is logged, in bytes, and shortID of its ID.
	maxName = 64
	shortID = 12

	// maxShown bounds what is shown of a value from a request.
	maxShown = 128
)

// label names a container in the log: by its name and the first 12 characters of its ID, as docker ps does.
func label(name, id string) string {
	name = oneline.Text(strings.TrimPrefix(name, "/"), maxName)
	id = oneline.Text(oneline.Cut(id, shortID), shortID)
	switch {
	case name == "":
		return id
	case id == "":
		return name
	}
	return name + " (" + id + ")"
}

// shorten quotes what came from outside, in one line of bearable length.
func shorten(s string) string { return oneline.Quote(s, maxShown) }
