package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// spread is the distribution of a figure.
type spread struct{ median, lower, upper float64 }

// spreadOf returns the median and the quartiles of some values: one at least.
func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	at := func(part float64) float64 {
		i := part * float64(len(v)-1)
		low := int(i)
		high := min(low+1, len(v)-1)
		return v[low] + (i-float64(low))*(v[high]-v[low])
	}
	return spread{at(0.5), at(0.25), at(0.75)}
}

// String returns the median, and in parentheses the quartiles.
func (s spread) String() string {
	return fmt.Sprintf("**%.3f** (%.3f to %.3f)", s.median, s.lower, s.upper)
}

// in is String with a unit, and with as many digits as the value needs.
func (s spread) in(unit string) string {
	digits := 2
	switch {
	case s.median >= 100:
		digits = 0
	case s.median >= 10:
		digits = 1
	}
	return fmt.Sprintf("**%.*f** (%.*f to %.*f) %s", digits, s.median, digits, s.lower, digits, s.upper, unit)
}

// ratios compares the runs of each turn. Other load on the machine changes slowly, so it
// changes both runs of a turn by nearly the same factor.
func ratios(a, b []result) spread {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = a[i].cost() / b[i].cost()
	}
	return spreadOf(all)
}

// tableRow returns a row of a Markdown table.
func tableRow(cells []string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

// oneCell makes text fit for a cell of a table.
func oneCell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", "\\|")
}

// rewrite replaces the table of a target of the Makefile in a document.
func rewrite(document, target, table string) error {
	old, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	begin := "<!-- make " + target + " WRITE=1 writes -->\n"
	end := "<!-- end of " + target + " -->\n"
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table: the lines %q and %q", document, begin, end)
	}
	return os.WriteFile(document, []byte(before+begin+"\n"+table+"\n"+end+after), 0o644)
}
