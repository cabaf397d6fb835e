package driver

import (
	"strings"

	"github.com/logspool/logspool/internal/oneline"
)

const (
	// maxName is how much of a container's name is logged, in bytes.
	maxName = 64

	// shortID is how much of a container's ID is logged, in bytes.
	shortID = 12

	// maxShown is how much of a value from a request is shown, in bytes.
	maxShown = 128
)

// label returns what the log calls a container: its name and its short ID, as docker ps shows
// them.
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

// shorten quotes a value from a request in one short line.
func shorten(s string) string { return oneline.Quote(s, maxShown) }
