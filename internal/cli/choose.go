package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/logspool/logspool/internal/oneline"
)

// identity is by what an operator knows a container.
type identity struct{ id, name string }

var errNoContainer = errors.New("there is no such container")

// maxCandidates is how many containers an error names.
const maxCandidates = 5

// choose returns the index of the container that arg names: by its ID, its name, or the
// beginning of its ID.
func choose(all []identity, arg string) (int, error) {
	quoted := oneline.Quote(arg, 128)
	var found []int
	for _, matches := range []func(identity) bool{
		func(c identity) bool { return c.id == arg },
		func(c identity) bool { return arg != "" && (c.name == arg || displayName(c.name, c.id) == arg) },
		func(c identity) bool { return arg != "" && strings.HasPrefix(c.id, arg) },
	} {
		for i, c := range all {
			if matches(c) {
				found = append(found, i)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	switch len(found) {
	case 0:
		return 0, fmt.Errorf("%w: %s", errNoContainer, quoted)
	case 1:
		return found[0], nil
	}
	var names []string
	for _, i := range found[:min(len(found), maxCandidates)] {
		names = append(names, fullName(all[i].name, all[i].id))
	}
	if len(found) > maxCandidates {
		names = append(names, "…")
	}
	return 0, fmt.Errorf("%s is the name of %d containers, or the beginning of their IDs: give more of the ID (%s)", quoted, len(found), strings.Join(names, ", "))
}
