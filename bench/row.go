package main

import "fmt"

// row is one line of the table of results: what was measured, and the target for it.
type row struct {
	what string
	got  spread // got has the values of the turns: usually ratios within one turn.
	unit string // unit is "×" for a ratio, or "MiB", "s", "% of a core", "requests/s".

	limit   float64 // limit is the target: the most that the median may be; 0 means that there is no target.
	beyond  float64 // beyond is a better value to aim at; 0 means none.
	atLeast bool    // atLeast says that limit and beyond are the least, not the most.
	note    string  // note says what the reader must know beside the figure.
	missing string  // missing says why the row was not measured; empty means that it was.
}

// judged reports whether the row has a target.
func (r row) judged() bool { return r.limit > 0 }

// pass reports whether the median meets the target.
func (r row) pass() bool { return r.meets(r.limit) }

// best reports whether the median meets what is beyond the target.
func (r row) best() bool { return r.beyond > 0 && r.meets(r.beyond) }

func (r row) meets(limit float64) bool {
	if r.atLeast {
		return r.got.median >= limit
	}
	return r.got.median <= limit
}

// verdict returns how the median compares with the target, for the table.
func (r row) verdict() string {
	switch {
	case r.missing != "":
		return "not measured: " + oneCell(r.missing)
	case !r.judged():
		return ""
	case r.best():
		return "pass, and beyond"
	case r.pass():
		return "pass"
	}
	return "**FAIL**"
}

// value returns what was measured, for the table.
func (r row) value() string {
	if r.missing != "" {
		return ""
	}
	return r.got.in(r.unit)
}

// target returns the target in words.
func (r row) target() string {
	if !r.judged() {
		return ""
	}
	sign := "≤"
	if r.atLeast {
		sign = "≥"
	}
	s := fmt.Sprintf("%s %g %s", sign, r.limit, r.unit)
	if r.beyond > 0 {
		s += fmt.Sprintf(" (%g)", r.beyond)
	}
	return s
}
