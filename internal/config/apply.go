package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// apply reads a container's log options. A blank value is the same as none, as an empty one is in awslogs.
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
	errs = append(errs, c.together(s, given)...)
	for _, name := range slices.Sorted(maps.Keys(opts)) {
		if !known[name] || name == "" {
			errs = append(errs, unknownOption(name))
		}
	}
	return given, errs
}

// trim takes off the white space that is not the value's.
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
	return fmt.Errorf("log options %q and %q are two spellings of one option, and differ%s: give one of them", row.name, row.alias, values)
}

// givenOptions are the options that a container has, by the names of their rows.
type givenOptions map[string]givenOption

type givenOption struct {
	name string // as it was spelled
	text string
	bad  bool // it was refused
}

// good reports whether the option was given and accepted.
func (g givenOptions) good(name string) bool {
	o, ok := g[name]
	return ok && !o.bad
}

// together does what several options come to together, and refuses those that exclude each other. What is
// refused is left out.
func (c *Container) together(s *Settings, given givenOptions) (errs Errors) {
	pattern, datetime := given["multiline-pattern"], given["datetime-format"]
	if pattern.name != "" && datetime.name != "" {
		errs = append(errs, fmt.Errorf("log options %q and %q exclude each other (%s and %s): give one of them",
			pattern.name, datetime.name, shown(pattern.text), shown(datetime.text)))
	}
	if c.Format == FormatEMF {
		// The service takes each event for one document of metrics, so awslogs refuses this, too.
		for _, multiline := range []givenOption{pattern, datetime} {
			if multiline.name != "" {
				errs = append(errs, fmt.Errorf("log options %q and %q exclude each other (%s and %s): give one of them, or another format",
					given["format"].name, multiline.name, shown(given["format"].text), shown(multiline.text)))
			}
		}
		c.Pattern = nil
	}
	if id := given["external-id"]; id.name != "" && given["role-arn"].name == "" {
		errs = append(errs, fmt.Errorf("log option %q: %s is for a role, and there is none: give role-arn as well", id.name, shown(id.text)))
	}
	if c.RoleARN == "" {
		c.ExternalID = ""
	}
	if attributes := given["entity-attributes"]; attributes.name != "" && !attributes.bad && !c.HasEntity() {
		c.Warnings = append(c.Warnings, fromOption+attributes.name+": without effect, because there is neither entity-service-name nor entity-environment")
	}
	if _, own := given["history-size"]; !own && given.good("max-size") {
		c.HistorySize = filesSize(given["max-size"].text, given["max-file"].text, s.largest())
	}
	return errs
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
