//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
)

func TestLogOptionsSetRegionGroupAndStream(t *testing.T) {
	name := newName(t)
	id := func(c *container) string { return c.id }
	for what, test := range map[string]struct {
		opts   []string
		region string
		group  string
		stream string
		by     func(*container) string // the stream, if it is known only after the start
	}{
		"group and stream": {
			opts:  []string{"group=" + name + "/g-{{.Name}}", `stream={{.ImageName | replace "/" "-" | replace ":" "-" | upper}}`},
			group: name + "/g-NAME", stream: strings.ToUpper(strings.ReplaceAll(image, ":", "-")),
		},
		"stream alone":             {opts: []string{"stream=" + name + "-s"}, group: hostName(t), stream: name + "-s"},
		"awslogs-group alone":      {opts: []string{"awslogs-group=" + name + "/aws"}, group: name + "/aws", by: id},
		"awslogs-stream":           {opts: []string{"awslogs-group=" + name + "/aws", "awslogs-stream=s"}, group: name + "/aws", stream: "s"},
		"tag":                      {opts: []string{"group=" + name, "tag={{.ImageName}}@{{.ID}}"}, group: name, by: func(c *container) string { return strings.ReplaceAll(image, ":", "_") + "@" + c.id[:12] }},
		"awslogs-region":           {opts: []string{"group=" + name, "awslogs-region=eu-central-1", "stream=r"}, region: "eu-central-1", group: name, stream: "r"},
		"region":                   {opts: []string{"group=" + name, "region=eu-west-1", "stream=r"}, region: "eu-west-1", group: name, stream: "r"},
		"a name that is not valid": {opts: []string{"group=aws/" + name + " ü", "stream=a:b*c"}, group: "_aws/" + name + "__", stream: "a_b_c"},
		"dockerd's own":            {opts: []string{"group=" + name, "stream=own", "mode=non-blocking", "max-buffer-size=4m", "max-size=1m", "max-file=2"}, group: name, stream: "own"},
	} {
		t.Run(what, func(t *testing.T) {
			c := start(t, spec{opts: test.opts, args: []string{"-lines", "20", "-to", "stdout,stderr"}})
			c.finish(t)
			s := to(strings.ReplaceAll(test.group, "NAME", c.name), test.stream)
			if test.region != "" {
				s.region = test.region
			}
			if test.by != nil {
				s.stream = test.by(c)
			}
			s.has(t, printed(c.name, "stdout", 20), printed(c.name, "stderr", 20))
		})
	}
}

// TestLongDelayIsFlushedAtExit: with a long delay, a container's lines are sent when it exits.
func TestLongDelayIsFlushedAtExit(t *testing.T) {
	slow := start(t, spec{opts: []string{"delay=1h"}, args: []string{"-lines", "10", "-hold"}})
	quick := start(t, spec{opts: []string{"awslogs-force-flush-interval-seconds=1"}, args: []string{"-lines", "10"}})
	to(hostName(t), quick.name).has(t, printed(quick.name, "stdout", 10))
	if got := to(hostName(t), slow.name).messages(); len(got) > 0 {
		t.Errorf("with delay=1h, %d lines arrived before those of a container with 1 s that was started later", len(got))
	}
	slow.engine.must(t, "stop", slow.name)
	to(hostName(t), slow.name).has(t, printed(slow.name, "stdout", 10))
}

// TestCreateGroupFalseWaits: with create-group=false, lines are sent after somebody else
// has created the group.
func TestCreateGroupFalseWaits(t *testing.T) {
	group := newName(t)
	missing := func() int64 {
		requests := stand.Stats().Requests
		return requests["PutLogEvents"]["ResourceNotFoundException"] + requests["CreateLogStream"]["ResourceNotFoundException"]
	}
	before := missing()
	c := start(t, spec{opts: []string{"group=" + group, "create-group=false"}, args: []string{"-lines", "10"}})
	c.finish(t)
	wait(t, stand, "requests for the missing group", func() bool { return missing() >= before+2 })
	for _, g := range stand.Groups() {
		if g.Name == group {
			t.Errorf("the group %s was created", group)
		}
	}
	other := start(t, spec{opts: []string{"group=" + group}, args: []string{"-lines", "10"}})
	to(group, other.name).has(t, printed(other.name, "stdout", 10))
	to(group, c.name).has(t, printed(c.name, "stdout", 10))
}

// TestBadOptionsRefuseTheStart: a container with an invalid option does not start, the
// error is one line that says why, and no FIFO is left.
func TestBadOptionsRefuseTheStart(t *testing.T) {
	before := tested.fifos(t)
	for what, test := range map[string]struct {
		opts []string
		want []string // parts of the line
	}{
		"unknown":          {[]string{"grup=x"}, []string{`unknown log option "grup"`, `did you mean "group"`}},
		"unlike any":       {[]string{"x-y-z-compress-level=9"}, []string{`unknown log option "x-y-z-compress-level"`, "group", "stream"}},
		"bad value":        {[]string{"delay=soon"}, []string{`"delay"`, `"soon"`, "500ms"}},
		"bad boolean":      {[]string{"awslogs-create-group=perhaps"}, []string{`"awslogs-create-group"`, `"perhaps"`, "true"}},
		"broken template":  {[]string{"stream={{.Name"}, []string{`"stream"`, "{{.Name"}},
		"unknown field":    {[]string{"group={{.Nmae}}"}, []string{`"group"`, "Nmae", ".Name"}},
		"two that differ":  {[]string{"group=a", "awslogs-group=b"}, []string{`"group"`, `"awslogs-group"`, `"a"`, `"b"`}},
		"two that are bad": {[]string{"delay=soon", "grup=x"}, []string{`"delay"`, `"grup"`}},
	} {
		t.Run(what, func(t *testing.T) {
			message := refused(t, spec{opts: test.opts})
			lines := slices.DeleteFunc(strings.Split(message, "\n"), func(l string) bool {
				// Without the lines of the docker command itself.
				return strings.TrimSpace(l) == "" || strings.Contains(l, "docker run --help")
			})
			if len(lines) != 1 {
				t.Errorf("more than one line: %q", lines)
			}
			for _, part := range append(test.want, "failed to initialize logging driver") {
				if !strings.Contains(message, part) {
					t.Errorf("%q does not say %q", message, part)
				}
			}
		})
	}
	if after := tested.fifos(t); !slices.Equal(before, after) {
		t.Errorf("FIFOs before: %q, and after: %q", before, after)
	}
}
