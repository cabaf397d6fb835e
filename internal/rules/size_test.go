package rules

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// These limits hold for everything but tests.
const (
	maxFileLines     = 400
	maxFunctionLines = 60
	maxCommentWidth  = 100 // in columns, with four for a tab
)

// sizeExceptions says why a file, or a function FILE:NAME, may be longer.
var sizeExceptions = map[string]string{
	"spool/spool.go": "it holds Options, the struct and the doc comments of all that Open, Sync, Ack and Close promise",
}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	needed := map[string]bool{}
	check := func(name string, lines, limit int) {
		if lines <= limit {
			return
		}
		if needed[name] = true; sizeExceptions[name] == "" {
			t.Errorf("%s has %d lines, more than %d: split it, or add a reason to sizeExceptions", name, lines, limit)
		}
	}
	for name, p := range packages(t) {
		fset := token.NewFileSet()
		for _, f := range parse(t, fset, p.Dir, p.GoFiles) {
			file := fset.File(f.Pos())
			name := path.Join(name, filepath.Base(file.Name()))
			check(name, file.LineCount()-1, maxFileLines)
			for _, d := range f.Decls {
				if f, ok := d.(*ast.FuncDecl); ok {
					check(name+":"+f.Name.Name, file.Line(f.End())-file.Line(f.Pos())+1, maxFunctionLines)
				}
			}
		}
	}
	for name := range sizeExceptions {
		if !needed[name] {
			t.Errorf("%s is in sizeExceptions, but is short enough", name)
		}
	}
}

func TestCommentsAreNarrow(t *testing.T) {
	comment := regexp.MustCompile(`^\t*// .*`)
	for name, p := range packages(t) {
		for _, file := range p.GoFiles {
			b, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for line := range strings.Lines(string(b)) {
				n++
				text := comment.FindString(line)
				width := utf8.RuneCountInString(strings.ReplaceAll(text, "\t", "    "))
				if width > maxCommentWidth && !strings.Contains(text, "://") {
					t.Errorf("%s:%d: the comment has %d columns, more than %d", path.Join(name, file), n, width, maxCommentWidth)
				}
			}
		}
	}
}
