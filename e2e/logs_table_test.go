//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

const (
	logsDocument = "../docs/docker-logs.md"
	tableBegin   = "<!-- written by TestDockerLogsIsJSONFiles -write -->"
	tableEnd     = "<!-- end of TestDockerLogsIsJSONFiles -->"
)

var write = flag.Bool("write", false, "write the tables of docs/docker-logs.md")

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

// checkTable compares the document's table with the results of the test. With -write, it
// writes the table.
func checkTable(t *testing.T, pairs []*pair, r *results) {
	t.Helper()
	data, err := os.ReadFile(logsDocument)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), tableBegin+"\n")
	old, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatal(errNoTable)
	}
	now := "\n" + table(pairs, r) + "\n"
	if old == now {
		return
	}
	if !*write {
		t.Errorf("the table in %s is not up to date; write it with -write:\n%s", logsDocument, now)
		return
	}
	if err := os.WriteFile(logsDocument, []byte(before+tableBegin+"\n"+now+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
