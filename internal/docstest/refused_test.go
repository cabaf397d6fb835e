package docstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/config"
)

// badOptions has at least one invalid value of each log option.
var badOptions = []struct{ name, value string }{
	{"group", "{{.Nmae}}"},
	{"stream", "{{.Name"},
	{"tag", "{{.LoggerHost}}"},
	{"region", "eu-west1"},
	{"endpoint", "ftp://logs.example.com"},
	{"create-group", "yes"},
	{"create-stream", "no"},
	{"delay", "soon"},
	{"delay", "0"},
	{"multiline-pattern", "(?<!x)y"},
	{"multiline", "java,perl"},
	{"datetime-format", "[%Y"},
	{"format", "xml"},
	{"awslogs-format", "json"},
	{"labels-regex", "com.("},
	{"env-regex", "*_ID"},
	{"include-pattern", "[ERROR"},
	{"exclude-pattern", "a{2,1}"},
	{"strip-ansi", "yes"},
	{"retention-days", "10"},
	{"group-tags", "team"},
	{"group-tags", "aws:team=shop"},
	{"group-tags", "team=shop,team=ops"},
	{"group-tags", "team=shop&co"},
	{"group-class", "cheap"},
	{"kms-key-id", "my key"},
	{"entity-service-name", "{{.Source}}"},
	{"entity-environment", "{{.Labels.k8s-app}}"},
	{"entity-attributes", "team"},
	{"entity-attributes", "team="},
	{"role-arn", "arn:aws:iam::1234:role/logs"},
	{"external-id", "shop"},
	{"credentials-endpoint", "169.254.170.2/v2"},
	{"spool-max-size", "big"},
	{"spool-max-size", "1k"},
	{"spool-max-size", "8g"},
	{"spool-full", "block"},
	{"history-size", "-1"},
	{"history-size", "8g"},
	{"max-buffered-events", "0"},
	{"max-size", "0"},
	{"max-file", "two"},
	{"grup", "shop"},
	{"syslog-address", "udp://127.0.0.1"},
}

// unchecked reports whether every value of an option is valid.
func unchecked(d config.Doc) bool {
	return slices.Contains([]string{"labels", "env"}, d.Name) || isDockerds(d)
}

// isDockerds reports whether an option is one that dockerd passes to every driver.
func isDockerds(d config.Doc) bool { return strings.HasPrefix(d.Doc, "dockerd's own") }

// badTogether are log options that cannot be combined, or need each other.
var badTogether = []map[string]string{
	{"group": "shop", "awslogs-group": "web"},
	{"credentials-endpoint": "/v2/a", "awslogs-credentials-endpoint": "/v2/b"},
	{"multiline-pattern": "^{", "datetime-format": "%Y"},
	{"multiline": "go", "datetime-format": "%Y"},
	{"format": "json/emf", "multiline-pattern": "^{"},
	{"awslogs-format": "json/emf", "awslogs-datetime-format": "%Y"},
	{"role-arn": "arn:aws:iam::123456789012:role/logs", "external-id": "s"},
}

// badSettings has at least one invalid value of each setting, except NOEC2 and DEBUG, which accept any value.
var badSettings = []string{
	"ROUTE=syslog://logs", "ROUTE=cloudwatch://eu-west1", "ROUTE=cloudwatch://auto?GZIP=off", "ROUTE=cloudwatch://auto?DELAY=soon",
	"ROUTE=cloudwatch://auto?DELYA=8", "ROUTE=cloudwatch://auto?DELAY=4&DELAY=8",
	"LOGSPOUT_GROUP={{.Name", "LOGSPOUT_STREAM={{.Nmae}}", "DELAY=soon", "AWS_REGION=eu_west_1", "AWS_DEFAULT_REGION=eu west 1", "GZIP=yes", "SPOOL_MAX_SIZE=8g",
	"SPOOL_TOTAL_SIZE=big", "SPOOL_FULL=block", "SPOOL_SYNC=often", "HISTORY_SIZE=1k", "HISTORY_AGE=7d", "CONTAINER_ENV=2", "CONTAINER_LABELS=none", "RETENTION_DAYS=10",
	"GROUP_TAGS=team", "GROUP_CLASS=cheap", "KMS_KEY_ID=my key", "ALLOW_GROUPS=/shop/(", "ENTITY_SERVICE_NAME={{.Nmae}}",
	"ENTITY_ENVIRONMENT={{.Source}}", "ENTITY_ATTRIBUTES=team", "STATUS_ADDR=localhost", "PRICE_PER_GB=$0.50", "SELF_METRICS=aws/logs", "SELF_METRICS=my metrics",
	"METRICS_MAX_CONTAINERS=many", "PLUGIN_SOCKET=x.sock", "STATE_DIR=state",
	`LOG_OPTS={delay:8}`, `LOG_OPTS={"delay":"soon"}`, `LOG_OPTS={"delay":8,"delay":9}`, `LOG_OPTS={"labels":["a"]}`, `LOG_OPTS={"dealy":8}`,
	`LOG_OPTS={"filter":"x"}`, `LOG_OPTS={"mode":"non-blocking"}`, `LOG_OPTS={"datetime-format":"%Y","multiline-pattern":"^x"}`,
	`LOG_OPTS={"spool-full":"block"}`, `LOG_OPTS={"history-size":"big"}`, `LOG_OPTS={"region":"eu-west1"}`, `LOG_OPTS={"endpoint":"ftp://logs.example.com"}`,
	`LOG_OPTS={"external-id":"s"}`, `LOG_OPTS={"kms-key-id":"my key"}`,
}

// refused returns the error for log options, without the driver's name before it.
func refused(t *testing.T, opts map[string]string) string {
	t.Helper()
	settings, problems := config.Load(nil)
	if problems != nil {
		t.Fatal(problems)
	}
	_, err := settings.Container(opts, nil, nil)
	if err == nil {
		t.Errorf("%v is not refused", opts)
		return ""
	}
	return strings.TrimPrefix(err.Error(), "logspool: ")
}

func TestTableOfInvalidOptionsIsGenerated(t *testing.T) {
	shown := map[string]bool{}
	var b strings.Builder
	b.WriteString("| option | invalid value | error |\n|---|---|---|\n")
	for _, o := range badOptions {
		shown[o.name] = true
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", o.name, code(o.value), code(refused(t, map[string]string{o.name: o.value})))
	}
	generated(t, "docs/configuration.md", "bad options", b.String())

	settings, problems := config.Load(nil)
	if problems != nil {
		t.Fatal(problems)
	}
	for _, d := range config.OptionDocs() {
		if unchecked(d) {
			if _, err := settings.Container(map[string]string{d.Name: "(\x00"}, nil, nil); err != nil {
				t.Errorf("%s: a value is refused: %v", d.Name, err)
			}
			if shown[d.Name] || !strings.Contains(read(t, "docs/configuration.md"), "`"+d.Name+"`") {
				t.Errorf("docs/configuration.md does not say that every value of %s is valid", d.Name)
			}
			continue
		}
		if !shown[d.Name] {
			t.Errorf("badOptions in internal/docstest/refused_test.go has no invalid value of %s; if it has none, add it to unchecked", d.Name)
		}
	}
	// The spelling of awslogs gets the same error for the same value.
	for _, o := range badOptions {
		i := slices.IndexFunc(config.OptionDocs(), func(d config.Doc) bool { return d.Name == o.name && d.Alias != "" })
		if i < 0 || o.name == "format" || strings.HasPrefix(o.name, "entity-") && strings.Contains(o.value, "{{") {
			// awslogs-format accepts other values, and templates have other fields in awslogs's spelling.
			continue
		}
		alias := config.OptionDocs()[i].Alias
		want := strings.Replace(refused(t, map[string]string{o.name: o.value}), `"`+o.name+`"`, `"`+alias+`"`, 1)
		if got := refused(t, map[string]string{alias: o.value}); got != want {
			t.Errorf("%s=%s: %s, want %s", alias, o.value, got, want)
		}
	}
}

func TestTableOfExclusiveOptionsIsGenerated(t *testing.T) {
	var b strings.Builder
	b.WriteString("| options | error |\n|---|---|\n")
	for _, opts := range badTogether {
		var all []string
		for name, text := range opts {
			all = append(all, code(name+"="+text))
		}
		slices.Sort(all)
		fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(all, " "), code(refused(t, opts)))
	}
	generated(t, "docs/configuration.md", "bad together", b.String())
}

// badLabels has a label of each kind that has no effect, with its value.
var badLabels = []struct{ name, value string }{
	{"logspool.region", "eu-west-1"},
	{"logspool.grup", "shop"},
	{"logspool.format", "xml"},
	{"logspool.group", "{{.Nmae}}"},
}

func TestTableOfInvalidLabelsIsGenerated(t *testing.T) {
	settings, problems := config.Load(nil)
	if problems != nil {
		t.Fatal(problems)
	}
	var b strings.Builder
	b.WriteString("| label | warning |\n|---|---|\n")
	for _, l := range badLabels {
		c, err := settings.Container(nil, nil, map[string]string{l.name: l.value})
		if err != nil || len(c.Warnings) != 1 {
			t.Errorf("%s=%s: %v, %q, want one warning", l.name, l.value, err, c.Warnings)
			continue
		}
		fmt.Fprintf(&b, "| %s | %s |\n", code(l.name+"="+l.value), code(c.Warnings[0]))
	}
	generated(t, "docs/configuration.md", "bad labels", b.String())
}

func TestOptionsThatLabelsCanSetAreListed(t *testing.T) {
	var names []string
	for _, d := range config.OptionDocs() {
		if d.Label {
			names = append(names, "`"+d.Name+"`")
		}
	}
	last := len(names) - 1
	want := ": " + strings.Join(names[:last], ", ") + " and " + names[last] + ".\n"
	if !strings.Contains(read(t, "docs/configuration.md"), want) {
		t.Errorf("docs/configuration.md does not list what labels can set: %s", want)
	}
}

func TestTableOfInvalidSettingsIsGenerated(t *testing.T) {
	shown := map[string]bool{"NOEC2": true, "DEBUG": true}
	var b strings.Builder
	b.WriteString("| setting | error | what applies until it is fixed |\n|---|---|---|\n")
	for _, entry := range badSettings {
		name, _, _ := strings.Cut(entry, "=")
		shown[name] = true
		_, problems := config.Load([]string{entry})
		if len(problems) != 1 {
			t.Errorf("%s has %d problems, want 1", entry, len(problems))
			continue
		}
		p := problems[0]
		fmt.Fprintf(&b, "| %s | %s | %s |\n", code(entry), code(p.Setting+": "+p.Text), sentence(p.Applies))
	}
	generated(t, "docs/configuration.md", "bad settings", b.String())
	for _, d := range config.SettingDocs() {
		if !shown[d.Name] {
			t.Errorf("badSettings in internal/docstest/refused_test.go has no invalid value of %s", d.Name)
		}
	}
}
