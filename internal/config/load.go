package config

import (
	"fmt"
	"strings"
)

// Load reads the settings from an environment, entries KEY=value as os.Environ returns
// them. If a variable appears twice, the last value counts. An empty value means that the
// setting is not set, because docker plugin set can set a variable but cannot unset it.
// Load ignores variables that are not in SettingDocs.
//
// The settings can be used whatever the problems are.
func Load(environ []string) (*Settings, []Problem) {
	l := loader{s: &Settings{}, env: lookup(environ), applied: map[string]string{}}
	for _, row := range settings {
		if row.set != nil && row.def != "" {
			// A test checks that no parser refuses a default.
			_ = row.set(l.s, value{text: row.def, from: fromDefault})
		}
	}
	for _, row := range settings {
		if row.set != nil {
			l.apply(row, row.name, l.env[row.name])
		}
	}
	l.readRoute()
	l.chooseRegion()
	l.fitSizes()
	return l.s, l.list()
}

// loader is the state of one Load.
type loader struct {
	s        *Settings
	env      map[string]string
	applied  map[string]string // applied holds, by setting, the accepted value as the log shows it.
	problems []rowProblem
}

// rowProblem is a Problem of a row. The method list fills in Applies if it is empty.
type rowProblem struct {
	Problem
	row setting
}

// apply sets one setting, unless text is blank.
func (l *loader) apply(row setting, from, text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	err := row.set(l.s, value{text: text, from: from})
	if err == nil {
		l.applied[row.name] = fmt.Sprintf("%s (%s)", shown(strings.TrimSpace(text)), from)
		return
	}
	if isInvalidTemplate(err) { // setTemplate has set the default name
		delete(l.applied, row.name)
	}
	if row.bad != nil {
		row.bad(l.s)
	}
	l.problems = append(l.problems, rowProblem{
		Problem{Setting: from, Text: err.Error(), Applies: row.applies, Holds: row.holds}, row})
}

// list returns the problems, each with what applies instead.
func (l *loader) list() []Problem {
	var all []Problem
	for _, p := range l.problems {
		if p.Applies == "" {
			p.Applies = l.applied[p.row.name]
		}
		if p.Applies == "" && p.row.def != "" {
			p.Applies = p.row.def + " (the default)"
		}
		if p.Applies == "" {
			p.Applies = "none"
		}
		all = append(all, p.Problem)
	}
	return all
}

// readRoute reads ROUTE. Its options take precedence over the variables of the same names.
func (l *loader) readRoute() {
	route := parseRoute(l.env["ROUTE"])
	l.s.Region = route.region
	for _, p := range route.problems {
		l.problems = append(l.problems, rowProblem{Problem: p})
	}
	if route.badAddress {
		l.s.hold.route = reason("ROUTE")
	}
	if route.unknown {
		l.s.hold.all = reason("ROUTE")
	}
	for _, o := range route.options {
		l.apply(*o.row, "ROUTE option "+o.row.name, o.text)
	}
}

func (l *loader) failed(name string) bool {
	for _, p := range l.problems {
		if p.Setting == name {
			return true
		}
	}
	return false
}
