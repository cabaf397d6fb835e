package naming

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/container"
)

// These patterns are a second copy of CloudWatch's rules, from its model
// (aws-sdk-go-v2/service/cloudwatchlogs, LogGroupName and LogStreamName).
var (
	groupPattern  = regexp.MustCompile(`^[\.\-_/#A-Za-z0-9]+$`)
	streamPattern = regexp.MustCompile(`^[^:*]+$`)
)

func checkName(t rapid.TB, n Name, pattern *regexp.Regexp) {
	t.Helper()
	if !utf8.ValidString(n.Name) || !pattern.MatchString(n.Name) ||
		utf8.RuneCountInString(n.Name) > 512 || len(utf16.Encode([]rune(n.Name))) > 512 {
		t.Errorf("not a valid name: %q", n.Name)
	}
	checkLine(t, n.Changed)
	if n.Fallback != nil {
		checkLine(t, n.Fallback.Error())
	}
}

func checkGroup(t rapid.TB, n Name) {
	t.Helper()
	checkName(t, n, groupPattern)
	if strings.HasPrefix(n.Name, "aws/") {
		t.Errorf("a reserved name: %q", n.Name)
	}
}

func checkStream(t rapid.TB, n Name) {
	t.Helper()
	checkName(t, n, streamPattern)
}

func TestGroupNameIsValid(t *testing.T) {
	for _, test := range []struct {
		text, want, changed string // changed: what Changed ends in
	}{
		{"/app/web_1.x#y-Z", "/app/web_1.x#y-Z", ""},
		{"a b:c", "a_b_c", `"a b:c" became "a_b_c": 2 characters outside [.-_/#A-Za-z0-9] became _`},
		{"é\xff", "__", "2 characters outside [.-_/#A-Za-z0-9] became _"},
		{" name \n", "name", ""}, // YAML's block scalars end in a newline
		{"aws/lambda/x", "_aws/lambda/x", "_ was put before aws/, which is reserved for AWS"},
		{"AWS/x", "AWS/x", ""},
		{"/aws/x", "/aws/x", ""},
		{strings.Repeat("a", 512), strings.Repeat("a", 512), ""},
		{strings.Repeat("a", 513), strings.Repeat("a", 512), "it was cut at 512 characters"},
		{"aws/" + strings.Repeat("a", 600), "_aws/" + strings.Repeat("a", 507), "which is reserved for AWS, it was cut at 512 characters"},
	} {
		n := Group(mustParse(test.text), testContainer())
		if n.Name != test.want || !strings.HasSuffix(n.Changed, test.changed) || (n.Changed == "") != (test.changed == "") || n.Fallback != nil {
			t.Errorf("%q: got %+v", test.text, n)
		}
		checkGroup(t, n)
	}
}

func TestStreamNameIsValid(t *testing.T) {
	for _, test := range []struct {
		text, want, changed string
	}{
		{"a b/é#[x]", "a b/é#[x]", ""},
		{"a:b*c", "a_b_c", `"a:b*c" became "a_b_c": 2 characters not allowed in stream names (: * and control characters) became _`},
		{"a\tb\x00\u0085\xffc", "a_b___c", "became _"},
		{"a\u202egnp\u2028x", "a_gnp_x", `"a\u202egnp\u2028x" became "a_gnp_x": 2 characters not allowed in stream names (: * and control characters) became _`},
		{"aws/x", "aws/x", ""},
		{strings.Repeat("é", 600), strings.Repeat("é", 512), "it was cut at 512 characters"},
		{strings.Repeat("a", 511) + "😀", strings.Repeat("a", 511), "it was cut at 512 characters"}, // two UTF-16 units
		{strings.Repeat("a", 510) + "😀", strings.Repeat("a", 510) + "😀", ""},
	} {
		n := Stream(mustParse(test.text), testContainer())
		if n.Name != test.want || !strings.HasSuffix(n.Changed, test.changed) || (n.Changed == "") != (test.changed == "") || n.Fallback != nil {
			t.Errorf("%q: got %+v", test.text, n)
		}
		checkStream(t, n)
	}
}

func TestDefaultNameReplacesAFailedTemplate(t *testing.T) {
	for _, test := range []struct {
		text          string
		c             *Container
		group, stream string
		reason        string
	}{
		{`{{.Lbl "missing"}}`, testContainer(), "node1", "web", `the container has no label "missing"`},
		{`{{.Env.MISSING}}`, testContainer(), "node1", "web", `template "{{.Env.MISSING}}": renders as nothing`},
		{" {{.Env.MISSING}}\n", testContainer(), "node1", "web", "renders as nothing"},
		{``, testContainer(), "node1", "web", "renders as nothing"},
		{`half{{pad "x" 1000000000 0}}`, testContainer(), "node1", "web", "makes too much text"},
		{`{{.Env.MISSING}}`, &Container{Info: container.Info{ID: testID, Name: "/a:b"}, LoggerHost: "a b"}, "a_b", "a_b", "renders as nothing"},
		{`{{.Env.MISSING}}`, &Container{Info: container.Info{ID: testID, Name: "/"}}, "unnamed", testID, "renders as nothing"},
		{`{{.Env.MISSING}}`, &Container{}, "unnamed", "unnamed", "renders as nothing"},
	} {
		tmpl := mustParse(test.text)
		group, stream := Group(tmpl, test.c), Stream(tmpl, test.c)
		if group.Name != test.group || stream.Name != test.stream {
			t.Errorf("%q: got %q, %q, want %q, %q", test.text, group.Name, stream.Name, test.group, test.stream)
		}
		for _, err := range []error{group.Fallback, stream.Fallback} {
			if err == nil || !strings.Contains(err.Error(), test.reason) {
				t.Errorf("%q: fallback because of %v, want %q", test.text, err, test.reason)
			}
		}
		checkGroup(t, group)
		checkStream(t, stream)
	}

	// A nil template is not a fallback.
	if n := Group(nil, testContainer()); n != (Name{Name: "node1"}) {
		t.Errorf("got %+v", n)
	}
	if n := Stream(nil, testContainer()); n != (Name{Name: "web"}) {
		t.Errorf("got %+v", n)
	}
	if n := Group(nil, &Container{}); n.Name != "unnamed" || n.Fallback == nil {
		t.Errorf("got %+v", n)
	}
}

// A name contains 12 digits of an image's ID, and not the algorithm and five digits.
func TestImageIDInANameIsShort(t *testing.T) {
	c := testContainer()
	c.ImageID = "sha256:582c496ccf79d8aa6f8203a79d32aaf7ffd8b13362c60a701a2f9ac64886c93d"
	tag, err := ParseTag("{{.ImageID}}")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []Name{Stream(tag, c), Group(mustParse("{{.ImageID}}"), c)} {
		if n != (Name{Name: "582c496ccf79"}) {
			t.Errorf("got %+v", n)
		}
	}
}

func TestValueIsCleaned(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"{{.Labels.app}}", "shop"},
		{" {{.Name}} \n", "web"},
		{"{{.Labels.missing}}", ""},
		{" <no value>", ""},
		{"a:b*c\x00\xff\u202e", "a:b*c___"},
		{strings.Repeat("é", 600), strings.Repeat("é", 512)},
	} {
		if got, err := Value(mustParse(test.text), testContainer()); got != test.want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", test.text, got, err, test.want)
		}
	}
	if got, err := Value(mustParse(`{{.Lbl "missing"}}`), testContainer()); got != "" || err == nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// Any bytes become a valid name, and a valid name does not change.
func TestAnyTextBecomesAValidName(t *testing.T) {
	group, stream := mustParse("{{.Env.G}}"), mustParse("{{.Env.S}}")
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.String(),
			rapid.StringN(400, 700, -1),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.StringMatching(`(aws/)?[ :*a-z/\x00-\x20é😀]{0,600}`),
		)
		c := &Container{
			Info:       container.Info{ID: text.Draw(t, "id"), Name: text.Draw(t, "name"), Env: []string{"G=" + text.Draw(t, "group"), "S=" + text.Draw(t, "stream")}},
			LoggerHost: text.Draw(t, "host"),
		}
		g, s := Group(group, c), Stream(stream, c)
		checkGroup(t, g)
		checkStream(t, s)

		c.Env = []string{"G=" + g.Name, "S=" + s.Name}
		if again := Group(group, c); again.Name != g.Name || again.Changed != "" || again.Fallback != nil {
			t.Errorf("%q became %+v", g.Name, again)
		}
		if again := Stream(stream, c); again.Name != strings.TrimSpace(s.Name) || again.Changed != "" || again.Fallback != nil {
			t.Errorf("%q became %+v", s.Name, again)
		}
	})
}

func TestIsGroup(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, "a": true, "/app/web-1_2.x#y": true, "Ü": false, "a b": false, "a\n": false, "\xff": false, "a:b": false,
		strings.Repeat("x", 512): true, strings.Repeat("x", 513): false,
	} {
		if got := IsGroup(name); got != want {
			t.Errorf("%.20q, %d bytes: got %v", name, len(name), got)
		}
	}
}
