package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/internal/status"
)

// facts are lines of a name and a value, in columns.
type facts [][2]string

func (f *facts) add(name, format string, args ...any) {
	*f = append(*f, [2]string{name, fmt.Sprintf(format, args...)})
}

// lines returns the facts as lines with an indent.
func (f facts) lines(indent string) (lines []string) {
	width := 0
	for _, fact := range f {
		width = max(width, runewidth.StringWidth(fact[0]))
	}
	for _, fact := range f {
		lines = append(lines, indent+runewidth.FillRight(fact[0]+":", width+2)+fact[1])
	}
	return lines
}

// writeContainer writes all about one container, which is the only one in the report.
func writeContainer(w io.Writer, r *status.Report, c *status.Container, maxAge time.Duration, width int) error {
	lines := []string{containerVerdict(r, c, maxAge), "", fullName(c.Name, c.ID)}
	lines = append(lines, containerFacts(r, c).lines("  ")...)
	for i := range c.Streams {
		lines = append(lines, "", "stream "+printable(c.Streams[i].Stream))
		lines = append(lines, streamFacts(r, &c.Streams[i]).lines("  ")...)
	}
	if len(c.Streams) == 0 && c.State != status.ContainerIgnored {
		lines = append(lines, "", "no stream is known yet")
	}
	for i, line := range lines {
		if line == "" {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		} else if err := writeLines(w, lines[i:i+1], width); err != nil {
			return err
		}
	}
	if len(c.Options) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := &table{columns: []column{{title: "OPTION"}, {title: "VALUE", least: 12}, {title: "FROM", least: 12}}}
	for _, o := range c.Options {
		t.add(printable(o.Name), printable(o.Value), printable(o.From))
	}
	return t.write(w, width)
}

// containerVerdict says whether the container's lines are delivered, or what is wrong.
func containerVerdict(r *status.Report, c *status.Container, maxAge time.Duration) string {
	ok, reasons := r.Health(maxAge)
	switch {
	case !ok && len(reasons) > 0:
		return "unhealthy: " + oneline.Text(reasons[0], maxError)
	case c.State == status.ContainerIgnored:
		return "ignored: the container asks not to be delivered (LOGSPOUT=ignore)"
	case c.Held != "":
		return "held: " + oneline.Text(c.Held, maxError)
	}
	for _, s := range c.Streams {
		if s.Error != nil {
			return "attention: " + explain(cmp.Or(s.Error.Err, s.Error.Kind), s.Error.Remedy)
		}
	}
	return "healthy: no line has been undelivered for longer than " + age(maxAge)
}

func containerFacts(r *status.Report, c *status.Container) (f facts) {
	f.add("ID", "%s", printable(c.ID))
	f.add("state", "%s", printable(c.State))
	if c.Held != "" {
		f.add("held", "%s", explain(c.Held, r.HoldRemedy(c)))
	}
	for _, o := range c.Options {
		if o.Value != "" && (o.Name == "include-pattern" || o.Name == "exclude-pattern") {
			f.add("filtered", "%s=%s", o.Name, printable(o.Value))
		}
	}
	f.add("rate", "%s lines/s, %s/s", lineRate(c.Rate.Lines), byteRate(c.Rate.Bytes))
	f.add("read", "%s, %s, since the plugin started %s ago", plural(c.Read.Lines, "line"), size(c.Read.Bytes), age(r.Time.Sub(r.Started)))
	f.add("delivered", "%s, %s", plural(c.Delivered.Lines, "event"), size(c.Delivered.Bytes))
	f.add("undelivered", "%s", undeliveredText(&c.Undelivered, r.Time))
	if !c.LastEvent.IsZero() {
		f.add("last written", "%s", ago(c.LastEvent, r.Time))
	}
	lost := maps.Clone(c.Dropped)
	for _, l := range c.Losses {
		f.add("lost", "%s, %s, %s%s; last %s", plural(l.Lines, "line"), size(l.Bytes), printable(l.Reason), meaning(l.Text), ago(l.Last, r.Time))
		delete(lost, l.Reason)
	}
	for _, reason := range slices.Sorted(maps.Keys(lost)) {
		f.add("lost", "%s, %s, %s", plural(lost[reason].Lines, "line"), size(lost[reason].Bytes), printable(reason))
	}
	if c.PendingGaps > 0 {
		f.add("gaps", "%s that no marker has reported yet", plural(int64(c.PendingGaps), "loss"))
	}
	f.add("spool", "%s on disk; keeps at most %s of undelivered lines (%s) and %s of history",
		size(c.Spool.Bytes), size(c.Spool.Limit), printable(cmp.Or(c.Spool.Full, "unknown")), size(c.Spool.HistoryLimit))
	return f
}

func undeliveredText(b *status.Backlog, now time.Time) string {
	text := backlog(b)
	switch {
	case text == "0":
		return "nothing"
	case b.Lines == nil:
		text += ", the number of lines is not known yet"
	}
	if !b.Oldest.IsZero() {
		text += ", the oldest " + ago(b.Oldest, now)
	}
	return text
}

// ago returns a time and how long ago it was.
func ago(t, now time.Time) string { return fmt.Sprintf("%s ago (%s)", age(now.Sub(t)), stamp(t)) }

func meaning(text string) string {
	if text == "" {
		return ""
	}
	return " (" + printable(text) + ")"
}

func streamFacts(r *status.Report, s *status.Stream) (f facts) {
	name := func(what, value, from string) {
		if from != "" {
			from = "   from: " + printable(from)
		}
		f.add(what, "%s%s", printable(value), from)
	}
	name("group", s.Group, s.GroupFrom)
	name("stream", s.Stream, s.StreamFrom)
	name("region", s.Region, s.RegionFrom)
	for _, part := range [][2]string{{"endpoint", s.Endpoint}, {"role", s.Role}, {"output", s.Output}} {
		if part[1] != "" {
			f.add(part[0], "%s", printable(part[1]))
		}
	}
	if v := r.ServiceOf(s); v != nil {
		f.add("service", "%s", strings.TrimPrefix(service(v, r.Time), "service "))
	}
	f.add("delivered", "%s, %s", plural(s.Delivered.Lines, "event"), size(s.Delivered.Bytes))
	if b := s.LastBatch; b != nil {
		f.add("last batch", "%s, %s, %s", plural(b.Events, "event"), size(b.Bytes), ago(b.Time, r.Time))
	} else {
		f.add("last batch", "none yet")
	}
	if text := dropped(s.Dropped); text != "-" {
		f.add("dropped", "%s", text)
	}
	if e := s.Error; e != nil {
		text := cmp.Or(printable(e.Kind), "failing")
		if !e.Since.IsZero() {
			text += ", since " + ago(e.Since, r.Time)
		}
		f.add("error", "%s: %s", text, oneline.Text(e.Err, maxError))
		if e.Remedy != "" {
			f.add("remedy", "%s", oneline.Text(e.Remedy, maxError))
		}
	}
	return f
}
