package docstest

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDecisionsHaveIDTitleAndStatus checks each record in docs/decisions, and the list of them.
func TestDecisionsHaveIDTitleAndStatus(t *testing.T) {
	head := regexp.MustCompile(`^# (\d{4}): (.+)\n\nStatus: (accepted|superseded by \d{4})\n\n`)
	list := read(t, "docs/decisions/README.md")
	seen := map[string]string{}
	for _, name := range documents(t) {
		dir, file := filepath.Split(name)
		if dir != "docs/decisions/" || file == "README.md" {
			continue
		}
		m := head.FindStringSubmatch(read(t, name))
		if m == nil {
			t.Errorf("%s does not begin with an ID, a title and a status", name)
			continue
		}
		id, title, status := m[1], m[2], m[3]
		if !strings.HasPrefix(file, id+"-") {
			t.Errorf("%s has the ID %s", name, id)
		}
		if seen[id] != "" {
			t.Errorf("%s and %s have the ID %s", seen[id], name, id)
		}
		seen[id] = name
		row := fmt.Sprintf("| [%s](%s) | %s | %s |\n", id, file, title, status)
		if !strings.Contains(list, row) {
			t.Errorf("docs/decisions/README.md has no row %q", row)
		}
	}
	if len(seen) < 6 {
		t.Errorf("%d decisions were found", len(seen))
	}
}
