package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestStatusIsMeasured runs the measurement with little load. Its figures say nothing then.
func TestStatusIsMeasured(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "logspool")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var out bytes.Buffer
	err := run(t.Context(), []string{"-binary", binary, "-base", binary, "-run", "^1 container,", "-scale", "0.001", "-turns", "1", "status"}, &out)
	if err != nil && !errors.Is(err, errLimit) {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(out.String(), "\n\n")
	if lines := strings.Split(table, "\n"); len(lines) != 4 || !strings.HasPrefix(lines[2], "| 1 container, as fast as it can | ") || strings.Count(lines[2], "|") != 7 {
		t.Errorf("got\n%s", &out)
	}
	for _, run := range []string{"not read, turn 1: 1000 lines", "read every second, turn 1: 1000 lines", "baseline, turn 1: 1000 lines"} {
		if !strings.Contains(out.String(), run) {
			t.Errorf("there is no run %q in\n%s", run, &out)
		}
	}
}

func TestRatiosAreThoseOfTheTurns(t *testing.T) {
	var a, b []result
	for _, slow := range []int{1, 2, 5, 3, 1} { // other load on the machine
		a = append(a, result{lines: 10, cpu: 110 * time.Duration(slow)})
		b = append(b, result{lines: 10, cpu: 100 * time.Duration(slow)})
	}
	if got := ratios(a, b).String(); got != "**1.100** (1.100 to 1.100)" {
		t.Error(got)
	}
	if got := spreadOf([]float64{5, 1, 4, 2}); got != (spread{3, 1.75, 4.25}) {
		t.Error(got)
	}
	if got := spreadOf([]float64{7}); got != (spread{7, 7, 7}) {
		t.Error(got)
	}
}

func TestRewriteReplacesOnlyTheTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.md")
	const begin, end = "before\n<!-- make benchstatus WRITE=1 writes -->\n", "<!-- end of benchstatus -->\nafter\n"
	if err := os.WriteFile(path, []byte(begin+"\nold\n"+end), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it changes nothing
		if err := rewrite(path, "benchstatus", "| new |\n"); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != begin+"\n| new |\n\n"+end {
			t.Errorf("got %q", got)
		}
	}
	if err := rewrite(os.DevNull, "benchstatus", ""); err == nil {
		t.Error("no error for a document without a place for the table")
	}
}

func TestRowsAreJudgedByTheirMedian(t *testing.T) {
	for _, c := range []struct {
		row  row
		want string
	}{
		{row{got: spread{0.4, 0.1, 0.9}, limit: 0.45}, "pass"},
		{row{got: spread{0.4, 0.1, 0.9}, limit: 0.45, beyond: 0.41}, "pass, and beyond"},
		{row{got: spread{0.46, 0.1, 0.9}, limit: 0.45, beyond: 0.41}, "**FAIL**"},
		{row{got: spread{0.96, 0.1, 2}, limit: 0.95, atLeast: true}, "pass"},
		{row{got: spread{0.94, 0.1, 2}, limit: 0.95, atLeast: true}, "**FAIL**"},
		{row{got: spread{0.94, 0.1, 2}}, ""},
		{row{limit: 0.95, missing: "no a|b\n"}, `not measured: no a\|b`},
	} {
		if got := c.row.verdict(); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.row, got, c.want)
		}
	}
}

// TestAFailedRowStopsNoOther: each row is listed, and the error names one that fails.
func TestAFailedRowStopsNoOther(t *testing.T) {
	defer func(was []rowGroup) { rowsOf = was }(rowsOf)
	good := row{what: "good", got: spread{1, 1, 1}, unit: "s", limit: 2, note: "a note"}
	measure := func(rows []row, err error) func(*bench, context.Context) ([]row, error) {
		return func(*bench, context.Context) ([]row, error) { return rows, err }
	}
	rowsOf = []rowGroup{{"none", measure(nil, errors.New("no engine"))}, {"half", measure([]row{good}, errors.New("broken"))}, {"good", measure([]row{good}, nil)}}
	b := &bench{out: io.Discard, only: regexp.MustCompile("")}
	text, err := b.table(t.Context())
	if !errors.Is(err, errLimit) || !strings.Contains(err.Error(), "none") {
		t.Error(err)
	}
	want := "| none |  |  | not measured: no engine |\n" +
		"| good [1] | ≤ 2 s | **1.00** (1.00 to 1.00) s | pass |\n| half |  |  | not measured: broken |\n" +
		"| good [2] | ≤ 2 s | **1.00** (1.00 to 1.00) s | pass |\n\n[1] a note\n\n[2] a note\n"
	if !strings.HasSuffix(text, want) {
		t.Errorf("got\n%s", text)
	}
	b.only = regexp.MustCompile("good")
	if _, err := b.table(t.Context()); err != nil {
		t.Error(err)
	}
}
