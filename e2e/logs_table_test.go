//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/docpart"
)

const (
	logsDocument = "../docs/docker-logs.md"
	tableBegin   = "<!-- written by TestDockerLogsIsJSONFiles -write -->"
	tableEnd     = "<!-- end of TestDockerLogsIsJSONFiles -->"
)

var write = flag.Bool("write", false, "write the tables of docs/docker-logs.md and docs/troubleshooting.md")

// table returns the document's table of queries and printings.
func table(pairs []*pair, r *results) string {
	var b strings.Builder
	b.WriteString("| `docker logs` |")
	for _, p := range pairs {
		b.WriteString(" " + p.name + " |")
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(pairs)+1) + "\n")
	row := func(q query) {
		fmt.Fprintf(&b, "| `%s` |", q.name)
		for _, p := range pairs {
			problem, asked := r.problems[[2]string{q.name, p.name}]
			switch {
			case !asked:
				b.WriteString(" |")
			case problem == "" && q.details && p.attrs != "":
				b.WriteString(" without them |")
			case problem == "":
				b.WriteString(" same |")
			default:
				b.WriteString(" **differs** |")
			}
		}
		b.WriteString("\n")
	}
	for _, q := range queries() {
		row(q)
	}
	row(query{name: "-f"})
	row(query{name: "-f --tail 0"})
	return b.String()
}

// updateTable compares the part of a document between two marks with what a test found. With
// -write, it writes that part.
func updateTable(t *testing.T, document, begin, end, table string) {
	t.Helper()
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, old, after, ok := docpart.Cut(string(data), begin+"\n", end)
	switch {
	case !ok:
		t.Fatalf("%s has no %s … %s", document, begin, end)
	case old == table:
	case !*write:
		t.Errorf("the table in %s is not up to date; write it with -write:\n%s", document, table)
	default:
		if err := os.WriteFile(document, []byte(before+table+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
