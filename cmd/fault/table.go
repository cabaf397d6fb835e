package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/digits"
	"github.com/logspool/logspool/internal/docpart"
)

var heads = []string{"row", "written", "delivered", "duplicated", "marked", "lost silently",
	"start", "stop", "write", "MiB", "requirement", "result"}

// cells returns the cells of a result, in the order of heads.
func (r *result) cells() []string {
	if r.notRun != "" {
		return []string{r.row.name, "", "", "", "", "", "", "", "", "", r.row.want.String(), "not run: " + r.notRun}
	}
	b := r.balance
	memory := "–"
	if r.rss > 0 {
		memory = fmt.Sprint((r.rss + 1023) >> 10)
	}
	verdict := "pass"
	switch {
	case r.row.compared():
		verdict = r.comparison()
	case r.failed():
		verdict = "**FAIL**"
	}
	if r.note != "" {
		verdict += "; " + r.note
	}
	must := r.row.want.String()
	if r.row.compared() {
		must = "–"
	}
	return []string{r.row.name, thousands(b.written), thousands(b.delivered), thousands(b.doubled), thousands(b.marked),
		thousands(b.lost), short(r.times.start), short(r.times.stop), short(r.times.write), memory, must, verdict}
}

// comparison returns what Docker's own driver did.
func (r *result) comparison() string {
	if r.balance.written == 0 {
		return "no container starts"
	}
	if r.balance.lost > 0 {
		return fmt.Sprintf("loses %.0f %%", 100*float64(r.balance.lost)/float64(r.balance.written))
	}
	return "loses none"
}

// line returns a result as it is printed when its row ends.
func (r *result) line() string {
	c := r.cells()
	line := fmt.Sprintf("%5.1f s  %-58s %s", r.took.Seconds(), r.row.name, c[len(c)-1])
	for _, p := range r.problems {
		line += "\n         " + p
	}
	return line
}

// table returns a Markdown table of the results of simulated hosts, and another one of
// those of real engines, if there are any.
func table(results []*result) string {
	var simulated, real [][]string
	for _, r := range results {
		if r.row.engine != nil {
			real = append(real, r.cells())
		} else {
			simulated = append(simulated, r.cells())
		}
	}
	text := markdown(simulated)
	if real != nil {
		text += "\nThe same containers in a real Docker engine, with Docker's own driver and with logspool:\n\n" + markdown(real)
	}
	return text
}

func markdown(rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(heads)
	align := make([]string, len(heads))
	for i := range align {
		align[i] = "--:"
	}
	align[0], align[len(align)-2], align[len(align)-1] = "---", "---", "---"
	fmt.Fprintf(&b, "|%s|\n", strings.Join(align, "|"))
	for _, r := range rows {
		line(r)
	}
	return b.String()
}

func summary(results []*result, took time.Duration) string {
	passed, failed, notRun, compared := 0, 0, 0, 0
	for _, r := range results {
		switch {
		case r.notRun != "":
			notRun++
		case r.row.compared():
			compared++
		case r.failed():
			failed++
		default:
			passed++
		}
	}
	return fmt.Sprintf("%d rows passed, %d failed, %d were not run, and %d measured Docker's own driver for comparison, in %v\n",
		passed, failed, notRun, compared, took.Round(time.Second))
}

func thousands(n int) string { return digits.Separate(fmt.Sprint(n)) }

func short(d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d < time.Millisecond:
		return "<1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// The table in the document is between these lines.
const (
	tableBegin = "<!-- table: written by make fault WRITE=1 -->"
	tableEnd   = "<!-- end of table -->"
)

// rewrite replaces the table in the document.
func rewrite(path, text string, now time.Time) error {
	return docpart.Replace(path, tableBegin+"\n", tableEnd+"\n", fmt.Sprintf("\n%s\nMeasured on %s.\n\n", text, now.UTC().Format(time.DateOnly)))
}
