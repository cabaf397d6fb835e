package config

import (
	"fmt"
	"strings"
)

// Load reads the settings from an environment, entries KEY=value as os.Environ returns them, the
// last one of a name counting. An empty value is the same as none, because docker plugin set can set
// a variable and not unset it. Variables that are not in SettingDocs are not looked at.
//
// The settings are usable whatever the problems.
func Load(environ []string) (*Settings, []Problem) {
	l := loader{s: &Settings{}, env: lookup(environ), applied: map[string]string{}}
	for _, row := range settings {
		if row.set != nil && row.def != "" {
			// The defaults go through the same parsers, and a test checks that none is refused.
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
	applied  map[string]string // by setting: the value that was accepted, for the log
	problems []rowProblem
}

// rowProblem is a Problem of a row. Its Applies, if empty, is filled in at the end.
type rowProblem struct {
	Problem
	row setting
}

// apply sets one setting from a text, where there is one.
func (l *loader) apply(row setting, from, text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	err := row.set(l.s, value{text: text, from: from})
	if err == nil {
		l.applied[row.name] = fmt.Sprintf("%s (%s)", shown(strings.TrimSpace(text)), from)
		return
	}
	if isBrokenTemplate(err) { // which leaves the default name
		delete(l.applied, row.name)
	}
	if row.bad != nil {
		row.bad(l.s)
	}
	l.problems = append(l.problems, rowProblem{Problem{Setting: from, Text: err.Error(), Applies: row.applies, Holds: row.holds}, row})
}

// list returns the problems, each with what applies.
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

// readRoute reads ROUTE, whose options take precedence over the variables of the same name.
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

// chooseRegion decides what auto means, and which region counts where no log option names one.
// AWS_DEFAULT_REGION counts only where AWS_REGION says nothing, as in the SDKs.
func (l *loader) chooseRegion() {
	s := l.s
	for _, r := range []struct{ name, region string }{{"AWS_REGION", s.awsRegion}, {"AWS_DEFAULT_REGION", s.awsDefaultRegion}} {
		if l.failed(r.name) {
			s.hold.awsRegion = reason(r.name)
			break
		}
		if s.awsRegion = r.region; s.awsRegion != "" {
			break
		}
	}
	if s.Region == "" && s.hold.route == "" {
		s.Region = s.awsRegion
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

// fitSizes makes the sizes fit into the total. Where two of them contradict each other nobody can tell
// which one is wrong, so none is cut.
func (l *loader) fitSizes() {
	s, contradicted := l.s, false
	for _, c := range []struct {
		name    string
		size    int64
		unknown *bool
	}{{"SPOOL_MAX_SIZE", s.SpoolMaxSize, &s.Unknown.SpoolMaxSize}, {"HISTORY_SIZE", s.HistorySize, &s.Unknown.HistorySize}} {
		if err := s.checkTotal(c.size); err != nil && strings.TrimSpace(l.env[c.name]) != "" && !*c.unknown {
			l.problems = append(l.problems, rowProblem{Problem: Problem{Setting: c.name, Text: err.Error(),
				Applies: "the larger size for both, on top of what is on disk"}})
			*c.unknown, contradicted = true, true
		}
	}
	if contradicted {
		s.SpoolTotalSize = max(s.SpoolTotalSize, s.SpoolMaxSize, s.HistorySize)
		s.Unknown.SpoolTotalSize = true
	}
	s.SpoolMaxSize, s.HistorySize = min(s.SpoolMaxSize, s.largest()), min(s.HistorySize, s.largest())
}
