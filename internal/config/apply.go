package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// givenOptions are the options of one source, or of several, by the names of their rows.
type givenOptions map[string]givenOption

// A givenOption is one option as a user wrote it.
type givenOption struct {
	row *option
	value
	name    string // name is the spelling that was used: the row's name or its alias.
	source  string // source is the text before the name in value.from.
	awslogs bool   // awslogs says that awslogs's spelling was used, perhaps beside the other one.
	bad     bool   // bad says that the option cannot be used.
}

// good reports whether the option was given and is valid.
func (g givenOptions) good(name string) bool {
	o, ok := g[name]
	return ok && !o.bad
}

// invalidOption is an option that cannot be used, or two that cannot be used together.
type invalidOption struct {
	names []string // names has one or two names, as they were given.
	rows  []*option
	err   error
}

// in returns the error of an invalid option for a kind of sources, such as "log option".
func (i *invalidOption) in(kind, prefix string) error {
	if len(i.names) == 1 {
		return fmt.Errorf("%s %q: %w", kind, prefix+i.names[0], i.err)
	}
	return fmt.Errorf("%ss %q and %q %w", kind, prefix+i.names[0], prefix+i.names[1], i.err)
}

// readOptions reads the options of one source, and returns those that cannot be used. It
// returns no error for an unknown option. source is the text before an option's name that says
// where it was given. check returns an error for an invalid value. As in awslogs, a blank value
// means that the option is not given.
func readOptions(opts map[string]string, source string, check func(*option, value) error) (given givenOptions, invalid []invalidOption) {
	given = givenOptions{}
	for i := range options {
		row := &options[i]
		name, text, other := row.name, opts[row.name], ""
		if row.alias != "" {
			other = opts[row.alias]
		}
		isBlank, awslogs := strings.TrimSpace(text) == "", strings.TrimSpace(other) != ""
		if isBlank && !awslogs {
			continue
		}
		differ := !isBlank && awslogs && row.trim(other) != row.trim(text)
		if isBlank {
			name, text = row.alias, other
		}
		o := givenOption{row: row, name: name, source: source, awslogs: awslogs,
			value: value{text: text, from: source + name, alias: name == row.alias}}
		if differ {
			o.bad = true
			invalid = append(invalid, invalidOption{[]string{row.name, row.alias}, []*option{row}, row.differ(text, other)})
		} else if row.set != nil {
			if err := check(row, o.value); err != nil {
				o.bad = true
				invalid = append(invalid, invalidOption{[]string{name}, []*option{row}, err})
			}
		}
		given[row.name] = o
	}
	return given, append(invalid, given.refuseExclusive()...)
}

// checkOption reads a value as for a container, and returns the error.
func (s *Settings) checkOption(row *option, v value) error { return row.set(s.newContainer(), s, v) }

// trim removes the white space that is not part of the value.
func (row *option) trim(text string) string {
	if row.regexp {
		return text
	}
	return strings.TrimSpace(text)
}

func (row *option) differ(text, other string) error {
	values := ""
	if !row.secret {
		values = fmt.Sprintf(" (%s and %s)", shown(text), shown(other))
	}
	return fmt.Errorf("are two spellings of one option and have different values%s: give one of them", values)
}

// refuseExclusive marks the options that exclude each other as bad.
func (g givenOptions) refuseExclusive() (invalid []invalidOption) {
	refuse := func(a, b givenOption, orElse string) {
		for _, o := range []givenOption{a, b} {
			o.bad = true
			g[o.row.name] = o
		}
		invalid = append(invalid, invalidOption{[]string{a.name, b.name}, []*option{a.row, b.row},
			fmt.Errorf("cannot be combined (%s and %s): give one of them%s", shown(a.text), shown(b.text), orElse)})
	}
	var multiline []givenOption
	for i := range options {
		if o, ok := g[options[i].name]; ok && o.row.multiline {
			multiline = append(multiline, o)
		}
	}
	for i, a := range multiline {
		for _, b := range multiline[i+1:] {
			refuse(a, b, "")
		}
	}
	if format := g["format"]; format.isEMF() {
		// CloudWatch takes each event as one document of metrics, so awslogs refuses this too.
		for _, o := range multiline {
			refuse(format, o, ", or another format")
		}
	}
	return invalid
}

func (o *givenOption) isEMF() bool {
	if o.row == nil || o.row.name != "format" {
		return false
	}
	format, err := parseFormat(o.text)
	return err == nil && format == FormatEMF
}

// choose returns the options that apply. Of the sources of one option, the first that has a
// valid value counts. An option of a later source that excludes a chosen one is left out.
func choose(sources ...givenOptions) givenOptions {
	chosen := givenOptions{}
	for _, given := range sources {
		for i := range options {
			o, ok := given[options[i].name]
			if _, taken := chosen[options[i].name]; ok && !taken && (!o.bad || o.row.partly) && !chosen.exclude(&o) {
				chosen[o.row.name] = o
			}
		}
	}
	return chosen
}

// exclude reports whether o has no effect beside the options that are chosen already.
func (g givenOptions) exclude(o *givenOption) bool {
	has := func(name string) bool { _, ok := g[name]; return ok }
	switch o.row.name {
	case "stream":
		return has("tag") // Of an earlier source, because stream comes before tag.
	case "max-size", "max-file":
		return has("history-size")
	}
	for _, other := range g {
		if other.row.multiline && (o.row.multiline || o.isEMF()) || other.isEMF() && o.row.multiline {
			return true
		}
	}
	return false
}

// apply sets what the options say.
func (c *Container) apply(s *Settings, chosen givenOptions) {
	for i := range options {
		if o, ok := chosen[options[i].name]; ok && o.row.set != nil {
			// The error was reported when the source was read.
			_ = o.row.set(c, s, o.value)
		}
	}
	if c.RoleARN == "" {
		c.ExternalID = ""
	}
	if size, ok := chosen["max-size"]; ok {
		c.HistorySize = filesSize(size.text, chosen["max-file"].text, s.largest())
	}
	c.chosen, c.sources = chosen, s.sources
}

// readLogOptions reads a container's log options.
func (s *Settings) readLogOptions(opts map[string]string) (given givenOptions, errs Errors) {
	given, invalid := readOptions(opts, fromOption, s.checkOption)
	for _, i := range invalid {
		errs = append(errs, i.in("log option", ""))
	}
	if id := given["external-id"]; id.name != "" && given["role-arn"].name == "" &&
		!s.logOpts.good("role-arn") && s.hold.options["role-arn"] == "" {
		errs = append(errs, fmt.Errorf("log option %q: %s needs a role: give role-arn as well", id.name, shown(id.text)))
	}
	for _, name := range slices.Sorted(maps.Keys(opts)) {
		if optionRow(name) == nil {
			errs = append(errs, fmt.Errorf("unknown log option %s%s", shown(name), knownOptions(name)))
		}
	}
	return given, errs
}

// knownOptions returns a hint about an unknown option: the name that was meant, or all names.
func knownOptions(name string) string {
	if hint := didYouMean(name, optionNames()); hint != "" {
		return hint
	}
	var ours []string
	for _, row := range options {
		if row.set != nil {
			ours = append(ours, row.name)
		}
	}
	return ": the options are " + strings.Join(ours, " ")
}

// closestOption returns the option that an unknown name was probably meant to be, or "".
func closestOption(name string) string { return closest(name, optionNames()) }

// optionNames returns all names of options, in both spellings.
func optionNames() (all []string) {
	for _, row := range options {
		all = append(all, row.name)
		if row.alias != "" {
			all = append(all, row.alias)
		}
	}
	return all
}
