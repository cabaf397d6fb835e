package rules

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/longtest"
)

// `go test ./...` skips a test whose name says that it is long. longtest.Skip itself checks
// that the test that calls it has such a name.
func TestLongTestsAreSkipped(t *testing.T) {
	found := 0
	for name, p := range packages(t) {
		if name == "e2e" {
			continue // its build tag asks for it
		}
		fset := token.NewFileSet()
		for _, file := range parse(t, fset, p.Dir, slices.Concat(p.TestGoFiles, p.XTestGoFiles)) {
			for _, d := range file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, longtest.Prefix) {
					continue
				}
				found++
				if !beginsWithSkip(f.Body.List) {
					t.Errorf("%s: %s does not begin with longtest.Skip(t)", fset.Position(f.Pos()), f.Name.Name)
				}
			}
		}
	}
	if found == 0 {
		t.Error("there is no long test")
	}
}

func beginsWithSkip(body []ast.Stmt) bool {
	if len(body) == 0 {
		return false
	}
	statement, ok := body[0].(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := statement.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := f.X.(*ast.Ident)
	return ok && x.Name == "longtest" && f.Sel.Name == "Skip"
}
