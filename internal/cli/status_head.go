package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/internal/status"
)

// head returns the lines above the table. notes are shown below it, so what they say is left
// out.
func head(r *status.Report, maxAge time.Duration, notes *notes) []string {
	lines := append(verdict(r, maxAge), plugin(r))
	shown := map[string]bool{}
	for i, s := range r.Services {
		line := service(&r.Services[i], r.Time)
		switch n := notes.find(s.Error); {
		case n > 0:
			line += fmt.Sprintf(": see [%d]", n)
		case s.Error != "" && s.State != status.ServiceOK:
			line += ": " + explain(s.Error, s.Remedy)
		}
		if s.Error != "" {
			shown[s.Error] = true
		}
		lines = append(lines, line)
	}
	lines = append(lines, disk(&r.Disk))
	for i, f := range r.Faults {
		if f.Err == "" || !shown[f.Err] && notes.find(f.Err) == 0 {
			lines = append(lines, fault(&r.Faults[i], r.Time))
		}
	}
	return lines
}

// verdict returns the first lines: healthy, or what is wrong and what to do.
func verdict(r *status.Report, maxAge time.Duration) []string {
	ok, reasons := r.Health(maxAge)
	switch {
	case !ok && len(reasons) > 0:
		var lines []string
		for _, reason := range reasons {
			lines = append(lines, "unhealthy: "+oneline.Text(reason, maxError))
		}
		return lines
	case !ok:
		return []string{"unhealthy"}
	case len(r.Faults) > 0:
		f := &r.Faults[0]
		line := "attention: " + printable(f.What)
		if setting := f.Attrs["setting"]; setting != "" {
			line += ": " + printable(setting)
		}
		if text := explain(f.Err, f.Remedy); text != "" {
			line += ": " + text
		}
		if more := len(r.Faults) - 1; more > 0 {
			line += fmt.Sprintf(" (and %d more)", more)
		}
		return []string{line}
	case !r.Stopping.IsZero():
		return []string{"stopping: undelivered lines are kept, and sent when the plugin is enabled again"}
	case !r.Reattached:
		return []string{"starting: the plugin still opens the spools of its last run"}
	case len(r.Containers) == 0:
		if ready, reasons := r.Ready(); !ready {
			return []string{"attention: " + oneline.Text(reasons[0], maxError)}
		}
		return []string{"healthy: no container uses the plugin"}
	}
	return []string{"healthy: no line has been undelivered for longer than " + age(maxAge)}
}

func plugin(r *status.Report) string {
	line := fmt.Sprintf("logspool %s, up %s", printable(r.Version), age(r.Time.Sub(r.Started)))
	switch {
	case !r.Stopping.IsZero():
		line += ", stopping"
	case !r.Reattached:
		line += ", starting"
	}
	if r.Host != "" {
		line += ", host " + printable(r.Host)
	}
	switch {
	case r.Region == "":
		line += ", region not known yet"
	case r.RegionFrom == "":
		line += ", region " + printable(r.Region)
	default:
		line += fmt.Sprintf(", region %s (%s)", printable(r.Region), printable(r.RegionFrom))
	}
	if r.Identity == "" {
		return line + ", identity not known yet"
	}
	return line + ", identity " + printable(r.Identity)
}

// service describes the state of CloudWatch Logs with one access.
func service(s *status.Service, now time.Time) string {
	line := "service " + printable(s.Region)
	for _, part := range []struct{ name, value string }{
		{"endpoint ", s.Endpoint}, {"role ", s.Role}, {"", s.Credentials},
	} {
		if part.value != "" {
			line += ", " + part.name + printable(part.value)
		}
	}
	line += ": " + printable(s.State)
	if !s.Since.IsZero() {
		line += fmt.Sprintf(" since %s (%s)", stamp(s.Since), age(now.Sub(s.Since)))
	}
	return line
}

func disk(d *status.Disk) string {
	line := "disk: " + size(d.Used)
	if d.Limit > 0 {
		line += fmt.Sprintf(" of %s (%s) used", size(d.Limit), percent(d.Used, d.Limit))
	} else {
		line += " used"
	}
	line += fmt.Sprintf(", %s of it by stopped containers", size(d.Archived))
	if d.Size > 0 {
		line += fmt.Sprintf("; %s of %s free", size(d.Free), size(d.Size))
	}
	if d.Inodes > 0 && d.FreeInodes < d.Inodes/10 {
		line += fmt.Sprintf("; %s of %s inodes free", count(d.FreeInodes), count(d.Inodes))
	}
	return line
}

func percent(part, whole int64) string {
	return fmt.Sprintf("%.0f%%", float64(part)/float64(whole)*100)
}

// fault describes something that fails, with its remedy.
func fault(f *status.Fault, now time.Time) string {
	attrs := maps.Clone(f.Attrs)
	line := "fault: " + printable(f.What)
	if setting := attrs["setting"]; setting != "" {
		line = "invalid setting " + printable(setting)
		delete(attrs, "setting")
	}
	var about []string
	if f.Kind != "" && f.Kind != f.Attrs["setting"] {
		about = append(about, printable(f.Kind))
	}
	if !f.Since.IsZero() {
		about = append(about, "for "+age(now.Sub(f.Since)))
	}
	if f.Times > 1 {
		about = append(about, plural(int64(f.Times), "time"))
	}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		about = append(about, printable(name+"="+attrs[name]))
	}
	if len(about) > 0 {
		line += " (" + strings.Join(about, ", ") + ")"
	}
	if text := explain(f.Err, f.Remedy); text != "" {
		line += ": " + text
	}
	return line
}

// explain returns an error with its remedy.
func explain(err, remedy string) string {
	parts := make([]string, 0, 2)
	for _, p := range []string{err, remedy} {
		if p != "" {
			parts = append(parts, oneline.Text(p, maxError))
		}
	}
	return strings.Join(parts, "; ")
}
