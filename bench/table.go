package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// rowsOf lists what `make bench` measures, in the order of the table. A measurement returns
// its rows. If it fails, it also returns the rows that it has, and the others are listed as
// not measured. It multiplies its sizes by b.scale, and takes b.turns, unless that is 0, as
// the number of its turns.
var rowsOf = []rowGroup{
	{"one flooding container", (*bench).floods, false},
	{"the plugin alone", (*bench).alone, false},
	{"drain", (*bench).drain, false},
	{"quiet", (*bench).quiet, true},
	{"requests", (*bench).requests, false},
	{"neighbours", (*bench).neighbours, false},
	{"memory", (*bench).memory, false},
	{"start", (*bench).start, false},
}

// rowGroup is a measurement that results in rows. The flag -run selects by the name.
type rowGroup struct {
	name    string
	measure func(*bench, context.Context) ([]row, error)
	atFull  bool // atFull says that fewer containers (-scale) are not judged, because the intake treats them in another way.
}

// table measures all rows. One that fails does not stop the others.
func (b *bench) table(ctx context.Context) (string, error) {
	machine := b.machine(ctx)
	var rows []row
	for _, m := range rowsOf {
		if !b.only.MatchString(m.name) {
			continue
		}
		begun := time.Now()
		measured, err := m.measure(b, ctx)
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if err != nil {
			measured = append(measured, row{what: m.name, missing: err.Error()})
		}
		for i := range measured {
			if m.atFull && b.scale != 1 {
				measured[i].limit, measured[i].beyond = 0, 0
			}
		}
		rows = append(rows, measured...)
		fmt.Fprintf(b.out, "%s: measured in %v\n", m.name, time.Since(begun).Round(time.Second))
	}
	text := machine + "\n" + rowTable(rows)
	for _, t := range b.tables {
		text += "\n" + t
	}
	for _, r := range rows {
		if r.missing != "" || r.judged() && !r.pass() {
			return text, fmt.Errorf("%w, or was not measured: %s", errLimit, r.what)
		}
	}
	return text, nil
}

// rowTable returns the table of results.
func rowTable(rows []row) string {
	var b strings.Builder
	b.WriteString("| what | target (beyond it) | measured: median (quartiles) | verdict |\n|---|---|---|---|\n")
	var notes []string
	for _, r := range rows {
		what := r.what
		if r.note != "" {
			notes = append(notes, r.note)
			what += fmt.Sprintf(" [%d]", len(notes))
		}
		b.WriteString(tableRow([]string{what, r.target(), r.value(), r.verdict()}))
	}
	for i, note := range notes {
		fmt.Fprintf(&b, "\n[%d] %s\n", i+1, note)
	}
	return b.String()
}
