package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/naming"
)

// compare compares the exported fields of settings and containers. Templates and regexps count as
// their text. TestRegionFollowsPrecedence checks where a region comes from.
var compare = cmp.Options{
	cmp.Transformer("text", func(t *naming.Template) string {
		if t == nil {
			return "none"
		}
		return t.String()
	}),
	cmp.Transformer("regexp", func(r *regexp.Regexp) string {
		if r == nil {
			return "none"
		}
		return r.String()
	}),
	cmpopts.IgnoreUnexported(Settings{}, RegionSettings{}, Container{}),
	cmpopts.IgnoreFields(RegionSettings{}, "RegionFrom"),
	cmpopts.IgnoreFields(Container{}, "RegionFrom"),
	cmpopts.EquateEmpty(),
}

func template(text, from string) Template {
	return Template{Template: mustParse(text), From: from}
}

func defaults() *Settings {
	return &Settings{
		Names:        Names{Group: template("{{.LoggerHost}}", "default"), Stream: template("{{.Name}}", "default")},
		Delay:        4 * time.Second,
		Gzip:         true,
		ContainerEnv: true, ContainerLabels: true,
		SpoolSettings: SpoolSettings{
			SpoolLimits:    SpoolLimits{SpoolMaxSize: 256 << 20, SpoolFull: DropOldest, HistorySize: 20 << 20},
			SpoolTotalSize: 4 << 30,
			HistoryAge:     7 * 24 * time.Hour,
		},
		StatusSettings:  StatusSettings{PricePerGB: 0.5},
		MetricsSettings: MetricsSettings{MetricsMaxContainers: 500},
		Paths: Paths{
			PluginSocket: "/run/docker/plugins/logspool.sock",
			StateDir:     "/run/docker/logging/.state",
		},
	}
}

// lines returns the single errors of err. It checks that each of them, and err as a whole, is one
// short line.
func lines(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	errs, ok := errors.AsType[Errors](err)
	if !ok || len(errs) == 0 {
		t.Fatalf("not Errors: %#v", err)
	}
	var lines []string
	for _, e := range errs {
		lines = append(lines, e.Error())
	}
	checkLines(t, append(lines, err.Error()))
	return lines
}

// problemLines returns the setting and text of each problem. It checks that everything in a problem
// is one short line.
func problemLines(t *testing.T, problems []Problem) (lines []string) {
	t.Helper()
	for _, p := range problems {
		checkLines(t, []string{p.Setting, p.Text, p.Applies, p.Error()})
		if p.Setting == "" || p.Text == "" || p.Applies == "" {
			t.Errorf("not complete: %+v", p)
		}
		lines = append(lines, p.Setting+": "+p.Text)
	}
	return lines
}

func checkLines(t *testing.T, lines []string) {
	t.Helper()
	for _, line := range lines {
		if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !strconv.IsPrint(r) }) || len(line) > 4000 {
			t.Errorf("not one short printable line: %q", line)
		}
	}
}

func TestLoadReadsSettings(t *testing.T) {
	with := func(change func(*Settings)) *Settings {
		s := defaults()
		change(s)
		return s
	}
	for _, test := range []struct {
		env  []string
		want *Settings
	}{
		{nil, defaults()},
		{[]string{"PATH=/bin", "novalue", "=x", "DELAY=", "NOEC2=", "DEBUG= ", "ROUTE=", "LOGSPOUT_GROUP=", "AWS_REGION=auto"}, defaults()},
		{[]string{"DELAY=8"}, with(func(s *Settings) { s.Delay = 8 * time.Second })},
		{[]string{"DELAY=8s"}, with(func(s *Settings) { s.Delay = 8 * time.Second })},
		{[]string{"DELAY= 500ms "}, with(func(s *Settings) { s.Delay = 500 * time.Millisecond })},
		{[]string{"DELAY=0.5"}, with(func(s *Settings) { s.Delay = 500 * time.Millisecond })},
		{[]string{"DELAY=1", "DELAY=2"}, with(func(s *Settings) { s.Delay = 2 * time.Second })},
		{[]string{"NOEC2=false", "DEBUG=1"}, with(func(s *Settings) { s.NoEC2, s.Debug = true, true })},
		{[]string{"LOGSPOUT_GROUP=/app/x=y", "LOGSPOUT_STREAM={{.ID}}"}, with(func(s *Settings) {
			s.Group, s.Stream = template("/app/x=y", "LOGSPOUT_GROUP"), template("{{.ID}}", "LOGSPOUT_STREAM")
		})},
		// White space around a region is ignored.
		{[]string{"AWS_REGION= eu-west-1\r\n"}, with(func(s *Settings) { s.Region = "eu-west-1" })},
		{[]string{"AWS_DEFAULT_REGION=\teu-west-1 "}, with(func(s *Settings) { s.Region = "eu-west-1" })},
		{[]string{"ROUTE=cloudwatch:// eu-west-1 \n"}, with(func(s *Settings) { s.Region = "eu-west-1" })},
		{[]string{"ROUTE= cloudwatch://eu-west-1/\t?DELAY=8\n& NOEC2 "}, with(func(s *Settings) {
			s.Region, s.Delay, s.NoEC2 = "eu-west-1", 8*time.Second, true
		})},
		{[]string{"AWS_DEFAULT_REGION=eu-west-1", "AWS_REGION=eu-west-2"}, with(func(s *Settings) { s.Region = "eu-west-2" })},
		{[]string{"AWS_DEFAULT_REGION=eu-west-1", "AWS_REGION=auto"}, with(func(s *Settings) { s.Region = "eu-west-1" })},
		{[]string{"AWS_DEFAULT_REGION=auto"}, defaults()},
		{[]string{"AWS_REGION=us-gov-west-1"}, with(func(s *Settings) { s.Region = "us-gov-west-1" })},
		{[]string{"AWS_REGION=eu-west-1", "ROUTE=cloudwatch://auto"}, with(func(s *Settings) { s.Region = "eu-west-1" })},
		{[]string{"AWS_REGION=eu-west-1", "ROUTE=cloudwatch://us-east-1"}, with(func(s *Settings) { s.Region = "us-east-1" })},
		{[]string{"GZIP=off", "CONTAINER_ENV=Off", "SPOOL_FULL=drop-newest", "SPOOL_SYNC=1s"}, with(func(s *Settings) {
			s.Gzip, s.ContainerEnv, s.SpoolFull, s.SpoolSync = false, false, DropNewest, time.Second
		})},
		{[]string{"GZIP=1", "SPOOL_SYNC=off"}, defaults()},
		{[]string{"SPOOL_MAX_SIZE=1g", "SPOOL_TOTAL_SIZE=10GiB"}, with(func(s *Settings) {
			s.SpoolMaxSize, s.SpoolTotalSize = 1<<30, 10<<30
		})},
		{[]string{"SPOOL_TOTAL_SIZE=100m"}, with(func(s *Settings) { // SPOOL_MAX_SIZE is cut
			s.SpoolMaxSize, s.SpoolTotalSize = 100<<20, 100<<20
		})},
		{[]string{"SPOOL_TOTAL_SIZE=10m"}, with(func(s *Settings) {
			s.SpoolMaxSize, s.SpoolTotalSize, s.HistorySize = 10<<20, 10<<20, 10<<20
		})},
		{[]string{"HISTORY_SIZE=0", "HISTORY_AGE=3600"}, with(func(s *Settings) { s.HistorySize, s.HistoryAge = 0, time.Hour })},
		{[]string{"HISTORY_SIZE= 64k", "HISTORY_AGE= 1m "}, with(func(s *Settings) { s.HistorySize, s.HistoryAge = 64<<10, time.Minute })},
		{[]string{"RETENTION_DAYS= 30", "GROUP_TAGS=team = shop,stage=", "GROUP_CLASS=infrequent-access", "KMS_KEY_ID= arn:aws:kms:eu-west-1:123456789012:key/1 "},
			with(func(s *Settings) {
				s.NewGroup = target.NewGroup{RetentionDays: 30, Tags: map[string]string{"team": "shop", "stage": ""}, Class: "INFREQUENT_ACCESS",
					KMSKeyID: "arn:aws:kms:eu-west-1:123456789012:key/1"}
			})},
		{[]string{"SELF_METRICS= /logspool/metrics_1#a.b ", "METRICS_MAX_CONTAINERS= 0 "}, with(func(s *Settings) {
			s.SelfMetrics, s.MetricsMaxContainers = "/logspool/metrics_1#a.b", 0
		})},
		{[]string{"PLUGIN_SOCKET=/tmp//x.sock", "STATE_DIR=/tmp/a/../b"}, with(func(s *Settings) {
			s.PluginSocket, s.StateDir = "/tmp/x.sock", "/tmp/b"
		})},
		{[]string{"STATUS_ADDR= 9465 ", "PRICE_PER_GB=0"}, with(func(s *Settings) { s.StatusAddr, s.PricePerGB = "127.0.0.1:9465", 0 })},
		{[]string{"STATUS_ADDR=:65535", "PRICE_PER_GB= .76"}, with(func(s *Settings) { s.StatusAddr, s.PricePerGB = "127.0.0.1:65535", 0.76 })},
		{[]string{"STATUS_ADDR=0.0.0.0:9465"}, with(func(s *Settings) { s.StatusAddr = "0.0.0.0:9465" })},
		{[]string{"STATUS_ADDR=" + strings.Repeat("x", 253) + ":1"}, with(func(s *Settings) { s.StatusAddr = strings.Repeat("x", 253) + ":1" })},
		{[]string{"STATUS_ADDR=[::]:9465"}, with(func(s *Settings) { s.StatusAddr = "[::]:9465" })},
		{[]string{"STATUS_ADDR=node-1.example.com:1"}, with(func(s *Settings) { s.StatusAddr = "node-1.example.com:1" })},

		// ROUTE takes precedence over the variables of the same names.
		{[]string{"DELAY=2", "ROUTE=cloudwatch://us-east-1?DELAY=8&NOEC2&DEBUG=1"}, with(func(s *Settings) {
			s.Region, s.Delay, s.NoEC2, s.Debug = "us-east-1", 8*time.Second, true, true
		})},
		{[]string{"LOGSPOUT_GROUP=env", "ROUTE=cloudwatch://auto?LOGSPOUT_GROUP=route&LOGSPOUT_STREAM="}, with(func(s *Settings) {
			s.Group = template("route", "ROUTE option LOGSPOUT_GROUP")
		})},
	} {
		s, problems := Load(test.env)
		if problems != nil {
			t.Errorf("%q: %v", test.env, problems)
		}
		if diff := cmp.Diff(test.want, s, compare); diff != "" {
			t.Errorf("%q: want -, got +\n%s", test.env, diff)
		}
	}
}

func TestInvalidSettingLeavesTheDefault(t *testing.T) {
	const duration = "use seconds (8) or a Go duration (500ms), from 1ms to 24h"
	const size = "use bytes or Docker's units (256m, 4g), from 64k to 1024t"
	const addr = "use HOST:PORT such as 127.0.0.1:9465, or a port from 1 to 65535"
	const price = "use a number from 0 to 1000000, such as 0.50, without a currency"
	for _, test := range []struct {
		env  string
		want string
	}{
		{"DELAY=abc", `DELAY: "abc" is not a duration: ` + duration},
		{"DELAY=0", `DELAY: "0" is out of range: ` + duration},
		{"DELAY=-1s", `DELAY: "-1s" is out of range: ` + duration},
		{"DELAY=1us", `DELAY: "1us" is out of range: ` + duration},
		{"DELAY=25h", `DELAY: "25h" is out of range: ` + duration},
		{"DELAY=99999999999999999999", `DELAY: "99999999999999999999" is not a duration: ` + duration},
		{"DELAY=4\nx", `DELAY: "4\nx" is not a duration: ` + duration},
		{"DELAY=" + strings.Repeat("a", 1000), `DELAY: "` + strings.Repeat("a", 80) + `"… is not a duration: ` + duration},
		{"AWS_REGION=us_east_1", `AWS_REGION: "us_east_1" is not a region: use one such as eu-west-1, or auto`},
		{"AWS_REGION=us-east1", `AWS_REGION: "us-east1" is not a region: use one such as eu-west-1, or auto`},
		{"GZIP=maybe", `GZIP: "maybe" is neither on nor off: use on or off`},
		{"CONTAINER_ENV=2", `CONTAINER_ENV: "2" is neither on nor off: use on or off`},
		{"SPOOL_MAX_SIZE=big", `SPOOL_MAX_SIZE: "big" is not a size: ` + size},
		{"SPOOL_MAX_SIZE=0", `SPOOL_MAX_SIZE: "0" is out of range: ` + size},
		{"SPOOL_MAX_SIZE=-1m", `SPOOL_MAX_SIZE: "-1m" is not a size: ` + size},
		{"SPOOL_TOTAL_SIZE=1e300g", `SPOOL_TOTAL_SIZE: "1e300g" is out of range: ` + size},
		{"SPOOL_TOTAL_SIZE=nan k", `SPOOL_TOTAL_SIZE: "nan k" is out of range: ` + size},
		{"SPOOL_MAX_SIZE=8g", `SPOOL_MAX_SIZE: 8GiB is more than SPOOL_TOTAL_SIZE (4GiB): use a smaller size, or raise SPOOL_TOTAL_SIZE`},
		{"SPOOL_FULL=block", `SPOOL_FULL: "block" is not a policy: use drop-oldest or drop-newest`},
		{"SPOOL_SYNC=often", `SPOOL_SYNC: "often" is not a duration: ` + duration + `, or off`},
		{"HISTORY_SIZE=none", `HISTORY_SIZE: "none" is not a size: ` + size + `, or 0`},
		{"HISTORY_SIZE=1k", `HISTORY_SIZE: "1k" is out of range: ` + size + `, or 0`},
		{"HISTORY_SIZE=-0.1", `HISTORY_SIZE: "-0.1" is not a size: ` + size + `, or 0`},
		{"HISTORY_SIZE=8g", `HISTORY_SIZE: 8GiB is more than SPOOL_TOTAL_SIZE (4GiB): use a smaller size, or raise SPOOL_TOTAL_SIZE`},
		{"HISTORY_AGE=a week", `HISTORY_AGE: "a week" is not a duration: use a Go duration (168h) or seconds, from 1m to 87672h`},
		{"HISTORY_AGE=59s", `HISTORY_AGE: "59s" is out of range: use a Go duration (168h) or seconds, from 1m to 87672h`},
		{"HISTORY_AGE=87673h", `HISTORY_AGE: "87673h" is out of range: use a Go duration (168h) or seconds, from 1m to 87672h`},
		{"RETENTION_DAYS=10", `RETENTION_DAYS: "10" is not a retention in days: use one of ` + retentionDays},
		{"GROUP_TAGS=team", `GROUP_TAGS: "team" is not a KEY=VALUE pair: use KEY=VALUE,KEY=VALUE`},
		{"GROUP_CLASS=cheap", `GROUP_CLASS: "cheap" is not a class of log groups: use one of STANDARD INFREQUENT_ACCESS DELIVERY ESSENTIALS`},
		{"KMS_KEY_ID=a key", `KMS_KEY_ID: "a key" is not a KMS key: use its ARN, at most 256 characters without white space`},
		{"STATUS_ADDR=localhost", `STATUS_ADDR: "localhost" is not an address to listen on: ` + addr},
		{"STATUS_ADDR=" + strings.Repeat("x", 254) + ":1", `STATUS_ADDR: "` + strings.Repeat("x", 80) + `"… is not an address to listen on: ` + addr},
		{"STATUS_ADDR=0", `STATUS_ADDR: "0" is not an address to listen on: ` + addr},
		{"STATUS_ADDR=127.0.0.1:65536", `STATUS_ADDR: "127.0.0.1:65536" is not an address to listen on: ` + addr},
		{"STATUS_ADDR=http://127.0.0.1:1", `STATUS_ADDR: "http://127.0.0.1:1" is not an address to listen on: ` + addr},
		{"STATUS_ADDR=::1:9465", `STATUS_ADDR: "::1:9465" is not an address to listen on: ` + addr},
		{"PRICE_PER_GB=-1", `PRICE_PER_GB: "-1" is not a price: ` + price},
		{"PRICE_PER_GB=NaN", `PRICE_PER_GB: "NaN" is not a price: ` + price},
		{"PRICE_PER_GB=$0.50", `PRICE_PER_GB: "$0.50" is not a price: ` + price},
		{"SELF_METRICS=my logs", `SELF_METRICS: "my logs" is not a log group: use 1 to 512 characters of [.-_/#A-Za-z0-9]`},
		{"SELF_METRICS={{.LoggerHost}}", `SELF_METRICS: "{{.LoggerHost}}" is not a log group: use 1 to 512 characters of [.-_/#A-Za-z0-9]`},
		{"SELF_METRICS=" + strings.Repeat("x", 513), `SELF_METRICS: "` + strings.Repeat("x", 80) + `"… is not a log group: use 1 to 512 characters of [.-_/#A-Za-z0-9]`},
		{"SELF_METRICS=aws/logs", `SELF_METRICS: "aws/logs" begins with aws/, which is reserved for AWS: use another name`},
		{"METRICS_MAX_CONTAINERS=all", `METRICS_MAX_CONTAINERS: "all" is not a number: use 0 to 1000000`},
		{"METRICS_MAX_CONTAINERS=-1", `METRICS_MAX_CONTAINERS: "-1" is not a number: use 0 to 1000000`},
		{"PLUGIN_SOCKET=x.sock", `PLUGIN_SOCKET: "x.sock" is not an absolute path: use one that begins with /`},
		{"PLUGIN_SOCKET=/" + strings.Repeat("x", 107), `PLUGIN_SOCKET: "/` + strings.Repeat("x", 79) + `"… is too long for a socket: use a path of at most 107 bytes`},
		{"STATE_DIR=state", `STATE_DIR: "state" is not an absolute path: use one that begins with /`},
		{"STATE_DIR=/a\x00", `STATE_DIR: "/a\x00" is not an absolute path: use one that begins with /`},
		{"ROUTE=us-east-1", `ROUTE: "us-east-1" is not a route: use cloudwatch://REGION or cloudwatch://auto`},
		{"ROUTE=syslog://x", `ROUTE: "syslog://x" is not a route: use cloudwatch://REGION or cloudwatch://auto`},
		{"ROUTE=cloudwatch://useast1", `ROUTE: "useast1" is not a region: use one such as eu-west-1, or auto`},
		{"ROUTE=cloudwatch://auto/x", `ROUTE: "auto/x" is not a region: use one such as eu-west-1, or auto`},
		{"ROUTE=cloudwatch://auto?FOO=1", `ROUTE: unknown option "FOO": the options are LOGSPOUT_GROUP LOGSPOUT_STREAM DELAY NOEC2 DEBUG`},
		{"ROUTE=cloudwatch://auto?delay=1", `ROUTE: unknown option "delay" (did you mean "DELAY"?): the options are LOGSPOUT_GROUP LOGSPOUT_STREAM DELAY NOEC2 DEBUG`},
		{"ROUTE=cloudwatch://auto?GZIP=off", `ROUTE: unknown option "GZIP": the options are LOGSPOUT_GROUP LOGSPOUT_STREAM DELAY NOEC2 DEBUG`},
		{"ROUTE=cloudwatch://auto?DELAY=4&DELAY=8", `ROUTE: option DELAY is given twice: give it once`},
		{"ROUTE=cloudwatch://auto?DELAY=x", `ROUTE option DELAY: "x" is not a duration: ` + duration},
		{"AWS_DEFAULT_REGION=x", `AWS_DEFAULT_REGION: "x" is not a region: use one such as eu-west-1, or auto`},
		{"AWS_REGION=eu west-1", `AWS_REGION: "eu west-1" is not a region: use one such as eu-west-1, or auto`},
		{"LOGSPOUT_GROUP=/app/{{.Env.A=B}}", `LOGSPOUT_GROUP: template "/app/{{.Env.A=B}}": bad character U+003D '='` +
			`: write a key with characters other than letters, digits and _ as {{index .Env "A=B"}}`},
	} {
		s, problems := Load([]string{test.env})
		got := problemLines(t, problems)
		if len(got) != 1 || got[0] != test.want {
			t.Errorf("%.80q:\n got %q\nwant %q", test.env, got, test.want)
			continue
		}
		// The default applies instead of the invalid value, or a value that deletes nothing.
		want := defaults()
		switch name, value, _ := strings.Cut(test.env, "="); name {
		case "SPOOL_MAX_SIZE":
			if want.Unknown.SpoolMaxSize = true; value == "8g" {
				want.SpoolMaxSize, want.SpoolTotalSize, want.Unknown.SpoolTotalSize = 8<<30, 8<<30, true
			}
		case "SPOOL_TOTAL_SIZE":
			want.Unknown.SpoolTotalSize = true
		case "SPOOL_FULL":
			want.SpoolFull = DropNewest
		case "HISTORY_SIZE":
			if want.Unknown.HistorySize = true; value == "8g" {
				want.HistorySize, want.SpoolTotalSize, want.Unknown.SpoolTotalSize = 8<<30, 8<<30, true
			}
		case "HISTORY_AGE":
			want.HistoryAge = math.MaxInt64
		case "CONTAINER_ENV":
			want.ContainerEnv = false
		case "LOGSPOUT_GROUP":
			want.Group.From = "LOGSPOUT_GROUP"
		}
		if diff := cmp.Diff(want, s, compare); diff != "" {
			t.Errorf("%.80q: want -, got +\n%s", test.env, diff)
		}
	}
}

func TestLoadReportsAllProblems(t *testing.T) {
	s, problems := Load([]string{"DELAY=x", "GZIP=x", "AWS_REGION=x", "SPOOL_FULL=x", "SPOOL_SYNC=x", "STATE_DIR=x", "DEBUG=1",
		"ROUTE=cloudwatch://x?A&B&DELAY=8&LOGSPOUT_STREAM=s"})
	if got := problemLines(t, problems); len(got) != 9 {
		t.Errorf("got %d lines: %q", len(got), got)
	}
	want := defaults() // the valid settings still count
	want.SpoolFull = DropNewest
	want.Debug, want.Delay, want.Stream = true, 8*time.Second, template("s", "ROUTE option LOGSPOUT_STREAM")
	if diff := cmp.Diff(want, s, compare); diff != "" {
		t.Errorf("want -, got +\n%s", diff)
	}
}

func TestProblemSaysWhatApplies(t *testing.T) {
	const all, region = "all lines are spooled but not sent", "lines of containers whose region this setting decides are spooled but not sent"
	for _, test := range []struct {
		env  []string
		want string
	}{
		{[]string{"DELAY=x"}, "4 (the default)"},
		{[]string{"DELAY= 8 ", "ROUTE=cloudwatch://auto?DELAY=x"}, `"8" (DELAY)`},
		{[]string{"DELAY=x", "ROUTE=cloudwatch://auto?DELAY=2"}, `"2" (ROUTE option DELAY)`},
		{[]string{"LOGSPOUT_GROUP={{"}, "{{.LoggerHost}} (the default)"},
		{[]string{"LOGSPOUT_GROUP=g", "ROUTE=cloudwatch://auto?LOGSPOUT_GROUP={{"}, "{{.LoggerHost}} (the default)"},
		{[]string{"LOGSPOUT_GROUP={{", "ROUTE=cloudwatch://auto?LOGSPOUT_GROUP=g"}, `"g" (ROUTE option LOGSPOUT_GROUP)`},
		{[]string{"RETENTION_DAYS=x"}, "none"},
		{[]string{"AWS_REGION=x"}, region},
		{[]string{"AWS_DEFAULT_REGION=x"}, region},
		{[]string{"ROUTE=syslog://x"}, "lines of containers without the log option region are spooled but not sent"},
		{[]string{"ROUTE=cloudwatch://x"}, "lines of containers without the log option region are spooled but not sent"},
		{[]string{"ROUTE=cloudwatch://auto?filter.labels=a:*"}, all},
		{[]string{"ROUTE=cloudwatch://auto?delay=8"}, "it is ignored"},
		{[]string{"ROUTE=cloudwatch://auto?DELAY=8&DELAY=9"}, "the first one"},
		{[]string{"SPOOL_MAX_SIZE=8g"}, "the larger size for both, on top of what is on disk"},
		{[]string{"SPOOL_FULL=x"}, "drop-newest, which deletes no lines that are in the spool"},
		{[]string{"HISTORY_AGE=x"}, "no limit: nothing expires"},
		{[]string{"SELF_METRICS=x y"}, "none: the plugin sends no figures"},
	} {
		_, problems := Load(test.env)
		if len(problems) != 1 || problems[0].Applies != test.want {
			t.Errorf("%q: got %+v, want %q", test.env, problems, test.want)
			continue
		}
		p := problems[0]
		if want := p.Setting + ": " + p.Text + "; until it is fixed: " + test.want; p.Error() != want {
			t.Errorf("got %q, want %q", p.Error(), want)
		}
		if p.Holds != strings.Contains(p.Applies, "spooled") {
			t.Errorf("%q: holds %v, and %q applies", test.env, p.Holds, p.Applies)
		}
	}
}

// A valid size is not compared with an invalid SPOOL_TOTAL_SIZE.
func TestSizesAreKeptIfTheTotalIsInvalid(t *testing.T) {
	s, problems := Load([]string{"SPOOL_TOTAL_SIZE=80gg", "SPOOL_MAX_SIZE=10g", "HISTORY_SIZE=9g"})
	if got := problemLines(t, problems); len(got) != 1 || !strings.HasPrefix(got[0], "SPOOL_TOTAL_SIZE: ") {
		t.Errorf("got %q", got)
	}
	if s.SpoolMaxSize != 10<<30 || s.HistorySize != 9<<30 || s.SpoolTotalSize != defaults().SpoolTotalSize {
		t.Errorf("got %d, %d and %d", s.SpoolMaxSize, s.HistorySize, s.SpoolTotalSize)
	}
	for opts, want := range map[string]SpoolLimits{
		"spool-max-size=20g":  {SpoolMaxSize: 20 << 30, HistorySize: 9 << 30},
		"history-size=19g":    {SpoolMaxSize: 10 << 30, HistorySize: 19 << 30},
		"max-size=8000000000": {SpoolMaxSize: 10 << 30, HistorySize: 8e9},
	} {
		name, value, _ := strings.Cut(opts, "=")
		c, err := s.Container(map[string]string{name: value}, nil, nil)
		if err != nil || c.SpoolMaxSize != want.SpoolMaxSize || c.HistorySize != want.HistorySize {
			t.Errorf("%s: got %d, %d, %v", opts, c.SpoolMaxSize, c.HistorySize, err)
		}
	}
}

// If two settings contradict each other, neither size is cut, because either may be the wrong one.
func TestContradictingSizesAreKept(t *testing.T) {
	s, problems := Load([]string{"SPOOL_TOTAL_SIZE=2m", "HISTORY_SIZE=10m"})
	if got := problemLines(t, problems); len(got) != 1 || s.HistorySize != 10<<20 || s.SpoolMaxSize != defaults().SpoolMaxSize ||
		s.SpoolTotalSize != s.SpoolMaxSize || !s.Unknown.SpoolTotalSize {
		t.Errorf("got %+v, %q", s, got)
	}
	if s, problems = Load([]string{"SPOOL_TOTAL_SIZE=2m"}); problems != nil || s.SpoolMaxSize != 2<<20 || s.HistorySize != 2<<20 {
		t.Errorf("got %+v, %v", s, problems)
	}
}

// If SPOOL_TOTAL_SIZE was lowered, an attached container gets the whole total, not the default.
func TestContainerSizesAreCutToTheTotal(t *testing.T) {
	s := mustLoad(t, "SPOOL_TOTAL_SIZE=1g")
	c, err := s.Container(map[string]string{"history-size": "6g", "spool-max-size": "6g"}, nil, nil)
	if got := lines(t, err); len(got) != 2 || c.HistorySize != 1<<30 || c.SpoolMaxSize != 1<<30 {
		t.Errorf("got %d, %d and %q", c.HistorySize, c.SpoolMaxSize, got)
	}
}

func TestRouteValuesAreDecoded(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`/app/x`, `/app/x`},
		{`/app%2Fx`, `/app/x`},
		{`a+b`, `a b`}, // as in every URL
		{`a%2Bb`, `a+b`},
		{`#a;b`, `#a;b`},
		{`50%`, `50%`},
		{`{{.Lbl "com.x"}}/{{.Name}}`, `{{.Lbl "com.x"}}/{{.Name}}`},
		{`{{.Lbl%20"com.x"}}`, `{{.Lbl "com.x"}}`},
		{`%7B%7B.Lbl+%22com.x%22%7D%7D`, `{{.Lbl "com.x"}}`},
		{`%7B%7B.Lbl%20%22com.x%22%7D%7D%26`, `{{.Lbl "com.x"}}&`},
		{`{{printf "%s-%s" .Name .ID}}`, `{{printf "%s-%s" .Name .ID}}`},
		{`{{printf "%02d" 1}}`, `{{printf "%02d" 1}}`},
		{`{{replace "&" "+" .Name}}`, `{{replace "&" "+" .Name}}`},
		{`{{.Name}}=x`, `{{.Name}}=x`},
		{`é`, `é`},
	} {
		s, problems := Load([]string{"ROUTE=cloudwatch://auto/?NOEC2&LOGSPOUT_GROUP=" + test.text + "&DELAY=8"})
		if problems != nil || s.Group.String() != test.want || !s.NoEC2 || s.Delay != 8*time.Second {
			t.Errorf("%s: got %q, %v, %v, %v", test.text, s.Group, s.NoEC2, s.Delay, problems)
		}
	}
	if s, problems := Load([]string{"ROUTE= CloudWatch://eu-west-1 "}); problems != nil || s.Region != "eu-west-1" {
		t.Errorf("got %q, %v", s.Region, problems)
	}
}

func TestRowsAreUniqueAndDefaultsAreValid(t *testing.T) {
	s := &Settings{}
	seen := map[string]bool{"": true}
	for i, row := range settings {
		if seen[row.name] || row.doc == "" || row.set == nil && row.name != "ROUTE" && row.name != "LOG_OPTS" {
			t.Errorf("row %d: %+v", i, row)
		}
		seen[row.name] = true
		if row.set != nil && row.def != "" {
			if err := row.set(s, value{text: row.def}); err != nil {
				t.Errorf("%s: its default is refused: %v", row.name, err)
			}
		}
		if doc := SettingDocs()[i]; doc != (Doc{Name: row.name, Default: row.def, Doc: row.doc}) {
			t.Errorf("%+v", doc)
		}
		if row.name == "ROUTE" {
			if r := parseRoute(row.def); !reflect.DeepEqual(r, route{}) {
				t.Errorf("the default route is not the zero route: %+v", r)
			}
		}
	}
	seen = map[string]bool{"": true}
	for i, row := range options {
		for _, name := range []string{row.name, row.alias} {
			if seen[name] && name != "" || row.name == "" || row.doc == "" {
				t.Errorf("row %d: %+v", i, row)
			}
			seen[name] = true
		}
		if doc := OptionDocs()[i]; doc != (Doc{Name: row.name, Alias: row.alias, Default: row.def, Doc: row.doc, Label: row.label}) {
			t.Errorf("%+v", doc)
		}
	}
	seen[""] = false
	want := "LOGSPOUT_GROUP LOGSPOUT_STREAM DELAY NOEC2 DEBUG"
	if got := strings.Join(RouteOptions(), " "); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzEnvironment(f *testing.F) {
	f.Add("GROUP_TAGS", "a=b,\xff=c,aws:x=y,a=\n")
	f.Add("HISTORY_AGE", "9e9h")
	f.Add("RETENTION_DAYS", "4294967297")
	for _, row := range settings {
		f.Add(row.name, row.def)
		f.Add(row.name, "\xff\n\x00")
	}
	f.Add("SPOOL_MAX_SIZE", "nan b")
	f.Add("DELAY", "1e9")
	f.Add("STATE_DIR", "/\x00")
	f.Add("STATUS_ADDR", "[::%eth0]:1")
	f.Fuzz(func(t *testing.T, name, text string) {
		s, problems := Load([]string{name + "=" + text})
		problemLines(t, problems)
		checkSettings(t, s, problems)
	})
}

func FuzzRoute(f *testing.F) {
	f.Add(`cloudwatch://us-east-1?DELAY=8&NOEC2&DEBUG=1&LOGSPOUT_GROUP={{.Lbl "x"}}&LOGSPOUT_STREAM=%7B%7B.ID%7D%7D`)
	f.Add("cloudwatch://?{{&}}&=&%zz=%zz&LOGSPOUT_GROUP={{}}{{")
	f.Add("CLOUDWATCH://\x00?\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, problems := Load([]string{"ROUTE=" + text})
		problemLines(t, problems)
		checkSettings(t, s, problems)
	})
}

// checkSettings checks the invariants of settings.
func checkSettings(t *testing.T, s *Settings, problems []Problem) {
	t.Helper()
	if s.Group.Template == nil || s.Stream.Template == nil || s.Group.From == "" || s.Stream.From == "" ||
		s.Region != "" && !regionSyntax.MatchString(s.Region) ||
		s.Delay < minDuration || s.Delay > maxDuration ||
		s.SpoolSync != 0 && (s.SpoolSync < minDuration || s.SpoolSync > maxDuration) ||
		s.SpoolTotalSize < minSize || s.SpoolTotalSize > maxSize || s.SpoolMaxSize < minSize || s.SpoolMaxSize > s.largest() ||
		s.SpoolFull != DropOldest && s.SpoolFull != DropNewest ||
		s.HistorySize != 0 && s.HistorySize < minSize || s.HistorySize > s.largest() ||
		s.HistoryAge < minAge || s.HistoryAge > maxAge && (problems == nil || s.HistoryAge != unlimited) ||
		!strings.HasPrefix(s.PluginSocket, "/") || !strings.HasPrefix(s.StateDir, "/") {
		t.Errorf("unusable: %+v", s)
	}
	checkNewGroup(t, s.NewGroup)
}

func ExampleErrors() {
	s, _ := Load(nil)
	_, err := s.Container(map[string]string{"delay": "abc"}, nil, nil)
	fmt.Println(err)
	// Output:
	// logspool: log option "delay": "abc" is not a duration: use seconds (8) or a Go duration (500ms), from 1ms to 24h
}
