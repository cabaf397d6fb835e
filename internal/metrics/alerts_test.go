package metrics

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/promtest"
)

const (
	rulesFile     = "../../deploy/prometheus/alerts.yml"
	dashboardFile = "../../deploy/grafana/logspool.json"
)

func readFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// needPrometheus skips the test if Prometheus is not installed, except in CI.
func needPrometheus(t testing.TB) {
	t.Helper()
	if err := promtest.Missing(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// promtool runs promtool in a directory.
func promtool(t testing.TB, dir, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtoolAcceptsMetricsAndRules(t *testing.T) {
	needPrometheus(t)
	promtool(t, ".", scrape(t, Handler(&source{report: full()}, Options{MaxContainers: manyContainers})), "check", "metrics")
	promtool(t, ".", "", "check", "rules", "--lint=all", "--lint-fatal", rulesFile)
	promtool(t, ".", "", "check", "config", "--lint-fatal", "../../deploy/prometheus/prometheus.yml")
}

var (
	alertLine  = regexp.MustCompile(`(?m)^      - alert: (\w+)$`)
	metricName = regexp.MustCompile(`\blogspool_[a-z_]+`)
	whatLabel  = regexp.MustCompile(`what(?:=|=~|!~|!=)["']([a-z0-9_|]+)["']`)
)

// alertNames returns the names of the rules.
func alertNames(t testing.TB) (all []string) {
	t.Helper()
	for _, m := range alertLine.FindAllStringSubmatch(readFile(t, rulesFile), -1) {
		all = append(all, m[1])
	}
	return all
}

// isMetric reports whether the plugin serves a metric, or a series of a histogram.
func isMetric(name string) bool {
	return slices.ContainsFunc(Docs(), func(d Doc) bool {
		if d.Type == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if name == d.Name+suffix {
					return true
				}
			}
		}
		return name == d.Name
	})
}

// A rule about a metric or a fault that does not exist would never fire.
func TestRulesAndDashboardNameOnlyWhatExists(t *testing.T) {
	messages := map[string]bool{}
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(readFile(t, "../../docs/troubleshooting.md"), -1) {
		messages[Slug(m[1])] = true
	}
	for _, file := range []string{rulesFile, dashboardFile} {
		text := readFile(t, file)
		names := metricName.FindAllString(text, -1)
		if len(names) < 20 {
			t.Errorf("%s names only %d metrics", file, len(names))
		}
		for _, name := range names {
			if !isMetric(name) {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
		for _, m := range whatLabel.FindAllStringSubmatch(text, -1) {
			for what := range strings.SplitSeq(m[1], "|") {
				if !messages[what] {
					t.Errorf("%s: no message of docs/troubleshooting.md has the label %s", file, what)
				}
			}
		}
	}
}

// A dashboard must be valid for Grafana and Prometheus.
func TestDashboardIsValid(t *testing.T) {
	needPrometheus(t)
	var dashboard struct {
		Title, UID    string
		SchemaVersion int
		Panels        []struct {
			ID                       int
			Type, Title, Description string
			GridPos                  struct{ X, Y, W, H int }
			Targets                  []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, dashboardFile)), &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.Title == "" || dashboard.UID == "" || dashboard.SchemaVersion < 36 {
		t.Errorf("%+v", dashboard)
	}
	ids, used := map[int]bool{}, map[[2]int]string{}
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, taken := used[[2]int{x, y}]; taken || x >= 24 {
					t.Fatalf("panel %q covers %q or the edge", p.Title, other)
				}
				used[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && (len(p.Targets) == 0 || p.Description == "") {
			t.Errorf("panel %q has no query or no description", p.Title)
		}
		for _, q := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h").Replace(q.Expr)
			fmt.Fprintf(&rules, "  - {record: 'x:y%d', expr: %q}\n", strings.Count(rules.String(), "record"), expr)
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, ".", "", "check", "rules", file)
}

// healthy has the series of a healthy host, with their value.
var healthy = map[string]string{
	`up`:                          "1",
	`logspool_start_time_seconds`: "1000",
	`logspool_undelivered_oldest_age_seconds`:                                       "4",
	`logspool_undelivered_bytes`:                                                    "1000",
	`logspool_spool_limit_bytes`:                                                    "1000000",
	`logspool_container_spool_used_ratio|container="web",id="1",group="shop"`:       "0.01",
	`logspool_containers|state="running"`:                                           "10",
	`logspool_containers|state="held"`:                                              "0",
	`logspool_containers|state="stopped"`:                                           "90",
	`logspool_dropped_lines_total|reason="spool_full"`:                              "7",
	`logspool_dropped_bytes_total|reason="spool_full"`:                              "70",
	`logspool_disk_free_bytes`:                                                      "50",
	`logspool_disk_size_bytes`:                                                      "100",
	`logspool_disk_free_inodes`:                                                     "50",
	`logspool_disk_inodes`:                                                          "100",
	`logspool_open_descriptors`:                                                     "100",
	`logspool_max_descriptors`:                                                      "1000",
	`logspool_max_containers`:                                                       "100",
	`logspool_fifos_discarding`:                                                     "0",
	`logspool_service_state|region="r",state="ok"`:                                  "1",
	`logspool_service_state|region="r",state="throttled"`:                           "0",
	`logspool_service_state|region="r",state="denied"`:                              "0",
	`logspool_service_state|region="r",state="unreachable"`:                         "0",
	`logspool_service_state|region="r",state="unauthenticated"`:                     "0",
	`logspool_service_state|region="r",state="failing"`:                             "0",
	`logspool_fault|what="a_containers_lines_are_lost",container="web"`:             "1", // LogspoolDropping is about that
	`logspool_fault|what="cloudwatch_does_not_accept_log_events",kind="",region=""`: "1",
}

// A series is sick for 12 minutes, from minute 5 on.
const (
	before  = 10 // samples, one every 30 s
	sick    = 24
	after   = 33
	samples = before + sick + after
)

// timeline returns the values of a series that is sick for a while.
func timeline(healthy, sickness string) string {
	return fmt.Sprintf("%s %s %s", repeat(healthy, before), repeat(sickness, sick), repeat(healthy, after))
}

func repeat(value string, n int) string {
	return strings.TrimSuffix(strings.Repeat(value+" ", n), " ")
}

// growing returns the values of a counter that grows while it is sick.
func growing(from, by int) string {
	all := repeat(fmt.Sprint(from), before)
	for i := range sick {
		all += fmt.Sprint(" ", from+(i+1)*by)
	}
	return all + " " + repeat(fmt.Sprint(from+sick*by), after)
}

func faulty(labels string) map[string]string {
	return map[string]string{"logspool_fault|" + labels: timeline("stale", "1")}
}

func set(name, value string) map[string]string {
	return map[string]string{name: timeline(healthy[name], value)}
}

func state(name string) map[string]string {
	return map[string]string{
		`logspool_service_state|region="r",state="ok"`:           timeline("1", "0"),
		`logspool_service_state|region="r",state="` + name + `"`: timeline("0", "1"),
	}
}

func both(a, b map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range []map[string]string{a, b} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

const (
	groupFault   = `what="sending_to_the_log_group_failed",region="r",group="g",kind=`
	serviceFault = `what="sending_to_cloudwatch_logs_failed",region="r",kind=`
)

// sicknesses has the series of each alert, and how many samples later it fires: its for, with
// the next evaluation.
var sicknesses = []struct {
	alert  string // alert is empty if none fires.
	delay  int
	series map[string]string
}{
	{"", 0, nil},
	{"LogspoolDown", 4, set(`up`, "0")},
	{"LogspoolRestarting", 2, map[string]string{`logspool_start_time_seconds`: growing(1000, 30)}},
	{"LogspoolNotDelivering", 4, set(`logspool_undelivered_oldest_age_seconds`, "301")},
	{"", 0, set(`logspool_undelivered_oldest_age_seconds`, "299")},
	{"LogspoolNoRegion", 4, faulty(`what="no_aws_region_found"`)},
	{"LogspoolNoRegion", 4, both(faulty(`what="no_aws_region_found"`), set(`logspool_containers|state="held"`, "3"))},
	{"LogspoolHeld", 4, set(`logspool_containers|state="held"`, "3")},
	{"LogspoolHeld", 4, faulty(`what="lines_are_spooled_but_not_sent"`)},
	{"LogspoolUnauthenticated", 4, both(state("unauthenticated"), faulty(serviceFault+`"credentials"`))},
	{"LogspoolDenied", 4, faulty(groupFault + `"AccessDeniedException"`)},
	{"LogspoolDenied", 4, both(state("denied"), faulty(groupFault+`"HTTP status 403"`))},
	{"LogspoolLogGroupFailing", 10, faulty(groupFault + `"ResourceNotFoundException"`)},
	{"LogspoolLogGroupFailing", 10, both(state("failing"), faulty(groupFault+`"KMSAccessDeniedException"`))},
	{"LogspoolUnreachable", 10, both(state("unreachable"), faulty(serviceFault+`"unknown host"`))},
	{"LogspoolServiceFailing", 20, both(state("failing"), faulty(serviceFault+`"InternalFailure"`))},
	{"LogspoolThrottled", 20, both(state("throttled"), faulty(serviceFault+`"ThrottlingException"`))},
	{"LogspoolDropping", 0, both(map[string]string{`logspool_dropped_lines_total|reason="spool_full"`: growing(7, 1)}, map[string]string{`logspool_dropped_bytes_total|reason="spool_full"`: growing(70, 5)})},
	{"LogspoolDropping", 0, map[string]string{`logspool_dropped_bytes_total|reason="spool_full"`: growing(70, 5)}}, // the number is not known
	{"LogspoolSpoolNearlyFull", 10, set(`logspool_container_spool_used_ratio|container="web",id="1",group="shop"`, "0.81")},
	{"LogspoolSpoolNearlyFull", 10, set(`logspool_undelivered_bytes`, "810000")},
	{"", 0, set(`logspool_undelivered_bytes`, "790000")},
	{"LogspoolSpoolUnwritable", 1, faulty(`what="cannot_spool_a_containers_output",container="web"`)},
	{"LogspoolDiskNearlyFull", 10, set(`logspool_disk_free_bytes`, "4")},
	{"LogspoolDiskNearlyFull", 10, set(`logspool_disk_free_inodes`, "4")},
	{"LogspoolDescriptorsNearlyExhausted", 4, set(`logspool_open_descriptors`, "801")},
	{"LogspoolDescriptorsNearlyExhausted", 4, set(`logspool_containers|state="running"`, "91")},
	{"", 0, both(set(`logspool_max_descriptors`, "0"), set(`logspool_max_containers`, "0"))}, // not known
	{"LogspoolDescriptorsNearlyExhausted", 4, faulty(`what="containers_are_refused_because_too_many_files_are_open"`)},
	{"LogspoolSpoolUnwritable", 1, faulty(`what="the_disk_of_the_state_directory_is_full"`)},
	{"LogspoolSettingInvalid", 2, faulty(`what="a_setting_is_invalid",setting="DELAY",kind="DELAY"`)},
	{"LogspoolDiscarding", 4, set(`logspool_fifos_discarding`, "1")},
	{"LogspoolClockWrong", 2, faulty(`what="the_hosts_clock_is_wrong",kind="ahead"`)},
	{"LogspoolKilled", 0, faulty(`what="the_host_went_down_without_stopping_the_plugin",kind=""`)},
	{"LogspoolKilled", 0, faulty(`what="the_plugins_last_process_was_killed_or_crashed",kind=""`)},
	{"LogspoolFault", 10, faulty(`what="cannot_sync_spools",kind=""`)},
}

// Each alert fires when it should, and only then. It fires after its for, and not before. It
// ends with its cause.
func TestAlertsFireWhenTheyShould(t *testing.T) {
	needPrometheus(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "alerts.yml"), []byte(readFile(t, rulesFile)), 0o600); err != nil {
		t.Fatal(err)
	}
	untested := alertNames(t)
	var b strings.Builder
	b.WriteString("rule_files: [alerts.yml]\nevaluation_interval: 30s\ntests:\n")
	for i, s := range sicknesses {
		untested = slices.DeleteFunc(untested, func(name string) bool { return name == s.alert })
		fmt.Fprintf(&b, "- name: '%d %s'\n  interval: 30s\n  input_series:\n", i, s.alert)
		series := map[string]string{}
		for name, value := range healthy {
			series[name] = repeat(value, samples)
		}
		for name, values := range both(series, s.series) {
			name, labels, _ := strings.Cut(name, "|")
			fmt.Fprintf(&b, "  - {series: '%s{job=\"logspool\",instance=\"a\",%s}', values: '%s'}\n", name, labels, values)
		}
		b.WriteString("  promql_expr_test:\n")
		for _, at := range []int{before - 1, before + s.delay - 1, before + s.delay + 1, before + sick - 1, samples - 1} {
			fmt.Fprintf(&b, "  - expr: count by (alertname) (ALERTS{alertstate=\"firing\"})\n    eval_time: %ds\n", 30*at)
			if s.alert != "" && at > before+s.delay && at < before+sick {
				fmt.Fprintf(&b, "    exp_samples: [{labels: '{alertname=\"%s\"}', value: 1}]\n", s.alert)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "test.yml"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, "", "test", "rules", "test.yml")
	if len(untested) > 0 {
		t.Errorf("no series make these alerts fire: %q", untested)
	}
}

// Without any target, the absence of the job is the alert.
func TestMissingTargetFiresLogspoolDown(t *testing.T) {
	needPrometheus(t)
	dir := t.TempDir()
	test := `rule_files: [alerts.yml]
tests:
- interval: 15s
  input_series: []
  promql_expr_test:
  - {expr: 'count by (alertname) (ALERTS{alertstate="firing"})', eval_time: 5m, exp_samples: [{labels: '{alertname="LogspoolDown"}', value: 1}]}
`
	for name, text := range map[string]string{"alerts.yml": readFile(t, rulesFile), "test.yml": test} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	promtool(t, dir, "", "test", "rules", "test.yml")
}
