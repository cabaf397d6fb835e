//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"
)

// migrating is the page about the differences between the plugin and awslogs.
const migrating = "../docs/migrating-from-awslogs.md"

// elsewhere has the rows that TestEventsAreThoseOfAwslogs does not test, and what tests
// them.
var elsewhere = map[string]string{
	"a request fails":                       "make fault",
	"an event that the service refuses":     "the uploader's tests",
	"dockerd or the host crashes":           "make fault, TestKilledDockerdLosesOnlyItsBuffer",
	"a group's KMS key that cannot be used": "the uploader's tests",
	"`docker logs`":                         "TestDockerLogsIsJSONFiles",
	"credentials":                           "each case: the drivers' events have different keys",

	// Not every version of a major version of Docker knows these.
	"`awslogs-entity-service-name`":                                         "the uploader's and the driver's tests",
	"`awslogs-entity-environment`":                                          "the uploader's and the driver's tests",
	"`awslogs-entity-attributes`":                                           "the uploader's and the driver's tests",
	"`{{.ImageID}}` in a tag template":                                      "the tests of package naming",
	"a tag template that asks for a label that the container does not have": "the tests of package naming",
}

// row is a row of the page: its first cell, and a text that it must have.
type row struct{ name, says string }

// migratingPage is the page, and which of its rows were tested.
type migratingPage struct {
	rows map[string]string // rows of all tables, by the first cell
	todo map[string]bool   // whether a row must be tested, and was not yet
}

func readMigrating(t *testing.T) *migratingPage {
	t.Helper()
	text, err := os.ReadFile(migrating)
	if err != nil {
		t.Fatal(err)
	}
	p := &migratingPage{rows: map[string]string{}, todo: map[string]bool{}}
	table := ""
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "<!-- table: "):
			table = strings.Fields(line)[2]
		case strings.HasPrefix(line, "## "):
			table = strings.TrimSpace(line[3:])
		}
		cells := strings.Split(line, "|")
		if len(cells) < 3 || cells[0] != "" {
			continue
		}
		name := strings.TrimSpace(cells[1])
		if name == "" || strings.HasPrefix(name, "--") || name == "option" || name == "awslogs" {
			continue
		}
		p.rows[name] = line
		p.todo[name] = table == "awslogs" || table == "dockerd" || table == "What else differs"
	}
	return p
}

// shown records what a case tests, and fails the test unless the page says so.
func (p *migratingPage) shown(t *testing.T, opts []string, rows []row) {
	t.Helper()
	for _, o := range opts {
		name, _, _ := strings.Cut(o, "=")
		p.todo["`"+name+"`"] = false
	}
	for _, r := range rows {
		if text, ok := p.rows[r.name]; !ok || !strings.Contains(text, r.says) {
			t.Errorf("%s: the row %q is %q, and does not say %q", migrating, r.name, text, r.says)
		}
		p.todo[r.name] = false
	}
}

// allShown fails the test if no case tests a row that must be tested.
func (p *migratingPage) allShown(t *testing.T) {
	t.Helper()
	for row, todo := range p.todo {
		if by, ok := elsewhere[row]; todo && !ok {
			t.Errorf("%s: no case tests the row %q", migrating, row)
		} else if !todo && ok {
			t.Errorf("%s: the row %q is tested here, and by %s", migrating, row, by)
		}
	}
	for row := range elsewhere {
		if p.rows[row] == "" {
			t.Errorf("%s has no row %q", migrating, row)
		}
	}
}
