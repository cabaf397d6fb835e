package docstest

import (
	"go/ast"
	"go/parser"
	"go/token"
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

// mobyFile is a source file of the Docker daemon.
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

// values are what a file's constants and variables of one name, or of all names with one ending, hold.
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

// Every log option is in one of the page's tables, and every one there is a log option.
func TestMigratingFromAwslogs(t *testing.T) {
	// Read out of awslogs itself.
	var theirs []string
	for _, v := range values(mobyFile(t, "daemon/logger/awslogs/cloudwatchlogs.go"), "Key") {
		if name := unquoted(v); name != "AWS_REGION" {
			theirs = append(theirs, name)
		}
	}
	// In Docker since May 2026 (moby PR 52632), and so not yet in the module that is read here.
	for _, name := range []string{"awslogs-entity-service-name", "awslogs-entity-environment", "awslogs-entity-attributes"} {
		if !slices.Contains(theirs, name) {
			theirs = append(theirs, name)
		}
	}
	if diff := cmp.Diff(sorted(theirs), sorted(firstCells(t, fromAwslogs, "awslogs"))); diff != "" || len(theirs) < 13 {
		t.Errorf("options of awslogs in its source -, and in %s +\n%s", fromAwslogs, diff)
	}

	here := map[string]string{}
	for _, r := range rows(t, fromAwslogs, "awslogs") {
		here[r[0]] = r[1]
	}
	var known []string
	for _, d := range config.OptionDocs() {
		known = append(known, d.Name)
		if d.Alias == "" {
			continue
		}
		if here[d.Alias] != d.Name {
			t.Errorf("%s is %s here, and %s says %q", d.Alias, d.Name, fromAwslogs, here[d.Alias])
		}
	}
	var told []string
	for _, name := range here {
		told = append(told, name)
	}
	told = sorted(told, firstCells(t, fromAwslogs, "dockerd"), firstCells(t, fromAwslogs, "new"))
	if diff := cmp.Diff(sorted(known), told); diff != "" {
		t.Errorf("log options of the code -, and of %s +\n%s", fromAwslogs, diff)
	}
}

// A format comes to the regexp that awslogs makes of it.
func TestDatetimeFormatIsAwslogs(t *testing.T) {
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
			c, err := settings.Container(map[string]string{"datetime-format": format}, nil)
			if err != nil || c.Pattern == nil || c.Pattern.String() != want || c.Warnings != nil {
				t.Errorf("%s: got %v, %v, %q, want %s", format, c.Pattern, err, c.Warnings, want)
			}
		}
	}
	// All that awslogs does not know are told of.
	unknown := 0
	for c := byte('!'); c <= '~'; c++ {
		container, err := settings.Container(map[string]string{"datetime-format": "x%" + string(c)}, nil)
		if err != nil {
			t.Errorf("%%%c: %v", c, err)
		} else if container.Warnings != nil {
			unknown++
		}
	}
	if n < 19 || unknown != '~'-'!'+1-n {
		t.Errorf("awslogs knows %d sequences, and %d others are told of", n, unknown)
	}
}

// Docker's tag template has the fields that it has here, also those that Docker's documents leave out. What a time
// cannot say here is refused, and the page says so.
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
		t.Errorf("fields of the tag template in Docker -, and here +\n%s", diff)
	}
	for _, method := range []string{"Local", "GobEncode"} {
		said := refused(t, map[string]string{"tag": "{{.ContainerCreated." + method + "}}"})
		if !strings.Contains(said, "there is no .ContainerCreated."+method+": there are .") || !strings.Contains(read(t, fromAwslogs), "."+method+"`") {
			t.Errorf("%s: %s says nothing of it, or it is refused with %s", method, fromAwslogs, said)
		}
	}
}

// The SDK knows the classes that the option does.
func TestGroupClassesAreTheSDKs(t *testing.T) {
	settings, problems := config.Load(nil)
	if problems != nil {
		t.Fatal(problems)
	}
	var sdk []string
	for _, class := range types.LogGroupClass("").Values() {
		sdk = append(sdk, string(class))
		c, err := settings.Container(map[string]string{"group-class": strings.ToLower(string(class))}, nil)
		if err != nil || c.Create.NewGroup.Class != string(class) {
			t.Errorf("%s: got %q, %v", class, c.Create.NewGroup.Class, err)
		}
	}
	_, ours, _ := strings.Cut(refused(t, map[string]string{"group-class": "x"}), "use one of ")
	if diff := cmp.Diff(sorted(sdk), sorted(strings.Fields(ours))); diff != "" {
		t.Errorf("classes of the SDK -, and here +\n%s", diff)
	}
}

// Every setting that logspout has, too, every field and every variable of a container is in the page's tables.
func TestMigratingFromLogspout(t *testing.T) {
	var settings []string
	for _, d := range config.SettingDocs() {
		settings = append(settings, d.Name)
	}
	want := sorted([]string{"ROUTE", "AWS_REGION"}, config.RouteOptions())
	if diff := cmp.Diff(want, sorted(firstCells(t, fromLogspout, "variables"))); diff != "" {
		t.Errorf("settings from logspout -, and in %s +\n%s", fromLogspout, diff)
	}
	for _, name := range firstCells(t, fromLogspout, "variables") {
		if !slices.Contains(settings, name) {
			t.Errorf("%s has %s, which is no setting", fromLogspout, name)
		}
	}
	var fields []string
	for _, name := range naming.Fields() {
		fields = append(fields, "."+name)
	}
	if diff := cmp.Diff(sorted(fields), sorted(firstCells(t, fromLogspout, "fields"))); diff != "" {
		t.Errorf("fields of the code -, and of %s +\n%s", fromLogspout, diff)
	}

	// A container's variables do something; those that are gone do nothing, in the plugin or in a container.
	s, problems := config.Load(nil)
	if problems != nil {
		t.Fatal(problems)
	}
	heeded := func(name string) bool {
		with, _ := s.Container(nil, []string{name + "=ignore"})
		return with.Ignore || with.Group.From != s.Group.From || with.Stream.From != s.Stream.From
	}
	for _, name := range firstCells(t, fromLogspout, "container") {
		if !heeded(name) {
			t.Errorf("%s has %s, which is not read from a container", fromLogspout, name)
		}
	}
	// What is read from a container's environment, out of the source.
	reads := 0
	for _, f := range pluginFiles(t) {
		if f.Name.Name != "config" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if name := unquotedNode(n); strings.HasPrefix(name, "LOGSPOUT") && !strings.Contains(name, " ") {
				reads++
				if !slices.Contains(firstCells(t, fromLogspout, "container"), name) {
					t.Errorf("the code reads %s, which %s does not have", name, fromLogspout)
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
			t.Errorf("%s says that %s has no effect, and it has", fromLogspout, name)
		}
	}
}

func unquotedNode(n ast.Node) string {
	if e, ok := n.(ast.Expr); ok {
		return unquoted(e)
	}
	return ""
}
