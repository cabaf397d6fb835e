package cli

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/internal/status"
)

// note is an error that stops the delivery of some containers.
type note struct {
	kind, err, remedy string
	since             time.Time
	containers        []string
}

// notes are the distinct errors of all containers, in order of their first row.
type notes struct{ all []note }

// requestID is the part of an error of the SDK that differs for each request.
var requestID = regexp.MustCompile(`(?i)\brequest ?ID: [^,\s]*,? ?`)

// removeRequestIDs removes the request IDs from the errors in a report, so that equal errors
// are equal. The log and the report in JSON have them.
func removeRequestIDs(r *status.Report) {
	remove := func(err *string) { *err = requestID.ReplaceAllString(*err, "") }
	for i := range r.Faults {
		remove(&r.Faults[i].Err)
	}
	for i := range r.Services {
		remove(&r.Services[i].Error)
	}
	for i := range r.Containers {
		for j := range r.Containers[i].Streams {
			if e := r.Containers[i].Streams[j].Error; e != nil {
				remove(&e.Err)
			}
		}
	}
}

// add adds the error of a container, and returns the number of its note.
func (n *notes) add(container string, f status.Failure) int {
	i := slices.IndexFunc(n.all, func(o note) bool {
		return o.kind == f.Kind && o.remedy == f.Remedy && o.err == f.Err
	})
	if i < 0 {
		i, n.all = len(n.all), append(n.all, note{kind: f.Kind, err: f.Err, remedy: f.Remedy, since: f.Since})
	}
	at := &n.all[i]
	if !f.Since.IsZero() && (at.since.IsZero() || f.Since.Before(at.since)) {
		at.since = f.Since
	}
	if !slices.Contains(at.containers, container) {
		at.containers = append(at.containers, container)
	}
	return i + 1
}

// find returns the number of the note of an error, or 0.
func (n *notes) find(err string) int {
	if err == "" {
		return 0
	}
	return 1 + slices.IndexFunc(n.all, func(o note) bool { return o.err == err })
}

// maxNamed is how many containers a note names.
const maxNamed = 10

// lines returns the note as lines. number is its number in the table.
func (n *note) lines(number int, now time.Time) []string {
	names := n.containers[:min(len(n.containers), maxNamed)]
	text := strings.Join(names, ", ")
	if more := len(n.containers) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	title := cmp.Or(printable(n.kind), "error")
	if !n.since.IsZero() {
		title += fmt.Sprintf(" since %s (%s)", stamp(n.since), age(now.Sub(n.since)))
	}
	lines := []string{fmt.Sprintf("[%d] %s: %s", number, title, text)}
	if n.err != "" {
		lines = append(lines, "    "+oneline.Text(n.err, maxError))
	}
	if n.remedy != "" {
		lines = append(lines, "    remedy: "+oneline.Text(n.remedy, maxError))
	}
	return lines
}
