package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// apply reads a container's log options. As in awslogs, a blank value means that the option is
// not given.
func (c *Container) apply(s *Settings, opts map[string]string) (given givenOptions, errs Errors) {
	known := map[string]bool{}
	given = givenOptions{}
	for _, row := range options {
		known[row.name], known[row.alias] = true, true
		name, text := row.name, opts[row.name]
		if row.alias != "" {
			switch other := opts[row.alias]; {
			case strings.TrimSpace(text) == "":
				name, text = row.alias, other
			case strings.TrimSpace(other) != "" && row.trim(other) != row.trim(text):
				errs = append(errs, row.differ(text, other))
				if row.routing {
					given[row.name] = givenOption{name: name, text: text, bad: true}
				}
				continue
			}
		}
		if strings.TrimSpace(text) == "" || row.set == nil {
			continue
		}
		err := row.set(c, s, value{text: text, from: fromOption + name, alias: name == row.alias})
		if err != nil {
			errs = append(errs, fmt.Errorf("log option %q: %w", name, err))
		}
		given[row.name] = givenOption{name: name, text: text, bad: err != nil}
	}
	errs = append(errs, c.combine(s, given)...)
	for _, name := range slices.Sorted(maps.Keys(opts)) {
		if !known[name] || name == "" {
			errs = append(errs, unknownOption(name))
		}
	}
	return given, errs
}

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
	return fmt.Errorf("log options %q and %q are two spellings of one option and have different values%s: give one of them",
		row.name, row.alias, values)
}

// givenOptions are a container's options, by the names of their rows.
type givenOptions map[string]givenOption

type givenOption struct {
	name string // name is the spelling that was used: the row's name or its alias.
	text string
	bad  bool // bad says that the value is invalid.
}

// good reports whether the option was given and is valid.
func (g givenOptions) good(name string) bool {
	o, ok := g[name]
	return ok && !o.bad
}

// combine handles the options that depend on each other. It returns errors for those that
// exclude each other, and leaves those out.
func (c *Container) combine(s *Settings, given givenOptions) (errs Errors) {
	pattern, datetime := given["multiline-pattern"], given["datetime-format"]
	if pattern.name != "" && datetime.name != "" {
		errs = append(errs, cannotCombine(pattern, datetime, ""))
	}
	if c.Format == FormatEMF {
		// CloudWatch takes each event as one document of metrics, so awslogs refuses this too.
		for _, multiline := range []givenOption{pattern, datetime} {
			if multiline.name != "" {
				errs = append(errs, cannotCombine(given["format"], multiline, ", or another format"))
			}
		}
		c.Pattern = nil
	}
	if id := given["external-id"]; id.name != "" && given["role-arn"].name == "" {
		errs = append(errs, fmt.Errorf("log option %q: %s needs a role: give role-arn as well", id.name, shown(id.text)))
	}
	if c.RoleARN == "" {
		c.ExternalID = ""
	}
	if attributes := given["entity-attributes"]; attributes.name != "" && !attributes.bad && !c.HasEntity() {
		c.Warnings = append(c.Warnings, fromOption+attributes.name+": no effect without entity-service-name or entity-environment")
	}
	if _, own := given["history-size"]; !own && given.good("max-size") {
		c.HistorySize = filesSize(given["max-size"].text, given["max-file"].text, s.largest())
	}
	return errs
}

func cannotCombine(a, b givenOption, orElse string) error {
	return fmt.Errorf("log options %q and %q cannot be combined (%s and %s): give one of them%s",
		a.name, b.name, shown(a.text), shown(b.text), orElse)
}

func unknownOption(name string) error {
	var all, ours []string
	for _, row := range options {
		all = append(all, row.name)
		if row.set != nil {
			ours = append(ours, row.name)
		}
		if row.alias != "" {
			all = append(all, row.alias)
		}
	}
	if hint := didYouMean(name, all); hint != "" {
		return fmt.Errorf("unknown log option %s%s", shown(name), hint)
	}
	return fmt.Errorf("unknown log option %s: the options are %s", shown(name), strings.Join(ours, " "))
}
