package config

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestLogOptsTakesStringsNumbersAndBooleans(t *testing.T) {
	s := mustLoad(t, `LOG_OPTS= { "delay" : 8, "create-group":false,"strip-ansi":true, "retention-days": 30, "group-tags":"a=b",
		"awslogs-endpoint":"logs.example", "labels":"a,b", "format":"json", "stream":"", "max-buffered-events":4096 }`)
	c, err := s.Container(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Described{
		{"group", "{{.LoggerHost}}", "default"},
		{"stream", "{{.Name}}", "default"},
		{"endpoint", "https://logs.example", "LOG_OPTS option awslogs-endpoint"},
		{"create-group", "false", "LOG_OPTS option create-group"},
		{"create-stream", "true", "default"},
		{"delay", "8s", "LOG_OPTS option delay"},
		{"format", "json", "LOG_OPTS option format"},
		{"labels", "a,b", "LOG_OPTS option labels"},
		{"strip-ansi", "true", "LOG_OPTS option strip-ansi"},
		{"retention-days", "30", "LOG_OPTS option retention-days"},
		{"group-tags", "a=b", "LOG_OPTS option group-tags"},
		{"spool-max-size", "256MiB", "default"},
		{"spool-full", "drop-oldest", "default"},
		{"history-size", "20MiB", "default"},
		{"max-buffered-events", "4096", "LOG_OPTS option max-buffered-events"},
	}
	if diff := cmp.Diff(want, c.Described()); diff != "" {
		t.Errorf("want -, got +\n%s", diff)
	}
	if s.Delay.Seconds() != 8 || s.NewGroup.RetentionDays != 30 {
		t.Errorf("an option with the meaning of a setting does not set it: %+v", s)
	}
}

// An invalid LOG_OPTS is a problem with one line, and never an error of a container. The lines of a
// container are held if an option that may say where they go is undecided, and the container
// does not decide it.
func TestInvalidLogOptsStopsNoContainer(t *testing.T) {
	const (
		object = `: use one such as {"format":"json","delay":"8"}`
		own    = "it is ignored"
		none   = ""
		all    = "all lines are spooled but not sent"
		route  = "ROUTE=cloudwatch://eu-west-1"
	)
	without := func(name string) string {
		if name == "external-id" {
			return "lines of containers with a role and without the log option external-id are spooled but not sent"
		}
		return "lines of containers without the log option " + name + " are spooled but not sent"
	}
	region, role := opts{"region": "eu-west-2"}, opts{"role-arn": roleA + "x"}
	everything := opts{"region": "eu-west-2", "endpoint": "x", "role-arn": roleA + "x", "external-id": "aa", "credentials-endpoint": "/x", "kms-key-id": "k"}
	for _, test := range []struct {
		plugin  []string
		text    string
		want    string // the line, in which Setting and Text are separated by a colon
		applies string
		hold    string // the hold of a container without options
		free    opts   // options with which the container is not held
	}{
		{nil, `{`, `LOG_OPTS: it is not a JSON object (unexpected end of JSON input, at byte 1)` + object, all, "LOG_OPTS is invalid", nil},
		{nil, `{"delay":8`, `LOG_OPTS: it is not a JSON object (unexpected end of JSON input, at byte 10)` + object, all, "LOG_OPTS is invalid", nil},
		{nil, `delay=8`, `LOG_OPTS: it is not a JSON object (invalid character 'd' looking for beginning of value, at byte 1)` + object, all, "LOG_OPTS is invalid", nil},
		{nil, `{delay:8}`, `LOG_OPTS: it is not a JSON object (invalid character 'd' looking for beginning of object key string, at byte 2)` + object, all, "LOG_OPTS is invalid", nil},
		{nil, `["delay"]`, `LOG_OPTS: it is not a JSON object` + object, all, "LOG_OPTS is invalid", nil},
		{nil, `null`, `LOG_OPTS: it is not a JSON object` + object, all, "LOG_OPTS is invalid", nil},
		{nil, `{} {}`, `LOG_OPTS: it is not a JSON object (invalid character '{' after top-level value, at byte 4)` + object, all, "LOG_OPTS is invalid", nil},
		{nil, "{\"delay\":\"\xff\"}", `LOG_OPTS: it is not UTF-8` + object, all, "LOG_OPTS is invalid", nil},
		{nil, `{"filter":"x"}`, `LOG_OPTS: unknown option "filter": the options are `, all, "LOG_OPTS is invalid", nil},

		// Harmless options leave the default, or the value of the next source.
		{nil, `{"delay":"soon"}`, `LOG_OPTS option delay: "soon" is not a duration: ` + durationsAllowed, "4 (the default)", none, nil},
		{[]string{"DELAY=8"}, `{"delay":"soon"}`, `LOG_OPTS option delay: "soon" is not a duration: ` + durationsAllowed, `"8" (DELAY)`, none, nil},
		{[]string{route + "?DELAY=2"}, `{"delay":"soon"}`, `LOG_OPTS option delay: "soon" is not a duration: ` + durationsAllowed, `"2" (ROUTE option DELAY)`, none, nil},
		{nil, `{"dealy":8}`, `LOG_OPTS: unknown option "dealy" (did you mean "delay"?)`, "4 (the default)", none, nil},
		{nil, `{"dealy":8,"delay":9}`, `LOG_OPTS: unknown option "dealy" (did you mean "delay"?)`, own, none, nil},
		{nil, `{"delay":8,"delay":9}`, `LOG_OPTS option delay: it is given twice: give it once`, "4 (the default)", none, nil},
		{nil, `{"delay":null}`, `LOG_OPTS option delay: null is not a value: use a string, a number or a boolean`, "4 (the default)", none, nil},
		{nil, `{"labels":["a","b"]}`, `LOG_OPTS option labels: an array is not a value: use a string, a number or a boolean`, "none", none, nil},
		{nil, `{"labels":{"a":"b"}}`, `LOG_OPTS option labels: an object is not a value: use a string, a number or a boolean`, "none", none, nil},
		{nil, `{"delay":"8","awslogs-force-flush-interval-seconds":"9"}`, `LOG_OPTS: options "delay" and "awslogs-force-flush-interval-seconds" are ` +
			`two spellings of one option and have different values ("8" and "9"): give one of them`, "4 (the default)", none, nil},
		{nil, `{"format":"xml"}`, `LOG_OPTS option format: "xml" is not a format: use text, json or json/emf`, "text (the default)", none, nil},
		{nil, `{"group":"{{"}`, `LOG_OPTS option group: template "{{": unclosed action`, "{{.LoggerHost}} (the default)", none, nil},
		{[]string{"LOGSPOUT_GROUP=g"}, `{"group":"{{"}`, `LOG_OPTS option group: template "{{": unclosed action`, "{{.LoggerHost}} (the default)", none, nil},
		{nil, `{"tag":"{{"}`, `LOG_OPTS option tag: template "{{": unclosed action`, "none", none, nil},
		{nil, `{"multiline-pattern":"^x","datetime-format":"%Y"}`, `LOG_OPTS: options "multiline-pattern" and "datetime-format" cannot be combined ` +
			`("^x" and "%Y"): give one of them`, "neither of them", none, nil},
		{nil, `{"awslogs-format":"json/emf","datetime-format":"%Y"}`, `LOG_OPTS: options "awslogs-format" and "datetime-format" cannot be combined ` +
			`("json/emf" and "%Y"): give one of them, or another format`, "neither of them", none, nil},
		{nil, `{"mode":"non-blocking"}`, `LOG_OPTS option mode: dockerd reads this option before it calls the plugin: set it with --log-opt`, own, none, nil},
		{nil, `{"cache-disabled":true}`, `LOG_OPTS option cache-disabled: dockerd reads this option before it calls the plugin: set it with --log-opt`, own, none, nil},
		{nil, `{"cache-disable":true}`, `LOG_OPTS: unknown option "cache-disable" (did you mean "cache-disabled"?)`, own, none, nil},

		// An invalid size deletes nothing.
		{nil, `{"spool-max-size":"big"}`, `LOG_OPTS option spool-max-size: "big" is not a size: use bytes or Docker's units (256m, 4g), from 64k to 1024t`,
			"256m, or SPOOL_TOTAL_SIZE if that is less, on top of what is on disk", none, nil},
		{[]string{"SPOOL_MAX_SIZE=1m"}, `{"spool-max-size":"big"}`, `LOG_OPTS option spool-max-size: "big" is not a size: ` +
			`use bytes or Docker's units (256m, 4g), from 64k to 1024t`, `"1m" (SPOOL_MAX_SIZE), on top of what is on disk`, none, nil},
		{nil, `{"spool-max-size":"8g"}`, `LOG_OPTS option spool-max-size: 8GiB is more than SPOOL_TOTAL_SIZE (4GiB): use a smaller size, or raise SPOOL_TOTAL_SIZE`,
			"the larger size for both, on top of what is on disk", none, nil},
		{nil, `{"spool-full":"block"}`, `LOG_OPTS option spool-full: "block" is not a policy: use drop-oldest or drop-newest`,
			"drop-newest, which deletes no lines that are in the spool", none, nil},
		{nil, `{"histroy-size":"1g"}`, `LOG_OPTS: unknown option "histroy-size" (did you mean "history-size"?)`,
			"20m, or SPOOL_TOTAL_SIZE if that is less, on top of what is on disk", none, nil},
		{nil, `{"max-size":"big"}`, `LOG_OPTS option max-size: "big" is not the size of a file: use a positive number of bytes, with k, m or g (10m), or -1`,
			"20m, or SPOOL_TOTAL_SIZE if that is less, on top of what is on disk", none, nil},

		// These decide where lines go, as whom or with which key.
		{nil, `{"region":"x"}`, `LOG_OPTS option region: "x" is not a region: use one such as eu-west-1, or auto`, without("region"),
			"LOG_OPTS option region is invalid", region},
		{nil, `{"region":"x"}`, `LOG_OPTS option region: "x" is not a region: use one such as eu-west-1, or auto`, without("region"),
			"LOG_OPTS option region is invalid", opts{"region": "auto"}},
		{[]string{"AWS_REGION=eu-west-1"}, `{"regoin":"eu-west-2"}`, `LOG_OPTS: unknown option "regoin" (did you mean "region"?)`, without("region"),
			"LOG_OPTS is invalid", region},
		{[]string{route}, `{"region":"x"}`, `LOG_OPTS option region: "x" is not a region: use one such as eu-west-1, or auto`, `"eu-west-1" (ROUTE)`, none, nil},
		{nil, `{"endpoint":"ftp://x"}`, `LOG_OPTS option endpoint: "ftp://x" is not the URL of an endpoint: ` +
			`use http:// or https:// and a host, without user, query or fragment`, without("endpoint"),
			"LOG_OPTS option endpoint is invalid", opts{"endpoint": "http://x"}},
		{nil, `{"endpoint":"http://x","awslogs-endpoint":"http://y"}`, `LOG_OPTS: options "endpoint" and "awslogs-endpoint" are two spellings of ` +
			`one option and have different values: give one of them`, without("endpoint"), "LOG_OPTS is invalid", opts{"endpoint": "http://x"}},
		{nil, `{"role-arn":"x"}`, `LOG_OPTS option role-arn: "x" is not the ARN of a role: use one such as arn:aws:iam::123456789012:role/NAME`,
			without("role-arn"), "LOG_OPTS option role-arn is invalid", role},
		{nil, `{"external-id":"a"}`, `LOG_OPTS option external-id: "a" is not an external ID: use 2 to 1224 letters, digits and _ + = , . @ : / -`,
			without("external-id"), none, nil}, // it decides nothing about a container without a role
		{nil, `{"external-id":"a","role-arn":"` + roleA + `y"}`, `LOG_OPTS option external-id: "a" is not an external ID: ` +
			`use 2 to 1224 letters, digits and _ + = , . @ : / -`, without("external-id"), "LOG_OPTS option external-id is invalid", opts{"external-id": "aa"}},
		{nil, `{"credentials-endpoint":"secret"}`, `LOG_OPTS option credentials-endpoint: the value (not shown here) is not a path on the container ` +
			`credentials endpoint: use one that begins with /, such as /v2/credentials/ID`, without("credentials-endpoint"),
			"LOG_OPTS option credentials-endpoint is invalid", opts{"credentials-endpoint": "/x"}},
		{nil, `{"kms-key-id":"my key"}`, `LOG_OPTS option kms-key-id: "my key" is not a KMS key: use its ARN, at most 256 characters without white space`,
			"lines of containers without the log option kms-key-id or create-group=false are spooled but not sent",
			"LOG_OPTS option kms-key-id is invalid", opts{"create-group": "false"}},
		{[]string{"KMS_KEY_ID=k"}, `{"kms-key-id":7,"kms-key-id":8}`, `LOG_OPTS option kms-key-id: it is given twice: give it once`,
			"lines of containers without the log option kms-key-id or create-group=false are spooled but not sent",
			"LOG_OPTS option kms-key-id is invalid", opts{"kms-key-id": "k"}},
	} {
		s, problems := Load(append([]string{"LOG_OPTS=" + test.text}, test.plugin...))
		got := problemLines(t, problems)
		if len(got) != 1 || got[0] != test.want && (!strings.HasSuffix(test.want, " ") || !strings.HasPrefix(got[0], test.want)) {
			t.Errorf("%s:\n got %q\nwant %q", test.text, got, test.want)
			continue
		}
		if problems[0].Applies != test.applies || problems[0].Holds != strings.Contains(test.applies, "not sent") {
			t.Errorf("%s: %+v, want %q", test.text, problems[0], test.applies)
		}
		// An external ID alone would be an error if the role were not undecided.
		for _, o := range []opts{nil, region, role, everything, test.free, {"external-id": "aa", "role-arn": roleA + "x"}} {
			c, err := s.Container(o, nil, nil)
			if err != nil {
				t.Errorf("%s, %v: %v", test.text, o, err)
			}
			checkContainer(t, c)
			switch {
			case o == nil && c.Hold != test.hold,
				test.free != nil && cmp.Equal(o, test.free) && c.Hold != "",
				test.applies == all && c.Hold != "LOG_OPTS is invalid",
				test.applies != all && cmp.Equal(o, everything) && c.Hold != "":
				t.Errorf("%s, %v: hold %q", test.text, o, c.Hold)
			}
		}
	}
}

// A container that relies on the role in LOG_OPTS starts even if nobody can tell which role that is.
func TestExternalIDWithInvalidRoleInLogOptsStopsNoContainer(t *testing.T) {
	for _, text := range []string{`{"role-arn":"` + roleA + `x"}`, `{"role-arn":"x"}`, `{"rolearn":"x"}`, `{`, `{"iam":"x"}`} {
		s, problems := Load([]string{"LOG_OPTS=" + text})
		c, err := s.Container(opts{"external-id": "aa"}, nil, nil)
		if err != nil || (problems != nil) != (c.Hold != "") {
			t.Errorf("%s: %v, %+v, hold %q", text, err, problems, c.Hold)
		}
	}
}

// A setting that LOG_OPTS overrides decides nothing, so that it holds nothing if it is invalid.
func TestOverriddenSettingHoldsNothing(t *testing.T) {
	s, problems := Load([]string{"KMS_KEY_ID=my key", "AWS_REGION=x", "SPOOL_MAX_SIZE=x", `LOG_OPTS={"kms-key-id":"k","region":"eu-west-1","spool-max-size":"1m"}`})
	want := []string{heldRegion, `"1m" (LOG_OPTS option spool-max-size)`, `"k" (LOG_OPTS option kms-key-id)`}
	var got []string
	for _, p := range problems {
		got = append(got, p.Applies)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +\n%s", diff)
	}
	c, err := s.Container(nil, nil, nil)
	if err != nil || c.Hold != "" || c.Region != "eu-west-1" || s.Unknown.SpoolMaxSize {
		t.Errorf("got %+v, %v", c, err)
	}
	if c, _ = s.Container(opts{"region": "auto"}, nil, nil); c.Hold != "AWS_REGION is invalid" {
		t.Errorf("auto: hold %q", c.Hold)
	}
}

// If the sizes are unknown, no data is deleted that the intended sizes would keep.
func TestUnknownLogOptsDeletesNothing(t *testing.T) {
	s, _ := Load([]string{"LOG_OPTS={", "SPOOL_FULL=drop-oldest", "SPOOL_MAX_SIZE=1m"})
	if !s.Unknown.SpoolMaxSize || !s.Unknown.HistorySize || s.Unknown.SpoolTotalSize || s.SpoolFull != DropNewest || s.SpoolMaxSize != 1<<20 {
		t.Errorf("got %+v", s.SpoolSettings)
	}
	for _, text := range []string{`{"max-size":"big"}`, `{"max-size":"1m","max-file":"x"}`, `{"max-size":"1m","max-size":"2m"}`, `{"history-size":"x","max-size":"1m"}`} {
		if s, _ = Load([]string{"LOG_OPTS=" + text}); !s.Unknown.HistorySize || s.HistorySize != 20<<20 {
			t.Errorf("%s: got %+v", text, s.SpoolSettings)
		}
	}
}

// What a container chooses replaces what excludes it in a source with less precedence.
func TestContainersChoiceReplacesHostsDefault(t *testing.T) {
	for _, test := range []struct {
		logOpts, labels, opts opts
		want                  string // what applies of these options
	}{
		{opts{"multiline-pattern": "^x"}, nil, opts{"datetime-format": "%Y"}, "datetime-format=%Y format=text"},
		{opts{"datetime-format": "%Y"}, nil, opts{"awslogs-multiline-pattern": "^x"}, "multiline-pattern=^x format=text"},
		{opts{"multiline-pattern": "^x"}, nil, opts{"format": "json/emf"}, "format=json/emf"},
		{opts{"format": "json/emf"}, nil, opts{"multiline-pattern": "^x"}, "multiline-pattern=^x format=text"},
		{opts{"format": "json"}, opts{"format": "json/emf"}, opts{"multiline-pattern": "^x"}, "multiline-pattern=^x format=json"},
		{opts{"format": "json"}, nil, opts{"multiline-pattern": "^x"}, "multiline-pattern=^x format=json"},
		{opts{"multiline-pattern": "^x"}, opts{"datetime-format": "%Y"}, nil, "datetime-format=%Y format=text"},
		{nil, opts{"datetime-format": "%Y"}, opts{"multiline-pattern": "^x"}, "multiline-pattern=^x format=text"},
		{opts{"multiline-pattern": "^x"}, opts{"datetime-format": "%Y"}, opts{"format": "json/emf"}, "format=json/emf"},
		{opts{"history-size": "1m"}, nil, opts{"max-size": "2m"}, "format=text history-size=1.907MiB max-size=2m"},
		{opts{"max-size": "2m", "max-file": "2"}, nil, opts{"history-size": "1m"}, "format=text history-size=1MiB"},
		{opts{"max-size": "2m"}, nil, opts{"max-file": "2"}, "format=text history-size=3.815MiB max-size=2m max-file=2"},
		{opts{"history-size": "1m", "max-size": "2m"}, nil, opts{"max-file": "2"}, "format=text history-size=1MiB max-file=2"},
		{opts{"max-size": "-1"}, nil, nil, "format=text history-size=4GiB max-size=-1"},
	} {
		g := newGiven()
		g.logOpts, g.opts = test.logOpts, test.opts
		for name, text := range test.labels {
			g.labels["logspool."+name] = text
		}
		_, c := g.load(t)
		var got []string
		for _, d := range c.Described() {
			if strings.Contains(" multiline-pattern datetime-format format max-size max-file ", " "+d.Name+" ") || d.Name == "history-size" && d.From != "default" {
				got = append(got, d.Name+"="+d.Value)
			}
		}
		if text := strings.Join(got, " "); text != test.want || c.Warnings != nil || (c.Pattern != nil) != strings.Contains(text, "%Y") && (c.Pattern != nil) != strings.Contains(text, "^x") {
			t.Errorf("%+v: got %s, %q, want %s", test, text, c.Warnings, test.want)
		}
		checkContainer(t, c)
	}
}

func TestShownLogOptsHasNoSecret(t *testing.T) {
	for text, want := range map[string]string{
		`{"credentials-endpoint":"/secret","endpoint":"http://u:secret@x","delay":8}`: `{"credentials-endpoint":"(not shown)","endpoint":"(not shown)","delay":"8"}`,
		`{"credential-endpoint":"/secret"}`:                                           `{"credential-endpoint":"(not shown)"}`,
		`{"credentials-endpoint":"/secret"`:                                           "(not shown)",
		`{"labels":["secret"]}`:                                                       `{"labels":"(not shown)"}`,
		`{}`:                                                                          `{}`,
	} {
		if got := ShownLogOpts(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// Whatever LOG_OPTS and the labels hold, the settings and the container can be used, each line is
// one line, and a secret is in none of them.
func FuzzLogOptsAndLabels(f *testing.F) {
	f.Add(`{"delay":8,"delay":9,"group":null}`, "logspool.group", "{{")
	f.Add(`{"endpoint":"http://u:p@x","awslogs-credentials-endpoint":"/s","region":"auto"}`, "logspool.multiline-pattern", "^x")
	f.Add(`{"format":"json/emf","multiline-pattern":"x","max-size":"-1","max-file":"9e9"}`, "logspool.awslogs-format", "json/emf")
	f.Add(`{"history-size":"0","max-size":"1k","spool-max-size":"8g"}{`, "logspool.region", "x")
	f.Add("{\"\xff\":\"\\ud800\",\"\":[{}]}", "logspool.", "\n")
	f.Fuzz(func(t *testing.T, text, label, labelText string) {
		s, problems := Load([]string{"LOG_OPTS=" + text})
		problemLines(t, problems)
		checkSettings(t, s, problems)
		c, err := s.Container(nil, nil, map[string]string{label: labelText})
		if err != nil {
			t.Errorf("%v", err)
		}
		checkLines(t, append(c.Warnings, ShownLogOpts(text), c.Hold))
		for _, d := range c.Described() {
			checkLines(t, []string{d.Value, d.From})
		}
		if c.Hold == "" {
			for _, p := range problems {
				if p.Applies == heldAll {
					t.Errorf("%+v, but nothing is held", p)
				}
			}
		}
	})
}

// Whatever the sources hold, a container starts unless one of its own log options is invalid, and
// what applies can be used.
func TestOnlyLogOptionsKeepAContainerFromStarting(t *testing.T) {
	odd := []string{"x", "-1", "0", "{{", "(", "auto", "eu-west-1", "json/emf", "^x", "%Y", "1m", "8g", "true", "a=b", "/x", "http://x", "drop-newest", "\x00\n", roleA + "x"}
	rapid.Check(t, func(t *rapid.T) {
		logOpts, labels := opts{}, opts{}
		var pairs []string
		for _, row := range options {
			for _, name := range []string{row.name, row.alias} {
				if name != "" && rapid.IntRange(0, 5).Draw(t, name) == 0 {
					logOpts[name] = rapid.SampledFrom(odd).Draw(t, "LOG_OPTS")
					pairs = append(pairs, quoted(name)+":"+quoted(logOpts[name]))
				}
				if rapid.IntRange(0, 5).Draw(t, "label") == 0 {
					labels[labelPrefix+name] = rapid.SampledFrom(odd).Draw(t, "label")
				}
			}
		}
		s, problems := Load([]string{"LOG_OPTS={" + strings.Join(pairs, ",") + "}"})
		c, err := s.Container(nil, nil, labels)
		if err != nil {
			t.Errorf("%v", err)
		}
		for _, p := range problems {
			if !utf8.ValidString(p.Error()) || strings.ContainsAny(p.Error(), "\n\x00") || p.Applies == "" {
				t.Errorf("%+v", p)
			}
		}
		if c.Format == FormatEMF && c.Pattern != nil || c.Group.Template == nil || c.Stream.Template == nil || c.ExternalID != "" && c.RoleARN == "" {
			t.Errorf("unusable: %+v", c)
		}
		if c.Access.Endpoint != "" && c.Hold == "" && logOpts["endpoint"] == "" && logOpts["awslogs-endpoint"] == "" {
			t.Errorf("a label set the endpoint: %+v", c.Access)
		}
	})
}

func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}
