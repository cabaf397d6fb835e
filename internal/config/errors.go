package config

import (
	"fmt"
	"strings"
)

// Errors are the errors in a container's log options. Each is one line.
type Errors []error

// maxListed is the most errors that Error lists. dockerd stops reading the plugin's output at
// a line of 64 KiB.
const maxListed = 5

// Error returns all errors in one line, for the user of docker run.
func (e Errors) Error() string {
	var b strings.Builder
	b.WriteString("logspool: ")
	for i, err := range e[:min(len(e), maxListed)] {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(err.Error())
	}
	if n := len(e) - maxListed; n > 0 {
		fmt.Fprintf(&b, "; and %d more", n)
	}
	return b.String()
}

// Unwrap returns the single errors.
func (e Errors) Unwrap() []error { return e }

func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}
