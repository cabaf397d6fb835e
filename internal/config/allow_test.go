package config

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/naming"
)

// ALLOW_GROUPS must match the whole name, wherever the name comes from.
func TestLogGroupIsAlwaysAnAllowedOne(t *testing.T) {
	const none = "" // no group at all
	shop := []string{"ALLOW_GROUPS=/shop/[a-z]+|/ops", "LOGSPOUT_GROUP=/ops"}
	for _, test := range []struct {
		plugin   []string
		opts     opts
		env      []string
		want     string
		fallback string
	}{
		{nil, nil, []string{"LOGSPOUT_GROUP=any"}, "any", ""},
		{shop, nil, nil, "/ops", ""},
		{shop, nil, []string{"LOGSPOUT_GROUP=/shop/web"}, "/shop/web", ""},
		// The whole name must match, also with alternatives and flags.
		{shop, nil, []string{"LOGSPOUT_GROUP=/shop/web/x"}, "/ops", `ALLOW_GROUPS "/shop/[a-z]+|/ops" does not match "/shop/web/x" (the container's LOGSPOUT_GROUP)`},
		{shop, nil, []string{"LOGSPOUT_GROUP=x/ops"}, "/ops", "does not match"},
		{[]string{"ALLOW_GROUPS=(?m)^/a$", "LOGSPOUT_GROUP=/a"}, nil, []string{"LOGSPOUT_GROUP=/b\n/a"}, "/a", `does not match "/b_/a"`},
		{[]string{"ALLOW_GROUPS= (?i)/OPS \n", "LOGSPOUT_GROUP=/ops"}, nil, []string{"LOGSPOUT_GROUP=/ops2"}, "/ops", `"(?i)/OPS"`},
		{[]string{"ALLOW_GROUPS=/a|/ab?", "LOGSPOUT_GROUP=/a"}, nil, []string{"LOGSPOUT_GROUP=/ab"}, "/ab", ""},
		{[]string{"ALLOW_GROUPS=/a??", "LOGSPOUT_GROUP=/"}, nil, []string{"LOGSPOUT_GROUP=/a"}, "/a", ""},
		{[]string{`ALLOW_GROUPS=\Q/a.b`, "LOGSPOUT_GROUP=/a.b"}, nil, []string{"LOGSPOUT_GROUP=/axb"}, "/a.b", `does not match "/axb"`},
		{[]string{"ALLOW_GROUPS=" + strings.Repeat("(", 999) + "/a" + strings.Repeat(")", 999), "LOGSPOUT_GROUP=/a"}, nil, nil, "/a", ""},
		// The name that CloudWatch gets counts, not the one that was written.
		{shop, nil, []string{"LOGSPOUT_GROUP=/shop/web\t"}, "/shop/web", ""},
		// The container was attached before its option became invalid.
		{shop, opts{"group": "/secret"}, nil, "/ops", `"/secret" (log option group)`},
		// The setting's own template can render a container's text.
		{[]string{"ALLOW_GROUPS=/shop/.*|host", "LOGSPOUT_GROUP=/{{.Env.TEAM}}/web"}, nil, []string{"TEAM=shop"}, "/shop/web", ""},
		{[]string{"ALLOW_GROUPS=/shop/.*|host", "LOGSPOUT_GROUP=/{{.Env.TEAM}}/web"}, nil, []string{"TEAM=other"}, "host",
			`does not match "/other/web" (LOGSPOUT_GROUP)`},
		{[]string{"ALLOW_GROUPS=/shop/.*", "LOGSPOUT_GROUP=/{{.Env.TEAM}}/web"}, nil, []string{"TEAM=other", "LOGSPOUT_GROUP=x"}, none,
			`no log group is allowed: ALLOW_GROUPS "/shop/.*" does not match "x" (the container's LOGSPOUT_GROUP) or "/other/web" (LOGSPOUT_GROUP) or "host" (default)`},
	} {
		s := mustLoad(t, test.plugin...)
		c, err := s.Container(test.opts, test.env, nil)
		if err != nil {
			t.Fatal(err)
		}
		n, err := s.LogGroup(c, &naming.Container{LoggerHost: "host", Info: container.Info{Env: test.env}})
		if (err != nil) != (test.want == none) || err != nil && !errors.Is(err, ErrNoGroup) {
			t.Errorf("%q, %v, %q: %v", test.plugin, test.opts, test.env, err)
		}
		said := ""
		if err != nil {
			said = err.Error()
		} else if n.Fallback != nil {
			said = n.Fallback.Error()
		}
		checkLines(t, []string{said})
		if n.Name != test.want || (said == "") != (test.fallback == "") || !strings.Contains(said, test.fallback) {
			t.Errorf("%q, %v, %q: got %q (%s), want %q (%s)", test.plugin, test.opts, test.env, n.Name, said, test.want, test.fallback)
		}
	}
}

// A log option for a group that is not allowed is refused at the start, if the name is known then.
func TestDisallowedGroupOptionIsRefusedAtStart(t *testing.T) {
	s := mustLoad(t, "ALLOW_GROUPS=/shop/.*")
	const refused = `logspool: log option "group": the log group "/x" is not allowed: ALLOW_GROUPS "/shop/.*" must match the whole name`
	for _, test := range []struct {
		opts opts
		want string
	}{
		{nil, ""},
		{opts{"stream": "/x"}, ""},
		{opts{"group": "/shop/web"}, ""},
		{opts{"group": "/x"}, refused},
		{opts{"awslogs-group": "/x"}, strings.Replace(refused, "group", "awslogs-group", 1)},
		{opts{"group": "/shop/{{.Name}}"}, ""},
		{opts{"group": "/{{.Name}}"}, strings.Replace(refused, "/x", "/web", 1)},
		{opts{"group": `{{if eq .Source "stdout"}}/shop/x{{else}}/x{{end}}`}, refused},
		// A name that must be looked up, or that is not the option's own, is checked at delivery.
		{opts{"group": "/{{.InstanceID}}"}, ""},
		{opts{"group": "/{{.Host}}"}, ""},
		{opts{"group": "/{{.Region}}"}, ""},
		{opts{"group": "/{{.Region}}", "region": "eu-west-1"}, strings.Replace(refused, "/x", "/eu-west-1", 1)},
		{opts{"group": `{{.Lbl "none"}}`}, ""},
	} {
		c, err := s.Container(test.opts, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		said := ""
		if err := s.CheckGroup(c, &naming.Container{Info: container.Info{Name: "/web", ID: "0123"}, LoggerHost: "host", Region: c.Region}); err != nil {
			said = err.Error()
		}
		if said != test.want {
			t.Errorf("%v:\n got %s\nwant %s", test.opts, said, test.want)
		}
	}
	if err := mustLoad(t).CheckGroup(&Container{Names: Names{Group: template("/x", "log option group")}}, &naming.Container{}); err != nil {
		t.Errorf("without ALLOW_GROUPS: %v", err)
	}
}

func TestInvalidAllowGroupsAllowsNoGroup(t *testing.T) {
	for _, text := range []string{"(", "a)(b", "*", strings.Repeat("a", 9000), "a\xff", `x\`} {
		s, problems := Load([]string{"ALLOW_GROUPS=" + text})
		if got := problemLines(t, problems); len(got) != 1 || !strings.HasPrefix(got[0], "ALLOW_GROUPS: ") || !problems[0].Holds {
			t.Errorf("%.20q: %+v", text, problems)
		}
		for _, o := range []opts{nil, {"group": "g", "region": "eu-west-1", "create-group": "false"}} {
			if c, _ := s.Container(o, nil, nil); c.Hold != "ALLOW_GROUPS is invalid" {
				t.Errorf("%.20q, %v: hold %q", text, o, c.Hold)
			}
		}
	}
}

func TestAllowGroupsWithoutDefaultGroupIsAProblem(t *testing.T) {
	for _, test := range []struct {
		env  []string
		want string
	}{
		{nil, ""},
		{[]string{"ALLOW_GROUPS=host"}, ""},
		{[]string{"ALLOW_GROUPS=/shop/.*", "LOGSPOUT_GROUP=/shop/x"}, ""},
		{[]string{"ALLOW_GROUPS=host", "LOGSPOUT_GROUP=/x"}, ""}, // the host's name is used
		{[]string{"ALLOW_GROUPS=/shop/.*", "LOGSPOUT_GROUP=/{{.Env.TEAM}}"}, ""},
		{[]string{"ALLOW_GROUPS=/shop/.*"}, `ALLOW_GROUPS: "/shop/.*" does not match "host" (default): set LOGSPOUT_GROUP to a group that it matches`},
		{[]string{"ALLOW_GROUPS=/shop/.*", "LOGSPOUT_GROUP=/x"},
			`ALLOW_GROUPS: "/shop/.*" does not match "/x" (LOGSPOUT_GROUP) or "host" (default): set LOGSPOUT_GROUP to a group that it matches`},
	} {
		got := strings.Join(problemLines(t, mustLoad(t, test.env...).CheckDefaultGroup("host")), "\n")
		if got != test.want {
			t.Errorf("%q:\n got %s\nwant %s", test.env, got, test.want)
		}
	}
}

func TestRenderedGroupIsAllowedOrNone(t *testing.T) {
	for _, text := range []string{"/a|/b", "(?i)/shop/.*", "^/x", "/x$", "(?m)/a$|^b", "(?s).", "host|"} {
		s := mustLoad(t, "ALLOW_GROUPS="+text, "LOGSPOUT_GROUP={{.Labels.g}}{{.Env.G}}")
		whole := regexp.MustCompile(text)
		whole.Longest()
		rapid.Check(t, func(t *rapid.T) {
			name := rapid.OneOf(rapid.StringMatching(`(/a|/b|/shop/|/x|host|b|\n| ){0,3}`), rapid.String())
			env := []string{"LOGSPOUT_GROUP=" + name.Draw(t, "variable"), "G=" + name.Draw(t, "G")}
			labels := map[string]string{"g": name.Draw(t, "label")}
			c, _ := s.Container(nil, env, nil)
			n, err := s.LogGroup(c, &naming.Container{LoggerHost: "host", Info: container.Info{Env: env, Labels: labels}})
			if err == nil && whole.FindString(n.Name) != n.Name {
				t.Errorf("%s let %q through", text, n.Name)
			}
		})
	}
}

// Whatever the environment holds, Load returns usable settings, and each problem is one line.
func TestLoadedSettingsAreUsable(t *testing.T) {
	odd := []string{" ", "x", "-1", "0", "1e400", "{{", "{{.Foo}}", `\Q`, `\Q/a`, "(", "(?m)$", "x{1000}", strings.Repeat("(", 999) + strings.Repeat(")", 999),
		"\x00", "\xff\n", "auto", "cloudwatch://auto?DELAY=x&FOO=1&LOGSPOUT_GROUP=%zz", "://", "a=b,a=c", "1t", "64k", "999999999999999999t", "off", "9999999h"}
	rapid.Check(t, func(t *rapid.T) {
		var env []string
		for _, row := range settings {
			if rapid.Bool().Draw(t, row.name) {
				env = append(env, row.name+"="+rapid.SampledFrom(odd).Draw(t, "value"))
			}
		}
		s, problems := Load(env)
		for _, p := range append(problems, s.CheckDefaultGroup("host")...) {
			if !utf8.ValidString(p.Error()) || strings.ContainsAny(p.Error(), "\n\x00") {
				t.Errorf("%q", p.Error())
			}
		}
		if s.Delay <= 0 || s.SpoolMaxSize <= 0 || s.SpoolTotalSize < s.SpoolMaxSize && !s.Unknown.SpoolTotalSize || s.HistorySize < 0 || s.StateDir == "" || s.PluginSocket == "" {
			t.Errorf("%q: %+v", env, s)
		}
	})
}
