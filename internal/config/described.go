package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/naming"
)

// Described is one option of a container as the plugin understands it.
type Described struct {
	Name string
	// Value is one printable line. It is hidden if it may give access to something.
	Value string
	// From says where the value was given: "log option delay", "label logspool.group", "the
	// container's LOGSPOUT_GROUP", "ROUTE option DELAY", "LOG_OPTS option delay",
	// "RETENTION_DAYS" or "default".
	From string
}

// hidden is shown in place of a value that may give access to something.
const hidden = "(not shown)"

// Described returns the options that have a value, in the order of the documentation.
func (c *Container) Described() []Described {
	var all []Described
	for i := range options {
		row := &options[i]
		text, from := c.describe(row)
		if text != "" && from != "" {
			const most = 512
			all = append(all, Described{Name: row.name, Value: oneline.Text(text, most), From: from})
		}
	}
	return all
}

// describe returns the value of an option, and where it was given. Both are empty if the option
// has no value.
func (c *Container) describe(row *option) (text, from string) {
	o, given := c.chosen[row.name]
	switch {
	case row.name == "group":
		from = c.Group.From
	case row.name == "stream":
		from = c.Stream.From
	case given:
		from = o.from
	case row.name == "region":
		from = c.RegionFrom
	case row.name == "history-size" && c.chosen["max-size"].row != nil:
		from = c.chosen["max-size"].from
	case row.setting != "":
		from = c.sources[row.setting]
	case row.def != "" && row.show != nil:
		from = fromDefault
	}
	if row.show == nil {
		return o.text, from
	}
	return row.show(c), from
}

func (c *Container) shownRegion() string {
	if c.Region == "" && c.RegionAuto {
		return "auto"
	}
	return c.Region
}

func shownTemplate(t *naming.Template) string {
	if t == nil {
		return ""
	}
	return t.String()
}

func shownCount(n int32) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(int(n))
}

// shownSize returns a size as the options take it.
func shownSize(n int64) string {
	if n == unlimited {
		return "unlimited"
	}
	return units.BytesSize(float64(n))
}

func shownPairs(pairs map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		all = append(all, key+"="+pairs[key])
	}
	return strings.Join(all, ",")
}

func shownSecret(text string) string {
	if text == "" {
		return ""
	}
	return hidden
}

// ShownLogOpts returns LOG_OPTS as a log or a status may show it: without the values of
// options that may give access to something, and without any value if it cannot be read.
func ShownLogOpts(text string) string {
	members, err := parseObject(strings.TrimSpace(text))
	if err != nil {
		return hidden
	}
	var all []string
	for _, m := range members {
		if row := optionRow(m.name); m.err != nil || row == nil || row.secret {
			m.text = hidden
		}
		all = append(all, strconv.Quote(m.name)+":"+strconv.Quote(m.text))
	}
	const most = 2048
	return oneline.Text("{"+strings.Join(all, ",")+"}", most)
}
