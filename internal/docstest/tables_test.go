package docstest

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/naming"
	"github.com/logspool/logspool/spool"
)

var update = flag.Bool("update", false, "write the tables that the code determines")

// table returns where the text between the marks of a table begins and ends.
func table(t *testing.T, document, name string) (begin, end int) {
	t.Helper()
	text, mark := read(t, document), "<!-- table: "+name+" -->\n"
	begin = strings.Index(text, mark)
	if begin < 0 {
		t.Fatalf("%s has no table %s", document, name)
	}
	begin += len(mark)
	length := strings.Index(text[begin:], "<!-- end -->")
	if length < 0 {
		t.Fatalf("%s: the table %s does not end", document, name)
	}
	return begin, begin + length
}

// rows returns the cells of a table, without its head.
func rows(t *testing.T, document, name string) [][]string {
	t.Helper()
	begin, end := table(t, document, name)
	lines := strings.Split(strings.TrimSpace(read(t, document)[begin:end]), "\n")
	if len(lines) < 3 {
		t.Fatalf("%s: the table %s is empty", document, name)
	}
	var all [][]string
	for _, line := range lines[2:] {
		line = strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "\x00")
		var cells []string
		for cell := range strings.SplitSeq(line, "|") {
			cells = append(cells, strings.Trim(strings.ReplaceAll(strings.TrimSpace(cell), "\x00", "|"), "`"))
		}
		all = append(all, cells)
	}
	return all
}

// generated compares a table of a document with want, or writes it with -update.
func generated(t *testing.T, document, name, want string) {
	t.Helper()
	begin, end := table(t, document, name)
	text := read(t, document)
	if text[begin:end] == want {
		return
	}
	if *update {
		if err := os.WriteFile(filepath.Join(root, document), []byte(text[:begin]+want+text[end:]), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("the table of %s in %s differs from the code (go test ./internal/docstest -update writes it):\n%s", name, document, want)
}

func code(text string) string {
	if text == "" {
		return "–"
	}
	return "`" + strings.ReplaceAll(text, "|", `\|`) + "`"
}

// sentence escapes a description for a cell.
func sentence(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func TestSettingsTableIsGenerated(t *testing.T) {
	var b strings.Builder
	b.WriteString("| setting | default | meaning |\n|---|---|---|\n")
	for _, d := range config.SettingDocs() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d.Name, code(d.Default), sentence(d.Doc))
	}
	generated(t, "docs/configuration.md", "settings", b.String())
}

func TestOptionsTableIsGenerated(t *testing.T) {
	var b strings.Builder
	b.WriteString("| option | also spelled | default | meaning |\n|---|---|---|---|\n")
	for _, d := range config.OptionDocs() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Name, code(d.Alias), code(d.Default), sentence(d.Doc))
	}
	generated(t, "docs/configuration.md", "options", b.String())
}

func TestFieldsTableHasEveryField(t *testing.T) {
	var got []string
	for _, r := range rows(t, "docs/configuration.md", "fields") {
		got = append(got, strings.TrimPrefix(r[0], "."))
	}
	want := naming.Fields()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("docs/configuration.md has the fields %q, but templates have %q", got, want)
	}
}

func TestEveryTemplateFunctionIsListed(t *testing.T) {
	_, after, found := strings.Cut(read(t, "docs/configuration.md"), "\nFunctions: ")
	if !found {
		t.Fatal("docs/configuration.md does not list the functions")
	}
	paragraph, _, _ := strings.Cut(after, "\n`tag` has")
	var named []string
	for _, m := range codeMarkup.FindAllStringSubmatch(paragraph, -1) {
		named = append(named, m[1])
	}
	// The page does not list the functions of text/template.
	own := []string{"and", "or", "not", "index", "slice", "len", "eq", "ne", "lt", "le", "gt", "ge", "print", "printf", "println", "html", "js", "urlquery"}
	known := naming.Functions()
	if !slices.Contains(named, "call") || slices.Contains(known, "call") {
		t.Error("the page must say that call is missing, and templates must not have it")
	}
	named = append(slices.DeleteFunc(named, func(f string) bool { return f == "call" }), own...)
	slices.Sort(named)
	if !slices.Equal(named, known) {
		t.Errorf("docs/configuration.md has the functions %q, but templates have %q", named, known)
	}
}

func TestTemplateExamplesRenderAsShown(t *testing.T) {
	// The container of the examples.
	c := &naming.Container{
		Info:       container.Info{ID: "8c1f0b5e2a7d" + strings.Repeat("0", 52), Name: "/shop-api-1", ImageName: "shop/api:1.4", Env: []string{"STAGE=prod"}, Labels: map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": "api"}},
		LoggerHost: "myhost",
		Region:     "eu-central-1",
		Source:     "stdout",
	}
	for _, r := range append(rows(t, "docs/configuration.md", "examples"), rows(t, "README.md", "examples")...) {
		template, err := naming.Parse(r[0])
		if err != nil {
			t.Errorf("%s: %v", r[0], err)
			continue
		}
		for _, name := range []naming.Name{naming.Group(template, c), naming.Stream(template, c)} {
			if name.Name != r[1] || name.Fallback != nil {
				t.Errorf("%s is %q (%v), but the examples say %q", r[0], name.Name, name.Fallback, r[1])
			}
		}
	}
}

func TestTableOfReasonsIsGenerated(t *testing.T) {
	var b strings.Builder
	b.WriteString("| reason | |\n|---|---|\n")
	for r := spool.Reason(1); r < spool.EndOfReasons; r++ {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r, sentence(r.Text()))
	}
	for r := range events.LossReasons {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r, sentence(r.Text()))
	}
	generated(t, "docs/operating.md", "reasons", b.String())
}

func TestExampleOfMarkerIsRight(t *testing.T) {
	marker := read(t, "driver/feed/marker.go")
	example := regexp.MustCompile(`(?m)^    (\[logspool\] .*\n    .*)$`).FindStringSubmatch(read(t, "docs/operating.md"))
	pattern := regexp.MustCompile(`^\[logspool\] missing here: \d+ lines, \d+ bytes, from \S+Z to \S+Z;\n    reason: \w+ \([A-Za-z0-9' ]+\)$`)
	if example == nil || !pattern.MatchString(example[1]) {
		t.Errorf("docs/operating.md shows the marker as %q", example)
	}
	for _, part := range []string{`"%d bytes"`, `"%d lines, %s"`, `", from %s to %s"`, `"[logspool] missing here: %s%s;\nreason: %s (%s)"`} {
		if !strings.Contains(marker, part) {
			t.Errorf("driver/feed/marker.go has no %s, so the example in docs/operating.md is wrong", part)
		}
	}
}

// settable returns the variables and mounts that docker plugin set accepts.
func settable(t *testing.T) map[string]bool {
	t.Helper()
	var c struct {
		Env    []struct{ Name string }
		Mounts []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(read(t, "config.json")), &c); err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, e := range c.Env {
		all[e.Name] = true
	}
	for _, m := range c.Mounts {
		all[m.Name+".source"] = true
	}
	return all
}

var (
	assignment = regexp.MustCompile(`([A-Za-z_.0-9]+)=('[^']*'|[^\s'` + "`" + `…)]*)`)
	setCommand = regexp.MustCompile(`docker plugin (?:set|install) (?:\\\n|[^\n` + "`" + `#])*`)
	logOption  = regexp.MustCompile(`--log-opt (?:'([^']+)'|(\S+=)'([^']*)'|(\S+))`)
)

func TestSettingsInCommandsAreValid(t *testing.T) {
	known, n := settable(t), 0
	for _, name := range documents(t) {
		for _, command := range setCommand.FindAllString(read(t, name), -1) {
			for _, m := range assignment.FindAllStringSubmatch(command, -1) {
				n++
				if m[1] == "NAME" || m[1] == "KEY" {
					continue
				}
				if !known[m[1]] {
					t.Errorf("%s: %s: there is no setting %s", name, command, m[1])
				}
				value := strings.Trim(m[2], "'")
				if strings.HasPrefix(value, `"$`) {
					continue // a value from the user's shell
				}
				if strings.Contains(command, m[1]+"="+m[2]+"…") || strings.Contains(value, "…") {
					continue // a value that is left out
				}
				if _, problems := config.Load([]string{m[1] + "=" + value}); problems != nil {
					t.Errorf("%s: %s: %v", name, command, problems)
				}
			}
		}
	}
	if n < 10 {
		t.Errorf("%d settings were found in commands: this test checks too little", n)
	}
}

func TestOptionsInCommandsAreValid(t *testing.T) {
	settings, problems := config.Load(nil)
	if problems != nil {
		t.Fatal(problems)
	}
	n := 0
	for _, name := range documents(t) {
		text := read(t, name)
		for _, m := range logOption.FindAllStringSubmatch(text, -1) {
			key, value, ok := strings.Cut(m[1]+m[2]+m[3]+m[4], "=")
			if !ok {
				continue // the option itself is the topic
			}
			n++
			if _, err := settings.Container(map[string]string{key: value}, nil, nil); err != nil {
				t.Errorf("%s: %s: %v", name, m[0], err)
			}
		}
	}
	if n < 4 {
		t.Errorf("%d log options were found in commands: this test checks too little", n)
	}
}

// variables are names in capitals that the documents may use although they are not settings of the plugin.
var variables = map[string]string{
	"LOGSPOUT":           "a container's own environment",
	"HOSTNAME":           "a container's own environment",
	"STAGE":              "a container's own environment, in an example",
	"TEAM":               "a container's own environment, in an example",
	"PLUGIN_NAME":        "make",
	"PLUGIN_TAG":         "make",
	"ARCH":               "make",
	"FUZZTIME":           "make",
	"FORCE":              "make",
	"LOGSPOOL_E2E":       "scripts/test",
	"LOGSPOOL_LONG":      "internal/longtest",
	"LOGSPOOL_VULN":      "scripts/lint",
	"GOVULNDB":           "scripts/lint",
	"CGO_ENABLED":        "Go",
	"REGION":             "a placeholder",
	"NAME":               "a placeholder",
	"KEY":                "a placeholder",
	"GROUP":              "a placeholder",
	"ID":                 "a shell variable",
	"PLUGIN":             "a shell variable",
	"CAP_DAC_OVERRIDE":   "a capability",
	"RLIMIT_NOFILE":      "a limit of the kernel",
	"DOCKER_HOST":        "the docker command",
	"BIN_DIR":            "install.sh",
	"WAIT":               "install.sh",
	"STREAM":             "logspool status",
	"UNDELIVERED":        "logspool status",
	"OLDEST":             "logspool status",
	"DROPPED":            "logspool status",
	"STATUS":             "logspool status",
	"FROM":               "logspool status",
	"BAD":                "logspool check",
	"STANDARD":           "a class of log groups",
	"GET":                "a method of HTTP",
	"HEAD":               "a method of HTTP",
	"CAP_SYS_RESOURCE":   "a capability",
	"STOP":               "a placeholder",
	"CONTAINER":          "a placeholder",
	"CONTAINER_ID":       "a placeholder",
	"AWS_EC2_METADATA_*": "several settings",
}

var capitals = regexp.MustCompile(`^[A-Z][A-Z0-9_*]+$`)

func TestNamesInCapitalsAreSettings(t *testing.T) {
	known := settable(t)
	for _, d := range config.SettingDocs() {
		known[d.Name] = true
	}
	for _, name := range documents(t) {
		// These pages name variables of other programs, and constants of the source.
		if name == fromLogspout || strings.HasPrefix(name, "docs/decisions/") || name == "spool/DESIGN.md" {
			continue
		}
		for _, m := range codeMarkup.FindAllStringSubmatch(prose(read(t, name)), -1) {
			word, _, _ := strings.Cut(m[1], "=")
			if capitals.MatchString(word) && !known[word] && variables[word] == "" {
				t.Errorf("%s mentions %s, which is not a setting", name, word)
			}
		}
	}
}
