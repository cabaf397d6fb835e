package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const document = "../../docs/reliability.md"

// TestDocumentHasEveryRow: the table in the document has every row and no other, and the
// document explains each row.
func TestDocumentHasEveryRow(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	printed, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", document)
	}
	in := map[string]bool{}
	for line := range strings.Lines(printed) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			in[strings.TrimSpace(cells[1])] = true
		}
	}
	for _, r := range rows() {
		if !in[r.name] {
			t.Errorf("the row %q is not in the table: make fault WRITE=1", r.name)
		}
		delete(in, r.name)
		if _, explained, ok := strings.Cut(r.name, ": "); ok && r.engine != nil {
			r.name = explained
		}
		if !strings.Contains(before+after, "| "+r.name+" |") {
			t.Errorf("the row %q is not explained", r.name)
		}
	}
	delete(in, "row")
	delete(in, "---")
	for name := range in {
		t.Errorf("the table has a row %q that does not exist", name)
	}
}

func TestRewriteReplacesOnlyTheTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.md")
	if err := os.WriteFile(path, []byte("before\n"+tableBegin+"\nold\n"+tableEnd+"\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for range 2 { // the second time it changes nothing
		if err := rewrite(path, "| new |\n", now); err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(path)
		want := "before\n" + tableBegin + "\n\n| new |\n\nMeasured on 2030-01-02.\n\n" + tableEnd + "\nafter\n"
		if string(got) != want {
			t.Errorf("got %q", got)
		}
	}
	if err := rewrite(os.DevNull, "", now); err == nil {
		t.Error("no error for a document without a place for the table")
	}
}

func TestCellsShowAProblemAsFailure(t *testing.T) {
	r := result{row: row{name: "r"}, balance: balance{written: 1234567},
		times: &times{start: 1500 * time.Millisecond, stop: 20 * time.Millisecond, write: time.Microsecond}, rss: 1025, problems: []string{"p"}}
	if got := strings.Join(r.cells(), "|"); got != "r|1,234,567|0|0|0|0|1.5 s|20 ms|<1 ms|2|lost 0, duplicated 0, marked 0|**FAIL**" {
		t.Error(got)
	}
	if !r.failed() {
		t.Error("a row with a problem passes")
	}
	if r.row.engine = (&engineRow{driver: awslogs}); r.failed() {
		t.Error("Docker's own driver is judged")
	}
}
