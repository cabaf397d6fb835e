package faultlog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxNames is how many owners of a backlog a log line names.
const maxNames = 5

// Backlog is what one owner, such as a container, has that is not delivered.
type Backlog struct {
	// Name is what an operator calls the owner, or empty if it is unknown.
	Name string
	// Bytes is how much is not delivered.
	Bytes int64
	// Oldest is the time of the oldest event, or zero if it is unknown.
	Oldest time.Time
}

// Describe returns attributes for a log line: the owners that have the most bytes
// (containers), the bytes of all of them (waiting_bytes), and the time of the oldest event
// (oldest). An attribute that is unknown is left out. Entries of one owner are added up.
func Describe(all []Backlog) []any {
	var attrs []any
	names, bytes := Largest(all)
	if names != "" {
		attrs = append(attrs, "containers", names)
	}
	attrs = append(attrs, "waiting_bytes", bytes)
	var oldest time.Time
	for _, b := range all {
		if !b.Oldest.IsZero() && (oldest.IsZero() || b.Oldest.Before(oldest)) {
			oldest = b.Oldest
		}
	}
	if !oldest.IsZero() {
		attrs = append(attrs, "oldest", oldest.UTC().Format(time.RFC3339))
	}
	return attrs
}

// Largest returns a list of the owners that have the most bytes, and the bytes of all
// owners.
func Largest(all []Backlog) (names string, bytes int64) {
	byName := map[string]int64{}
	for _, b := range all {
		bytes += b.Bytes
		if b.Name != "" && b.Bytes > 0 {
			byName[b.Name] += b.Bytes
		}
	}
	sorted := slices.SortedFunc(maps.Keys(byName), func(x, y string) int {
		return cmp.Or(cmp.Compare(byName[y], byName[x]), strings.Compare(x, y))
	})
	names = strings.Join(sorted[:min(len(sorted), maxNames)], ", ")
	if more := len(sorted) - maxNames; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return names, bytes
}
