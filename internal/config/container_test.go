package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/naming"
)

func mustLoad(t testing.TB, env ...string) *Settings {
	t.Helper()
	s, problems := Load(env)
	if problems != nil {
		t.Fatal(problems)
	}
	return s
}

func mustTag(text string) *naming.Template {
	t, err := naming.ParseTag(text)
	if err != nil {
		panic(err)
	}
	return t
}

type opts = map[string]string

func TestContainerReadsOptions(t *testing.T) {
	with := func(change func(*Container)) *Container {
		c := &Container{
			Names:        Names{Group: template("{{.LoggerHost}}", "default"), Stream: template("{{.Name}}", "default")},
			Create:       target.Create{Group: true, Stream: true, NewGroup: &target.NewGroup{}},
			Delay:        4 * time.Second,
			SpoolLimits:  SpoolLimits{SpoolMaxSize: 256 << 20, SpoolFull: DropOldest, HistorySize: 20 << 20},
			EventOptions: EventOptions{Format: FormatText},
		}
		change(c)
		return c
	}
	same := func(*Container) {}
	for _, test := range []struct {
		name    string
		plugin  []string
		opts    opts
		env     []string
		changes func(*Container)
	}{
		{"nothing", nil, nil, nil, same},
		{"empty is not given", nil, opts{"group": "", "awslogs-region": " ", "delay": "", "endpoint": ""},
			[]string{"LOGSPOUT_GROUP=", "LOGSPOUT="}, same},
		{"dockerd's own", nil, opts{"mode": "non-blocking", "max-buffer-size": "4m", "cache-disabled": "true", "cache-max-size": "1m",
			"cache-max-file": "2", "cache-compress": "false", "compress": "true"}, nil, same},
		{"all options", nil, opts{"group": "g", "stream": "s", "region": "eu-west-1", "endpoint": "http://127.0.0.1:4566/", "create-group": "false",
			"create-stream": "0", "delay": "500ms", "spool-max-size": "1m", "spool-full": "drop-newest"}, nil, func(c *Container) {
			*c = Container{
				Names:        Names{Group: template("g", "log option group"), Stream: template("s", "log option stream")},
				Access:       target.Access{Region: "eu-west-1", Endpoint: "http://127.0.0.1:4566"},
				Delay:        500 * time.Millisecond,
				SpoolLimits:  SpoolLimits{SpoolMaxSize: 1 << 20, SpoolFull: DropNewest, HistorySize: 20 << 20},
				EventOptions: EventOptions{Format: FormatText},
				Create:       target.Create{NewGroup: &target.NewGroup{}},
			}
		}},
		{"as awslogs spells them", nil, opts{"awslogs-group": "g", "awslogs-stream": "s", "awslogs-region": "eu-west-1",
			"awslogs-endpoint": "https://logs.example:8443/base", "awslogs-create-group": "false", "awslogs-create-stream": "f",
			"awslogs-force-flush-interval-seconds": "8"}, nil, func(c *Container) {
			*c = Container{
				Names:        Names{Group: template("g", "log option awslogs-group"), Stream: template("s", "log option awslogs-stream")},
				Access:       target.Access{Region: "eu-west-1", Endpoint: "https://logs.example:8443/base"},
				Delay:        8 * time.Second,
				SpoolLimits:  SpoolLimits{SpoolMaxSize: 256 << 20, SpoolFull: DropOldest, HistorySize: 20 << 20},
				EventOptions: EventOptions{Format: FormatText},
				Create:       target.Create{NewGroup: &target.NewGroup{}},
			}
		}},
		{"two spellings, one value", nil, opts{"group": "g", "awslogs-group": "g", "stream": "s", "awslogs-stream": "s"}, nil, func(c *Container) {
			c.Group, c.Stream = template("g", "log option group"), template("s", "log option stream")
		}},
		{"two spellings, one of them blank", nil, opts{"region": " ", "awslogs-region": "eu-west-1"}, nil, func(c *Container) { c.Region = "eu-west-1" }},
		{"two spellings, and white space", nil, opts{"region": "eu-west-1 ", "awslogs-region": "eu-west-1"}, nil, func(c *Container) { c.Region = "eu-west-1" }},
		{"auto in capitals", []string{"ROUTE=cloudwatch://AUTO"}, opts{"region": "Auto"}, nil, func(c *Container) { c.RegionAuto = true }},

		{"a bare host, as awslogs", nil, opts{"awslogs-endpoint": "logs.us-east-1.amazonaws.com"}, nil, func(c *Container) {
			c.Endpoint = "https://logs.us-east-1.amazonaws.com"
		}},
		{"a bare host with a port", nil, opts{"endpoint": " logs.local:4566/ "}, nil, func(c *Container) { c.Endpoint = "https://logs.local:4566" }},
		{"a bare address", nil, opts{"endpoint": "[::1]:4566"}, nil, func(c *Container) { c.Endpoint = "https://[::1]:4566" }},

		{"multi-line", nil, opts{"multiline-pattern": `^\[ `}, nil, func(c *Container) { c.Pattern = regexp.MustCompile(`^\[ `) }},
		{"a date, as awslogs", nil, opts{"awslogs-datetime-format": `\[%b %d, %Y`}, nil, func(c *Container) {
			c.Pattern = regexp.MustCompile(`\[(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (?:0[1-9]|[1,2][0-9]|3[0,1]), \d{4}`)
		}},
		{"a date with more than awslogs knows", nil, opts{"datetime-format": "%Y%T%%%T 5%"}, nil, func(c *Container) {
			c.Pattern = regexp.MustCompile(`\d{4} 5%`)
			c.Warnings = []string{`log option datetime-format: "%T %%": not a known sequence, so it is ignored, as in awslogs; the known sequences are ` +
				`%A %B %H %I %L %M %S %Y %Z %a %b %d %f %j %m %p %w %y %z`}
		}},
		{"a date of nothing that awslogs knows", nil, opts{"awslogs-datetime-format": "%T"}, nil, func(c *Container) {
			c.Warnings = []string{`log option awslogs-datetime-format: "%T": not a known sequence, so it is ignored, as in awslogs; the known sequences are ` +
				`%A %B %H %I %L %M %S %Y %Z %a %b %d %f %j %m %p %w %y %z`}
		}},
		{"JSON", nil, opts{"format": " JSON ", "tag": "{{.Name}}", "stream": "s", "labels": "a,b", "labels-regex": "^com", "env": "A", "env-regex": "^X"}, nil,
			func(c *Container) {
				c.Format, c.Tag, c.Stream = FormatJSON, mustTag("{{.Name}}"), template("s", "log option stream")
				c.Labels, c.Env = []string{"a", "b"}, []string{"A"}
				c.LabelsRegex, c.EnvRegex = regexp.MustCompile("^com"), regexp.MustCompile("^X")
			}},
		{"JSON of several lines", nil, opts{"format": "json", "multiline-pattern": "^x"}, nil, func(c *Container) {
			c.Format, c.Pattern = FormatJSON, regexp.MustCompile("^x")
		}},
		{"metrics, as awslogs", nil, opts{"awslogs-format": "json/emf"}, nil, func(c *Container) { c.Format = FormatEMF }},
		{"metrics, spelled twice", nil, opts{"awslogs-format": "json/emf", "format": "json/emf"}, nil, func(c *Container) { c.Format = FormatEMF }},
		{"text", nil, opts{"format": "text"}, nil, same},
		{"filters", nil, opts{"include-pattern": "ERROR ", "exclude-pattern": "(?i)health", "strip-ansi": "1"}, nil, func(c *Container) {
			c.Include, c.Exclude, c.StripANSI = regexp.MustCompile("ERROR "), regexp.MustCompile("(?i)health"), true
		}},

		{"a new group", []string{"RETENTION_DAYS=7", "GROUP_TAGS=a=b", "GROUP_CLASS=STANDARD", "KMS_KEY_ID=k"}, nil, nil, func(c *Container) {
			c.Create.NewGroup = &target.NewGroup{RetentionDays: 7, Tags: map[string]string{"a": "b"}, Class: "STANDARD", KMSKeyID: "k"}
		}},
		{"another new group", []string{"RETENTION_DAYS=7", "GROUP_TAGS=a=b", "GROUP_CLASS=STANDARD", "KMS_KEY_ID=k"},
			opts{"retention-days": "3653", "group-tags": "c=d", "group-class": "essentials", "kms-key-id": "l"}, nil, func(c *Container) {
				c.Create.NewGroup = &target.NewGroup{RetentionDays: 3653, Tags: map[string]string{"c": "d"}, Class: "ESSENTIALS", KMSKeyID: "l"}
			}},

		{"a role", nil, opts{"role-arn": " arn:aws-us-gov:iam::123456789012:role/ops/team+x/logs "}, nil, func(c *Container) {
			c.RoleARN = "arn:aws-us-gov:iam::123456789012:role/ops/team+x/logs"
		}},
		{"a role and its ID", nil, opts{"role-arn": "arn:aws:iam::123456789012:role/logs", "external-id": "a+=,.@:/-_9"}, nil, func(c *Container) {
			c.RoleARN, c.ExternalID = "arn:aws:iam::123456789012:role/logs", "a+=,.@:/-_9"
		}},
		{"a task's credentials", nil, opts{"awslogs-credentials-endpoint": "/v2/credentials/1?a=b"}, nil, func(c *Container) {
			c.CredentialsEndpoint = "/v2/credentials/1?a=b"
		}},

		{"history", nil, opts{"history-size": "1m"}, nil, func(c *Container) { c.HistorySize = 1 << 20 }},
		{"no history", nil, opts{"history-size": "0b", "max-size": "10m"}, nil, func(c *Container) { c.HistorySize = 0 }},
		{"history of the plugin", []string{"HISTORY_SIZE=3m"}, nil, nil, func(c *Container) { c.HistorySize = 3 << 20 }},
		{"a file", nil, opts{"max-size": "10m"}, nil, func(c *Container) { c.HistorySize = 10_000_000 }},
		{"files", nil, opts{"max-size": "10m", "max-file": "3"}, nil, func(c *Container) { c.HistorySize = 30_000_000 }},
		{"files of no size", nil, opts{"max-file": "3"}, nil, same},
		{"a small file", nil, opts{"max-size": "1k"}, nil, func(c *Container) { c.HistorySize = 64 << 10 }},
		{"many files", nil, opts{"max-size": "9e18", "max-file": "9223372036854775807"}, nil, func(c *Container) { c.HistorySize = 4 << 30 }},
		{"many large files", nil, opts{"max-size": "3g", "max-file": "9223372036854775807"}, nil, func(c *Container) { c.HistorySize = 4 << 30 }},
		{"files without end", nil, opts{"max-size": "-1", "max-file": "2"}, nil, func(c *Container) { c.HistorySize = 4 << 30 }},
		{"awslogs's buffer", nil, opts{"awslogs-max-buffered-events": "4096", "max-buffered-events": "4096"}, nil, same},

		// Changing only the driver's name keeps awslogs's stream.
		{"awslogs-group alone", nil, opts{"awslogs-group": "g"}, nil, func(c *Container) {
			c.Group, c.Stream = template("g", "log option awslogs-group"), template("{{.ID}}", "log option awslogs-group")
		}},
		{"group alone", nil, opts{"group": "g"}, nil, func(c *Container) { c.Group = template("g", "log option group") }},
		{"awslogs-group and a tag", nil, opts{"awslogs-group": "g", "tag": "{{.ID}}"}, nil, func(c *Container) {
			c.Group, c.Stream.From = template("g", "log option awslogs-group"), "log option tag"
			c.Stream = template("{{.ShortID}}", "log option tag") // the text is compared below
			c.Tag = mustTag("{{.ID}}")
		}},
		{"awslogs-group and the container", nil, opts{"awslogs-group": "g"}, []string{"LOGSPOUT_STREAM=own"}, func(c *Container) {
			c.Group, c.Stream = template("g", "log option awslogs-group"), template("own", "the container's LOGSPOUT_STREAM")
		}},
		{"awslogs-group and the plugin", []string{"LOGSPOUT_STREAM=plugin"}, opts{"awslogs-group": "g"}, nil, func(c *Container) {
			c.Group, c.Stream = template("g", "log option awslogs-group"), template("plugin", "LOGSPOUT_STREAM")
		}},
		{"awslogs-group and the route", []string{"ROUTE=cloudwatch://auto?LOGSPOUT_STREAM=route"}, opts{"awslogs-group": "g"}, nil, func(c *Container) {
			c.Group, c.Stream = template("g", "log option awslogs-group"), template("route", "ROUTE option LOGSPOUT_STREAM")
		}},
		{"stream before tag", nil, opts{"stream": "s", "tag": "t"}, []string{"LOGSPOUT_STREAM=own"}, func(c *Container) {
			c.Stream, c.Tag = template("s", "log option stream"), mustTag("t")
		}},

		// Precedence, from the lowest to the highest.
		{"the plugin", []string{"LOGSPOUT_GROUP=p", "DELAY=1"}, nil, nil, func(c *Container) {
			c.Group, c.Delay = template("p", "LOGSPOUT_GROUP"), time.Second
		}},
		{"the route", []string{"LOGSPOUT_GROUP=p", "DELAY=1", "ROUTE=cloudwatch://auto?LOGSPOUT_GROUP=r&DELAY=2"}, nil, nil, func(c *Container) {
			c.Group, c.Delay = template("r", "ROUTE option LOGSPOUT_GROUP"), 2*time.Second
		}},
		{"the container", []string{"ROUTE=cloudwatch://auto?LOGSPOUT_GROUP=r"}, nil, []string{"LOGSPOUT_GROUP=c", "LOGSPOUT_STREAM=d"}, func(c *Container) {
			c.Group, c.Stream = template("c", "the container's LOGSPOUT_GROUP"), template("d", "the container's LOGSPOUT_STREAM")
		}},
		{"the option", []string{"ROUTE=cloudwatch://auto?LOGSPOUT_GROUP=r&DELAY=2"}, opts{"group": "o", "delay": "3"}, []string{"LOGSPOUT_GROUP=c"}, func(c *Container) {
			c.Group, c.Delay = template("o", "log option group"), 3*time.Second
		}},

		{"region of AWS_REGION", []string{"AWS_REGION=eu-west-1"}, nil, nil, func(c *Container) { c.Region = "eu-west-1" }},
		{"region of ROUTE", []string{"AWS_REGION=eu-west-1", "ROUTE=cloudwatch://eu-west-2"}, nil, nil, func(c *Container) { c.Region = "eu-west-2" }},
		{"region of the option", []string{"AWS_REGION=eu-west-1", "ROUTE=cloudwatch://eu-west-2"}, opts{"region": "eu-west-3"}, nil,
			func(c *Container) { c.Region = "eu-west-3" }},
		{"auto overrides ROUTE", []string{"ROUTE=cloudwatch://eu-west-2"}, opts{"region": "auto"}, nil, func(c *Container) { c.RegionAuto = true }},
		{"auto is AWS_REGION first", []string{"AWS_REGION=eu-west-1", "ROUTE=cloudwatch://eu-west-2"}, opts{"awslogs-region": "auto"}, nil,
			func(c *Container) { c.Region, c.RegionAuto = "eu-west-1", true }},

		{"ignored", nil, nil, []string{"LOGSPOUT=IGNORE"}, func(c *Container) { c.Ignore = true }},
		{"not ignored", nil, nil, []string{"LOGSPOUT=ignored"}, same},
		{"CONTAINER_ENV=off", []string{"CONTAINER_ENV=off"}, nil, []string{"LOGSPOUT=ignore", "LOGSPOUT_GROUP=c", "LOGSPOUT_STREAM={{"}, same},

		{"broken template of the container", []string{"LOGSPOUT_GROUP=p"}, nil, []string{"LOGSPOUT_GROUP={{.Nope"}, func(c *Container) {
			c.Group.From = "the container's LOGSPOUT_GROUP" // as in logspout, the default name and not the setting
			c.Warnings = []string{`the container's LOGSPOUT_GROUP: template "{{.Nope": unclosed action; the default name is used`}
		}},
		{"broken, but not asked for", nil, opts{"group": "g"}, []string{"LOGSPOUT_GROUP={{"}, func(c *Container) { c.Group = template("g", "log option group") }},
	} {
		got, err := mustLoad(t, test.plugin...).Container(test.opts, test.env, nil)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got.Stream.From == "log option tag" {
			if got.Stream.String() != "{{.ID}}" || !got.Stream.Uses("ID") {
				t.Errorf("%s: got %q", test.name, got.Stream)
			}
			got.Stream = template("{{.ShortID}}", "log option tag") // which is what a tag's .ID is
		}
		if diff := cmp.Diff(with(test.changes), got, compare); diff != "" {
			t.Errorf("%s: want -, got +\n%s", test.name, diff)
		}
	}
}

const (
	retentionDays = "1 3 5 7 14 30 60 90 120 150 180 365 400 545 731 1096 1827 2192 2557 2922 3288 3653"
	goSyntax      = ", use the syntax of Go (https://golang.org/s/re2syntax)"
	notARole      = " is not the ARN of a role: use one such as arn:aws:iam::123456789012:role/NAME"
	notAPath      = ": the value (not shown here) is not a path on the container credentials endpoint: " +
		"use one that begins with /, such as /v2/credentials/ID"
)

func manyTags(n int) string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("k%d=v", i)
	}
	return strings.Join(tags, ",")
}

func TestInvalidOptionsAreRefused(t *testing.T) {
	const endpoint = " is not the URL of an endpoint: use http:// or https:// and a host, without user, query or fragment"
	var names []string
	for _, d := range OptionDocs() {
		if !strings.HasPrefix(d.Doc, "dockerd's own") {
			names = append(names, d.Name)
		}
	}
	known := ": the options are " + strings.Join(names, " ")
	for _, test := range []struct {
		opts opts
		want string
	}{
		{opts{"group": "{{"}, `log option "group": template "{{": unclosed action`},
		{opts{"awslogs-stream": "{{.Nmae}}"}, `log option "awslogs-stream": template "{{.Nmae}}": there is no field .Nmae: the fields are .Host .Env .Labels .Name .ID ` +
			`.LoggerHost .InstanceID .Region .ShortID .ImageName .ImageID .DaemonName .Command .Source .Lbl`},
		{opts{"tag": "{{.LoggerHost}}"}, `log option "tag": template "{{.LoggerHost}}": there is no field .LoggerHost: the fields are .ID .FullID .Name .ImageID ` +
			`.ImageFullID .ImageName .DaemonName .Command .Hostname .ContainerID .ContainerName .ContainerEntrypoint .ContainerArgs .ContainerImageID ` +
			`.ContainerImageName .ContainerEnv .ContainerLabels .ContainerCreated .Config .LogPath .ExtraAttributes`},
		{opts{"tag": "{{", "stream": "s"}, `log option "tag": template "{{": unclosed action`},
		{opts{"region": "x"}, `log option "region": "x" is not a region: use one such as eu-west-1, or auto`},
		{opts{"awslogs-region": "x"}, `log option "awslogs-region": "x" is not a region: use one such as eu-west-1, or auto`},
		{opts{"create-group": "yes"}, `log option "create-group": "yes" is not a boolean: use true or false`},
		{opts{"awslogs-create-stream": "on"}, `log option "awslogs-create-stream": "on" is not a boolean: use true or false`},
		{opts{"awslogs-force-flush-interval-seconds": "0"}, `log option "awslogs-force-flush-interval-seconds": "0" is out of range: ` + durationsAllowed},
		{opts{"spool-max-size": "8g"}, `log option "spool-max-size": 8GiB is more than SPOOL_TOTAL_SIZE (4GiB): use a smaller size, or raise SPOOL_TOTAL_SIZE`},
		{opts{"spool-max-size": "1k"}, `log option "spool-max-size": "1k" is out of range: use bytes or Docker's units (256m, 4g), from 64k to 1024t`},
		{opts{"spool-full": "block"}, `log option "spool-full": "block" is not a policy: use drop-oldest or drop-newest`},
		{opts{"group": "a", "awslogs-group": "b"},
			`log options "group" and "awslogs-group" are two spellings of one option and have different values ("a" and "b"): give one of them`},
		{opts{"multiline-pattern": "^ ", "awslogs-multiline-pattern": "^"},
			`log options "multiline-pattern" and "awslogs-multiline-pattern" are two spellings of one option and have different values ("^ " and "^"): give one of them`},

		{opts{"multiline-pattern": "*"}, `log option "multiline-pattern": "*" is not a regexp: missing argument to repetition operator in "*"` + goSyntax},
		{opts{"multiline-pattern": "(?<=a)b"}, `log option "multiline-pattern": "(?<=a)b" is not a regexp: invalid named capture in "(?<=a)b"` + goSyntax},
		{opts{"multiline-pattern": "(a{1000}){9}(a{1000}){9}"}, `log option "multiline-pattern": "(a{1000}){9}(a{1000}){9}" is not a regexp: ` +
			`invalid repeat count in "{9}"` + goSyntax},
		{opts{"multiline-pattern": strings.Repeat("a{1000}", 11)}, `log option "multiline-pattern": "` + strings.Repeat("a{1000}", 11) +
			`" is not a regexp: it compiles to 11002 instructions, which is more than 10000: use fewer or smaller repetitions`},
		{opts{"multiline-pattern": strings.Repeat("a", 8193)}, `log option "multiline-pattern": "` + strings.Repeat("a", 80) +
			`"… is not a regexp: it has 8193 bytes, use at most 8192`},
		{opts{"awslogs-multiline-pattern": "a\xff"}, `log option "awslogs-multiline-pattern": "a\xff" is not a regexp: invalid UTF-8 in "\xff"` + goSyntax},
		{opts{"datetime-format": "[%Y"}, `log option "datetime-format": "[%Y" is not a valid format: missing closing ] in "[\\d{4}"` + goSyntax},
		{opts{"datetime-format": "%Y", "awslogs-multiline-pattern": "x"},
			`log options "awslogs-multiline-pattern" and "datetime-format" cannot be combined ("x" and "%Y"): give one of them`},
		{opts{"format": "xml"}, `log option "format": "xml" is not a format: use text, json or json/emf`},
		{opts{"awslogs-format": "json"}, `log option "awslogs-format": "json" is not a format of awslogs: use json/emf, or the option format`},
		{opts{"awslogs-format": "xml"}, `log option "awslogs-format": "xml" is not a format of awslogs: use json/emf, or the option format`},
		{opts{"format": "json/emf", "multiline-pattern": "x"},
			`log options "format" and "multiline-pattern" cannot be combined ("json/emf" and "x"): give one of them, or another format`},
		{opts{"awslogs-format": "json/emf", "datetime-format": "%Y"},
			`log options "awslogs-format" and "datetime-format" cannot be combined ("json/emf" and "%Y"): give one of them, or another format`},
		{opts{"labels-regex": "["}, `log option "labels-regex": "[" is not a regexp: missing closing ] in "["` + goSyntax},
		{opts{"env-regex": ")"}, `log option "env-regex": ")" is not a regexp: unexpected ) in ")"` + goSyntax},
		{opts{"include-pattern": "("}, `log option "include-pattern": "(" is not a regexp: missing closing ) in "("` + goSyntax},
		{opts{"exclude-pattern": "a**"}, `log option "exclude-pattern": "a**" is not a regexp: invalid nested repetition operator in "**"` + goSyntax},
		{opts{"strip-ansi": "yes"}, `log option "strip-ansi": "yes" is not a boolean: use true or false`},
		{opts{"retention-days": "10"}, `log option "retention-days": "10" is not a retention in days: use one of ` + retentionDays},
		{opts{"retention-days": "0"}, `log option "retention-days": "0" is not a retention in days: use one of ` + retentionDays},
		{opts{"retention-days": "4294967297"}, `log option "retention-days": "4294967297" is not a retention in days: use one of ` + retentionDays},
		{opts{"retention-days": "7d"}, `log option "retention-days": "7d" is not a retention in days: use one of ` + retentionDays},
		{opts{"group-tags": "a=b,c"}, `log option "group-tags": "c" in "a=b,c" is not a KEY=VALUE pair: use KEY=VALUE,KEY=VALUE`},
		{opts{"group-tags": "a=b,"}, `log option "group-tags": "" in "a=b," is not a KEY=VALUE pair: use KEY=VALUE,KEY=VALUE`},
		{opts{"group-tags": "=b"}, `log option "group-tags": "=b" is not a KEY=VALUE pair: use KEY=VALUE,KEY=VALUE`},
		{opts{"group-tags": "a=b, a=c"}, `log option "group-tags": "a=b, a=c" has the key "a" twice: give it once`},
		{opts{"group-tags": "AWS:a=b"}, `log option "group-tags": the key "AWS:a" begins with aws:, which is reserved for AWS: use another`},
		{opts{"group-tags": "a*=b"}, `log option "group-tags": the key "a*" has a character that is not allowed in tags: use letters, digits, spaces and _ . : / = + - @`},
		{opts{"group-tags": "a=\xff"}, `log option "group-tags": the value "\xff" of the key "a" has a character that is not allowed in tags: ` +
			`use letters, digits, spaces and _ . : / = + - @`},
		{opts{"group-tags": strings.Repeat("é", 129) + "=b"}, `log option "group-tags": the key "` + strings.Repeat("é", 40) +
			`"… has 129 characters: use at most 128`},
		{opts{"group-tags": "a=" + strings.Repeat("b", 257)}, `log option "group-tags": the value of the key "a" has 257 characters: use at most 256`},
		{opts{"group-tags": manyTags(51)}, `log option "group-tags": "` + manyTags(51)[:80] + `"… has 51 tags: use at most 50`},
		{opts{"group-class": "GLACIER"}, `log option "group-class": "GLACIER" is not a class of log groups: use one of STANDARD INFREQUENT_ACCESS DELIVERY ESSENTIALS`},
		{opts{"kms-key-id": strings.Repeat("k", 257)}, `log option "kms-key-id": "` + strings.Repeat("k", 80) +
			`"… is not a KMS key: use its ARN, at most 256 characters without white space`},
		{opts{"role-arn": "logs"}, `log option "role-arn": "logs"` + notARole},
		{opts{"role-arn": "arn:aws:iam::1234:role/x"}, `log option "role-arn": "arn:aws:iam::1234:role/x"` + notARole},
		{opts{"role-arn": "arn:aws:iam::123456789012:user/x"}, `log option "role-arn": "arn:aws:iam::123456789012:user/x"` + notARole},
		{opts{"role-arn": "arn:aws:iam::123456789012:role/"}, `log option "role-arn": "arn:aws:iam::123456789012:role/"` + notARole},
		{opts{"role-arn": "arn:aws:iam::123456789012:role/a b"}, `log option "role-arn": "arn:aws:iam::123456789012:role/a b"` + notARole},
		{opts{"role-arn": "logs", "external-id": "abc"}, `log option "role-arn": "logs"` + notARole},
		{opts{"external-id": "abc"}, `log option "external-id": "abc" needs a role: give role-arn as well`},
		{opts{"role-arn": "arn:aws:iam::123456789012:role/x", "external-id": "a"}, `log option "external-id": "a" is not an external ID: ` +
			`use 2 to 1224 letters, digits and _ + = , . @ : / -`},
		{opts{"role-arn": "arn:aws:iam::123456789012:role/x", "external-id": "a b"}, `log option "external-id": "a b" is not an external ID: ` +
			`use 2 to 1224 letters, digits and _ + = , . @ : / -`},
		{opts{"role-arn": "arn:aws:iam::123456789012:role/x", "external-id": strings.Repeat("a", 1225)}, `log option "external-id": "` +
			strings.Repeat("a", 80) + `"… is not an external ID: use 2 to 1224 letters, digits and _ + = , . @ : / -`},
		{opts{"role-arn": "arn:aws:iam::123456789012:role/" + strings.Repeat("x", 2048) + "/x"}, `log option "role-arn": "arn:aws:iam::123456789012:role/` +
			strings.Repeat("x", 49) + `"…` + notARole},
		{opts{"credentials-endpoint": "http://169.254.170.2/x"}, `log option "credentials-endpoint"` + notAPath},
		{opts{"awslogs-credentials-endpoint": "@example.com/x"}, `log option "awslogs-credentials-endpoint"` + notAPath},
		{opts{"credentials-endpoint": "/x y"}, `log option "credentials-endpoint"` + notAPath},
		{opts{"credentials-endpoint": "/x\n"}, ""}, // white space around a value is not its own
		{opts{"credentials-endpoint": "?x"}, `log option "credentials-endpoint"` + notAPath},
		{opts{"credentials-endpoint": "/x#y"}, `log option "credentials-endpoint"` + notAPath},
		{opts{"credentials-endpoint": "/x\x00y"}, `log option "credentials-endpoint"` + notAPath},
		{opts{"credentials-endpoint": "/a", "awslogs-credentials-endpoint": "/b"},
			`log options "credentials-endpoint" and "awslogs-credentials-endpoint" are two spellings of one option and have different values: give one of them`},
		{opts{"endpoint": "http://u:p@x", "awslogs-endpoint": "http://u:q@x"},
			`log options "endpoint" and "awslogs-endpoint" are two spellings of one option and have different values: give one of them`},
		{opts{"history-size": "-1"}, `log option "history-size": "-1" is not a size: use bytes or Docker's units (256m, 4g), from 64k to 1024t, or 0`},
		{opts{"history-size": "8g"}, `log option "history-size": 8GiB is more than SPOOL_TOTAL_SIZE (4GiB): use a smaller size, or raise SPOOL_TOTAL_SIZE`},
		{opts{"max-buffered-events": "0"}, `log option "max-buffered-events": "0" is not a positive number: use 1 or more, without a unit`},
		{opts{"awslogs-max-buffered-events": "4k"}, `log option "awslogs-max-buffered-events": "4k" is not a positive number: use 1 or more, without a unit`},
		{opts{"max-size": "0"}, `log option "max-size": "0" is not the size of a file: use a positive number of bytes, with k, m or g (10m), or -1`},
		{opts{"max-size": "-2"}, `log option "max-size": "-2" is not the size of a file: use a positive number of bytes, with k, m or g (10m), or -1`},
		{opts{"max-size": "9e99"}, `log option "max-size": "9e99" is not the size of a file: use a positive number of bytes, with k, m or g (10m), or -1`},
		{opts{"max-size": "big", "max-file": "2"}, `log option "max-size": "big" is not the size of a file: use a positive number of bytes, with k, m or g (10m), or -1`},
		{opts{"max-size": "1m", "max-file": "0"}, `log option "max-file": "0" is not a positive number: use 1 or more, without a unit`},

		{opts{"endpoint": "logs example"}, `log option "endpoint": "logs example"` + endpoint},
		{opts{"endpoint": "logs.example/path"}, `log option "endpoint": "logs.example/path"` + endpoint},
		{opts{"endpoint": "http:/x"}, `log option "endpoint": "http:/x"` + endpoint},
		{opts{"endpoint": "x:99999"}, `log option "endpoint": "x:99999"` + endpoint},
		{opts{"endpoint": "ftp://x"}, `log option "endpoint": "ftp://x"` + endpoint},
		{opts{"endpoint": "http://:80"}, `log option "endpoint": "http://:80"` + endpoint},
		{opts{"endpoint": "http://x:99999"}, `log option "endpoint": "http://x:99999"` + endpoint},
		{opts{"endpoint": "http://x y"}, `log option "endpoint": "http://x y"` + endpoint},
		// A value that may contain a password is not repeated.
		{opts{"endpoint": "http://u:p@x"}, `log option "endpoint": the value (not shown here)` + endpoint},
		{opts{"endpoint": "http://x?token=t"}, `log option "endpoint": the value (not shown here)` + endpoint},
		{opts{"endpoint": "http://x#f"}, `log option "endpoint": the value (not shown here)` + endpoint},

		{opts{"": "x"}, `unknown log option ""` + known},
		{opts{"strem": "x"}, `unknown log option "strem" (did you mean "stream"?)`},
		{opts{"awslogs-strem": "x"}, `unknown log option "awslogs-strem" (did you mean "awslogs-stream"?)`},
		{opts{"awslog-group": "x"}, `unknown log option "awslog-group" (did you mean "awslogs-group"?)`},
		{opts{"awslogs-delay": "x"}, `unknown log option "awslogs-delay" (did you mean "delay"?)`},
		{opts{"awslogs-mode": "x"}, `unknown log option "awslogs-mode" (did you mean "mode"?)`},
		{opts{"Create_Group": "x"}, `unknown log option "Create_Group" (did you mean "create-group"?)`},
		{opts{"rgeion": "x"}, `unknown log option "rgeion" (did you mean "region"?)`},
		{opts{"tags": "x"}, `unknown log option "tags" (did you mean "tag"?)`},
		{opts{"syslog-address": "x"}, `unknown log option "syslog-address"` + known},
		{opts{"label": "x"}, `unknown log option "label" (did you mean "labels"?)`},
		{opts{"a\nb": "x"}, `unknown log option "a\nb"` + known},
	} {
		c, err := mustLoad(t).Container(test.opts, nil, nil)
		if got := lines(t, err); test.want == "" && got != nil || test.want != "" && (len(got) != 1 || got[0] != test.want) {
			t.Errorf("%v:\n got %q\nwant %q", test.opts, got, test.want)
		}
		checkContainer(t, c)
	}

	// All errors are listed in the order of the table, then unknown options in the order of names.
	c, err := mustLoad(t).Container(opts{"zzz": "", "yyy": "", "delay": "x", "region": "x", "endpoint": "http://127.0.0.1"}, nil, nil)
	got := lines(t, err)
	for i, want := range []string{`"region"`, `"delay"`, `"yyy"`, `"zzz"`} {
		if len(got) != 4 || !strings.Contains(got[i], want) {
			t.Errorf("got %q", got)
		}
	}
	if c.Endpoint != "http://127.0.0.1" || c.Delay != 4*time.Second {
		t.Errorf("the good ones do not hold: %+v", c)
	}
}

// Whatever a setting, an option or a container's environment holds, its error is one printable
// line.
func TestErrorsAreOnePrintableLine(t *testing.T) {
	for _, text := range []string{"a\nlevel=error msg=fake", "\x1b[2J\x1b]0;owned\x07", "\u202egnp.exe\u2066", "a\xff\xfe", "\u2028\u0085\x7f",
		"x" + strings.Repeat("é", 5000)} {
		for _, row := range settings {
			for _, entry := range []string{row.name + "=" + text, row.name + "={{.Labels." + text + "}}",
				"ROUTE=cloudwatch://auto?" + row.name + "=" + text + "&" + text} {
				_, problems := Load([]string{entry})
				problemLines(t, problems)
			}
		}
		all := opts{text: text, "awslogs-" + text: "x"}
		for _, row := range options {
			all[row.name], all[row.alias] = text, "{{"+text
			c, err := mustLoad(t).Container(opts{row.name: text}, []string{"LOGSPOUT_GROUP={{" + text, "LOGSPOUT_STREAM={{.Env." + text + "}}"}, nil)
			checkLines(t, append(lines(t, err), c.Warnings...))
		}
		_, err := mustLoad(t).Container(all, nil, nil)
		lines(t, err)
	}
	// The text is cut between characters.
	_, err := mustLoad(t).Container(opts{"delay": "x" + strings.Repeat("é", 80)}, nil, nil)
	if want := `log option "delay": "x` + strings.Repeat("é", 39) + `"… is not a duration`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func checkContainer(t *testing.T, c *Container) {
	t.Helper()
	if c.Group.Template == nil || c.Stream.Template == nil || c.Group.From == "" || c.Stream.From == "" ||
		c.Region != "" && !regionSyntax.MatchString(c.Region) || c.Delay < minDuration || c.Delay > maxDuration ||
		c.SpoolMaxSize < minSize || c.SpoolFull == "" || strings.ContainsAny(c.Endpoint, "@?# ") ||
		c.HistorySize != 0 && c.HistorySize < minSize || c.HistorySize > 4<<30 ||
		c.Format != FormatText && c.Format != FormatJSON && (c.Format != FormatEMF || c.Pattern != nil) ||
		c.RoleARN != "" && !roleSyntax.MatchString(c.RoleARN) || c.ExternalID != "" && c.RoleARN == "" ||
		c.CredentialsEndpoint != "" && c.CredentialsEndpoint[0] != '/' || c.RegionAuto && c.Region != "" {
		t.Errorf("unusable: %+v", c)
	}
	checkNewGroup(t, *c.Create.NewGroup)
}

func checkNewGroup(t *testing.T, g target.NewGroup) {
	t.Helper()
	if g.RetentionDays != 0 && !slices.Contains(retentions, g.RetentionDays) || g.Class != "" && !slices.Contains(classes, g.Class) ||
		len(g.KMSKeyID) > 256*utf8.UTFMax || strings.ContainsAny(g.KMSKeyID, " \n\x00") || len(g.Tags) > maxTags {
		t.Errorf("unusable: %+v", g)
	}
	for k, v := range g.Tags {
		if k == "" || !utf8.ValidString(k+v) || strings.HasPrefix(strings.ToLower(k), "aws:") || strings.ContainsAny(k+v, ",*\n\x00") {
			t.Errorf("unusable: %q=%q", k, v)
		}
	}
}

func FuzzLogOptions(f *testing.F) {
	for _, row := range options {
		f.Add(row.name, "x", row.alias, "y", "LOGSPOUT=ignore")
	}
	f.Add("endpoint", "http://[::1]:80/%zz", "awslogs-region", "auto", "LOGSPOUT_GROUP={{")
	f.Add("endpoint", "http://%40", "tag", "{{.ID}}", "LOGSPOUT_STREAM={{.}}")
	f.Add("multiline-pattern", "(((a{10}){10}){10})*", "datetime-format", "%Y[%", "=")
	f.Add("format", "json/emf", "awslogs-datetime-format", "%Y", "=")
	f.Add("max-size", "9e18", "max-file", "9223372036854775807", "=")
	f.Add("group-tags", "a=b,\xff=\n,aws:x=y", "external-id", "aa", "=")
	f.Add("role-arn", "arn:aws:iam::123456789012:role/x", "external-id", "aa", "=")
	f.Add("credentials-endpoint", "/%zz", "history-size", "0", "=")
	f.Add("\xff", "\x00\n", "spool-max-size", "1e9", "=")
	s := mustLoad(f, "ROUTE=cloudwatch://eu-west-1")
	f.Fuzz(func(t *testing.T, name1, text1, name2, text2, env string) {
		c, err := s.Container(opts{name1: text1, name2: text2}, []string{env}, nil)
		checkLines(t, append(lines(t, err), c.Warnings...))
		checkContainer(t, c)
		c.Attrs(map[string]string{text1: text2}, []string{env})
	})
}
