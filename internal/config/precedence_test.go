package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// given is what users have written for one container.
type given struct {
	opts, labels, logOpts, plugin map[string]string
	env                           []string
	route                         string
	query                         []string
}

func newGiven() *given {
	return &given{opts: opts{}, labels: opts{}, logOpts: opts{}, plugin: opts{}, route: "auto"}
}

// load returns the settings and the container. It checks that nothing is invalid.
func (g *given) load(t *testing.T) (*Settings, *Container) {
	t.Helper()
	env := []string{"ROUTE=cloudwatch://" + g.route + "?" + strings.Join(g.query, "&")}
	for name, text := range g.plugin {
		env = append(env, name+"="+text)
	}
	if len(g.logOpts) > 0 {
		text, err := json.Marshal(g.logOpts)
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, "LOG_OPTS="+string(text))
	}
	s := mustLoad(t, env...)
	c, err := s.Container(g.opts, g.env, g.labels)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// described returns what Described says about an option.
func described(c *Container, name string) (d Described) {
	for _, d := range c.Described() {
		if d.Name == name {
			return d
		}
	}
	return Described{}
}

// source is one place where a user can write something.
type source struct {
	from  string
	write func(g *given, text string)
}

// forEachSubset calls check with each subset of sources, in which each source has a text of its
// own, and with the index of the first source, or -1.
func forEachSubset(sources []source, text func(i int) string, check func(g *given, first int)) {
	for subset := range 1 << len(sources) {
		g, first := newGiven(), -1
		for i, s := range sources {
			if subset&(1<<i) == 0 {
				continue
			}
			s.write(g, text(i))
			if first < 0 {
				first = i
			}
		}
		check(g, first)
	}
}

// Of all sources of a group, the one with the most precedence counts, whatever the others say.
func TestGroupFollowsPrecedence(t *testing.T) {
	for _, spelling := range []string{"group", "awslogs-group"} {
		sources := []source{
			{"log option " + spelling, func(g *given, text string) { g.opts[spelling] = text }},
			{"label logspool." + spelling, func(g *given, text string) { g.labels["logspool."+spelling] = text }},
			{"the container's LOGSPOUT_GROUP", func(g *given, text string) { g.env = append(g.env, "LOGSPOUT_GROUP="+text) }},
			{"ROUTE option LOGSPOUT_GROUP", func(g *given, text string) { g.query = append(g.query, "LOGSPOUT_GROUP="+text) }},
			{"LOG_OPTS option " + spelling, func(g *given, text string) { g.logOpts[spelling] = text }},
			{"LOGSPOUT_GROUP", func(g *given, text string) { g.plugin["LOGSPOUT_GROUP"] = text }},
		}
		forEachSubset(sources, func(i int) string { return fmt.Sprint("group", i) }, func(g *given, first int) {
			want, from := "{{.LoggerHost}}", "default"
			if first >= 0 {
				want, from = fmt.Sprint("group", first), sources[first].from
			}
			_, c := g.load(t)
			if c.Group.String() != want || c.Group.From != from || described(c, "group") != (Described{"group", want, from}) {
				t.Errorf("%+v: got %s from %s, and %+v, want %s from %s", g, c.Group, c.Group.From, described(c, "group"), want, from)
			}
			// If awslogs-group gives the group, the default of the stream is awslogs's, and only then.
			stream, streamFrom := "{{.Name}}", "default"
			if strings.HasSuffix(from, " awslogs-group") || strings.HasSuffix(from, ".awslogs-group") {
				stream, streamFrom = "{{.ID}}", from
			}
			if c.Stream.String() != stream || c.Stream.From != streamFrom {
				t.Errorf("%+v: got the stream %s from %s, want %s from %s", g, c.Stream, c.Stream.From, stream, streamFrom)
			}
		})
	}
}

// A tag names the stream, unless its source or one with more precedence has a stream.
func TestStreamFollowsPrecedence(t *testing.T) {
	sources := []source{
		{"log option stream", func(g *given, text string) { g.opts["stream"] = text }},
		{"log option tag", func(g *given, text string) { g.opts["tag"] = text }},
		{"label logspool.stream", func(g *given, text string) { g.labels["logspool.stream"] = text }},
		{"label logspool.tag", func(g *given, text string) { g.labels["logspool.tag"] = text }},
		{"the container's LOGSPOUT_STREAM", func(g *given, text string) { g.env = append(g.env, "LOGSPOUT_STREAM="+text) }},
		{"ROUTE option LOGSPOUT_STREAM", func(g *given, text string) { g.query = append(g.query, "LOGSPOUT_STREAM="+text) }},
		{"LOG_OPTS option stream", func(g *given, text string) { g.logOpts["stream"] = text }},
		{"LOG_OPTS option tag", func(g *given, text string) { g.logOpts["tag"] = text }},
		{"LOGSPOUT_STREAM", func(g *given, text string) { g.plugin["LOGSPOUT_STREAM"] = text }},
	}
	forEachSubset(sources, func(i int) string { return fmt.Sprint("stream", i) }, func(g *given, first int) {
		want, from := "{{.Name}}", "default"
		if first >= 0 {
			want, from = fmt.Sprint("stream", first), sources[first].from
		}
		_, c := g.load(t)
		if c.Stream.String() != want || c.Stream.From != from {
			t.Errorf("%+v: got %s from %s, want %s from %s", g, c.Stream, c.Stream.From, want, from)
		}
		tag := ""
		for _, i := range []int{7, 3, 1} { // from the lowest to the highest
			if text := fmt.Sprint("stream", i); g.opts["tag"] == text || g.labels["logspool.tag"] == text || g.logOpts["tag"] == text {
				tag = text
			}
		}
		if shownTemplate(c.Tag) != tag {
			t.Errorf("%+v: got the tag %v, want %q", g, c.Tag, tag)
		}
	})
}

// Of all sources of a region, the one with the most precedence counts. A label and the container's
// environment are no source.
func TestRegionFollowsPrecedence(t *testing.T) {
	sources := []source{
		{"log option region", func(g *given, text string) { g.opts["region"] = text }},
		{"ROUTE", func(g *given, text string) { g.route = text }},
		{"LOG_OPTS option awslogs-region", func(g *given, text string) { g.logOpts["awslogs-region"] = text }},
		{"AWS_REGION", func(g *given, text string) { g.plugin["AWS_REGION"] = text }},
		{"AWS_DEFAULT_REGION", func(g *given, text string) { g.plugin["AWS_DEFAULT_REGION"] = text }},
	}
	region := func(i int) string { return fmt.Sprint("eu-west-", i+1) }
	forEachSubset(sources, region, func(g *given, first int) {
		g.labels["logspool.region"] = "eu-west-9"
		g.env = append(g.env, "AWS_REGION=eu-west-9", "LOGSPOUT_REGION=eu-west-9")
		want, from := "", ""
		if first >= 0 {
			want, from = region(first), sources[first].from
		}
		s, c := g.load(t)
		d := described(c, "region")
		if c.Region != want || c.RegionFrom != from || d.Value != want || d.From != from || c.RegionAuto || c.Hold != "" {
			t.Errorf("%+v: got %+v from %s, and %+v, want %s from %s", g, c.Access, c.RegionFrom, d, want, from)
		}
		if len(c.Warnings) != 1 {
			t.Errorf("the label has the warnings %q", c.Warnings)
		}
		if first != 0 && (s.Region != want || s.RegionFrom != from) {
			t.Errorf("%+v: the settings have %s from %s, want %s from %s", g, s.Region, s.RegionFrom, want, from)
		}

		// The log option auto passes over ROUTE and LOG_OPTS.
		g.opts["region"] = "auto"
		want, from = "", ""
		for _, name := range []string{"AWS_DEFAULT_REGION", "AWS_REGION"} {
			if text := g.plugin[name]; text != "" {
				want, from = text, name
			}
		}
		if _, c = g.load(t); c.Region != want || c.RegionFrom != from || !c.RegionAuto {
			t.Errorf("%+v: got %+v from %s, want %s from %s", g, c.Access, c.RegionFrom, want, from)
		}
		if d := described(c, "region"); d.From != "log option region" || d.Value != want && d.Value != "auto" {
			t.Errorf("%+v: got %+v", g, d)
		}

		// In LOG_OPTS, it does not pass over ROUTE.
		delete(g.opts, "region")
		g.logOpts = opts{"region": "auto"}
		if g.route != "auto" {
			want, from = g.route, "ROUTE"
		}
		if _, c = g.load(t); c.Region != want || c.RegionFrom != from || c.RegionAuto {
			t.Errorf("%+v: got %+v from %s, want %s from %s", g, c.Access, c.RegionFrom, want, from)
		}
	})
}

// samples has four values for each option, as users write them, and as Described shows them if that
// differs. The options that are not here have tests of their own.
var samples = map[string][4]string{
	"endpoint":             {"http://a", "http://b", "http://c", "http://d"},
	"create-group":         {"false", "true", "false", "true"},
	"create-stream":        {"true", "false", "true", "false"},
	"delay":                {"1s", "2s", "3s", "5s"},
	"multiline-pattern":    {"^a ", " ^b", "^c", "^d"},
	"multiline":            {"java", "python,go", "ruby", "dotnet"},
	"datetime-format":      {"%Y", "%d", "%m", "%H"},
	"format":               {"json", "text", "json/emf", "json"},
	"tag":                  {"a", "b", "{{.ID}}", "{{.Name}}"},
	"labels":               {"a", "b,c", "d", "e"},
	"labels-regex":         {"a", "b", "c", "d"},
	"env":                  {"A", "B,C", "D", "E"},
	"env-regex":            {"A", "B", "C", "D"},
	"include-pattern":      {"a", "b", "c", "d"},
	"exclude-pattern":      {"a", "b", "c", "d"},
	"strip-ansi":           {"true", "false", "true", "false"},
	"retention-days":       {"1", "3", "5", "7"},
	"group-tags":           {"a=b", "a=c", "a=d,e=f", "g=h"},
	"group-class":          {"STANDARD", "INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS"},
	"kms-key-id":           {"a", "b", "c", "d"},
	"entity-service-name":  {"a", "b", "{{.Name}}", "d"},
	"entity-environment":   {"a", "b", "{{.Name}}", "d"},
	"entity-attributes":    {"a=b", "a=c", "a=d,e=f", "g=h"},
	"role-arn":             {roleA + "a", roleA + "b", roleA + "c", roleA + "d"},
	"external-id":          {"aa", "bb", "cc", "dd"},
	"credentials-endpoint": {"/a", "/b", "/c", "/d"},
	"spool-max-size":       {"1MiB", "2MiB", "3MiB", "4MiB"},
	"spool-full":           {"drop-newest", "drop-oldest", "drop-newest", "drop-newest"},
	"history-size":         {"1MiB", "2MiB", "3MiB", "4MiB"},
	"max-buffered-events":  {"1", "2", "3", "4"},
	"max-size":             {"1m", "2m", "3m", "4m"},
	"max-file":             {"1", "2", "3", "4"},
}

const roleA = "arn:aws:iam::123456789012:role/"

// Each option has the value of the source with the most precedence, and Described says so.
func TestEveryOptionFollowsPrecedence(t *testing.T) {
	for _, row := range options {
		values, ok := samples[row.name]
		if !ok {
			if row.set != nil && row.name != "group" && row.name != "stream" && row.name != "region" {
				t.Errorf("samples has no values of %s", row.name)
			}
			continue
		}
		sources := []source{{"log option " + row.name, func(g *given, text string) { g.opts[row.name] = text }}}
		if row.label {
			sources = append(sources, source{"label logspool." + row.name, func(g *given, text string) { g.labels["logspool."+row.name] = text }})
		}
		sources = append(sources, source{"LOG_OPTS option " + row.name, func(g *given, text string) { g.logOpts[row.name] = text }})
		if row.setting != "" {
			sources = append(sources, source{row.setting, func(g *given, text string) { g.plugin[row.setting] = text }})
		}
		forEachSubset(sources, func(i int) string { return values[i] }, func(g *given, first int) {
			if row.name == "external-id" {
				g.opts["role-arn"] = roleA + "x"
			}
			_, c := g.load(t)
			got := described(c, row.name)
			if first < 0 {
				if (got.Value == "") != (got.From == "") || got.From != "" && got.From != "default" {
					t.Errorf("%s is not given: got %+v", row.name, got)
				}
				return
			}
			want := Described{row.name, values[first], sources[first].from}
			if row.name == "credentials-endpoint" {
				want.Value = hidden
			}
			if got != want {
				t.Errorf("%+v:\n got %+v\nwant %+v", g, got, want)
			}
		})
	}
}
