package docstest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPathsInContributingExist checks that every function in CONTRIBUTING.md's tables of
// paths exists in the package that the row names.
func TestPathsInContributingExist(t *testing.T) {
	tables := regexp.MustCompile(`(?s)<!-- path: [a-z]+ -->\n(.*?)<!-- end -->`).FindAllStringSubmatch(read(t, "CONTRIBUTING.md"), -1)
	quoted := regexp.MustCompile("`([^`]+)`")
	checked := 0
	for _, table := range tables {
		for _, line := range strings.Split(strings.TrimSpace(table[1]), "\n")[2:] {
			cells := strings.Split(strings.Trim(line, "| "), "|")
			if len(cells) != 3 {
				t.Fatalf("a row with %d cells: %s", len(cells), line)
			}
			dir := strings.Trim(cells[1], " `")
			declared := functions(t, dir)
			for _, name := range quoted.FindAllStringSubmatch(cells[2], -1) {
				if checked++; !declared[name[1]] {
					t.Errorf("a path in CONTRIBUTING.md names %s in %s, which has no such function: correct the row", name[1], dir)
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d functions were found in the tables of paths", checked)
	}
}

// functions returns the functions that a package declares, methods as Type.Method.
func functions(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go files in %s: %v", dir, err)
	}
	declared := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := fn.Name.Name
			if fn.Recv != nil {
				typ := fn.Recv.List[0].Type
				if star, ok := typ.(*ast.StarExpr); ok {
					typ = star.X
				}
				if id, ok := typ.(*ast.Ident); ok {
					name = id.Name + "." + name
				}
			}
			declared[name] = true
		}
	}
	return declared
}
