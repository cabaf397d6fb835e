package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/naming"
)

// A label sets only what events look like and are named: an image that nobody on the host wrote
// must not say where lines go, as whom, or how much space they take.
func TestLabelsSetOnlyNamesAndEvents(t *testing.T) {
	allowed := strings.Fields("group stream tag multiline-pattern multiline datetime-format format labels labels-regex env env-regex include-pattern exclude-pattern strip-ansi")
	want, err := mustLoad(t).Container(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range options {
		if row.label != slices.Contains(allowed, row.name) {
			t.Errorf("%s: label is %v", row.name, row.label)
		}
		if row.label && row.routing {
			t.Errorf("%s: a label decides where lines go", row.name)
		}
		if row.label {
			continue // TestEveryOptionFollowsPrecedence sees its effect
		}
		for _, name := range []string{row.name, row.alias} {
			if name == "" {
				continue
			}
			text := "eu-west-9"
			if values, ok := samples[row.name]; ok {
				text = values[3]
			}
			c, err := mustLoad(t).Container(nil, nil, map[string]string{"logspool." + name: text})
			warning := fmt.Sprintf(`label "logspool.%s": a label cannot set this option, use the log option %s; the label is ignored`, name, name)
			if err != nil || len(c.Warnings) != 1 || c.Warnings[0] != warning {
				t.Errorf("%s: %v, %q", name, err, c.Warnings)
			}
			c.Warnings = nil
			if diff := cmp.Diff(want, c, compare); diff != "" {
				t.Errorf("%s: without it -, with it +\n%s", name, diff)
			}
		}
	}
}

// An invalid label is a warning, and the next source applies.
func TestInvalidLabelIsIgnored(t *testing.T) {
	plugin := []string{`LOG_OPTS={"group":"host","format":"json","multiline-pattern":"^h"}`}
	for _, test := range []struct {
		labels opts
		want   []string
	}{
		{nil, nil},
		{opts{"logspool.group": " ", "logspool.grup": "", "logspool.region": ""}, nil}, // as if they were not given
		{opts{"group": "g", "com.logspool.group": "g", "LOGSPOOL.group": "g"}, nil},
		{opts{"logspool.group": "{{"}, []string{`label "logspool.group": template "{{": unclosed action; the label is ignored`}},
		{opts{"logspool.format": "xml"}, []string{`label "logspool.format": "xml" is not a format: use text, json or json/emf; the label is ignored`}},
		{opts{"logspool.grup": "g"}, []string{`label "logspool.grup": there is no such option (did you mean "group"?); the label is ignored`}},
		{opts{"logspool.regions": "g"}, []string{`label "logspool.regions": there is no such option: labels can set group stream tag multiline-pattern multiline ` +
			`datetime-format format labels labels-regex env env-regex include-pattern exclude-pattern strip-ansi; the label is ignored`}},
		{opts{"logspool.group": "a", "logspool.awslogs-group": "b"}, []string{`labels "logspool.group" and "logspool.awslogs-group" are two spellings of one option ` +
			`and have different values ("a" and "b"): give one of them; both labels are ignored`}},
		{opts{"logspool.multiline-pattern": "^x", "logspool.datetime-format": "%Y"}, []string{`labels "logspool.multiline-pattern" and ` +
			`"logspool.datetime-format" cannot be combined ("^x" and "%Y"): give one of them; both labels are ignored`}},
		{opts{"logspool.mode": "x"}, []string{`label "logspool.mode": a label cannot set this option, use the log option mode; the label is ignored`}},
	} {
		s := mustLoad(t, plugin...)
		c, err := s.Container(nil, nil, test.labels)
		if err != nil {
			t.Errorf("%v: %v", test.labels, err)
		}
		checkLines(t, c.Warnings)
		if diff := cmp.Diff(test.want, c.Warnings); diff != "" {
			t.Errorf("%v: want -, got +\n%s", test.labels, diff)
		}
		if c.Group.String() != "host" || c.Format != FormatJSON || c.Pattern == nil || c.Pattern.String() != "^h" || c.Hold != "" {
			t.Errorf("%v: got %+v", test.labels, c)
		}
	}
}

// However many labels an image has, the log gets a few lines.
func TestWarningsAboutLabelsAreFew(t *testing.T) {
	labels := map[string]string{"logspool.group": "{{", "logspool.format": "x"}
	for i := range 1000 {
		labels[fmt.Sprint("logspool.x", i)] = strings.Repeat("x", 1000)
	}
	c, err := mustLoad(t).Container(nil, nil, labels)
	checkLines(t, c.Warnings)
	if last := "ignored labels logspool.* that are not listed here: 997"; err != nil || len(c.Warnings) != 6 || c.Warnings[5] != last {
		t.Errorf("%v, %q", err, c.Warnings)
	}
}

// If it is undecided whether labels count, they set nothing, and the lines of a container are held
// only if they would have set something.
func TestInvalidContainerLabelsHoldsLabelledContainers(t *testing.T) {
	for _, test := range []struct {
		opts, labels opts
		env          []string
		want         string
	}{
		{nil, nil, nil, ""},
		{nil, opts{"logspool.region": "x", "logspool.grup": "x", "logspool.group": " ", "logspool.format": "xml", "other": "x"}, nil, ""},
		{nil, opts{"logspool.group": "g"}, nil, "CONTAINER_LABELS is invalid"},
		{nil, opts{"logspool.exclude-pattern": "g"}, nil, "CONTAINER_LABELS is invalid"},
		{opts{"group": "a"}, opts{"logspool.awslogs-group": "g"}, nil, ""},
		{opts{"group": "a"}, opts{"logspool.group": "g", "logspool.stream": "s"}, nil, "CONTAINER_LABELS is invalid"},
		{opts{"tag": "a"}, opts{"logspool.stream": "s"}, nil, ""},
		{opts{"datetime-format": "%Y"}, opts{"logspool.multiline-pattern": "^x"}, nil, ""},
		{nil, opts{"logspool.group": "g"}, []string{"LOGSPOUT_GROUP=g"}, "CONTAINER_LABELS is invalid"}, // the label would take precedence
	} {
		s, problems := Load([]string{"CONTAINER_LABELS=offf"})
		if len(problems) != 1 || !problems[0].Holds || s.ContainerLabels {
			t.Fatalf("%+v", problems)
		}
		c, err := s.Container(test.opts, test.env, test.labels)
		if err != nil || c.Hold != test.want || c.Warnings != nil {
			t.Errorf("%+v: hold %q, %v, %q", test, c.Hold, err, c.Warnings)
		}
		if strings.HasPrefix(c.Group.From, "label") || strings.HasPrefix(c.Stream.From, "label") || c.Pattern != nil && test.opts == nil || c.Exclude != nil {
			t.Errorf("%+v: a label has an effect: %+v", test, c)
		}
	}
	c, err := mustLoad(t, "CONTAINER_LABELS=off").Container(nil, nil, opts{"logspool.group": "g", "logspool.region": "x"})
	if err != nil || c.Group.From != "default" || c.Hold != "" || c.Warnings != nil {
		t.Errorf("off: %+v, %v", c, err)
	}
}

// ALLOW_GROUPS applies to a group of a label or of LOG_OPTS as to one of the environment: the
// container starts, and its lines go to the default group.
func TestDisallowedGroupOfLabelIsNotAnError(t *testing.T) {
	for _, test := range []struct {
		logOpts string
		labels  opts
		why     string
	}{
		{"", opts{"logspool.group": "/x"}, `ALLOW_GROUPS "/shop/.*|host" does not match "/x" (label logspool.group)`},
		{`LOG_OPTS={"group":"/y"}`, opts{"logspool.awslogs-group": "/x"}, `ALLOW_GROUPS "/shop/.*|host" does not match "/x" (label logspool.awslogs-group) or "/y" (LOG_OPTS option group)`},
		{`LOG_OPTS={"group":"/y"}`, nil, `ALLOW_GROUPS "/shop/.*|host" does not match "/y" (LOG_OPTS option group)`},
	} {
		s := mustLoad(t, "ALLOW_GROUPS=/shop/.*|host", test.logOpts)
		c, err := s.Container(nil, nil, test.labels)
		of := &naming.Container{Info: container.Info{Name: "/web"}, LoggerHost: "host"}
		if err == nil {
			err = s.CheckGroup(c, of)
		}
		if err != nil {
			t.Errorf("%v: %v", test.labels, err)
		}
		n, err := s.LogGroup(c, of)
		if err != nil || n.Name != "host" || n.Fallback == nil || n.Fallback.Error() != test.why {
			t.Errorf("%v: got %+v, %v", test.labels, n, err)
		}
	}
}
