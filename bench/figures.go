package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/logspool/logspool/internal/digits"
	"github.com/logspool/logspool/internal/docpart"
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
	part := func(v float64) string {
		if digits == 0 {
			return thousands(int(math.Round(v)))
		}
		return strconv.FormatFloat(v, 'f', digits, 64)
	}
	return strings.TrimSpace(fmt.Sprintf("**%s** (%s to %s) %s", part(s.median), part(s.lower), part(s.upper), unit))
}

// thousands returns a number with commas.
func thousands(n int) string {
	return digits.Separate(strconv.Itoa(n))
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

// rewrite replaces the table that a command writes in a document. The command is a target of
// make, perhaps with a setting.
func rewrite(document, command, table string) error {
	target, _, _ := strings.Cut(command, " ")
	begin := "<!-- make " + command + " writes -->\n"
	end := "<!-- end of " + target + " -->\n"
	return docpart.Replace(document, begin, end, "\n"+table+"\n")
}
