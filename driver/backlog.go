package driver

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxNamed is how many containers a log line names.
const maxNamed = 5

// logBacklog says what is not delivered when the plugin stops.
func (d *Driver) logBacklog() {
	type waiting struct {
		name  string
		bytes int64
	}
	var all []waiting
	sum := int64(0)
	for _, s := range d.all() {
		if n := s.spool.Undelivered(); n > 0 && !s.currentRun().conf.Ignore {
			all = append(all, waiting{s.name(), n})
			sum += n
		}
	}
	if len(all) == 0 {
		return
	}
	slices.SortFunc(all, func(a, b waiting) int { return cmp.Or(cmp.Compare(b.bytes, a.bytes), strings.Compare(a.name, b.name)) })
	var names []string
	for _, w := range all[:min(len(all), maxNamed)] {
		names = append(names, w.name)
	}
	list := strings.Join(names, ", ")
	if more := len(all) - len(names); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	d.log.Warn("lines are undelivered; they are kept, and delivered after the next start", "undelivered_bytes", sum, "containers", list)
}
