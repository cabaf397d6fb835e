package driver

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxNamed is the largest number of containers that a log line names.
const maxNamed = 5

// backlog is the size of what one container has that is undelivered.
type backlog struct {
	container string
	bytes     int64
}

// sumUp returns the sum of all backlogs, and a list of the containers with the largest ones.
func sumUp(all []backlog) (bytes int64, list string) {
	slices.SortFunc(all, func(a, b backlog) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), strings.Compare(a.container, b.container))
	})
	var names []string
	for _, b := range all {
		bytes += b.bytes
		if len(names) < maxNamed {
			names = append(names, b.container)
		}
	}
	list = strings.Join(names, ", ")
	if more := len(all) - len(names); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return bytes, list
}

// logBacklog logs what is undelivered when the plugin stops.
func (d *Driver) logBacklog() {
	var all []backlog
	for _, s := range d.all() {
		if n := s.spool.Undelivered(); n > 0 && !s.currentRun().conf.Ignore {
			all = append(all, backlog{s.name(), n})
		}
	}
	if len(all) == 0 {
		return
	}
	bytes, list := sumUp(all)
	d.log.Warn("the plugin stops with undelivered lines; they are delivered after its next start", "undelivered_bytes", bytes, "containers", list)
}
