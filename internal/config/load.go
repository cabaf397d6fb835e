package config

import (
	"fmt"
	"maps"
	"strings"
)

// Load reads the settings from an environment, entries KEY=value as os.Environ returns
// them. If a variable appears twice, the last value counts. An empty value means that the
// setting is not set, because docker plugin set can set a variable but cannot unset it.
// Load ignores variables that are not in SettingDocs.
//
// The settings can be used whatever the problems are.
func Load(environ []string) (*Settings, []Problem) {
	l := loader{
		s: &Settings{sources: map[string]string{}, hold: holds{options: map[string]string{}}}, env: lookup(environ),
		applied: map[string]string{}, host: givenOptions{}, hostFailed: map[string]*Problem{},
	}
	for _, row := range settings {
		if row.set != nil && row.def != "" {
			// A test checks that no parser refuses a default.
			_ = row.set(l.s, value{text: row.def, from: fromDefault})
			l.s.sources[row.name] = fromDefault
		}
	}
	l.readRoute()
	l.readLogOpts()
	for i := range settings {
		if settings[i].set != nil {
			l.decide(&settings[i])
		}
	}
	l.keepLogOpts()
	l.chooseRegion()
	l.fitSizes()
	return l.s, l.list()
}

// loader is the state of one Load.
type loader struct {
	s        *Settings
	env      map[string]string
	route    route
	applied  map[string]string // applied holds, by setting, the accepted value as the log shows it.
	problems []rowProblem

	// host are the options in LOG_OPTS that are valid, or whose setting's row checks them.
	host givenOptions
	// hostFailed are the options in LOG_OPTS that cannot be used, by name. A Problem without
	// a Text has a line of its own already.
	hostFailed map[string]*Problem
}

// rowProblem is a Problem. If it is a row's, the method list fills in Applies and Holds.
type rowProblem struct {
	Problem
	row        *setting
	overridden bool // overridden says that a source with more precedence has a valid value.
}

// A candidate is a value that a source has for a setting.
type candidate struct {
	value
	failed *Problem // failed says that the value cannot be read at all, and why.
}

// candidates returns the values that the sources have for a setting. Those of ROUTE take
// precedence over those of LOG_OPTS, and these over the variable.
func (l *loader) candidates(row *setting) (all []candidate) {
	for _, o := range l.route.options {
		if o.row == row {
			all = append(all, candidate{value: value{text: o.text, from: "ROUTE option " + row.name}})
		}
	}
	all = append(all, l.logOptsFor(row)...)
	return append(all, candidate{value: value{text: l.env[row.name], from: row.name}})
}

// decide sets a setting to the first valid value that its sources have, and records a problem
// for each invalid one. An invalid template is the default name.
func (l *loader) decide(row *setting) {
	decided := false
	var bad []string
	for _, v := range l.candidates(row) {
		if v.failed == nil && strings.TrimSpace(v.text) == "" {
			continue
		}
		p := rowProblem{Problem{Setting: v.from}, row, decided}
		if v.failed != nil {
			p.Problem = *v.failed
		} else {
			err := l.set(row, v.value, decided)
			if err == nil {
				decided = true
				continue
			}
			p.Text = err.Error()
			if isInvalidTemplate(err) && !decided && row.template {
				l.s.sources[row.name], decided = v.from, true
			}
		}
		if !decided && row.bad != nil {
			bad = append(bad, p.Setting)
		}
		if p.Text != "" {
			l.problems = append(l.problems, p)
		}
	}
	for _, from := range bad {
		row.bad(l.s, from)
	}
}

// set reads a value of a setting, and sets it unless it is decided already.
func (l *loader) set(row *setting, v value, decided bool) error {
	if decided {
		scratch := *l.s
		return row.set(&scratch, v)
	}
	err := row.set(l.s, v)
	if err == nil {
		l.applied[row.name] = fmt.Sprintf("%s (%s)", shown(strings.TrimSpace(v.text)), v.from)
		l.s.sources[row.name] = v.from
	}
	return err
}

// list returns the problems, each with what applies instead.
func (l *loader) list() []Problem {
	var all []Problem
	for _, p := range l.problems {
		if p.row != nil {
			l.complete(&p)
		}
		all = append(all, p.Problem)
	}
	return all
}

// complete fills in what applies instead of an invalid value.
func (l *loader) complete(p *rowProblem) {
	instead := l.applied[p.row.name]
	switch {
	case p.overridden && instead != "":
	case p.row.onTop:
		if instead == "" {
			instead = p.row.applies
		}
		instead += ", on top of what is on disk"
	case p.row.applies != "":
		instead, p.Holds = p.row.applies, p.row.holds
	case instead != "":
	case p.row.def != "":
		instead = p.row.def + " (the default)"
	default:
		instead = "none"
	}
	p.Applies = instead
}

// readRoute reads ROUTE. Its options take precedence over the variables of the same names.
func (l *loader) readRoute() {
	l.route = parseRoute(l.env["ROUTE"])
	for _, p := range l.route.problems {
		l.problems = append(l.problems, rowProblem{Problem: p})
	}
	if l.route.unknown {
		l.s.hold.all = reason("ROUTE")
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

// keepLogOpts keeps the options in LOG_OPTS that have set no setting.
func (l *loader) keepLogOpts() {
	if o, ok := l.host["group"]; ok && l.s.sources["LOGSPOUT_GROUP"] == o.from {
		l.s.logOptsGroup = o
	}
	l.s.logOpts = maps.Clone(l.host)
	maps.DeleteFunc(l.s.logOpts, func(name string, o givenOption) bool {
		return name == "region" || o.row.setting != "" || isFiles(name) && !l.filesCount()
	})
}
