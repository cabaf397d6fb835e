package config

import (
	"slices"

	"github.com/logspool/logspool/naming"
)

// A value is what a user wrote, and where.
type value struct {
	text, from string
	alias      bool // alias says that an option was given in awslogs's spelling.
	tag        bool // tag says that the text is the value of the option tag.
}

const (
	fromDefault = "default"
	fromOption  = "log option "
	fromLogOpts = "LOG_OPTS option "
)

// A setting is a variable of the plugin's environment. If set returns an error, it leaves
// the setting as it was, but an invalid template sets the default name. Only ROUTE and
// LOG_OPTS have no set, because Load parses them.
type setting struct {
	name string
	// def is the default, which set reads like any other value; empty means that nothing
	// is set.
	def string
	doc string
	// route says that ROUTE has an option of the same name.
	route bool
	// flag says that the name alone sets the option in ROUTE.
	flag bool
	// template says that an invalid value sets the default name, and that no other source then
	// counts, because the user meant a different name.
	template bool
	// set reads the value, and its error gives the value and what is allowed.
	set func(*Settings, value) error
	// bad sets what applies instead of an invalid value that was given at from; nil leaves
	// the value of the next source.
	bad func(s *Settings, from string)
	// applies says in the log what applies instead of an invalid value; Load fills it in
	// if it is empty.
	applies string
	// onTop says that a size which applies instead counts on top of what is on disk. applies
	// is then only about the case that no other source has a size.
	onTop bool
	// holds says that lines are spooled but not sent while the value is invalid.
	holds bool
}

const (
	heldRegion = "lines of containers whose region this setting decides are spooled but not sent"
	heldAll    = "all lines are spooled but not sent"
)

// settings are all variables that the plugin reads, in the order of the documentation.
// The SDK itself reads the other AWS_* variables and those of the proxies.
// CONTRIBUTING.md lists what else a new setting needs.
var settings = []setting{
	{
		name: "ROUTE", def: "cloudwatch://auto",
		doc: "logspout's route URL: cloudwatch://REGION-or-auto?OPTIONS",
	},
	{
		name: "LOGSPOUT_GROUP", def: naming.DefaultGroup(), route: true, template: true,
		doc: "template of the log group",
		set: func(s *Settings, v value) error { return setTemplate(&s.Group, v, defaultGroup) },
	},
	{
		name: "LOGSPOUT_STREAM", def: naming.DefaultStream(), route: true, template: true,
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
		doc: "any value: the plugin never queries the EC2 metadata service",
		set: func(s *Settings, _ value) error { s.NoEC2 = true; return nil },
	},
	{
		name: "DEBUG", route: true, flag: true,
		doc: "any value: the plugin logs at debug level, with one line per submitted batch",
		set: func(s *Settings, _ value) error { s.Debug = true; return nil },
	},
	{
		name: "AWS_REGION",
		doc:  "the region to use if ROUTE gives auto or no region; auto means the same as unset",
		set:  func(s *Settings, v value) error { return set(&s.awsRegion, v, parseRegion) },

		applies: heldRegion, holds: true, // see chooseRegion
	},
	{
		name: "AWS_DEFAULT_REGION",
		doc:  "like AWS_REGION, which takes precedence",
		set:  func(s *Settings, v value) error { return set(&s.awsDefaultRegion, v, parseRegion) },

		applies: heldRegion, holds: true,
	},
	{
		name: "GZIP", def: "on",
		doc: "on: the plugin compresses request bodies with gzip; off: it sends them uncompressed",
		set: func(s *Settings, v value) error { return set(&s.Gzip, v, parseSwitch) },
	},
	{
		name: "SPOOL_MAX_SIZE", def: "256m",
		doc: "the most undelivered bytes that the plugin keeps for one container",
		set: func(s *Settings, v value) error { return set(&s.SpoolMaxSize, v, parseSize) },

		bad:     func(s *Settings, _ string) { s.Unknown.SpoolMaxSize = true },
		applies: "256m, or SPOOL_TOTAL_SIZE if that is less", onTop: true,
	},
	{
		name: "SPOOL_TOTAL_SIZE", def: "4g",
		doc: "the most bytes that all spools may take together, including delivered history",
		set: func(s *Settings, v value) error { return set(&s.SpoolTotalSize, v, parseSize) },

		bad:     func(s *Settings, _ string) { s.Unknown.SpoolTotalSize = true },
		applies: "4g", onTop: true,
	},
	{
		name: "SPOOL_FULL", def: string(DropOldest),
		doc: "drop-oldest or drop-newest: which lines the plugin drops when a spool is full",
		set: func(s *Settings, v value) error { return set(&s.SpoolFull, v, parseFullPolicy) },

		bad:     func(s *Settings, _ string) { s.SpoolFull = DropNewest },
		applies: "drop-newest, which deletes no lines that are in the spool",
	},
	{
		name: "SPOOL_SYNC", def: "off",
		doc: "off: spools survive a crash of the plugin; an interval (1s): the plugin also calls fsync that often, and spools survive a power cut up to the last fsync",
		set: func(s *Settings, v value) error { return set(&s.SpoolSync, v, parseSync) },
	},
	{
		name: "HISTORY_SIZE", def: "20m",
		doc: "the most delivered bytes that the plugin keeps for docker logs, for one container; 0: none, and dockerd's own cache serves docker logs",
		set: func(s *Settings, v value) error { return set(&s.HistorySize, v, parseHistorySize) },

		bad:     func(s *Settings, _ string) { s.Unknown.HistorySize = true },
		applies: "20m, or SPOOL_TOTAL_SIZE if that is less", onTop: true,
	},
	{
		name: "HISTORY_AGE", def: "168h",
		doc: "how long the plugin keeps the history of a stopped container",
		set: func(s *Settings, v value) error { return set(&s.HistoryAge, v, parseAge) },

		bad:     func(s *Settings, _ string) { s.HistoryAge = unlimited },
		applies: "no limit: nothing expires",
	},
	{
		name: "CONTAINER_ENV", def: "on",
		doc: "off: a container's own environment sets neither the group nor the stream, and cannot request that the container be ignored",
		set: func(s *Settings, v value) error { return set(&s.ContainerEnv, v, parseSwitch) },

		// Off, so that LOGSPOUT=ignore drops nothing that should be kept.
		bad:     func(s *Settings, from string) { s.ContainerEnv, s.hold.containerEnv = false, reason(from) },
		applies: "off; lines of containers whose environment has LOGSPOUT=ignore, LOGSPOUT_GROUP or LOGSPOUT_STREAM are spooled but not sent, unless an option sets the name",
		holds:   true,
	},
	{
		name: "CONTAINER_LABELS", def: "on",
		doc: "off: a container's labels logspool.OPTION set none of its options",
		set: func(s *Settings, v value) error { return set(&s.ContainerLabels, v, parseSwitch) },

		bad:     func(s *Settings, from string) { s.ContainerLabels, s.hold.containerLabels = false, reason(from) },
		applies: "off; lines of containers with a label that would set an option are spooled but not sent, unless a log option takes its place",
		holds:   true,
	},
	{
		name: "ALLOW_GROUPS",
		doc:  "Go regexp that must match the whole name of a log group; if it does not, the plugin uses the default group, or the container does not start if a log option names the group",
		set:  func(s *Settings, v value) error { return set(&s.allowGroups, v, parseAllowGroups) },

		// It is unknown which groups are allowed, so none is.
		bad:     func(s *Settings, from string) { s.hold.all = reason(from) },
		applies: heldAll, holds: true,
	},
	{
		name: "LOG_OPTS",
		doc:  "JSON object of log options, the defaults for every container: {\"format\":\"json\",\"delay\":8}",
	},
	{
		name: "RETENTION_DAYS",
		doc:  "retention, in days, of groups that the plugin creates: 1, 3, 5, 7, 14, 30, 60, 90, … as the API allows",
		set:  func(s *Settings, v value) error { return set(&s.NewGroup.RetentionDays, v, parseRetention) },
	},
	{
		name: "GROUP_TAGS",
		doc:  "tags of groups that the plugin creates: KEY=VALUE,KEY=VALUE",
		set:  func(s *Settings, v value) error { return set(&s.NewGroup.Tags, v, parseTags) },
	},
	{
		name: "GROUP_CLASS",
		doc:  "log class of groups that the plugin creates: STANDARD, INFREQUENT_ACCESS, DELIVERY or ESSENTIALS",
		set:  func(s *Settings, v value) error { return set(&s.NewGroup.Class, v, parseClass) },
	},
	{
		name: "KMS_KEY_ID",
		doc:  "ARN of the KMS key that encrypts groups that the plugin creates",
		set:  func(s *Settings, v value) error { return set(&s.NewGroup.KMSKeyID, v, parseKMSKey) },

		bad:     func(s *Settings, from string) { s.hold.kmsKey = reason(from) },
		applies: "lines of containers without the log option kms-key-id or create-group=false are spooled but not sent",
		holds:   true,
	},
	{
		name: "ENTITY_SERVICE_NAME",
		doc:  "template of the service name of the entity that events belong to (CloudWatch's \"Explore related\"); the plugin sends no entity unless this setting or ENTITY_ENVIRONMENT is set",
		set:  func(s *Settings, v value) error { return setEntityTemplate(&s.EntityService, v) },
	},
	{
		name: "ENTITY_ENVIRONMENT",
		doc:  "template of the entity's environment",
		set:  func(s *Settings, v value) error { return setEntityTemplate(&s.EntityEnvironment, v) },
	},
	{
		name: "ENTITY_ATTRIBUTES",
		doc:  "further attributes of the entity, at most ten: KEY=VALUE,KEY=VALUE",
		set:  func(s *Settings, v value) error { return set(&s.EntityAttributes, v, parseEntityAttributes) },
	},
	{
		name: "STATUS_ADDR",
		doc:  "HOST:PORT, or a port of 127.0.0.1, where the plugin serves the status page, /metrics, /healthz and /readyz, without authentication; unless set, it serves them nowhere",
		set:  func(s *Settings, v value) error { return set(&s.StatusAddr, v, parseStatusAddr) },
	},
	{
		name: "PRICE_PER_GB", def: "0.50",
		doc: "the price of a GB of ingested logs, for the status page",
		set: func(s *Settings, v value) error { return set(&s.PricePerGB, v, parsePrice) },
	},
	{
		name: "SELF_METRICS",
		doc:  "a log group: the plugin sends its key figures there once a minute, in CloudWatch's embedded metric format",
		set:  func(s *Settings, v value) error { return set(&s.SelfMetrics, v, parseGroupName) },

		applies: "none: the plugin sends no figures",
	},
	{
		name: "METRICS_MAX_CONTAINERS", def: "500",
		doc: "how many containers have Prometheus metrics of their own; with more, the metrics are sums by log group",
		set: func(s *Settings, v value) error { return set(&s.MetricsMaxContainers, v, parseCount) },
	},
	{
		name: "PLUGIN_SOCKET", def: "/run/docker/plugins/logspool.sock",
		doc: "where the plugin listens",
		set: func(s *Settings, v value) error { return set(&s.PluginSocket, v, parseSocket) },
	},
	{
		name: "STATE_DIR", def: "/run/docker/logging/.state",
		doc: "where the plugin stores spools and attachment records",
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

// set parses a value into a field. If that fails, it leaves the field as it was.
func set[T any](field *T, v value, parse func(string) (T, error)) error {
	parsed, err := parse(v.text)
	if err == nil {
		*field = parsed
	}
	return err
}

// settingRow returns the row of a setting, or nil.
func settingRow(name string) *setting {
	i := slices.IndexFunc(settings, func(row setting) bool { return row.name == name })
	if i < 0 {
		return nil
	}
	return &settings[i]
}
