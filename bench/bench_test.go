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

	"github.com/logspool/logspool/internal/plot"
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
		if err := rewrite(path, "benchstatus WRITE=1", "| new |\n"); err != nil {
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
	rowsOf = []rowGroup{{"none", measure(nil, errors.New("no engine")), false}, {"half", measure([]row{good}, errors.New("broken")), false}, {"good", measure([]row{good}, nil), false}}
	b := &bench{out: io.Discard, only: regexp.MustCompile("")}
	text, err := b.table(t.Context())
	if !errors.Is(err, errLimit) || !strings.Contains(err.Error(), "none") {
		t.Error(err)
	}
	want := "\n| none |  |  | not measured: no engine |\n" +
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

// TestTheTablesOfTheDocumentsHaveTheirPlaces: a run of many minutes must not fail at its end.
func TestTheTablesOfTheDocumentsHaveTheirPlaces(t *testing.T) {
	for document, command := range map[string]string{"performance.md": measurements["rows"].command, "metrics.md": measurements["status"].command} {
		text, err := os.ReadFile(filepath.Join("..", "docs", document))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), document)
		if err := errors.Join(os.WriteFile(path, text, 0o644), rewrite(path, command, "")); err != nil {
			t.Error(err)
		}
	}
}

func TestLogLinesAreAsLongAsAskedAndDiffer(t *testing.T) {
	for _, size := range []int{20, 100, 1000, 65536} {
		lines := logLines(size)
		different := map[string]bool{}
		for _, l := range lines {
			different[l] = true
			if len(l) != size+1 || strings.IndexByte(l, '\n') != size {
				t.Fatalf("a line of %d bytes is %q", size, l)
			}
		}
		if len(different) < len(lines)*9/10 {
			t.Errorf("%d bytes: %d of %d lines differ", size, len(different), len(lines))
		}
	}
}

func TestSpanIsFromTheFirstBeginningToTheLastEnd(t *testing.T) {
	if got := span([][]byte{[]byte("20 90"), []byte("10 50"), []byte("15 100")}); got != 90 {
		t.Error(got)
	}
	if got := span([][]byte{[]byte("20 90"), []byte("x")}); got != 0 {
		t.Error(got)
	}
}

// TestCostsAreComparedTurnByTurn: other load that changes from turn to turn changes no ratio.
func TestCostsAreComparedTurnByTurn(t *testing.T) {
	f := flood{containers: 1, lines: 10, size: 100}
	uses := map[string][]use{}
	for _, slow := range []time.Duration{1, 4, 2} {
		uses[awslogsDefault] = append(uses[awslogsDefault], use{flood: f, dockerd: 10 * slow, took: 20 * slow})
		for _, name := range []string{logspool, logspoolPlain, yardstick, yardstickGzip, awslogsNoCache, discarding, logspool + atLatency} {
			uses[name] = append(uses[name], use{flood: f, dockerd: 3 * slow, plugin: 1 * slow, took: 10 * slow})
		}
	}
	rows := append(floodRows("20.10.24", uses), aloneRows(uses, uses)...)
	if got := rows[0]; got.got.median != 0.4 || got.limit != 0.45 || !got.pass() {
		t.Errorf("%+v", got)
	}
	if got := floodRows("29.1.0", uses)[0].limit; got != 0.55 {
		t.Error(got)
	}
	for _, r := range rows[3:] {
		if r.got != (spread{1, 1, 1}) {
			t.Errorf("%s: %v", r.what, r.got)
		}
	}
	if got := rows[2].got.median; got != 2 {
		t.Errorf("lines/s: %v", got)
	}
}

func TestWithoutAnEngineTheRowSaysSo(t *testing.T) {
	b := &bench{out: io.Discard, only: regexp.MustCompile("flooding"), dir: t.TempDir()}
	text, err := b.table(t.Context())
	if !errors.Is(err, errLimit) || !strings.Contains(text, "not measured: the flag -plugin or -yardstick is missing") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestValuesHaveTheDigitsThatTheyNeed(t *testing.T) {
	for want, s := range map[string]spread{
		"**0.44** (0.31 to 0.48) s":           {0.44, 0.31, 0.481},
		"**15.4** (13.3 to 16.8) s":           {15.4, 13.26, 16.84},
		"**103,878** (99,804 to 1,163,724) s": {103878, 99804, 1163723.6},
	} {
		if got := s.in("s"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestChartsHaveALineForEachDriver(t *testing.T) {
	b := &bench{scale: 0.1, images: t.TempDir()}
	for _, c := range b.allCharts() {
		last := c.floods[len(c.floods)-1]
		if c.floods[0].containers != 1 || last.lines < 1 || c.x(c.floods[0]) >= c.x(last) || last.containers > 100 {
			t.Errorf("%s: %+v", c.name, c.floods)
		}
		chart := plot.Chart{Title: c.title, XLabel: c.xLabel, YLabel: "y", LogX: true, LogY: true}
		for _, f := range c.floods {
			for i, name := range c.drivers {
				addPoint(&chart, name, c.x(f), float64(i+1))
			}
		}
		if len(chart.Lines) != len(c.drivers) || len(chart.Lines[0].X) != len(c.floods) {
			t.Errorf("%s: %+v", c.name, chart.Lines)
		}
		if err := b.draw(c.name, chart); err != nil {
			t.Error(err)
		}
		if svg, err := os.ReadFile(filepath.Join(b.images, c.name+".svg")); err != nil || !bytes.Contains(svg, []byte(c.drivers[0])) {
			t.Errorf("%v: %.80s", err, svg)
		}
	}
}
