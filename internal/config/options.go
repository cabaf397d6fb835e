package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/naming"
)

// An option is a log option: --log-opt, or log-opts in daemon.json.
//
// An option without a def has no default, or its default is the setting with the same
// meaning. Dockerd's own options, which dockerd passes to every driver, have no set.
type option struct {
	name string
	// alias is awslogs's spelling of the same option.
	alias string
	// def is the default, for the documentation only.
	def string
	doc string
	// secret says that a value may give access to something, so that errors do not repeat
	// it.
	secret bool
	// regexp says that white space around a value is part of it.
	regexp bool
	// routing says that the option decides where lines go, as whom or with which key.
	routing bool
	// label says that a container's label may set the option.
	label bool
	// multiline says that the option joins lines. Such options exclude each other.
	multiline bool
	// partly says that an invalid value still has an effect: a default name, or a size that
	// is cut.
	partly bool
	// setting is the setting with the same meaning and the same values, or empty.
	setting string
	// set reads the value, and its error gives the value and what is allowed.
	set func(*Container, *Settings, value) error
	// show returns the value that applies, or "" if there is none. Nil means the text as it
	// was given.
	show func(*Container) string
}

const awslogsPrefix = "awslogs-"

// options are all log options, in the order in which they are documented and read. An
// option that does nothing yet must not be among them: a refused option is better than an
// ignored one. CONTRIBUTING.md lists what else a new option needs.
var options = []option{
	{
		name: "group", alias: "awslogs-group", label: true, partly: true, setting: "LOGSPOUT_GROUP",
		doc:  "template of the log group",
		set:  func(c *Container, _ *Settings, v value) error { return setTemplate(&c.Group, v, defaultGroup) },
		show: func(c *Container) string { return c.Group.String() },
	},
	{
		name: "stream", alias: "awslogs-stream", label: true, partly: true, setting: "LOGSPOUT_STREAM",
		doc:  "template of the log stream",
		set:  func(c *Container, _ *Settings, v value) error { return setTemplate(&c.Stream, v, defaultStream) },
		show: func(c *Container) string { return c.Stream.String() },
	},
	{
		name: "tag", label: true,
		doc: "Docker's tag template; it names the stream if stream is not given, and with format=json it is a field of each event",
		set: func(c *Container, _ *Settings, v value) error { return set(&c.Tag, v, naming.ParseTag) },
	},
	{
		name: "region", alias: "awslogs-region", routing: true,
		doc: "a region, or auto: the plugin looks the region up (AWS_REGION, the SDK's configuration, EC2), whatever ROUTE and LOG_OPTS say",
		set: func(c *Container, s *Settings, v value) error {
			region, err := parseRegion(v.text)
			if err != nil {
				return err
			}
			c.Region, c.RegionFrom, c.RegionAuto = region, v.from, region == ""
			if c.RegionAuto {
				c.Region, c.RegionFrom = s.awsRegion, s.awsRegionFrom
			}
			return nil
		},
		show: func(c *Container) string { return c.shownRegion() },
	},
	{
		name: "endpoint", alias: "awslogs-endpoint", routing: true,
		doc: "base URL of the service", secret: true,
		set:  func(c *Container, _ *Settings, v value) error { return set(&c.Endpoint, v, parseEndpoint) },
		show: func(c *Container) string { return c.Endpoint },
	},
	{
		name: "create-group", alias: "awslogs-create-group", def: "true",
		doc:  "create the group when it is missing",
		set:  func(c *Container, _ *Settings, v value) error { return set(&c.Create.Group, v, parseBool) },
		show: func(c *Container) string { return strconv.FormatBool(c.Create.Group) },
	},
	{
		name: "create-stream", alias: "awslogs-create-stream", def: "true",
		doc:  "create the stream when it is missing",
		set:  func(c *Container, _ *Settings, v value) error { return set(&c.Create.Stream, v, parseBool) },
		show: func(c *Container) string { return strconv.FormatBool(c.Create.Stream) },
	},
	{
		name: "delay", alias: "awslogs-force-flush-interval-seconds", setting: "DELAY",
		doc:  "time between flushes: seconds (8) or a duration (500ms)",
		set:  func(c *Container, _ *Settings, v value) error { return set(&c.Delay, v, parseDuration) },
		show: func(c *Container) string { return c.Delay.String() },
	},
	{
		name: "multiline-pattern", alias: "awslogs-multiline-pattern", regexp: true, label: true, multiline: true,
		doc: "Go regexp that matches the first line of an event; the event ends before the next line that matches",
		set: func(c *Container, _ *Settings, v value) error { return set(&c.Pattern, v, parsePattern) },
	},
	{
		name: "multiline", label: true, multiline: true,
		doc: "java, python, go, ruby, node, dotnet, or several of them separated by commas; a stack trace of one of these becomes one event with the line before it; cannot be combined with multiline-pattern or datetime-format",
		set: func(c *Container, _ *Settings, v value) error { return set(&c.Traces, v, parseRuntimes) },
	},
	{
		name: "datetime-format", alias: "awslogs-datetime-format", regexp: true, label: true, multiline: true,
		doc: "strftime format that marks the first line of an event; cannot be combined with multiline-pattern or multiline",
		set: func(c *Container, _ *Settings, v value) error {
			pattern, unknown, err := parseDatetime(v.text)
			if err != nil {
				return err
			}
			c.Pattern = pattern
			if unknown != nil {
				c.Warnings = append(c.Warnings, v.from+": "+shown(strings.Join(unknown, " "))+
					": not a known sequence, so it is ignored, as in awslogs; the known sequences are "+strings.Join(datetimeSequences(), " "))
			}
			return nil
		},
	},
	{
		name: "format", alias: "awslogs-format", def: string(FormatText), label: true,
		doc: "text; json: each event is an object; json/emf: embedded metrics, cannot be combined with the multi-line options (awslogs-format: json/emf only)",
		set: func(c *Container, _ *Settings, v value) error {
			if v.alias {
				return set(&c.Format, v, parseAwslogsFormat)
			}
			return set(&c.Format, v, parseFormat)
		},
		show: func(c *Container) string { return string(c.Format) },
	},
	{
		name: "labels", label: true,
		doc: "labels that become attrs in the events with format=json: NAME,NAME",
		set: func(c *Container, _ *Settings, v value) error { c.Labels = strings.Split(v.text, ","); return nil },
	},
	{
		name: "labels-regex", label: true,
		doc: "like labels, for all labels whose name matches this Go regexp",
		set: func(c *Container, _ *Settings, v value) error { return set(&c.LabelsRegex, v, parsePattern) },
	},
	{
		name: "env", label: true,
		doc: "variables of the container's environment that become attrs in the events with format=json: NAME,NAME",
		set: func(c *Container, _ *Settings, v value) error { c.Env = strings.Split(v.text, ","); return nil },
	},
	{
		name: "env-regex", label: true,
		doc: "like env, for all variables whose name matches this Go regexp",
		set: func(c *Container, _ *Settings, v value) error { return set(&c.EnvRegex, v, parsePattern) },
	},
	{
		name: "include-pattern", label: true,
		doc: "Go regexp; the plugin sends only the events that match",
		set: func(c *Container, _ *Settings, v value) error { return set(&c.Include, v, parsePattern) },
	},
	{
		name: "exclude-pattern", label: true,
		doc: "Go regexp; the plugin does not send the events that match",
		set: func(c *Container, _ *Settings, v value) error { return set(&c.Exclude, v, parsePattern) },
	},
	{
		name: "strip-ansi", def: "false", label: true,
		doc:  "true: the plugin removes terminal colour and cursor codes from what it sends",
		set:  func(c *Container, _ *Settings, v value) error { return set(&c.StripANSI, v, parseBool) },
		show: func(c *Container) string { return strconv.FormatBool(c.StripANSI) },
	},
	{
		name: "retention-days", setting: "RETENTION_DAYS",
		doc: "retention, in days, of the group, if the plugin creates it: 1, 3, 5, 7, 14, 30, 60, 90, … as the API allows",
		set: func(c *Container, _ *Settings, v value) error {
			return set(&c.Create.NewGroup.RetentionDays, v, parseRetention)
		},
		show: func(c *Container) string { return shownCount(c.Create.NewGroup.RetentionDays) },
	},
	{
		name: "group-tags", setting: "GROUP_TAGS",
		doc:  "tags of the group, if the plugin creates it: KEY=VALUE,KEY=VALUE",
		set:  func(c *Container, _ *Settings, v value) error { return set(&c.Create.NewGroup.Tags, v, parseTags) },
		show: func(c *Container) string { return shownPairs(c.Create.NewGroup.Tags) },
	},
	{
		name: "group-class", setting: "GROUP_CLASS",
		doc:  "log class of the group, if the plugin creates it: STANDARD, INFREQUENT_ACCESS, DELIVERY or ESSENTIALS",
		set:  func(c *Container, _ *Settings, v value) error { return set(&c.Create.NewGroup.Class, v, parseClass) },
		show: func(c *Container) string { return c.Create.NewGroup.Class },
	},
	{
		name: "kms-key-id", routing: true, setting: "KMS_KEY_ID",
		doc: "ARN of the KMS key that encrypts the group, if the plugin creates it",
		set: func(c *Container, _ *Settings, v value) error {
			return set(&c.Create.NewGroup.KMSKeyID, v, parseKMSKey)
		},
		show: func(c *Container) string { return c.Create.NewGroup.KMSKeyID },
	},
	{
		name: "entity-service-name", alias: "awslogs-entity-service-name", setting: "ENTITY_SERVICE_NAME",
		doc:  "template of the service name of the entity that the events belong to; the plugin sends no entity unless this option or entity-environment is given (awslogs-: Docker's tag template)",
		set:  func(c *Container, _ *Settings, v value) error { return setEntityTemplate(&c.EntityService, v) },
		show: func(c *Container) string { return shownTemplate(c.EntityService) },
	},
	{
		name: "entity-environment", alias: "awslogs-entity-environment", setting: "ENTITY_ENVIRONMENT",
		doc:  "template of the entity's environment (awslogs-: Docker's tag template)",
		set:  func(c *Container, _ *Settings, v value) error { return setEntityTemplate(&c.EntityEnvironment, v) },
		show: func(c *Container) string { return shownTemplate(c.EntityEnvironment) },
	},
	{
		name: "entity-attributes", alias: "awslogs-entity-attributes", setting: "ENTITY_ATTRIBUTES",
		doc: "further attributes of the entity, at most ten: KEY=VALUE,KEY=VALUE",
		set: func(c *Container, _ *Settings, v value) error {
			return set(&c.EntityAttributes, v, parseEntityAttributes)
		},
		show: func(c *Container) string { return shownPairs(c.EntityAttributes) },
	},
	{
		name: "role-arn", routing: true,
		doc:  "role to assume for this container's logs",
		set:  func(c *Container, _ *Settings, v value) error { return set(&c.RoleARN, v, parseRole) },
		show: func(c *Container) string { return c.RoleARN },
	},
	{
		name: "external-id", routing: true,
		doc:  "external ID that the role's trust policy requires; requires role-arn",
		set:  func(c *Container, _ *Settings, v value) error { return set(&c.ExternalID, v, parseExternalID) },
		show: func(c *Container) string { return c.ExternalID },
	},
	{
		name: "credentials-endpoint", alias: "awslogs-credentials-endpoint", routing: true,
		doc: "path on the container credentials endpoint, " + target.CredentialsHost, secret: true,
		set: func(c *Container, _ *Settings, v value) error {
			return set(&c.CredentialsEndpoint, v, parseCredentialsEndpoint)
		},
		show: func(c *Container) string { return shownSecret(c.CredentialsEndpoint) },
	},
	{
		name: "spool-max-size", setting: "SPOOL_MAX_SIZE", partly: true,
		doc: "the most undelivered bytes that the plugin keeps for this container",
		set: func(c *Container, s *Settings, v value) error {
			size, err := parseSize(v.text)
			if err == nil {
				c.SpoolMaxSize, err = s.within(size)
			}
			return err
		},
		show: func(c *Container) string { return shownSize(c.SpoolMaxSize) },
	},
	{
		name: "spool-full", setting: "SPOOL_FULL",
		doc:  "drop-oldest or drop-newest: which lines the plugin drops when the spool is full",
		set:  func(c *Container, _ *Settings, v value) error { return set(&c.SpoolFull, v, parseFullPolicy) },
		show: func(c *Container) string { return string(c.SpoolFull) },
	},
	{
		name: "history-size", setting: "HISTORY_SIZE", partly: true,
		doc: "the most delivered bytes that the plugin keeps for docker logs, for this container; 0: none",
		set: func(c *Container, s *Settings, v value) error {
			size, err := parseHistorySize(v.text)
			if err == nil {
				c.HistorySize, err = s.within(size)
			}
			return err
		},
		show: func(c *Container) string { return shownSize(c.HistorySize) },
	},
	{
		name: "max-buffered-events", alias: "awslogs-max-buffered-events",
		doc: "a positive number; it is checked but has no effect, because waiting lines are in the spool",
		set: func(_ *Container, _ *Settings, v value) error { _, err := parsePositive(v.text); return err },
	},
	{
		name: "max-size",
		doc:  "size of a file, as in json-file; max-size × max-file is the size of the history if history-size is not given",
		set:  func(_ *Container, _ *Settings, v value) error { _, err := parseFileSize(v.text); return err },
	},
	{
		name: "max-file", def: "1",
		doc: "number of files, as in json-file; requires max-size",
		set: func(_ *Container, _ *Settings, v value) error { _, err := parsePositive(v.text); return err },
	},
	dockerdsOwn("mode"),
	dockerdsOwn("max-buffer-size"),
	dockerdsOwn("cache-disabled"),
	dockerdsOwn("cache-max-size"),
	dockerdsOwn("cache-max-file"),
	dockerdsOwn("cache-compress"),
	dockerdsOwn("compress"),
}

// dockerdsOwn returns the row of an option that dockerd passes to every driver, although
// dockerd itself reads it (moby, daemon/logger/factory.go and loggerutils/cache) or
// daemon.json has it for the json-file driver.
func dockerdsOwn(name string) option {
	return option{name: name, doc: "dockerd's own option; accepted"}
}

// OptionDocs describes the log options.
func OptionDocs() []Doc {
	docs := make([]Doc, len(options))
	for i, row := range options {
		docs[i] = Doc{Name: row.name, Alias: row.alias, Default: row.def, Doc: row.doc, Label: row.label}
	}
	return docs
}

// optionRow returns the row of an option in either spelling, or nil.
func optionRow(name string) *option {
	i := slices.IndexFunc(options, func(row option) bool { return name != "" && (row.name == name || row.alias == name) })
	if i < 0 {
		return nil
	}
	return &options[i]
}
