package config

import "github.com/logspool/logspool/naming"

// A value is what somebody wrote, and where.
type value struct {
	text, from string
	alias      bool // in a log option's other spelling, awslogs's
}

const (
	fromDefault = "default"
	fromOption  = "log option "
)

// A setting is a variable of the plugin's environment.
type setting struct {
	name  string
	def   string // read by set; empty: not set
	doc   string
	route bool // an option of ROUTE as well
	flag  bool // in ROUTE, its name alone sets it
	// set reads the value. Its error says the value and what is allowed, and leaves the setting as
	// it was; a broken template leaves the default name. Nil for ROUTE, which Load takes apart.
	set func(*Settings, value) error
	// What applies instead of an invalid value, where it is not the value that was set before or the
	// default: bad sets it, and applies says it in the log. holds: lines are spooled and not sent.
	bad     func(*Settings)
	applies string
	holds   bool
}

const (
	heldRegion = "lines of containers whose region it decides are spooled, and not sent"
	heldAll    = "all lines are spooled, and none is sent"
)

// settings are all variables that the plugin reads, in the order in which they are documented. The
// SDK reads the other AWS_* variables and the proxies' ones itself.
var settings = []setting{
	{
		name: "ROUTE", def: "cloudwatch://auto",
		doc: "logspout's route URL: cloudwatch://REGION-or-auto?OPTIONS",
	},
	{
		name: "LOGSPOUT_GROUP", def: naming.DefaultGroup(), route: true,
		doc: "template of the log group",
		set: func(s *Settings, v value) error { return setTemplate(&s.Group, v, defaultGroup) },
	},
	{
		name: "LOGSPOUT_STREAM", def: naming.DefaultStream(), route: true,
		doc: "template of the log stream",
		set: func(s *Settings, v value) error { return setTemplate(&s.Stream, v, defaultStream) },
	},
	{
		name: "DELAY", def: "4", route: true,
		doc: "time between flushes: seconds (8) or a duration (500ms)",
		set: func(s *Settings, v value) error { return set(&s.Delay, v, parseDuration) },
	},
	{
		name: "NOEC2", route: true, flag: true,
		doc: "any value that is not empty: never ask the EC2 metadata service",
		set: func(s *Settings, _ value) error { s.NoEC2 = true; return nil },
	},
	{
		name: "DEBUG", route: true, flag: true,
		doc: "any value that is not empty: debug-level log, one line a submitted batch",
		set: func(s *Settings, _ value) error { s.Debug = true; return nil },
	},
	{
		name: "AWS_REGION",
		doc:  "region where ROUTE says auto or nothing; auto is the same as not set",
		set:  func(s *Settings, v value) error { return set(&s.awsRegion, v, parseRegion) },

		applies: heldRegion, holds: true, // see chooseRegion
	},
	{
		name: "AWS_DEFAULT_REGION",
		doc:  "as AWS_REGION, which comes first",
		set:  func(s *Settings, v value) error { return set(&s.awsDefaultRegion, v, parseRegion) },

		applies: heldRegion, holds: true,
	},
	{
		name: "GZIP", def: "on",
		doc: "on: gzip request bodies; off: send them plain",
		set: func(s *Settings, v value) error { return set(&s.Gzip, v, parseSwitch) },
	},
	{
		name: "SPOOL_MAX_SIZE", def: "256m",
		doc: "undelivered bytes kept for one container",
		set: func(s *Settings, v value) error { return set(&s.SpoolMaxSize, v, parseSize) },
		bad: func(s *Settings) { s.Unknown.SpoolMaxSize = true }, applies: "256m, or SPOOL_TOTAL_SIZE if that is less, on top of what is on disk",
	},
	{
		name: "SPOOL_TOTAL_SIZE", def: "4g",
		doc: "bytes of all spools together, histories included",
		set: func(s *Settings, v value) error { return set(&s.SpoolTotalSize, v, parseSize) },
		bad: func(s *Settings) { s.Unknown.SpoolTotalSize = true }, applies: "4g, on top of what is on disk",
	},
	{
		name: "SPOOL_FULL", def: string(DropOldest),
		doc: "drop-oldest or drop-newest: which lines are dropped when a spool is full",
		set: func(s *Settings, v value) error { return set(&s.SpoolFull, v, parseFullPolicy) },
		bad: func(s *Settings) { s.SpoolFull = DropNewest }, applies: "drop-newest, which deletes nothing that is kept",
	},
	{
		name: "SPOOL_SYNC", def: "off",
		doc: "off: spools survive a crash of the plugin; an interval (1s): fsynced that often, they survive a power cut up to it",
		set: func(s *Settings, v value) error { return set(&s.SpoolSync, v, parseSync) },
	},
	{
		name: "HISTORY_SIZE", def: "20m",
		doc: "delivered bytes kept for docker logs, for one container; 0: none, and dockerd's own cache serves docker logs",
		set: func(s *Settings, v value) error { return set(&s.HistorySize, v, parseHistorySize) },
		bad: func(s *Settings) { s.Unknown.HistorySize = true }, applies: "20m, or SPOOL_TOTAL_SIZE if that is less, on top of what is on disk",
	},
	{
		name: "HISTORY_AGE", def: "168h",
		doc: "how long a stopped container's history is kept",
		set: func(s *Settings, v value) error { return set(&s.HistoryAge, v, parseAge) },
		bad: func(s *Settings) { s.HistoryAge = unlimited }, applies: "no limit: nothing expires",
	},
	{
		name: "CONTAINER_ENV", def: "on",
		doc: "off: a container's own environment names neither group nor stream and cannot ask to be ignored",
		set: func(s *Settings, v value) error { return set(&s.ContainerEnv, v, parseSwitch) },
		// Off, so that nothing of a container is dropped that should be kept.
		bad:     func(s *Settings) { s.ContainerEnv, s.hold.containerEnv = false, reason("CONTAINER_ENV") },
		applies: "off, and lines of containers whose environment has LOGSPOUT=ignore, LOGSPOUT_GROUP or LOGSPOUT_STREAM, and no option instead, are spooled, and not sent",
		holds:   true,
	},
	{
		name: "ALLOW_GROUPS",
		doc:  "Go regexp that must match the whole name of a log group; where it does not, the default group is used, and a log option fails the container's start",
		set:  func(s *Settings, v value) error { return set(&s.allowGroups, v, parseAllowGroups) },

		// Nobody knows what is allowed, so nothing is.
		bad:     func(s *Settings) { s.hold.all = reason("ALLOW_GROUPS") },
		applies: heldAll, holds: true,
	},
	{
		name: "RETENTION_DAYS",
		doc:  "how many days events are kept in groups that the driver makes: 1, 3, 5, 7, 14, 30, 60, 90, … as the API allows",
		set:  func(s *Settings, v value) error { return set(&s.NewGroup.RetentionDays, v, parseRetention) },
	},
	{
		name: "GROUP_TAGS",
		doc:  "tags of groups that the driver makes: KEY=VALUE,KEY=VALUE",
		set:  func(s *Settings, v value) error { return set(&s.NewGroup.Tags, v, parseTags) },
	},
	{
		name: "GROUP_CLASS",
		doc:  "log class of groups that the driver makes: STANDARD, INFREQUENT_ACCESS, DELIVERY or ESSENTIALS",
		set:  func(s *Settings, v value) error { return set(&s.NewGroup.Class, v, parseClass) },
	},
	{
		name: "KMS_KEY_ID",
		doc:  "ARN of the KMS key that encrypts groups that the driver makes",
		set:  func(s *Settings, v value) error { return set(&s.NewGroup.KMSKeyID, v, parseKMSKey) },

		bad:     func(s *Settings) { s.hold.kmsKey = reason("KMS_KEY_ID") },
		applies: "lines of containers without the log option kms-key-id or create-group=false are spooled, and not sent",
		holds:   true,
	},
	{
		name: "ENTITY_SERVICE_NAME",
		doc:  "template of the service name of the entity that events belong to (CloudWatch's \"Explore related\"); without it and ENTITY_ENVIRONMENT there is no entity",
		set:  func(s *Settings, v value) error { return setEntitySetting(&s.EntityService, v) },
	},
	{
		name: "ENTITY_ENVIRONMENT",
		doc:  "template of the entity's environment",
		set:  func(s *Settings, v value) error { return setEntitySetting(&s.EntityEnvironment, v) },
	},
	{
		name: "ENTITY_ATTRIBUTES",
		doc:  "further attributes of the entity, at most ten: KEY=VALUE,KEY=VALUE",
		set:  func(s *Settings, v value) error { return set(&s.EntityAttributes, v, parseEntityAttributes) },
	},
	{
		name: "PLUGIN_SOCKET", def: "/run/docker/plugins/logspool.sock",
		doc: "where the plugin listens",
		set: func(s *Settings, v value) error { return set(&s.PluginSocket, v, parseSocket) },
	},
	{
		name: "STATE_DIR", def: "/run/docker/logging/.state",
		doc: "where spools and attachment records live",
		set: func(s *Settings, v value) error { return set(&s.StateDir, v, parsePath) },
	},
}

// SettingDocs describes the variables of the plugin's environment.
func SettingDocs() []Doc {
	docs := make([]Doc, len(settings))
	for i, row := range settings {
		docs[i] = Doc{Name: row.name, Default: row.def, Doc: row.doc}
	}
	return docs
}

// RouteOptions returns the names of the options that ROUTE takes.
func RouteOptions() []string {
	var names []string
	for _, row := range settings {
		if row.route {
			names = append(names, row.name)
		}
	}
	return names
}

// set parses a value into a field, and leaves the field as it is if that fails.
func set[T any](field *T, v value, parse func(string) (T, error)) error {
	parsed, err := parse(v.text)
	if err == nil {
		*field = parsed
	}
	return err
}

var (
	defaultGroup  = mustParse(naming.DefaultGroup())
	defaultStream = mustParse(naming.DefaultStream())
	fullID        = mustParse("{{.ID}}")
)

func mustParse(text string) *naming.Template {
	t, err := naming.Parse(text)
	if err != nil {
		panic(err)
	}
	return t
}

// setTemplate parses a template. A broken one leaves the default name, not what was set before:
// somebody meant another name than that.
func setTemplate(field *Template, v value, def *naming.Template) error {
	t, err := naming.Parse(v.text)
	if err != nil {
		*field = Template{Template: def, From: v.from}
		return err
	}
	*field = Template{Template: t, From: v.from}
	return nil
}
