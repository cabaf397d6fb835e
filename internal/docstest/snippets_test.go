package docstest

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// shellBlocks are the shell snippets of a document, in order.
func shellBlocks(t *testing.T, name string) []string {
	t.Helper()
	var all []string
	for _, b := range blocks(read(t, name)) {
		if b.language == "sh" {
			all = append(all, b.text)
		}
	}
	return all
}

func TestSnippetsParse(t *testing.T) {
	n := 0
	for _, name := range documents(t) {
		for _, text := range shellBlocks(t, name) {
			n++
			cmd := exec.Command("bash", "-n")
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: bash -n: %v\n%s\n%s", name, err, out, text)
			}
		}
	}
	if n < 20 {
		t.Errorf("%d snippets were found", n)
	}
}

// TestSnippetsSetDisabledPlugin rests on a rule of dockerd: it changes the settings of a disabled
// plugin only (moby, plugin/v2/plugin.go, Set).
func TestSnippetsSetDisabledPlugin(t *testing.T) {
	n := 0
	for _, name := range documents(t) {
		for _, text := range shellBlocks(t, name) {
			before, after, ok := strings.Cut(text, "docker plugin set ")
			if !ok {
				continue
			}
			n++
			if !strings.Contains(before, "docker plugin disable ") && !strings.Contains(before, "make plugin") {
				t.Errorf("%s: the plugin may be enabled when this sets it:\n%s", name, text)
			}
			if !strings.Contains(after, "docker plugin enable --timeout 0 ") && !strings.Contains(after, "make enable") {
				t.Errorf("%s: this does not enable the plugin:\n%s", name, text)
			}
		}
	}
	if n < 6 {
		t.Errorf("%d snippets with settings were found", n)
	}
}

// TestSnippetsDefineTheirVariables checks that a snippet works in an empty shell.
func TestSnippetsDefineTheirVariables(t *testing.T) {
	used := regexp.MustCompile(`\$\{?([A-Za-z_]\w*)`)
	for _, name := range documents(t) {
		for _, text := range shellBlocks(t, name) {
			for _, m := range used.FindAllStringSubmatchIndex(text, -1) {
				variable := text[m[2]:m[3]]
				set := regexp.MustCompile(`(?m)(^|\s)` + variable + `=|\b(for|read|read -r) ` + variable + `\b`)
				if variable != "HOME" && !set.MatchString(text[:m[0]]) {
					t.Errorf("%s: $%s is not set before it is used:\n%s", name, variable, text)
				}
			}
		}
	}
}

// TestDockerdErrorsAreExplained checks that a user who searches the pages for an error that dockerd shows finds its
// cause and its remedy.
func TestDockerdErrorsAreExplained(t *testing.T) {
	for _, text := range []string{
		"context deadline exceeded",
		"plugin is in use",
		"found but disabled",
		"no such file or directory",
	} {
		_, section, ok := strings.Cut(read(t, "docs/troubleshooting.md"), "\n### "+text)
		section, _, _ = strings.Cut(section, "\n### ")
		if !ok || !strings.Contains(section, "\nCause: ") || !strings.Contains(section, "\nRemedy: ") {
			t.Errorf("docs/troubleshooting.md has no section with cause and remedy of %q", text)
		}
	}
}
