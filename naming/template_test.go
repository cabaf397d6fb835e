package naming

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"
	"unicode/utf8"

	"github.com/docker/docker/daemon/logger/templates"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logspool/logspool/internal/container"
)

const testID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func testContainer() *Container {
	return &Container{
		Info:       container.Info{ID: testID, Name: "/web", ImageID: "sha256:fedcba9876543210", ImageName: "registry:5000/shop/web:1.2", DaemonName: "docker", Entrypoint: "/bin/sh", Args: []string{"-c", "echo hi"}, Env: []string{"STAGE=prod", "EQ=a=b", "EMPTY=", "NOVALUE", "STAGE2=x"}, Labels: map[string]string{"app": "shop", "com.docker.compose.service": "web"}, Config: map[string]string{"awslogs-group": "g", "labels": "app,none"}, Created: time.Date(2026, 1, 2, 3, 4, 5, 67890, time.FixedZone("", 3600)), LogPath: "/var/log/x"},
		Attrs:      map[string]string{"app": "shop"},
		LoggerHost: "node1",
		InstanceID: "i-0abc",
		Region:     "eu-west-1",
		Source:     "stderr",
	}
}

func TestTemplatesRenderFieldsAndFunctions(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		// Fields.
		{"plain", "plain"},
		{"{{.LoggerHost}}/{{.Name}}", "node1/web"},
		{"{{.ID}}", testID},
		{"{{.ShortID}}", "0123456789ab"},
		{"{{.Host}}", "0123456789ab"},
		{"{{.ImageName}} {{.ImageID}}", "registry:5000/shop/web:1.2 fedcba987654"},
		{"{{.DaemonName}} {{.Command}}", "docker /bin/sh -c echo hi"},
		{"{{.InstanceID}} {{.Region}} {{.Source}}", "i-0abc eu-west-1 stderr"},
		{"{{.Env.STAGE}} {{.Env.EQ}}", "prod a=b"},
		{"{{.Env.MISSING}}|{{.Labels.missing}}|{{.Env.NOVALUE}}", "||"},
		{`{{index .Labels "com.docker.compose.service"}}{{index .Env "MISSING"}}`, "web"},
		{`{{.Lbl "com.docker.compose.service"}}`, "web"},
		{`{{with .Labels.app}}{{.}}-{{$.Name}}{{end}}`, "shop-web"},
		{`{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}`, "app=shop;com.docker.compose.service=web;"},
		{`{{range .Env}}{{if eq . "prod"}}{{break}}{{end}}{{.}},{{end}}`, ",a=b,"},
		{`{{range 3}}x{{.}}{{end}}`, "x0x1x2"},
		{`{{range 0}}x{{else}}none{{end}}`, "none"},
		{`{{range $i, $e := split "a,b" ","}}{{$i}}{{$e}}{{end}}`, "0a1b"},

		// Functions.
		{`{{json .Labels}}`, `{"app":"shop","com.docker.compose.service":"web"}`},
		{`{{json "a<b>&"}}`, `"a<b>&"`},
		{`{{index (split .ImageName "/") 1}}`, "shop"},
		{`{{join (split "a-b" "-") "+"}}`, "a+b"},
		{`{{title "ab cd"}} {{lower "AB"}} {{upper "ab"}}`, "Ab Cd ab AB"},
		{`[{{pad "a" 1 2}}][{{pad "" 1 2}}]`, "[ a  ][]"},
		{`{{truncate .ID 4}} {{truncate "ab" 9}} {{truncate "aé" 2}}|{{truncate "é" 1}}`, "0123 ab a|"},
		{`{{.Env.MISSING | default "dev"}} {{.Env.STAGE | default "dev"}} {{default "x" .Env.EMPTY}}`, "dev prod x"},
		{`{{.ImageName | replace ":" "_" | replace "/" "."}}`, "registry_5000.shop.web_1.2"},
		{`{{replace "" "-" "ab"}}`, "-a-b-"},
		{`{{print 1 2 "a"}}{{printf "%03d-%s-%%" 7 .Name}}{{println "x"}}`, "1 2a007-web-%x\n"},
		{`{{printf "%[2]s%[1]s" "a" "b"}}`, "ba"},
		{`{{html "<"}}{{js "'"}}{{urlquery "a b"}}`, `&lt;\'a+b`},
		{`{{slice .Name 1 2}}{{len .Name}}{{and 1 .Name}}{{or "" "y"}}{{not true}}`, "e3webyfalse"},
	} {
		tmpl, err := Parse(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got, err := tmpl.Execute(testContainer()); err != nil || got != test.want {
			t.Errorf("%s: got %q, %v, want %q", test.text, got, err, test.want)
		}
	}
}

func TestHostIsTheFirstKnownName(t *testing.T) {
	tmpl := mustParse("{{.Host}}")
	for _, test := range []struct {
		env     []string
		foreign bool
		engine  string
		want    string
		needs   bool
	}{
		{[]string{"HOSTNAME=own"}, false, "engine", "own", false},
		{[]string{"HOSTNAME=own"}, true, "engine", "engine", true},
		{[]string{"HOSTNAME=own"}, true, "", testID[:12], true},
		{[]string{"HOSTNAME="}, false, "engine", "engine", true},
		{nil, false, "", testID[:12], true},
	} {
		c := &Container{Info: container.Info{ID: testID, Env: test.env}, EnvIsForeign: test.foreign, Host: test.engine}
		if got, err := tmpl.Execute(c); got != test.want || err != nil {
			t.Errorf("%v: got %q, %v, want %q", test, got, err, test.want)
		}
		if got := c.NeedsHost(); got != test.needs {
			t.Errorf("%v: NeedsHost %v", test, got)
		}
	}
}

func TestTagHasDockersFields(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"{{.ID}}/{{.FullID}}", testID[:12] + "/" + testID},
		{"{{.Name}} {{.ContainerName}}", "web /web"},
		{"{{.ImageID}} {{.ImageFullID}}", "fedcba987654 sha256:fedcba9876543210"},
		{"{{.ImageName}}@{{.Hostname}}@{{.DaemonName}}", "registry:5000/shop/web:1.2@node1@docker"},
		{"{{.Command}}", "/bin/sh -c echo hi"},
		{"{{range .ContainerEnv}}{{.}};{{end}}", "STAGE=prod;EQ=a=b;EMPTY=;NOVALUE;STAGE2=x;"},
		{"{{.ContainerLabels.app}}{{.ContainerLabels.none}}", "shop"},
		{`{{or .ContainerLabels.team "none"}}`, "none"},
		{`{{index .Config "awslogs-group"}}|{{.Config.labels}}|{{.Config.none}}`, "g|app,none|"},
		{"{{.LogPath}}", "/var/log/x"},
		{`{{.ContainerCreated.Format "2006-01-02"}}`, "2026-01-02"},
		{`{{with .ContainerCreated}}{{.Year}}{{.Month}}{{end}}`, "2026January"},
		{"{{.ExtraAttributes nil}} {{json (.ExtraAttributes nil)}}", `map[app:shop] {"app":"shop"}`},
		{`{{(.ExtraAttributes nil).app}}{{(.ExtraAttributes nil).none}}{{range $k, $v := .ExtraAttributes nil}} {{$k}}={{$v}}{{end}}`, "shop app=shop"},
	} {
		tmpl, err := ParseTag(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got, err := tmpl.Execute(testContainer()); err != nil || got != test.want {
			t.Errorf("%s: got %q, %v, want %q", test.text, got, err, test.want)
		}
	}
	if _, err := ParseTag("{{.LoggerHost}}"); err == nil || !strings.Contains(err.Error(), ".FullID") {
		t.Errorf("got %v", err)
	}
	// In Docker, an empty selection is an empty map.
	none, err := ParseTag(`{{json (.ExtraAttributes nil)}}{{.ContainerCreated.IsZero}}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := none.Execute(&Container{}); got != "{}true" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	// An ID of less than 12 characters is not cut. Docker's own code would panic.
	if got, err := mustParse("{{.ShortID}}").Execute(&Container{Info: container.Info{ID: "abc"}}); got != "abc" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestInvalidTagIsRefused(t *testing.T) {
	layout := func(n int) string { return `{{.ContainerCreated.Format "` + strings.Repeat("x", n) + `"}}` }
	for _, test := range []struct{ text, want string }{
		{"{{.ContainerCreated.Local}}", `template "{{.ContainerCreated.Local}}": there is no .ContainerCreated.Local: there are .Add .AddDate .Day .Format .Hour`},
		{`{{(.ContainerCreated.UTC.In nil).Year}}`, "can't evaluate field In in type naming.created"},
		{`{{with .ContainerCreated}}{{.Local}}{{end}}`, "can't evaluate field Local in type naming.created"},
		{`{{$.ContainerCreated.AppendFormat nil "x"}}`, "there is no .ContainerCreated.AppendFormat"},
		{"{{.ContainerCreated.Format}}", "wrong number of args for Format: want 1 got 0"},
		{layout(512), ""},
		{layout(513), "the layout of a time may have 512 bytes"},
		{"{{.ExtraAttributes}}", "wrong number of args for ExtraAttributes: want 1 got 0"},
		{"{{.ContainerLabels.k8s-app}}", `bad character U+002D '-': write a key with characters other than letters, digits and _ as {{index .ContainerLabels "k8s-app"}}`},
		{"{{.ContainerLabels.com.x}}", `write a key with characters other than letters, digits and _ as {{index .ContainerLabels "com.x"}}`},
		{"{{.Config.awslogs-group}}", `{{index .Config "awslogs-group"}}`},
		{`{{.ExtraAttributes "upper"}}`, "for arg of type func(string) string"},
	} {
		tmpl, err := ParseTag(test.text)
		if err == nil {
			_, err = tmpl.Execute(testContainer())
		}
		if test.want == "" && err == nil {
			continue
		}
		if err == nil || test.want == "" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60s: got %v, want %q", test.text, err, test.want)
			continue
		}
		checkLine(t, err.Error())
	}
}

// Docker's own functions are the oracle for the functions of the same names.
func TestFunctionsReturnWhatDockersReturn(t *testing.T) {
	for _, text := range []string{
		`{{json .}}`, `{{json .Env}}`, `{{split .Name ""}}`, `{{split .Name "e"}}`, `{{join (split .Name "e") "--"}}`,
		`{{title .Command}}`, `{{lower .Host}}`, `{{upper .Name}}`, `{{pad .Name 3 2}}`, `{{pad "" 3 2}}`,
		`{{truncate .Name 2}}`, `{{truncate .Name 3}}`, `{{truncate .Name 0}}`, `{{truncate .Name 100}}`,
		`{{pad .Name -1 0}}`, `{{truncate .Name -1}}`, // errors, both
		`{{.Name | printf "%10s|%-10s|%q" .Host}}`, `{{print .Env}}`, `{{html .Command}}`, `{{println 1 nil true 2.5}}`,
	} {
		want := &strings.Builder{}
		docker, err := templates.NewParse("", text)
		if err != nil {
			t.Fatal(err)
		}
		wantErr := docker.Execute(want, newGroupFields(testContainer()))
		got, err := mustParse(text).Execute(testContainer())
		if (err != nil) != (wantErr != nil) || err == nil && got != want.String() {
			t.Errorf("%s: got %q, %v, want %q, %v", text, got, err, want, wantErr)
		}
	}
}

func TestUsesFindsTheFields(t *testing.T) {
	for _, test := range []struct {
		text string
		want string // of the fields that are looked up
	}{
		{"x", ""},
		{"{{.Name}}", ""},
		{"{{.Source}}", "Source"},
		{"{{.Host}}{{.Region}}", "Host Region"},
		{"{{if .InstanceID}}{{.InstanceID}}{{else}}{{.LoggerHost}}{{end}}", "InstanceID"},
		{`{{if eq .Source "stderr"}}err{{end}}`, "Source"},
		{`{{if false}}{{else if .Source}}{{end}}`, "Source"},
		{`{{$x := .Region}}{{$x}}`, "Region"},
		{`{{with .Env}}{{.Region}}{{else}}{{.Host}}{{end}}`, "Host"}, // Env's Region is another
		{`{{with .Env}}{{$.Region}}{{end}}`, "Region"},
		{`{{range .Env}}{{.}}{{end}}`, ""},
		{`{{range .Env}}{{else}}{{.Source}}{{end}}`, "Source"},
		{`{{range $k, $v := .Env}}{{$v}}{{$.Source}}{{end}}`, "Source"},
		{`{{.Name | printf "%s-%s" .Source}}`, "Source"},
		{`{{printf "%s" (lower (upper .Source))}}`, "Source"},
		{`{{(.Labels).Source}}`, ""},
		{`{{(.).Source}}`, "Host InstanceID Region Source"},
		{`{{json .}}`, "Host InstanceID Region Source"},
		{`{{json $}}`, "Host InstanceID Region Source"},
		{`{{with .}}{{.Source}}{{end}}`, "Host InstanceID Region Source"},
		{`{{with $y := $}}{{$y.Source}}{{end}}`, "Host InstanceID Region Source"},
		{`{{range 2}}{{with $}}{{.Source}}{{end}}{{end}}`, "Host InstanceID Region Source"},
		{`{{/* .Source */}}x`, ""},
	} {
		tmpl := mustParse(test.text)
		var got []string
		for _, field := range []string{"Host", "InstanceID", "Region", "Source"} {
			if tmpl.Uses(field) {
				got = append(got, field)
			}
		}
		if got := strings.Join(got, " "); got != test.want {
			t.Errorf("%s: uses %q, want %q", test.text, got, test.want)
		}
	}
	if tag, err := ParseTag("{{json .}}"); err != nil || tag.Uses("Source") || !tag.Uses("FullID") {
		t.Errorf("a tag has no .Source, and uses what it has: %v", err)
	}
}

func TestParseErrorSaysWhatIsAllowed(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"{{", `template "{{": unclosed action`},
		{"{{.Name", `template "{{.Name": unclosed action`},
		{"{{if .Name}}x", `template "{{if .Name}}x": unexpected EOF`},
		{"{{.Nmae}}", `template "{{.Nmae}}": there is no field .Nmae: the fields are .Host .Env .Labels .Name .ID .LoggerHost ` +
			`.InstanceID .Region .ShortID .ImageName .ImageID .DaemonName .Command .Source .Lbl`},
		{"{{if true}}{{$.Nope}}{{end}}", "there is no field .Nope"},
		{"{{.Labels.com.docker.service}}", `template "{{.Labels.com.docker.service}}": write a key with characters other than letters, digits and _ as ` +
			`{{index .Labels "com.docker.service"}} or {{.Lbl "com.docker.service"}}`},
		{"{{.Labels.k8s-app}}", `bad character U+002D '-': write a key with characters other than letters, digits and _ as ` +
			`{{index .Labels "k8s-app"}} or {{.Lbl "k8s-app"}}`},
		{"{{.Name}}/{{ $.Labels.app.kubernetes.io/name | lower }}", `U+002F '/': write a key with characters other than letters, digits and _ as ` +
			`{{index .Labels "app.kubernetes.io/name"}} or {{.Lbl "app.kubernetes.io/name"}}`},
		{"{{.Labels.app}}{{.Env.MY-VAR}}", `bad character U+002D '-': write a key with characters other than letters, digits and _ as {{index .Env "MY-VAR"}}`},
		{"{{.Env.A.B}}", `write a key with characters other than letters, digits and _ as {{index .Env "A.B"}}`},
		{"{{.Name-x}}", `template "{{.Name-x}}": bad character U+002D '-'`},
		{`{{env "HOME"}}`, `function "env" not defined: the functions are and default eq ge gt html index join js json le len ` +
			`lower lt ne not or pad print printf println replace slice split title truncate upper urlquery`},
		{`{{call .Name}}`, `function "call" not defined`},
		{`{{_step 1}}`, `function "_step" not defined`},
		{`{{define "x"}}y{{end}}`, "{{define}} and {{block}} are not allowed"},
		{`{{define "name"}}y{{end}}`, "{{define}} and {{block}} are not allowed"}, // the text's own name in text/template
		{`{{block "x" .}}y{{end}}`, "are not allowed"},
		{`{{template "name"}}`, "{{template}} and {{block}} are not allowed"},
		{`{{template "x" .}}`, "are not allowed"},
		{"{{\"a\nb\"}}", "unterminated quoted string"},
		{strings.Repeat("x", maxText+1), "is 8193 bytes long: at most 8192 are allowed"},
		{"{{" + strings.Repeat("(", 8000), "unclosed action"},
	} {
		_, err := Parse(test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60q: got %v, want %q", test.text, err, test.want)
			continue
		}
		checkLine(t, err.Error())
		if e, ok := errors.AsType[*Error](err); !ok || e.Template != test.text {
			t.Errorf("%.60q: not an *Error of the template: %#v", test.text, err)
		}
	}
}

func TestExecuteErrorIsShort(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`{{.Lbl "no.such"}}`, `template "{{.Lbl \"no.such\"}}": at <.Lbl>: error calling Lbl: the container has no label "no.such"`},
		{`{{.Lbl}}`, "wrong number of args for Lbl"},
		{`{{.Name.First}}`, "can't evaluate field First in type string"},
		{`{{index (split .Name ",") 5}}`, "index out of range: 5"},
		{`{{pad 1 2}}`, "wrong number of args for pad"},
		{`{{printf "%*d" 5 5}}`, "a width or precision of * is not allowed"},
	} {
		_, err := mustParse(test.text).Execute(testContainer())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.text, err, test.want)
			continue
		}
		checkLine(t, err.Error())
	}
}

// checkLine checks that a message is one short, printable line.
func checkLine(t rapid.TB, msg string) {
	t.Helper()
	if !utf8.ValidString(msg) || strings.ContainsFunc(msg, func(r rune) bool { return !strconv.IsPrint(r) }) || len(msg) > 2000 {
		t.Errorf("not one short printable line: %q", msg)
	}
}

// Whatever a container's name and template are, messages about them are one printable line.
func TestErrorsAreOnePrintableLine(t *testing.T) {
	hostile := []string{"a\nlevel=error msg=fake", "\x1b[2J\x1b]0;owned\x07", "\u202egnp.exe", "\xff\xfe", strings.Repeat("é", 5000), "\u2028\u0085\x7f"}
	for _, text := range hostile {
		c := testContainer()
		c.Name, c.Labels["app"], c.Env = text, text, append(c.Env, "HOSTILE="+text)
		for _, tmpl := range []string{"{{.Name}}", "{{.Labels.app}}:*", "{{.Env.HOSTILE}}", "{{.Lbl .Name}}", "{{index .Name 99999}}"} {
			for _, n := range []Name{Group(mustParse(tmpl), c), Stream(mustParse(tmpl), c)} {
				checkLine(t, n.Changed)
				if n.Fallback != nil {
					checkLine(t, n.Fallback.Error())
				}
			}
		}
		for _, tmpl := range []string{"{{" + text, text + "{{end}}", "{{" + text + "}}", `{{.Lbl "` + text, "{{.Labels." + text + "}}", "{{`" + text + "` | nofunc}}"} {
			for _, parse := range []func(string) (*Template, error){Parse, ParseTag} {
				if _, err := parse(tmpl); err != nil {
					checkLine(t, err.Error())
				}
			}
		}
	}
	// The text is cut between characters.
	_, err := Parse("x" + strings.Repeat("é", 100) + "{{")
	if want := `template "x` + strings.Repeat("é", 39) + `"…: unclosed action`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Every function of text/template is either a builtin or replaced. A new function in a later Go
// version, which might make text without limit, fails the test. Templates can call only the
// functions that the parser knows.
func TestEveryTemplateFunctionIsBuiltinOrReplaced(t *testing.T) {
	want := []string{"and", "default", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower", "lt",
		"ne", "not", "or", "pad", "print", "printf", "println", "replace", "slice", "split", "title", "truncate", "upper", "urlquery"}
	if diff := cmp.Diff(want, Functions()); diff != "" {
		t.Error(diff)
	}
	for name := range builtins {
		if _, err := template.New("").Parse("{{" + name + "}}"); err != nil {
			t.Errorf("text/template does not have %s: %v", name, err)
		}
	}
	if !slices.Contains(Fields(), "Lbl") || !slices.Contains(TagFields(), "FullID") {
		t.Error("the fields are not complete")
	}
}
