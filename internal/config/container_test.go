package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/naming"
)

func mustLoad(t testing.TB, env ...string) *Settings {
	t.Helper()
	s, err := Load(env)
	if err != nil {
		t.Fatal(err)
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

func TestContainer(t *testing.T) {
	with := func(change func(*Container)) *Container {
		c := &Container{
			Group:        template("{{.LoggerHost}}", "default"),
			Stream:       template("{{.Name}}", "default"),
			CreateGroup:  true,
			CreateStream: true,
			Delay:        4 * time.Second,
			SpoolMaxSize: 256 << 20,
			SpoolFull:    DropOldest,
			HistorySize:  20 << 20,
			Format:       FormatText,
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
			*c = Container{Group: template("g", "log option group"), Stream: template("s", "log option stream"), Region: "eu-west-1",
				Endpoint: "http://127.0.0.1:4566", Delay: 500 * time.Millisecond, SpoolMaxSize: 1 << 20, SpoolFull: DropNewest,
				HistorySize: 20 << 20, Format: FormatText}
		}},
		{"as awslogs spells them", nil, opts{"awslogs-group": "g", "awslogs-stream": "s", "awslogs-region": "eu-west-1",
			"awslogs-endpoint": "https://logs.example:8443/base", "awslogs-create-group": "false", "awslogs-create-stream": "f",
			"awslogs-force-flush-interval-seconds": "8"}, nil, func(c *Container) {
			*c = Container{Group: template("g", "log option awslogs-group"), Stream: template("s", "log option awslogs-stream"), Region: "eu-west-1",
				Endpoint: "https://logs.example:8443/base", Delay: 8 * time.Second, SpoolMaxSize: 256 << 20, SpoolFull: DropOldest,
				HistorySize: 20 << 20, Format: FormatText}
		}},
		{"two spellings, one value", nil, opts{"group": "g", "awslogs-group": "g", "stream": "s", "awslogs-stream": "s"}, nil, func(c *Container) {
			c.Group, c.Stream = template("g", "log option group"), template("s", "log option stream")
		}},
		{"two spellings, one of them blank", nil, opts{"region": " ", "awslogs-region": "eu-west-1"}, nil, func(c *Container) { c.Region = "eu-west-1" }},
		{"two spellings, and white space", nil, opts{"region": "eu-west-1 ", "awslogs-region": "eu-west-1"}, nil, func(c *Container) { c.Region = "eu-west-1" }},
		{"auto in capitals", []string{"ROUTE=cloudwatch://AUTO"}, opts{"region": "Auto"}, nil, func(c *Container) { c.RegionAuto = true }},

		// Whoever changes only the driver's name keeps awslogs's stream.
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
			c.Group.From = "the container's LOGSPOUT_GROUP" // the default name, not the plugin's: as logspout
			c.Warnings = []string{`the container's LOGSPOUT_GROUP: template "{{.Nope": unclosed action; the default name is used`}
		}},
		{"broken, but not asked for", nil, opts{"group": "g"}, []string{"LOGSPOUT_GROUP={{"}, func(c *Container) { c.Group = template("g", "log option group") }},
	} {
		got, err := mustLoad(t, test.plugin...).Container(test.opts, test.env)
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

func TestContainerErrors(t *testing.T) {
	const endpoint = " is not the URL of an endpoint: use http:// or https:// and a host, without user, query or fragment"
	const known = ": the options are group stream tag region endpoint create-group create-stream delay " +
		"multiline-pattern datetime-format format labels labels-regex env env-regex include-pattern exclude-pattern strip-ansi " +
		"retention-days group-tags group-class kms-key-id role-arn external-id credentials-endpoint spool-max-size spool-full " +
		"history-size max-buffered-events max-size max-file"
	for _, test := range []struct {
		opts opts
		want string
	}{
		{opts{"group": "{{"}, `log option "group": template "{{": unclosed action`},
		{opts{"awslogs-stream": "{{.Nmae}}"}, `log option "awslogs-stream": template "{{.Nmae}}": there is no field .Nmae: the fields are .Host .Env .Labels .Name .ID ` +
			`.LoggerHost .InstanceID .Region .ShortID .ImageName .ImageID .DaemonName .Command .Source .Lbl`},
		{opts{"tag": "{{.LoggerHost}}"}, `log option "tag": template "{{.LoggerHost}}": there is no field .LoggerHost: the fields are .ID .FullID .Name .ImageID ` +
			`.ImageFullID .ImageName .DaemonName .Command .Hostname .ContainerID .ContainerName .ContainerEntrypoint .ContainerArgs .ContainerImageID ` +
			`.ContainerImageName .ContainerEnv .ContainerLabels`},
		{opts{"tag": "{{", "stream": "s"}, `log option "tag": template "{{": unclosed action`},
		{opts{"region": "x"}, `log option "region": "x" is not a region: use one such as eu-west-1, or auto`},
		{opts{"awslogs-region": "x"}, `log option "awslogs-region": "x" is not a region: use one such as eu-west-1, or auto`},
		{opts{"create-group": "yes"}, `log option "create-group": "yes" is not a boolean: use true or false`},
		{opts{"awslogs-create-stream": "on"}, `log option "awslogs-create-stream": "on" is not a boolean: use true or false`},
		{opts{"awslogs-force-flush-interval-seconds": "0"}, `log option "awslogs-force-flush-interval-seconds": "0" is out of range: ` + durationsAllowed},
		{opts{"spool-max-size": "8g"}, `log option "spool-max-size": 8GiB is more than SPOOL_TOTAL_SIZE, 4GiB`},
		{opts{"spool-max-size": "1k"}, `log option "spool-max-size": "1k" is out of range: use bytes or Docker's units (256m, 4g), from 64k to 1024t`},
		{opts{"spool-full": "block"}, `log option "spool-full": "block" is not a policy: use drop-oldest or drop-newest`},
		{opts{"group": "a", "awslogs-group": "b"},
			`log options "group" and "awslogs-group" are two spellings of one option, and differ ("a" and "b"): give one of them`},

		{opts{"endpoint": "logs.example"}, `log option "endpoint": "logs.example"` + endpoint},
		{opts{"endpoint": "ftp://x"}, `log option "endpoint": "ftp://x"` + endpoint},
		{opts{"endpoint": "http://:80"}, `log option "endpoint": "http://:80"` + endpoint},
		{opts{"endpoint": "http://x:99999"}, `log option "endpoint": "http://x:99999"` + endpoint},
		{opts{"endpoint": "http://x y"}, `log option "endpoint": "http://x y"` + endpoint},
		// What may hold a password does not come back.
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
		c, err := mustLoad(t).Container(test.opts, nil)
		if got := lines(t, err); len(got) != 1 || got[0] != test.want {
			t.Errorf("%v:\n got %q\nwant %q", test.opts, got, test.want)
		}
		checkContainer(t, c)
	}

	// All of them, in the order of the table, then unknown ones in the order of their names.
	c, err := mustLoad(t).Container(opts{"zzz": "", "yyy": "", "delay": "x", "region": "x", "endpoint": "http://127.0.0.1"}, nil)
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

func TestClosest(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3},
	} {
		if got := edits(test.a, test.b); got != test.want {
			t.Errorf("%q, %q: got %d, want %d", test.a, test.b, got, test.want)
		}
	}
	if got := closest(strings.Repeat("group", 20), []string{"group"}); got != "" {
		t.Errorf("got %q", got)
	}
}

func checkContainer(t *testing.T, c *Container) {
	t.Helper()
	if c.Group.Template == nil || c.Stream.Template == nil || c.Group.From == "" || c.Stream.From == "" ||
		c.Region != "" && !regionSyntax.MatchString(c.Region) || c.Delay < minDuration || c.Delay > maxDuration ||
		c.SpoolMaxSize < minSize || c.SpoolFull == "" || strings.ContainsAny(c.Endpoint, "@?# ") {
		t.Errorf("unusable: %+v", c)
	}
}

func FuzzLogOptions(f *testing.F) {
	for _, row := range options {
		f.Add(row.name, "x", row.alias, "y", "LOGSPOUT=ignore")
	}
	f.Add("endpoint", "http://[::1]:80/%zz", "awslogs-region", "auto", "LOGSPOUT_GROUP={{")
	f.Add("endpoint", "http://%40", "tag", "{{.ID}}", "LOGSPOUT_STREAM={{.}}")
	f.Add("\xff", "\x00\n", "spool-max-size", "1e9", "=")
	s := mustLoad(f, "ROUTE=cloudwatch://eu-west-1")
	f.Fuzz(func(t *testing.T, name1, text1, name2, text2, env string) {
		c, err := s.Container(opts{name1: text1, name2: text2}, []string{env})
		checkLines(t, append(lines(t, err), c.Warnings...))
		checkContainer(t, c)
	})
}
