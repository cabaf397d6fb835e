package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/logspool/logspool/naming"
)

// An option is a log option: --log-opt, or log-opts in daemon.json.
type option struct {
	name  string
	alias string // awslogs's spelling of the same option
	def   string // for the documentation; empty: none, or the setting of the same meaning
	doc   string
	// set reads the value. Its error says the value and what is allowed. Nil: the option is
	// dockerd's own, which passes it on all the same.
	set func(*Container, *Settings, value) error
}

const awslogsPrefix = "awslogs-"

// options are all log options, in the order in which they are documented and read. An option whose
// work is not done is not among them: it is better refused than ignored.
var options = []option{
	{
		name: "group", alias: "awslogs-group",
		doc: "template of the log group",
		set: func(c *Container, _ *Settings, v value) error { return setTemplate(&c.Group, v, defaultGroup) },
	},
	{
		name: "stream", alias: "awslogs-stream",
		doc: "template of the log stream",
		set: func(c *Container, _ *Settings, v value) error { return setTemplate(&c.Stream, v, defaultStream) },
	},
	{
		name: "tag",
		doc:  "Docker's tag template; names the stream where stream is not given",
		set: func(c *Container, _ *Settings, v value) error {
			t, err := naming.ParseTag(v.text)
			if err == nil && c.Stream.Template == nil {
				c.Stream = Template{Template: t, From: v.from}
			}
			return err
		},
	},
	{
		name: "region", alias: "awslogs-region",
		doc: "a region; or auto: AWS_REGION's, the SDK's configuration's or EC2's, whatever ROUTE says",
		set: func(c *Container, s *Settings, v value) error {
			region, err := parseRegion(v.text)
			if err != nil {
				return err
			}
			if c.Region = region; region == "" {
				c.Region = s.awsRegion
			}
			return nil
		},
	},
	{
		name: "endpoint", alias: "awslogs-endpoint",
		doc: "base URL of the service",
		set: func(c *Container, _ *Settings, v value) error { return set(&c.Endpoint, v, parseEndpoint) },
	},
	{
		name: "create-group", alias: "awslogs-create-group", def: "true",
		doc: "make the group when it is missing",
		set: func(c *Container, _ *Settings, v value) error { return set(&c.CreateGroup, v, parseBool) },
	},
	{
		name: "create-stream", alias: "awslogs-create-stream", def: "true",
		doc: "make the stream when it is missing",
		set: func(c *Container, _ *Settings, v value) error { return set(&c.CreateStream, v, parseBool) },
	},
	{
		name: "delay", alias: "awslogs-force-flush-interval-seconds",
		doc: "time between flushes: seconds (8) or a duration (500ms)",
		set: func(c *Container, _ *Settings, v value) error { return set(&c.Delay, v, parseDuration) },
	},
	{
		name: "spool-max-size",
		doc:  "undelivered bytes kept for this container",
		set: func(c *Container, s *Settings, v value) error {
			size, err := parseSize(v.text)
			if err == nil && size > s.SpoolTotalSize {
				err = s.overTotal(size)
			}
			if err == nil {
				c.SpoolMaxSize = size
			}
			return err
		},
	},
	{
		name: "spool-full",
		doc:  "drop-oldest or drop-newest: what gives way when the spool is full",
		set:  func(c *Container, _ *Settings, v value) error { return set(&c.SpoolFull, v, parseFullPolicy) },
	},
	dockerdsOwn("mode"),
	dockerdsOwn("max-buffer-size"),
	dockerdsOwn("cache-disabled"),
	dockerdsOwn("cache-max-size"),
	dockerdsOwn("cache-max-file"),
	dockerdsOwn("cache-compress"),
	dockerdsOwn("compress"),
	dockerdsOwn("max-size"),
	dockerdsOwn("max-file"),
}

// dockerdsOwn is an option that dockerd reads itself (moby, daemon/logger/factory.go and
// loggerutils/cache) or that daemon.json has for the json-file driver, and that every driver gets.
func dockerdsOwn(name string) option {
	return option{name: name, doc: "dockerd's own; accepted"}
}

// OptionDocs describes the log options.
func OptionDocs() []Doc {
	docs := make([]Doc, len(options))
	for i, row := range options {
		docs[i] = Doc{Name: row.name, Alias: row.alias, Default: row.def, Doc: row.doc}
	}
	return docs
}

// apply reads a container's log options. An empty value is the same as none, as in awslogs.
func (c *Container) apply(s *Settings, opts map[string]string) (errs Errors) {
	known := map[string]bool{}
	for _, row := range options {
		known[row.name], known[row.alias] = true, true
		name, text := row.name, opts[row.name]
		if row.alias != "" {
			switch other := opts[row.alias]; {
			case strings.TrimSpace(text) == "":
				name, text = row.alias, other
			case strings.TrimSpace(other) != "" && strings.TrimSpace(other) != strings.TrimSpace(text):
				errs = append(errs, fmt.Errorf("log options %q and %q are two spellings of one option, and differ (%s and %s): give one of them",
					row.name, row.alias, shown(text), shown(other)))
				continue
			}
		}
		if strings.TrimSpace(text) == "" || row.set == nil {
			continue
		}
		if err := row.set(c, s, value{text: text, from: "log option " + name}); err != nil {
			errs = append(errs, fmt.Errorf("log option %q: %w", name, err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(opts)) {
		if !known[name] || name == "" {
			errs = append(errs, unknownOption(name))
		}
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
