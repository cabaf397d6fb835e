package cli

import (
	"io"
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

// column describes a column of a table.
type column struct {
	title string
	// least is the width in characters to which the column may be cut. 0 means that it is
	// never cut.
	least int
	// drop is the order in which columns are left out if they do not fit. 0 means that the
	// column is never left out.
	drop int
}

// gap is the number of spaces between two columns, as in docker ps.
const gap = 3

// table is a table in the manner of docker ps. Cells are printable.
type table struct {
	columns []column
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write writes the table. It cuts and leaves out columns so that a line has at most width
// characters, if width is not 0.
func (t *table) write(w io.Writer, width int) error {
	shown := make([]int, len(t.columns))
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		shown[i], widths[i] = i, runewidth.StringWidth(c.title)
		for _, r := range t.rows {
			widths[i] = max(widths[i], runewidth.StringWidth(r[i]))
		}
	}
	if width > 0 {
		shown = t.fit(shown, widths, width)
	}
	var b strings.Builder
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
	}
	for _, cells := range append([][]string{titles}, t.rows...) {
		var line strings.Builder
		for n, i := range shown {
			if n > 0 {
				line.WriteString(strings.Repeat(" ", gap))
			}
			line.WriteString(runewidth.FillRight(cut(cells[i], widths[i]), widths[i]))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fit reduces widths until the shown columns fit into width, and returns which are shown.
func (t *table) fit(shown, widths []int, width int) []int {
	total, least := 0, 0
	sum := func() {
		total, least = -gap, -gap
		for _, i := range shown {
			total += widths[i] + gap
			least += t.leastWidth(i, widths) + gap
		}
	}
	for sum(); least > width; sum() {
		next := -1
		for n, i := range shown {
			if d := t.columns[i].drop; d > 0 && (next < 0 || d < t.columns[shown[next]].drop) {
				next = n
			}
		}
		if next < 0 {
			break
		}
		shown = slices.Delete(shown, next, next+1)
	}
	for ; total > width; total-- { // take from the widest column
		widest := -1
		for _, i := range shown {
			if widths[i] > t.leastWidth(i, widths) && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return shown
}

func (t *table) leastWidth(i int, widths []int) int {
	if least := t.columns[i].least; least > 0 {
		return min(widths[i], max(least, runewidth.StringWidth(t.columns[i].title)))
	}
	return widths[i]
}

// cut returns s with at most width characters of a terminal. An ellipsis marks a cut.
func cut(s string, width int) string { return runewidth.Truncate(s, width, "…") }

// wrap breaks a text between words into lines of at most width characters, if width is not 0.
func wrap(s string, width int) []string {
	if width <= 0 || runewidth.StringWidth(s) <= width {
		return []string{s}
	}
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		switch {
		case line == "":
			line = word
		case runewidth.StringWidth(line)+1+runewidth.StringWidth(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
