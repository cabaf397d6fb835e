package docstest

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/metrics"
	"github.com/logspool/logspool/internal/selfmetrics"
)

func TestTableOfMetricsIsGenerated(t *testing.T) {
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, d := range metrics.Docs() {
		labels := make([]string, len(d.Labels))
		for i, l := range d.Labels {
			labels[i] = code(l)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Name, d.Type, strings.Join(labels, " "), sentence(d.Help))
	}
	generated(t, "docs/metrics.md", "metrics", b.String())
}

func TestTableOfSelfMetricsIsGenerated(t *testing.T) {
	var b strings.Builder
	b.WriteString("| metric | unit | meaning |\n|---|---|---|\n")
	for _, d := range selfmetrics.Docs() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d.Name, d.Unit, sentence(d.Help))
	}
	generated(t, "docs/metrics.md", "self metrics", b.String())
}

const rulesFile = "deploy/prometheus/alerts.yml"

// alertRules returns the text of each rule.
func alertRules(t *testing.T) []string {
	t.Helper()
	_, text, _ := strings.Cut(read(t, rulesFile), "\n    rules:\n")
	rules := strings.Split(text, "\n      - alert: ")
	rules[0] = strings.TrimPrefix(rules[0], "      - alert: ")
	if len(rules) < 12 {
		t.Fatalf("%s has %d rules", rulesFile, len(rules))
	}
	return rules
}

// member returns a member of a rule, or "".
func member(rule, name string) string {
	m := regexp.MustCompile(`(?m)^ +` + name + `: (.+)$`).FindStringSubmatch(rule)
	if m == nil {
		return ""
	}
	return m[1]
}

func TestTableOfAlertsIsGenerated(t *testing.T) {
	var b strings.Builder
	b.WriteString("| alert | severity | fires after | when |\n|---|---|---|---|\n")
	for _, rule := range alertRules(t) {
		name, _, _ := strings.Cut(rule, "\n")
		after := member(rule, "for")
		if after == "" {
			after = "at once"
		}
		_, page, _ := strings.Cut(member(rule, "runbook_url"), "/docs/")
		fmt.Fprintf(&b, "| [%s](%s) | %s | %s | %s |\n", name, page, member(rule, "severity"), after, sentence(member(rule, "summary")))
	}
	generated(t, "docs/metrics.md", "alerts", b.String())
}

// An alert at night must lead to a section that exists.
func TestAlertsLeadToSections(t *testing.T) {
	for _, rule := range alertRules(t) {
		name, _, _ := strings.Cut(rule, "\n")
		for _, m := range []string{"summary", "description", "severity", "runbook_url"} {
			if member(rule, m) == "" {
				t.Errorf("%s has no %s", name, m)
			}
		}
		link, ok := strings.CutPrefix(member(rule, "runbook_url"), "https://github.com/logspool/logspool/blob/main/")
		page, fragment, _ := strings.Cut(link, "#")
		if !ok || fragment == "" || !anchors(read(t, page))[fragment] {
			t.Errorf("%s leads to %s, which does not exist", name, link)
		}
	}
}
