package docstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/config"
)

// common are the ten options that the README shows.
var common = []string{
	"group", "stream", "region", "create-group", "multiline-pattern",
	"format", "exclude-pattern", "retention-days", "spool-max-size", "history-size",
}

func TestREADMEHasAtMost200Lines(t *testing.T) {
	if n := strings.Count(read(t, "README.md"), "\n"); n > 200 {
		t.Errorf("the README has %d lines", n)
	}
}

func TestREADMETableOfOptionsIsGenerated(t *testing.T) {
	var b strings.Builder
	b.WriteString("| option | also spelled | meaning |\n|---|---|---|\n")
	for _, name := range common {
		i := slices.IndexFunc(config.OptionDocs(), func(d config.Doc) bool { return d.Name == name })
		if i < 0 {
			t.Fatalf("there is no option %s", name)
		}
		d := config.OptionDocs()[i]
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d.Name, code(d.Alias), sentence(d.Doc))
	}
	generated(t, "README.md", "common options", b.String())
}

// TestREADMEComparisonIsMeasured compares the README with the table that make fault WRITE=1 writes.
func TestREADMEComparisonIsMeasured(t *testing.T) {
	_, measured, _ := strings.Cut(read(t, "docs/reliability.md"), "<!-- table: written by make fault")
	measured, _, found := strings.Cut(measured, "<!-- end of table -->")
	if !found {
		t.Fatal("docs/reliability.md has no measured table")
	}
	lost := map[string]map[string]string{"awslogs": {}, "logspool": {}}
	var failures []string
	for line := range strings.Lines(measured) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		driver, failure, ok := strings.Cut(strings.TrimSpace(cells[0]), ": ")
		if !ok || lost[driver] == nil {
			continue
		}
		written, silently := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[5])
		result, _, _ := strings.Cut(strings.TrimSpace(cells[len(cells)-1]), ";")
		text := fmt.Sprintf("%s of %s", silently, written)
		if written == "0" {
			text = result
		} else if driver == "awslogs" {
			text += " (" + result + ")"
		}
		lost[driver][failure] = text
		if driver == "awslogs" {
			failures = append(failures, failure)
		}
	}
	var b strings.Builder
	b.WriteString("| failure | awslogs | logspool |\n|---|---|---|\n")
	for _, f := range failures {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f, lost["awslogs"][f], lost["logspool"][f])
		if lost["awslogs"][f] == "" || lost["logspool"][f] == "" {
			t.Errorf("%q was measured for one driver only", f)
		}
	}
	if len(failures) < 6 {
		t.Errorf("%d failures were found in docs/reliability.md", len(failures))
	}
	generated(t, "README.md", "comparison", b.String())
}

// TestREADMECostsAreMeasured compares the README with the tables that make bench writes.
func TestREADMECostsAreMeasured(t *testing.T) {
	_, measured, _ := strings.Cut(read(t, "docs/performance.md"), "\nOne container, ")
	what, measured, _ := strings.Cut(measured, ", as fast as it can:")
	costs := map[string][]string{}
	for line := range strings.Lines(measured) {
		if strings.HasPrefix(line, "One container, ") {
			break
		}
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|"); len(cells) == 4 {
			median := func(cell string) string {
				text, _, _ := strings.Cut(strings.TrimSpace(cell), " ")
				return strings.Trim(text, "*")
			}
			costs[strings.TrimSpace(cells[0])] = []string{median(cells[1]), median(cells[2]), median(cells[3])}
		}
	}
	ours, theirs := costs["logspool"], costs["awslogs"]
	if ours == nil || theirs == nil {
		t.Fatal("docs/performance.md has no costs of both drivers")
	}
	generated(t, "README.md", "costs", fmt.Sprintf("| one container that writes %s | awslogs | logspool |\n|---|---|---|\n"+
		"| CPU of dockerd and the driver, seconds per GB | %s | %s + %s |\n| lines/s that the container can write | %s | %s |\n",
		what, theirs[0], ours[0], ours[1], theirs[2], ours[2]))
}
