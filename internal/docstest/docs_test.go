// Package docstest checks that the documents say what the code does: tables, examples, commands,
// messages and links. It has only tests. `go test ./internal/docstest -update` writes the tables
// that the code determines.
package docstest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// documents returns all Markdown files of the repository.
func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (slices.Contains([]string{".git", "bin", "plugin"}, rel) || d.Name() == "testdata"):
			return filepath.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".md"):
			all = append(all, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/operating.md", "docs/troubleshooting.md", "docs/configuration.md",
		"docs/index.md", "docs/demo.md", "docs/decisions/README.md", "spool/DESIGN.md", fromAwslogs, fromLogspout} {
		if !slices.Contains(all, name) {
			t.Fatalf("there is no %s", name)
		}
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// block is a fenced block of a document.
type block struct{ language, text string }

var fence = regexp.MustCompile("(?ms)^ *```([a-z]*)\n(.*?)^ *```$")

func blocks(text string) []block {
	var all []block
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		all = append(all, block{m[1], m[2]})
	}
	return all
}

// prose returns a document without its fenced blocks.
func prose(text string) string { return fence.ReplaceAllString(text, "") }

var (
	link       = regexp.MustCompile(`(?m)\]\(([^)\s]+)(?: "[^"]*")?\)|^ *\[[^\]\n]+\]: +(\S+)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	codeMarkup = regexp.MustCompile("`([^`\n]+)`")
)

// anchors returns the fragments that GitHub makes of a document's headings. The second heading with
// the same text gets "-1".
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(prose(text), -1) {
		slug := strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		unique := slug
		for n := 1; all[unique]; n++ {
			unique = fmt.Sprintf("%s-%d", slug, n)
		}
		all[unique] = true
	}
	return all
}

// links returns the targets of a document's links.
func links(t *testing.T, name string) []string {
	t.Helper()
	var all []string
	for _, m := range link.FindAllStringSubmatch(prose(read(t, name)), -1) {
		all = append(all, m[1]+m[2])
	}
	return all
}

func TestRelativeLinksAndAnchorsExist(t *testing.T) {
	n := 0
	for _, name := range documents(t) {
		for _, l := range links(t, name) {
			to, fragment, _ := strings.Cut(l, "#")
			if strings.Contains(to, "://") {
				continue
			}
			target := name
			if to != "" {
				target = filepath.Join(filepath.Dir(name), to)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, l)
				continue
			}
			n++
			if fragment != "" && !anchors(read(t, target))[fragment] {
				t.Errorf("%s links to %s, and %s has no such heading", name, l, target)
			}
		}
	}
	if n < 60 {
		t.Errorf("%d relative links were found: this test checks too little", n)
	}
}

// TestEveryPageCanBeReached follows the links from docs/index.md.
func TestEveryPageCanBeReached(t *testing.T) {
	reached := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if reached[name] || !strings.HasSuffix(name, ".md") {
			return
		}
		reached[name] = true
		for _, l := range links(t, name) {
			if to, _, _ := strings.Cut(l, "#"); to != "" && !strings.Contains(to, "://") {
				visit(filepath.Join(filepath.Dir(name), to))
			}
		}
	}
	visit("docs/index.md")
	for _, name := range documents(t) {
		if !reached[name] {
			t.Errorf("no link leads from docs/index.md to %s", name)
		}
	}
}

func TestJSONIsValid(t *testing.T) {
	n := 0
	for _, name := range documents(t) {
		for _, b := range blocks(read(t, name)) {
			if b.language != "json" {
				continue
			}
			n++
			if !json.Valid([]byte(b.text)) {
				t.Errorf("%s: not JSON:\n%s", name, b.text)
			}
		}
	}
	if n == 0 {
		t.Error("no JSON was found: this test checks too little")
	}
}

func TestPolicyAllowsTheCallsOfTheUploader(t *testing.T) {
	var policy struct{ Statement []struct{ Action []string } }
	for _, b := range blocks(read(t, "README.md")) {
		if strings.Contains(b.text, `"Statement"`) {
			if err := json.Unmarshal([]byte(b.text), &policy); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(policy.Statement) != 1 {
		t.Fatalf("the policy has %d statements", len(policy.Statement))
	}
	calls := regexp.MustCompile(`c\.api\.([A-Z]\w+)\(`)
	var want []string
	for _, m := range calls.FindAllStringSubmatch(read(t, "uploader/client.go"), -1) {
		want = append(want, "logs:"+m[1])
	}
	slices.Sort(want)
	// The sentence below the policy names the actions that only new groups with more than a name need.
	_, below, _ := strings.Cut(read(t, "README.md"), `"Statement"`)
	below, _, _ = strings.Cut(below, "\n## ")
	want = slices.DeleteFunc(slices.Compact(want), func(action string) bool {
		return action == "logs:PutRetentionPolicy" && strings.Contains(below, "`"+action+"`")
	})
	if !slices.Equal(policy.Statement[0].Action, want) {
		t.Errorf("the policy allows %q, but uploader/client.go calls %q", policy.Statement[0].Action, want)
	}
}

var (
	makeCommand = regexp.MustCompile(`\bmake((?: +[a-z0-9]+\b)+)`)
	makeTarget  = regexp.MustCompile(`(?m)^([a-z0-9]+):`)
)

func TestMakeTargetsExist(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range makeTarget.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	mentioned := map[string]bool{}
	for _, name := range documents(t) {
		text := read(t, name)
		code := prose(text)
		var parts []string
		for _, m := range codeMarkup.FindAllStringSubmatch(code, -1) {
			parts = append(parts, m[1])
		}
		for _, b := range blocks(text) {
			parts = append(parts, b.text)
		}
		for _, m := range makeCommand.FindAllStringSubmatch(strings.Join(parts, "\n"), -1) {
			for _, target := range strings.Fields(m[1]) {
				mentioned[target] = true
				if !targets[target] {
					t.Errorf("%s mentions make %s, but the Makefile has no such target", name, target)
				}
			}
		}
	}
	for _, target := range []string{"demo", "test", "plugin", "enable", "push"} {
		if !mentioned[target] {
			t.Errorf("no document says what make %s does", target)
		}
	}
}
