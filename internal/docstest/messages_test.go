package docstest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pluginFiles returns the parsed source files of the plugin, without tests and without packages that are
// not part of it.
func pluginFiles(t *testing.T) []*ast.File {
	t.Helper()
	var files []*ast.File
	fset := token.NewFileSet()
	notInIt := []string{"bin", "cmd", "plugin", "e2e", "bench", "docs", "testdata", ".git",
		"internal/cwlocal", "internal/dockertest", "internal/docstest", "internal/rules"}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(notInIt, rel):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// literals returns all strings in the plugin's source. If a format has a %v, the text after it is another
// literal.
func literals(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, f := range pluginFiles(t) {
		ast.Inspect(f, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if s, err := strconv.Unquote(l.Value); err == nil && s != "" {
					all = append(all, s)
					if _, after, ok := strings.Cut(s, "%v"); ok && after != "" {
						all = append(all, after)
					}
					// A line that is written without slog.
					if _, after, ok := strings.Cut(s, `msg="`); ok {
						message, _, _ := strings.Cut(after, `"`)
						all = append(all, message)
					}
				}
			}
			return true
		})
	}
	return all
}

// made reports whether message is one of the literals, or several of them in a row.
func made(message string, literals []string) bool {
	reached := make([]bool, len(message)+1)
	reached[0] = true
	for i := range message {
		if !reached[i] {
			continue
		}
		for _, l := range literals {
			// Short literals would match any message.
			if len(l) > 5 && strings.HasPrefix(message[i:], l) {
				reached[i+len(l)] = true
			}
		}
	}
	return reached[len(message)]
}

// messages returns the log messages that docs/troubleshooting.md explains: the code in the first cells of its
// message tables.
func messages(t *testing.T) []string {
	t.Helper()
	var all []string
	inTable := false
	for line := range strings.Lines(read(t, "docs/troubleshooting.md")) {
		switch {
		case line == "| message | what it means | what to do |\n":
			inTable = true
		case !strings.HasPrefix(line, "|"):
			inTable = false
		}
		cells := strings.Split(line, " | ")
		if !inTable || len(cells) != 3 {
			continue
		}
		for _, m := range codeMarkup.FindAllStringSubmatch(cells[0], -1) {
			all = append(all, m[1])
		}
	}
	if len(all) < 20 {
		t.Fatalf("docs/troubleshooting.md explains only %d messages", len(all))
	}
	return all
}

func TestExplainedMessagesExist(t *testing.T) {
	in := literals(t)
	for _, m := range messages(t) {
		if !made(m, in) {
			t.Errorf("docs/troubleshooting.md explains %q, but the plugin does not log it", m)
		}
	}
}

// TestMessagesAreExplained skips debug messages, which only a developer reads.
func TestMessagesAreExplained(t *testing.T) {
	explained := strings.Join(messages(t), "\n")
	n := 0
	for _, f := range pluginFiles(t) {
		ast.Inspect(f, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			at := 0
			switch selector.Sel.Name {
			case "Info", "Warn", "Error":
			case "note", "Log":
				at = 1 // a logger, or a context, comes first
				if selector.Sel.Name == "Log" {
					at = 2
				}
			default:
				return true
			}
			if at >= len(call.Args) {
				return true
			}
			// The text begins or ends in a literal. A text that is only in variables comes from elsewhere.
			ast.Inspect(call.Args[at], func(node ast.Node) bool {
				l, ok := node.(*ast.BasicLit)
				if !ok || l.Kind != token.STRING {
					return true
				}
				s, err := strconv.Unquote(l.Value)
				if err != nil || len(s) <= 5 || strings.Contains(s, "%") {
					return true
				}
				n++
				if !strings.Contains(explained, s) {
					t.Errorf("the plugin logs %q, but docs/troubleshooting.md does not explain it", s)
				}
				return true
			})
			return true
		})
	}
	if n < 20 {
		t.Errorf("only %d messages were found in the source", n)
	}
}

// TestMessagesToLookFor checks the messages that the symptoms send a reader to.
func TestMessagesToLookFor(t *testing.T) {
	const page = "docs/troubleshooting.md"
	all := strings.Join(messages(t), "\n")
	_, text, _ := strings.Cut(read(t, page), "\n## Symptoms\n")
	text, _, _ = strings.Cut(text, "\n## ")
	n := 0
	for line := range strings.Lines(text) {
		if _, hint, ok := strings.Cut(line, "ook for "); ok {
			for _, m := range codeMarkup.FindAllStringSubmatch(hint, -1) {
				n++
				if !strings.Contains(all, m[1]) {
					t.Errorf("%s says to look for %q, but does not explain it", page, m[1])
				}
			}
		}
	}
	if n < 10 {
		t.Errorf("the symptoms in %s name only %d messages", page, n)
	}
}

// TestSymptomsBeginWithACommand: a reader at night first needs one command to run.
func TestSymptomsBeginWithACommand(t *testing.T) {
	_, text, _ := strings.Cut(read(t, "docs/troubleshooting.md"), "\n## Symptoms\n")
	text, _, _ = strings.Cut(text, "\n## ")
	symptoms := strings.Split(text, "\n### ")[1:]
	for _, s := range symptoms {
		heading, body, _ := strings.Cut(s, "\n")
		command, _, _ := strings.Cut(strings.TrimPrefix(body, "\n```sh\n"), "\n```\n")
		if !strings.HasPrefix(body, "\n```sh\n") || strings.Contains(command, "\n") {
			t.Errorf("%q does not begin with one command", heading)
		}
	}
	if len(symptoms) < 10 {
		t.Errorf("%d symptoms were found", len(symptoms))
	}
}
