package check

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logspool/logspool/internal/cwlocal"
)

// cause is one thing that is wrong.
type cause struct {
	name  string
	clock time.Duration // clock is how far the clock of CloudWatch is ahead.
	spoil func(*world)
	// bad names the only check that is bad. detail and remedy are regexps that it matches.
	bad, detail, remedy string
	// unknown are the checks that cannot know the answer then. All others are good.
	unknown []string
	// left are the log groups that remain.
	left []string
}

var (
	permissions = []string{"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}
	withKeys    = slices.Concat([]string{"identity"}, permissions)
	everyAWS    = slices.Concat([]string{"region", "endpoint", "clock", "credentials"}, withKeys)
)

func (w *world) env(name, value string) { w.Plugin.Env[name] = value }

func (w *world) fault(f cwlocal.Fault) { w.cw.AddFault(f) }

func (w *world) denied(operation string) {
	w.fault(cwlocal.Fault{Kind: cwlocal.Denied, Operation: operation})
}

func statfsOf(s unix.Statfs_t) func(string, *unix.Statfs_t) error {
	return func(_ string, to *unix.Statfs_t) error { *to = s; return nil }
}

const testRole = "arn:aws:iam::123456789012:role/logs"

var causes = []cause{
	{name: "nothing"},
	{
		name: "invalid setting", spoil: func(w *world) { w.env("DELAY", "soon") },
		bad: "settings", detail: `DELAY: "soon" is not a duration.*4 \(the default\)`, remedy: `docker plugin set logspool DELAY=VALUE`,
	},
	{
		name: "invalid region", spoil: func(w *world) { w.env("AWS_REGION", "europe") },
		bad: "settings", detail: `AWS_REGION: "europe" is not a region`, remedy: `AWS_REGION=VALUE`,
		unknown: slices.Concat([]string{"aws configuration"}, everyAWS),
	},
	{
		name: "invalid log option", spoil: func(w *world) { w.LogOpts = map[string]string{"grup": "g"} },
		bad: "log options", detail: `unknown log option "grup" \(did you mean "group"\?\)`, remedy: `correct the option`,
	},
	{
		name: "group that is not allowed",
		spoil: func(w *world) {
			w.env("ALLOW_GROUPS", "shop-.*")
			w.env("LOGSPOUT_GROUP", "shop-x")
			w.LogOpts = map[string]string{"group": "bank"}
		},
		bad: "log options", detail: `"bank" is not allowed`, remedy: `correct the option`,
	},
	{
		name: "disabled plugin", spoil: func(w *world) { w.Plugin.Enabled = false },
		bad: "plugin", detail: `is disabled`, remedy: `docker plugin enable --timeout 0 logspool$`,
	},
	{
		name: "old engine", spoil: func(w *world) { w.Engine.Version = "19.03.15" },
		bad: "engine", detail: `19\.03\.15 is too old`, remedy: `upgrade Docker`,
	},
	{
		name: "log-opts in daemon.json",
		spoil: func(w *world) {
			w.write("daemon.json", `{"log-driver": "logspool", "log-opts": {"awslogs-credentials-endpoint": "/secret", "group": "g"}}`)
		},
		bad: "daemon.json", detail: `log-opts \(awslogs-credentials-endpoint group\) for the plugin logspool: dockerd does not start`, remedy: `LOG_OPTS=`,
	},
	{
		name: "missing AWS files", spoil: func(w *world) { w.Plugin.Mounts["aws"] = "/nowhere" },
		bad: "aws files", detail: `/nowhere: no such file`, remedy: `aws\.source=`,
	},
	{
		name: "path that the plugin cannot see", spoil: func(w *world) { w.env("AWS_CA_BUNDLE", "/etc/ssl/ca.pem") },
		bad: "aws files", detail: `AWS_CA_BUNDLE=/etc/ssl/ca.pem: the plugin cannot see`, remedy: `AWS_CA_BUNDLE=/\.aws/ca\.pem`,
		unknown: slices.Concat([]string{"aws configuration"}, everyAWS),
	},
	{
		name: "no docker socket", spoil: func(w *world) { w.env("LOGSPOUT_STREAM", "{{.Host}}") },
		bad: "docker socket", detail: `uses \.Host`, remedy: `docker\.source=/var/run/docker\.sock`,
	},
	{
		name: "full disk", spoil: func(w *world) { w.host.statfs = statfsOf(unix.Statfs_t{Frsize: 4096, Bavail: 10}) },
		bad: "disk", detail: `40KiB is free.*SPOOL_MAX_SIZE, 256MiB`, remedy: `free disk space.*SPOOL_TOTAL_SIZE=`,
	},
	{
		name: "small disk", spoil: func(w *world) { w.host.statfs = statfsOf(unix.Statfs_t{Frsize: 4096, Bavail: 1 << 30 / 4096}) },
		bad: "disk", detail: `1GiB is free.*SPOOL_TOTAL_SIZE, 4GiB`, remedy: `free disk space`,
	},
	{
		name: "no inodes",
		spoil: func(w *world) {
			w.host.statfs = statfsOf(unix.Statfs_t{Frsize: 4096, Bavail: 10 << 30 / 4096, Files: 1000, Ffree: 7})
		},
		bad: "disk", detail: `only 7 inodes are free`, remedy: `inodes`,
	},
	{
		name: "read-only disk",
		spoil: func(w *world) {
			w.host.statfs = statfsOf(unix.Statfs_t{Frsize: 4096, Bavail: 10 << 30, Flags: unix.ST_RDONLY})
		},
		bad: "disk", detail: `read-only`, remedy: `writable`,
	},
	{
		name: "too few descriptors",
		spoil: func(w *world) {
			w.limit("100", 8)
			w.docker(`ps*) echo a b c d ;;
inspect*) echo logspool logspool:latest logspool logspool ;;`)
		},
		bad: "descriptors", detail: `8 open files is enough for 4 containers, and 4 run`, remedy: `LimitNOFILE`,
	},
	{
		name: "broken AWS configuration", spoil: func(w *world) { w.env("AWS_PROFILE", "nobody") },
		bad: "aws configuration", detail: `nobody`, remedy: `correct`, unknown: everyAWS,
	},
	{
		name: "missing CA bundle", spoil: func(w *world) { w.env("AWS_CA_BUNDLE", "/.aws/none.pem") },
		bad: "aws configuration", detail: `none\.pem`, remedy: `correct`, unknown: everyAWS,
	},
	{
		name: "no region", spoil: func(w *world) { w.env("AWS_REGION", "") },
		bad: "region", detail: `no AWS region`, remedy: `docker plugin set logspool AWS_REGION=`,
		unknown: slices.Concat([]string{"endpoint", "clock", "credentials"}, withKeys),
	},
	{
		name: "DNS failure", spoil: func(w *world) { w.env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "https://logs.nowhere.invalid") },
		bad: "endpoint", detail: `https://logs\.nowhere\.invalid: couldn't resolve the host name`, remedy: `host's DNS`,
		unknown: slices.Concat([]string{"clock"}, permissions),
	},
	{
		name: "endpoint that refuses connections", spoil: func(w *world) { w.env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "http://"+closedPort(w.t)) },
		bad: "endpoint", detail: `connection refused`, remedy: `firewall`,
		unknown: slices.Concat([]string{"clock"}, permissions),
	},
	{
		name: "endpoint that is no URL", spoil: func(w *world) { w.env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "logs.example.com") },
		bad: "endpoint", detail: `logs\.example\.com`, remedy: `http:// or https://`,
		unknown: slices.Concat([]string{"clock"}, permissions),
	},
	{
		name: "slow clock", clock: 10 * time.Minute,
		bad: "clock", detail: `clock is (9m59s|10m0s) behind`, remedy: `NTP`,
	},
	{
		name: "very slow clock", clock: time.Hour,
		bad: "clock", detail: `clock is (59m59s|1h0m0s) behind`, remedy: `NTP`,
	},
	{
		name: "very fast clock that the SDK may not correct", clock: -time.Hour,
		spoil: func(w *world) {
			w.env("AWS_DISABLE_CLOCK_SKEW_CORRECTION", "true")
			w.stsError.Store(new("SignatureDoesNotMatch"))
		},
		bad: "clock", detail: `clock is (1h0m1s|1h0m0s) ahead`, remedy: `NTP`, unknown: withKeys,
	},
	{
		name: "no credentials", spoil: func(w *world) { w.env("AWS_ACCESS_KEY_ID", "") },
		bad: "credentials", detail: `no credentials: .*EC2`, remedy: `aws\.source=/root/\.aws`, unknown: withKeys,
	},
	{
		name: "keys that STS refuses", spoil: func(w *world) { w.stsError.Store(new("InvalidClientTokenId")) },
		bad: "credentials", detail: `AWS refuses them: InvalidClientTokenId`, remedy: `correct the keys`, unknown: withKeys,
	},
	{
		name: "keys that CloudWatch refuses",
		spoil: func(w *world) {
			w.env("AWS_ACCESS_KEY_ID", "AKIDOTHER")
			w.stsError.Store(new("Busy"))
		},
		bad: "credentials", detail: `AWS refuses them: UnrecognizedClientException`, remedy: `correct the keys`, unknown: withKeys,
	},
	{
		name: "expired keys", spoil: func(w *world) { w.fault(cwlocal.Fault{Kind: cwlocal.ExpiredToken}) },
		bad: "credentials", detail: `ExpiredTokenException`, remedy: `renew`, unknown: withKeys,
	},
	{
		name: "role that cannot be assumed",
		spoil: func(w *world) {
			w.LogOpts = map[string]string{"role-arn": testRole}
			w.denied("AssumeRole")
		},
		bad: "sts:AssumeRole", detail: `AccessDenied.*sts:AssumeRole`, remedy: `allow sts:AssumeRole on ` + testRole, unknown: withKeys,
	},
	{
		name: "denied CreateLogGroup", spoil: func(w *world) { w.denied("CreateLogGroup") },
		bad: "logs:CreateLogGroup", detail: `AccessDeniedException`,
		remedy: `allow logs:CreateLogGroup on arn:aws:logs:eu-central-1:123456789012:log-group:check:\*`,
	},
	{
		name: "denied CreateLogStream", spoil: func(w *world) { w.denied("CreateLogStream") },
		bad: "logs:CreateLogStream", detail: `AccessDeniedException`, remedy: `allow logs:CreateLogStream on arn`,
	},
	{
		name: "denied PutLogEvents", spoil: func(w *world) { w.denied("PutLogEvents") },
		bad: "logs:PutLogEvents", detail: `AccessDeniedException`, remedy: `allow logs:PutLogEvents on arn`,
	},
	{
		name: "denied PutRetentionPolicy",
		spoil: func(w *world) {
			w.env("RETENTION_DAYS", "7")
			w.denied("PutRetentionPolicy")
		},
		bad: "logs:PutRetentionPolicy", detail: `AccessDeniedException`, remedy: `allow logs:PutRetentionPolicy on arn`,
	},
	{
		name: "denied TagResource",
		spoil: func(w *world) {
			w.env("GROUP_TAGS", "team=shop")
			w.fault(cwlocal.Fault{Kind: cwlocal.ErrorCode, Code: "AccessDeniedException", Text: "not authorized to perform: logs:TagResource", Operation: "CreateLogGroup", Count: 1})
		},
		bad: "logs:TagResource", detail: `AccessDeniedException: not authorized to perform: logs:TagResource`, remedy: `allow logs:TagResource on arn`,
	},
	{
		name: "denied delete", spoil: func(w *world) { w.denied("DeleteLogGroup") }, left: []string{"check"},
	},
	{
		name: "unusable KMS key",
		spoil: func(w *world) {
			w.env("KMS_KEY_ID", "arn:aws:kms:us-east-1:123456789012:key/1")
			w.env("GROUP_TAGS", "team=shop")
			w.env("GROUP_CLASS", "INFREQUENT_ACCESS")
		},
		bad: "kms key", detail: `The specified KMS key does not exist`, remedy: `key is enabled.*eu-central-1.*policy`,
	},
	{
		name: "rejected entity", spoil: func(w *world) { w.env("ENTITY_SERVICE_NAME", "shop") },
		bad: "entity", detail: `rejected the entity`, remedy: `entity-service-name`,
	},
	{
		name: "throttling", spoil: func(w *world) { w.fault(cwlocal.Fault{Kind: cwlocal.Throttle}) },
		bad: "throttling", detail: `CloudWatch throttles`, remedy: `Service Quotas`, unknown: permissions,
	},
	{
		name: "some throttling", spoil: func(w *world) { w.fault(cwlocal.Fault{Kind: cwlocal.Throttle, Count: 2}) },
	},
	{
		name: "requests that get no answer", spoil: func(w *world) { w.fault(cwlocal.Fault{Kind: cwlocal.ResetBefore}) },
		bad: "logs:PutLogEvents", detail: `no answer`, remedy: `proxy or a firewall`, unknown: permissions[:2],
	},
	{
		name: "failing CloudWatch", spoil: func(w *world) { w.fault(cwlocal.Fault{Kind: cwlocal.Unavailable}) }, unknown: permissions,
	},
	{
		name: "login page", spoil: func(w *world) { w.fault(cwlocal.Fault{Kind: cwlocal.HTMLOK}) },
		bad: "logs:PutLogEvents", detail: `not CloudWatch's`, remedy: `HTTPS_PROXY.*login`, unknown: permissions[:2],
	},
	{
		name: "error page", spoil: func(w *world) { w.fault(cwlocal.Fault{Kind: cwlocal.HTMLBad}) },
		bad: "logs:PutLogEvents", detail: `not CloudWatch's`, remedy: `HTTPS_PROXY.*login`, unknown: permissions[:2],
	},
	{
		name: "answer that is lost", spoil: func(w *world) {
			w.fault(cwlocal.Fault{Kind: cwlocal.ResetAfter, Operation: "CreateLogGroup", Count: 1})
		},
	},
	{
		name: "answers that are lost", spoil: func(w *world) {
			w.fault(cwlocal.Fault{Kind: cwlocal.ResetAfter, Operation: "CreateLogGroup", Count: 2})
		},
		unknown: []string{"logs:CreateLogGroup"},
	},
}

// TestEachCauseHasItsLine causes one thing after the other. Exactly one check is then bad, and
// names the cause and the remedy. No other check is, and no log group is left.
func TestEachCauseHasItsLine(t *testing.T) {
	for _, c := range causes {
		t.Run(c.name, func(t *testing.T) {
			o := cwlocal.Options{}
			if c.clock != 0 {
				o.Now = func() time.Time { return time.Now().Add(c.clock) }
			}
			w := newWorld(t, o)
			if c.spoil != nil {
				c.spoil(w)
			}
			c.check(t, w.run())
			if !slices.Equal(w.groups(), c.left) {
				t.Errorf("the log groups are %q, want %q", w.groups(), c.left)
			}
		})
	}
}

func (c *cause) check(t *testing.T, results []Result) {
	t.Helper()
	found := c.bad == ""
	for _, r := range results {
		want := OK
		switch {
		case r.Check == c.bad:
			want = Bad
			found = true
			if !regexp.MustCompile(c.detail).MatchString(r.Detail) || !regexp.MustCompile(c.remedy).MatchString(r.Remedy) {
				t.Errorf("got %+v, want a detail like %q and a remedy like %q", r, c.detail, c.remedy)
			}
		case r.Check == "timeout", slices.Contains(c.unknown, r.Check):
			want = Unknown
		case c.name == "keys that CloudWatch refuses" && r.Check == "identity":
			want = Unknown
		}
		if r.State != want {
			t.Errorf("%s is %s, want %s: %s", r.Check, r.State, want, r.Detail)
		}
	}
	if !found {
		t.Errorf("nothing says %q", c.bad)
	}
	if t.Failed() {
		t.Logf("all results:\n%s", list(results))
	}
}

var (
	documentedCheck  = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ")
	documentedResult = regexp.MustCompile(`(?m)^(?:ok|BAD|\?) +(.+?)  `)
)

// documented returns the names in a marked part of the manual.
func documented(t *testing.T, mark string, name *regexp.Regexp) []string {
	t.Helper()
	b, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "<!-- "+mark+" -->")
	text, _, _ = strings.Cut(text, "<!-- end -->")
	var names []string
	for _, m := range name.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// The order of the results does not depend on what is wrong. It is the manual's.
func TestResultsHaveTheOrderOfTheManual(t *testing.T) {
	order := documented(t, "table: checks", documentedCheck)
	seen := map[string]bool{}
	for _, name := range documented(t, "sample: check", documentedResult) {
		if !slices.Contains(order, name) {
			t.Errorf("the manual's example has %q, which is not in its table", name)
		}
		seen[name] = true
	}
	for _, name := range []string{"nothing", "unusable KMS key", "rejected entity", "denied PutRetentionPolicy", "role that cannot be assumed", "no region", "no docker socket", "invalid log option"} {
		w := newWorld(t, cwlocal.Options{})
		i := slices.IndexFunc(causes, func(c cause) bool { return c.name == name })
		if causes[i].spoil != nil {
			causes[i].spoil(w)
		}
		at := 0
		for _, r := range w.run() {
			n := slices.Index(order, r.Check)
			if n < at {
				t.Errorf("%s: %q is not in the manual, or in another place", name, r.Check)
			}
			at = max(at, n)
			seen[r.Check] = true
		}
	}
	for _, name := range order {
		if !seen[name] {
			t.Errorf("the manual has %q, which no test has seen", name)
		}
	}
}

// The process's own AWS settings and files are not those of an installed plugin.
func TestHostsOwnSettingsDoNotCount(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".aws"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "[default]\naws_access_key_id=" + testKey + "\naws_secret_access_key=" + testSecret + "\nregion=eu-central-1\n"
	for _, name := range []string{"credentials", "config"} {
		if err := os.WriteFile(filepath.Join(home, ".aws", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", home)
	t.Setenv("AWS_ACCESS_KEY_ID", testKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", testSecret)
	t.Setenv("AWS_REGION", testRegion)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, ".aws", "credentials"))
	for _, name := range []string{"no region", "no credentials"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, cwlocal.Options{})
			i := slices.IndexFunc(causes, func(c cause) bool { return c.name == name })
			causes[i].spoil(w)
			causes[i].check(t, w.run())
		})
	}
}

// The plugin's paths below /.aws are those of the mount's source.
func TestPathsOfThePluginAreFoundOnTheHost(t *testing.T) {
	for _, set := range []map[string]string{
		{}, // the default files
		{"AWS_SHARED_CREDENTIALS_FILE": "/.aws/keys", "AWS_CONFIG_FILE": "/.aws/conf"},
	} {
		w := newWorld(t, cwlocal.Options{})
		credentials, conf := "credentials", "config"
		for name, value := range set {
			w.env(name, value)
			credentials, conf = "keys", "conf"
		}
		for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"} {
			w.env(name, "")
		}
		keys := "[default]\naws_access_key_id=" + testKey + "\naws_secret_access_key=" + testSecret + "\n"
		if err := os.WriteFile(filepath.Join(w.aws, credentials), []byte(keys), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(w.aws, conf), []byte("[default]\nregion=eu-west-1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		results := w.run()
		if r := find(t, results, "region"); r.State != OK || r.Detail != "eu-west-1, from shared configuration file" {
			t.Errorf("got %+v", r)
		}
		if r := find(t, results, "credentials"); r.State != OK || r.Detail != "shared credentials file" {
			t.Errorf("got %+v", r)
		}
		if AnyBad(results) {
			t.Errorf("something is bad:\n%s", list(results))
		}
	}
}

// Before it is installed, the plugin's settings are those of the environment.
func TestEnvironmentHasTheSettingsBeforeInstalling(t *testing.T) {
	w := newWorld(t, cwlocal.Options{})
	for name, value := range w.Plugin.Env {
		t.Setenv(name, value)
	}
	w.Plugin = nil
	if results := w.run(); AnyBad(results) {
		t.Errorf("something is bad:\n%s", list(results))
	}
	t.Setenv("AWS_REGION", "")
	results := w.run()
	if r := find(t, results, "region"); r.State != Bad || r.Remedy != "set AWS_REGION=REGION" {
		t.Errorf("got %+v", r)
	}
}

// The plugin has no programs, and net/http's other variables cannot be set for it.
func TestEnvironmentHasOnlyWhatThePluginHas(t *testing.T) {
	names := []string{"PATH", "https_proxy", "http_proxy", "no_proxy"}
	for _, name := range names {
		t.Setenv(name, "x")
	}
	c := newChecker(Options{})
	restore, err := c.useEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if v, ok := os.LookupEnv(name); ok {
			t.Errorf("%s is %q", name, v)
		}
	}
	restore()
	for _, name := range names {
		if v := os.Getenv(name); v != "x" {
			t.Errorf("%s is %q after restore", name, v)
		}
	}
}

func TestRegionsSourceIsNamed(t *testing.T) {
	for _, test := range []struct {
		env, opts map[string]string
		want      string
	}{
		{nil, nil, "eu-central-1, from AWS_REGION"},
		{map[string]string{"AWS_DEFAULT_REGION": "eu-west-1"}, nil, "eu-central-1, from AWS_REGION"},
		{map[string]string{"AWS_REGION": "auto", "AWS_DEFAULT_REGION": "eu-west-1"}, nil, "eu-west-1, from AWS_DEFAULT_REGION"},
		{map[string]string{"ROUTE": "cloudwatch://eu-west-2"}, nil, "eu-west-2, from ROUTE"},
		{map[string]string{"ROUTE": "cloudwatch://eu-west-2"}, map[string]string{"region": "auto"}, "eu-central-1, from AWS_REGION"},
		{map[string]string{"ROUTE": "cloudwatch://eu-central-1"}, nil, "eu-central-1, from ROUTE"},
		{map[string]string{"LOG_OPTS": `{"region":"eu-west-3"}`, "AWS_REGION": ""}, nil, "eu-west-3, from LOG_OPTS option region"},
		{nil, map[string]string{"awslogs-region": "eu-west-3"}, "eu-west-3, from log option awslogs-region"},
	} {
		w := newWorld(t, cwlocal.Options{})
		for name, value := range test.env {
			w.env(name, value)
		}
		w.LogOpts = test.opts
		if r := find(t, w.run(), "region"); r.Detail != test.want {
			t.Errorf("%v %v: got %q, want %q", test.env, test.opts, r.Detail, test.want)
		}
	}
}

// An interrupt while the probe runs does not keep it from deleting what it created.
func TestInterruptedProbeDeletesItsGroup(t *testing.T) {
	for _, operation := range []string{"CreateLogStream", "PutRetentionPolicy"} {
		w := newWorld(t, cwlocal.Options{})
		w.env("RETENTION_DAYS", "7")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w.onRequest.Store(new(func(got string) {
			if got == operation {
				cancel()
			}
		}))
		w.fault(cwlocal.Fault{Kind: cwlocal.Hang, Operation: operation})
		results := Run(ctx, *w.Options)
		if w.groups() != nil {
			t.Errorf("%s: the log groups are %q", operation, w.groups())
		}
		if r := find(t, results, "probe"); r.State != OK || !strings.Contains(r.Detail, "created and deleted") {
			t.Errorf("%s: got %+v", operation, r)
		}
	}
}

// A group that existed before keeps everything but one stream, which is deleted.
func TestExistingGroupIsLeftAsItWas(t *testing.T) {
	w := newWorld(t, cwlocal.Options{})
	w.denied("DeleteLogGroup")
	w.run() // creates the group and leaves it
	w.cw.ClearFault(0)
	before := w.cw.Groups()
	w.env("RETENTION_DAYS", "7")
	w.env("GROUP_TAGS", "team=shop")
	streams := len(w.cw.Streams())
	results := w.run()
	after := w.cw.Groups()
	if len(after) != 1 || after[0].RetentionDays != before[0].RetentionDays || len(after[0].Tags) != 0 {
		t.Errorf("the group is %+v, was %+v", after, before)
	}
	if n := len(w.cw.Streams()); n != streams {
		t.Errorf("%d streams, were %d", n, streams)
	}
	for name, want := range map[string]State{"logs:CreateLogGroup": OK, "logs:PutLogEvents": OK, "logs:TagResource": Unknown, "logs:PutRetentionPolicy": Unknown} {
		if r := find(t, results, name); r.State != want {
			t.Errorf("got %+v, want %s", r, want)
		}
	}
}

// A dry run creates nothing and writes nothing, and still finds what is denied.
func TestDryRunWritesNothing(t *testing.T) {
	for _, denied := range []string{"", "PutLogEvents", "CreateLogStream", "PutRetentionPolicy"} {
		w := newWorld(t, cwlocal.Options{})
		w.DryRun = true
		w.env("RETENTION_DAYS", "7")
		if denied != "" {
			w.denied(denied)
		}
		w.onRequest.Store(new(func(operation string) {
			if operation == "CreateLogGroup" || strings.HasPrefix(operation, "Delete") {
				t.Errorf("%s was called", operation)
			}
		}))
		results := w.run()
		if n := w.cw.Stats().Events; w.groups() != nil || n != 0 {
			t.Errorf("groups %q, %d events", w.groups(), n)
		}
		for _, name := range []string{"PutLogEvents", "CreateLogStream", "PutRetentionPolicy"} {
			want := OK
			if name == denied {
				want = Bad
			}
			if denied == "PutLogEvents" && name != denied {
				want = Unknown // whether the group exists is not known
			}
			if r := find(t, results, "logs:"+name); r.State != want {
				t.Errorf("denied %q: got %+v, want %s", denied, r, want)
			}
		}
		if r := find(t, results, "logs:CreateLogGroup"); r.State != Unknown {
			t.Errorf("got %+v", r)
		}
	}
}

// In a dry run, a group that exists gets no stream.
func TestDryRunLeavesAnExistingGroupAlone(t *testing.T) {
	w := newWorld(t, cwlocal.Options{})
	w.denied("DeleteLogGroup")
	w.run()
	streams := len(w.cw.Streams())
	w.DryRun = true
	results := w.run()
	if n := len(w.cw.Streams()); n != streams {
		t.Errorf("%d streams, were %d", n, streams)
	}
	if r := find(t, results, "logs:PutLogEvents"); r.State != OK {
		t.Errorf("got %+v", r)
	}
	if r := find(t, results, "logs:CreateLogStream"); r.State != Unknown {
		t.Errorf("got %+v", r)
	}
}

// The requests are signed with the keys of the role.
func TestRoleIsUsed(t *testing.T) {
	w := newWorld(t, cwlocal.Options{})
	w.LogOpts = map[string]string{"role-arn": testRole}
	results := w.run()
	if AnyBad(results) {
		t.Errorf("something is bad:\n%s", list(results))
	}
	if r := find(t, results, "sts:AssumeRole"); r.State != OK || r.Detail != testRole {
		t.Errorf("got %+v", r)
	}
	if len(w.cw.Sessions()) == 0 {
		t.Error("the role was not assumed")
	}
}
