package driver

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxNamed is how many containers a log line names.
const maxNamed = 5

// waiting is what a container has that is not delivered.
type waiting struct {
	name  string
	bytes int64
}

// nameWaiting returns the bytes of all, and a list of those that have the most.
func nameWaiting(all []waiting) (sum int64, list string) {
	slices.SortFunc(all, func(a, b waiting) int { return cmp.Or(cmp.Compare(b.bytes, a.bytes), strings.Compare(a.name, b.name)) })
	var names []string
	for _, w := range all {
		sum += w.bytes
		if len(names) < maxNamed {
			names = append(names, w.name)
		}
	}
	list = strings.Join(names, ", ")
	if more := len(all) - len(names); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return sum, list
}

// logBacklog says what is not delivered when the plugin stops.
func (d *Driver) logBacklog() {
	var all []waiting
	for _, s := range d.all() {
		if n := s.spool.Undelivered(); n > 0 && !s.currentRun().conf.Ignore {
			all = append(all, waiting{s.name(), n})
		}
	}
	if len(all) == 0 {
		return
	}
	sum, list := nameWaiting(all)
	d.log.Warn("lines are undelivered; they are kept, and delivered after the next start", "undelivered_bytes", sum, "containers", list)
}
