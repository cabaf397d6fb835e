package driver

import "github.com/logspool/logspool/internal/faultlog"

// logBacklog says what is not delivered when the plugin stops.
func (d *Driver) logBacklog() {
	var all []faultlog.Backlog
	for _, s := range d.all() {
		if n := s.spool.Undelivered(); n > 0 && !s.currentRun().conf.Ignore {
			all = append(all, faultlog.Backlog{Name: s.name(), Bytes: n})
		}
	}
	if len(all) == 0 {
		return
	}
	list, sum := faultlog.Largest(all)
	d.log.Warn("lines are undelivered; they are kept, and delivered after the next start", "undelivered_bytes", sum, "containers", list)
}
