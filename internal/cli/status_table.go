package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/status"
)

// writeStatus writes the whole report for a terminal of that width. With width 0, nothing is
// cut or wrapped.
func writeStatus(w io.Writer, r *status.Report, maxAge time.Duration, width int) error {
	var notes notes
	t := containerTable(r, &notes)
	if err := writeLines(w, head(r, maxAge, &notes), width); err != nil {
		return err
	}
	if len(t.rows) > 0 {
		fmt.Fprintln(w)
		if err := t.write(w, width); err != nil {
			return err
		}
	}
	for i := range notes.all {
		if i == 0 {
			fmt.Fprintln(w)
		}
		if err := writeLines(w, notes.all[i].lines(i+1, r.Time), width); err != nil {
			return err
		}
	}
	return nil
}

// writeLines writes lines. It breaks those that are longer than width, and indents the rest.
func writeLines(w io.Writer, lines []string, width int) error {
	for _, line := range lines {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		for i, part := range wrap(line[indent:], width-indent-2) {
			margin := indent
			if i > 0 {
				margin += 2
			}
			if _, err := fmt.Fprintf(w, "%*s%s\n", margin, "", part); err != nil {
				return err
			}
		}
	}
	return nil
}

// containerTable returns the table of containers: the one with the oldest undelivered line
// first, and then in order of name. A container with two streams has two rows.
func containerTable(r *status.Report, notes *notes) *table {
	t := &table{columns: []column{
		{title: "CONTAINER", least: 12}, {title: "GROUP", least: 8, drop: 4}, {title: "STREAM", least: 8, drop: 3},
		{title: "LINES/S", drop: 2}, {title: "BYTES/S", drop: 1}, {title: "UNDELIVERED"}, {title: "OLDEST"},
		{title: "DROPPED", least: 10, drop: 5}, {title: "STATUS", least: 14},
	}}
	containers := make([]*status.Container, len(r.Containers))
	for i := range r.Containers {
		containers[i] = &r.Containers[i]
	}
	slices.SortStableFunc(containers, oldestFirst)
	for _, c := range containers {
		name := displayName(c.Name, c.ID)
		streams := c.Streams
		if len(streams) == 0 {
			streams = []status.Stream{{}}
		}
		for i := range streams {
			s := &streams[i]
			stream := printable(s.Stream)
			if s.Output != "" {
				stream = printable(s.Output) + ": " + stream
			}
			word := containerStatus(r, c, s, notes)
			if i > 0 { // the numbers are the container's
				t.add("", printable(s.Group), stream, "", "", "", "", "", word)
				continue
			}
			t.add(name, printable(s.Group), stream, lineRate(c.Rate.Lines), byteRate(c.Rate.Bytes),
				backlog(&c.Undelivered), oldest(&c.Undelivered, r.Time), dropped(c.Dropped), word)
		}
	}
	return t
}

func oldestFirst(a, b *status.Container) int {
	x, y := a.Undelivered.Oldest, b.Undelivered.Oldest
	switch {
	case x.IsZero() != y.IsZero():
		if y.IsZero() {
			return -1
		}
		return 1
	case !x.Equal(y):
		return x.Compare(y)
	}
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
}

func backlog(b *status.Backlog) string {
	switch {
	case b.Lines != nil && *b.Lines == 0 && b.Bytes == 0:
		return "0"
	case b.Lines != nil:
		return plural(*b.Lines, "line") + ", " + size(b.Bytes)
	case b.Bytes == 0:
		return "0"
	}
	return size(b.Bytes)
}

// oldest returns the age of the oldest undelivered line.
func oldest(b *status.Backlog, now time.Time) string {
	switch {
	case !b.Oldest.IsZero():
		return age(now.Sub(b.Oldest))
	case b.Bytes > 0:
		return "?"
	}
	return "-"
}

func dropped(reasons map[string]status.Counter) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		if n := reasons[reason]; n != (status.Counter{}) {
			parts = append(parts, count(n.Lines)+" "+printable(reason))
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "-")
}

// containerStatus says in a word or two whether the stream's events are delivered. Its number
// refers to the note with the error.
func containerStatus(r *status.Report, c *status.Container, s *status.Stream, notes *notes) string {
	name := displayName(c.Name, c.ID)
	switch {
	case c.State == status.ContainerIgnored:
		return "ignored"
	case s.Error != nil:
		n := notes.add(name, *s.Error)
		return fmt.Sprintf("[%d] %s", n, cmp.Or(printable(s.Error.Kind), "failing"))
	case c.Held != "":
		n := notes.add(name, status.Failure{Kind: "held", Err: c.Held, Remedy: r.HoldRemedy(c)})
		return fmt.Sprintf("[%d] held", n)
	case c.State == status.ContainerHeld:
		return "held"
	}
	if v := r.ServiceOf(s); v != nil && v.State != status.ServiceOK && v.State != status.ServiceIdle && c.Undelivered.Bytes > 0 {
		if v.Error != "" {
			n := notes.add(name, status.Failure{Kind: v.State, Err: v.Error, Remedy: v.Remedy, Since: v.Since})
			return fmt.Sprintf("[%d] %s", n, printable(v.State))
		}
		return printable(v.State)
	}
	if c.State == status.ContainerRunning || c.State == "" {
		return "ok"
	}
	return printable(c.State)
}
