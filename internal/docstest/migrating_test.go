package docstest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/naming"
)

const (
	fromAwslogs  = "docs/migrating-from-awslogs.md"
	fromLogspout = "docs/migrating-from-logspout.md"
)

// mobyFile parses a source file of the Docker daemon.
func mobyFile(t *testing.T, name string) *ast.File {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/docker/docker")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(out)), name), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func unquoted(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		if s, err := strconv.Unquote(l.Value); err == nil {
			return s
		}
	}
	return ""
}

// values returns the values of the constants and variables of a file whose names end in ending.
func values(f *ast.File, ending string) []ast.Expr {
	var all []ast.Expr
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			for i, name := range spec.Names {
				if i < len(spec.Values) && strings.HasSuffix(name.Name, ending) {
					all = append(all, spec.Values[i])
				}
			}
		}
		return true
	})
	return all
}

func firstCells(t *testing.T, document, name string) []string {
	t.Helper()
	var all []string
	for _, r := range rows(t, document, name) {
		all = append(all, r[0])
	}
	return all
}

func sorted(names ...[]string) []string { return slices.Sorted(slices.Values(slices.Concat(names...))) }

func TestAwslogsPageHasEveryLogOption(t *testing.T) {
	// The options in the source of awslogs.
	var theirs []string
	for _, v := range values(mobyFile(t, "daemon/logger/awslogs/cloudwatchlogs.go"), "Key") {
		if name := unquoted(v); name != "AWS_REGION" {
			theirs = append(theirs, name)
		}
	}
	// Docker has these since May 2026 (moby PR 52632), so the module that is read here does not have them yet.
	for _, name := range []string{"awslogs-entity-service-name", "awslogs-entity-environment", "awslogs-entity-attributes"} {
		if !slices.Contains(theirs, name) {
			theirs = append(theirs, name)
		}
	}
	if diff := cmp.Diff(sorted(theirs), sorted(firstCells(t, fromAwslogs, "awslogs"))); diff != "" || len(theirs) < 13 {
		t.Errorf("options of awslogs: in its source -, in %s +\n%s", fromAwslogs, diff)
	}

	here := map[string]string{}
	for _, r := range rows(t, fromAwslogs, "awslogs") {
		here[r[0]] = r[1]
	}
	dockerds := firstCells(t, fromAwslogs, "dockerd")
	listed := sorted(slices.Collect(maps.Values(here)), dockerds)
	var known []string
	var added strings.Builder
	added.WriteString("| option | what it does |\n|---|---|\n")
	for _, d := range config.OptionDocs() {
		known = append(known, d.Name)
		switch {
		case d.Alias != "":
			if here[d.Alias] != d.Name {
				t.Errorf("%s is %s in the code, but the table awslogs in %s says %q", d.Alias, d.Name, fromAwslogs, here[d.Alias])
			}
		case slices.Contains(listed, d.Name):
		case isDockerds(d):
			t.Errorf("the table dockerd in %s has no row for %s", fromAwslogs, d.Name)
		default:
			fmt.Fprintf(&added, "| `%s` | %s |\n", d.Name, sentence(d.Doc))
		}
	}
	for _, name := range listed {
		if !slices.Contains(known, name) {
			t.Errorf("%s has %s, which is not a log option", fromAwslogs, name)
		}
	}
	generated(t, fromAwslogs, "new", added.String())
}

func TestDatetimeFormatGivesTheRegexpOfAwslogs(t *testing.T) {
	settings, problems := config.Load(nil)
	if problems != nil {
		t.Fatal(problems)
	}
	n := 0
	for _, v := range values(mobyFile(t, "daemon/logger/awslogs/cloudwatchlogs.go"), "strftimeToRegex") {
		for _, e := range v.(*ast.CompositeLit).Elts {
			n++
			pair := e.(*ast.KeyValueExpr)
			format, want := unquoted(pair.Key), unquoted(pair.Value)
			c, err := settings.Container(map[string]string{"datetime-format": format}, nil, nil)
			if err != nil || c.Pattern == nil || c.Pattern.String() != want || c.Warnings != nil {
				t.Errorf("%s: got %v, %v, %q, want %s", format, c.Pattern, err, c.Warnings, want)
			}
		}
	}
	// Each sequence that awslogs does not know gets a warning.
	unknown := 0
	for c := byte('!'); c <= '~'; c++ {
		container, err := settings.Container(map[string]string{"datetime-format": "x%" + string(c)}, nil, nil)
		if err != nil {
			t.Errorf("%%%c: %v", c, err)
		} else if container.Warnings != nil {
			unknown++
		}
	}
	if n < 19 || unknown != '~'-'!'+1-n {
		t.Errorf("awslogs knows %d sequences, and %d others get a warning", n, unknown)
	}
}

// TestTagFieldsAreDockers includes the fields that Docker's documents leave out. The methods of a time that
// are not available are refused, and the page names them.
func TestTagFieldsAreDockers(t *testing.T) {
	var docker []string
	ast.Inspect(mobyFile(t, "daemon/logger/loginfo.go"), func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			docker = append(docker, n.Name.Name)
		case *ast.StructType:
			for _, f := range n.Fields.List {
				docker = append(docker, f.Names[0].Name)
			}
		}
		return true
	})
	if diff := cmp.Diff(sorted(docker), sorted(naming.TagFields())); diff != "" {
		t.Errorf("fields of the tag template: in Docker -, here +\n%s", diff)
	}
	for _, method := range []string{"Local", "GobEncode"} {
		said := refused(t, map[string]string{"tag": "{{.ContainerCreated." + method + "}}"})
		if !strings.Contains(said, "there is no .ContainerCreated."+method+": there are .") || !strings.Contains(read(t, fromAwslogs), "."+method+"`") {
			t.Errorf("%s: %s does not mention it, or it is refused with %s", method, fromAwslogs, said)
		}
	}
}

func TestGroupClassesAreTheSDKs(t *testing.T) {
	settings, problems := config.Load(nil)
	if problems != nil {
		t.Fatal(problems)
	}
	var sdk []string
	for _, class := range types.LogGroupClass("").Values() {
		sdk = append(sdk, string(class))
		c, err := settings.Container(map[string]string{"group-class": strings.ToLower(string(class))}, nil, nil)
		if err != nil || c.Create.NewGroup.Class != string(class) {
			t.Errorf("%s: got %q, %v", class, c.Create.NewGroup.Class, err)
		}
	}
	_, ours, _ := strings.Cut(refused(t, map[string]string{"group-class": "x"}), "use one of ")
	if diff := cmp.Diff(sorted(sdk), sorted(strings.Fields(ours))); diff != "" {
		t.Errorf("classes: in the SDK -, here +\n%s", diff)
	}
}

// TestLogspoutPageHasEverySetting also checks the template fields and the variables of a container.
func TestLogspoutPageHasEverySetting(t *testing.T) {
	var settings []string
	for _, d := range config.SettingDocs() {
		settings = append(settings, d.Name)
	}
	want := sorted([]string{"ROUTE", "AWS_REGION"}, config.RouteOptions())
	if diff := cmp.Diff(want, sorted(firstCells(t, fromLogspout, "variables"))); diff != "" {
		t.Errorf("settings from logspout: in the code -, in %s +\n%s", fromLogspout, diff)
	}
	for _, name := range firstCells(t, fromLogspout, "variables") {
		if !slices.Contains(settings, name) {
			t.Errorf("%s has %s, which is not a setting", fromLogspout, name)
		}
	}
	var fields []string
	for _, name := range naming.Fields() {
		fields = append(fields, "."+name)
	}
	if diff := cmp.Diff(sorted(fields), sorted(firstCells(t, fromLogspout, "fields"))); diff != "" {
		t.Errorf("fields: in the code -, in %s +\n%s", fromLogspout, diff)
	}

	// A container's variables have an effect. The variables without an effect have none, in the plugin or in
	// a container.
	s, problems := config.Load(nil)
	if problems != nil {
		t.Fatal(problems)
	}
	heeded := func(name string) bool {
		with, _ := s.Container(nil, []string{name + "=ignore"}, nil)
		return with.Ignore || with.Group.From != s.Group.From || with.Stream.From != s.Stream.From
	}
	for _, name := range firstCells(t, fromLogspout, "container") {
		if !heeded(name) {
			t.Errorf("%s has %s, which is not read from a container", fromLogspout, name)
		}
	}
	// The names in the source are the variables that the plugin reads from a container's environment.
	reads := 0
	for _, f := range pluginFiles(t) {
		if f.Name.Name != "config" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if name := unquotedNode(n); strings.HasPrefix(name, "LOGSPOUT") && !strings.Contains(name, " ") {
				reads++
				if !slices.Contains(firstCells(t, fromLogspout, "container"), name) {
					t.Errorf("the code reads %s, but %s does not have it", name, fromLogspout)
				}
			}
			return true
		})
	}
	if reads < 3 {
		t.Errorf("%d variables were found in the source", reads)
	}
	for _, name := range firstCells(t, fromLogspout, "gone") {
		if slices.Contains(settings, name) || heeded(name) {
			t.Errorf("%s says that %s has no effect, but it has one", fromLogspout, name)
		}
	}
}

func unquotedNode(n ast.Node) string {
	if e, ok := n.(ast.Expr); ok {
		return unquoted(e)
	}
	return ""
}
