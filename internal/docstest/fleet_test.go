package docstest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"go.yaml.in/yaml/v3"

	"github.com/logspool/logspool/internal/selfmetrics"
)

const fleet = "docs/fleet.md"

// TestExamplesOfFleetsSayWhetherTheyAreRun: e2e/fleet_test.go runs the blocks that are marked with
// run. The others have a reason.
func TestExamplesOfFleetsSayWhetherTheyAreRun(t *testing.T) {
	block := regexp.MustCompile("(?m)(?:^<!-- (run|not run): (.+) -->\n)?^```[a-z]+\n(.*)\n")
	run := map[string]bool{}
	for _, m := range block.FindAllStringSubmatch(read(t, fleet), -1) {
		switch {
		case m[1] == "":
			t.Errorf("%s: the block that begins with %q is marked neither with run nor with not run", fleet, m[3])
		case m[1] == "run" && run[m[2]]:
			t.Errorf("%s: two blocks are called %q", fleet, m[2])
		case m[1] == "run":
			run[m[2]] = true
		}
	}
	if len(run) < 5 {
		t.Errorf("only %d blocks of %s are run", len(run), fleet)
	}
}

func TestYAMLIsValid(t *testing.T) {
	n := 0
	for _, name := range documents(t) {
		for _, b := range blocks(read(t, name)) {
			if b.language != "yaml" {
				continue
			}
			n++
			var v any
			if err := yaml.Unmarshal([]byte(b.text), &v); err != nil {
				t.Errorf("%s: %v:\n%s", name, err, b.text)
			}
		}
	}
	if n < 3 {
		t.Errorf("%d examples of YAML were found: this test checks too little", n)
	}
}

// terraform returns the Terraform examples, which are one configuration.
func terraform(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, b := range blocks(read(t, fleet)) {
		if b.language == "hcl" {
			all.WriteString(b.text)
		}
	}
	return all.String()
}

func TestTerraformDeclaresWhatItUses(t *testing.T) {
	text := terraform(t)
	declared := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(variable|data|resource) "(\w+)"(?: "(\w+)")?`).FindAllStringSubmatch(text, -1) {
		switch m[1] {
		case "variable":
			declared["var."+m[2]] = true
		case "data":
			declared["data."+m[2]+"."+m[3]] = true
		case "resource":
			declared[m[2]+"."+m[3]] = true
		}
	}
	for _, m := range regexp.MustCompile(`(?ms)^locals \{\n(.*?)^\}`).FindAllStringSubmatch(text, -1) {
		for _, l := range regexp.MustCompile(`(?m)^  (\w+) *=`).FindAllStringSubmatch(m[1], -1) {
			declared["local."+l[1]] = true
		}
	}
	used := regexp.MustCompile(`\b(?:var\.\w+|local\.\w+|data\.\w+\.\w+)|= (aws_\w+\.\w+)`).FindAllStringSubmatch(text, -1)
	for _, m := range used {
		name := strings.TrimPrefix(m[0], "= ")
		if !declared[name] {
			t.Errorf("%s: the Terraform examples use %s, and do not declare it", fleet, name)
		}
	}
	if len(used) < 15 {
		t.Errorf("only %d uses were found", len(used))
	}
	if strings.Count(text, "{") != strings.Count(text, "}") || strings.Count(text, "[") != strings.Count(text, "]") {
		t.Errorf("%s: the brackets of the Terraform examples do not match", fleet)
	}
}

// TestTerraformNamesMetricsThatExist: an alarm on a metric that does not exist never fires.
func TestTerraformNamesMetricsThatExist(t *testing.T) {
	text := terraform(t)
	var known []string
	for _, d := range selfmetrics.Docs() {
		known = append(known, d.Name)
	}
	n := 0
	for _, m := range regexp.MustCompile(`metric_name += "(\w+)"|\["(\w+)", "(?:Maximum|Sum)"\]`).FindAllStringSubmatch(text, -1) {
		n++
		if !slices.Contains(known, m[1]+m[2]) {
			t.Errorf("%s: there is no metric %s", fleet, m[1]+m[2])
		}
	}
	if n < 5 {
		t.Errorf("only %d metrics were found", n)
	}
	for _, m := range regexp.MustCompile(`namespace += "(\w+)"`).FindAllStringSubmatch(text, -1) {
		if m[1] != selfmetrics.Namespace {
			t.Errorf("%s: the namespace is %s, not %s", fleet, m[1], selfmetrics.Namespace)
		}
	}
}

// TestEndpointsAreThoseOfTheSDK compares the table with the rules that the plugin's requests follow.
func TestEndpointsAreThoseOfTheSDK(t *testing.T) {
	resolver := cloudwatchlogs.NewDefaultEndpointResolverV2()
	known := settable(t)
	for _, r := range rows(t, fleet, "endpoints") {
		var p cloudwatchlogs.EndpointParameters
		p.UseFIPS = aws.Bool(false)
		for _, setting := range strings.Fields(r[1]) {
			name, value, _ := strings.Cut(setting, "=")
			switch {
			case !known[name]:
				t.Errorf("%s: there is no setting %s", fleet, name)
			case name == "AWS_REGION":
				p.Region = aws.String(value)
			case name == "AWS_USE_FIPS_ENDPOINT":
				p.UseFIPS = aws.Bool(value == "true")
			default:
				t.Errorf("%s: this test does not know %s", fleet, name)
			}
		}
		e, err := resolver.ResolveEndpoint(t.Context(), p.WithDefaults())
		if err != nil {
			t.Errorf("%s: %s: %v", fleet, r[1], err)
		} else if got, want := e.URI.String(), "https://"+r[2]; got != want {
			t.Errorf("%s: %s: the endpoint is %s, not %s", fleet, r[1], got, want)
		}
	}
}
