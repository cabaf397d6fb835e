package config

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShownVariablesHaveNoSecrets(t *testing.T) {
	got := Shown([]string{
		`LOG_OPTS={"credentials-endpoint":"/v2/secret","delay":"8"}`, "PATH=/bin", "HOME=/root", "DELAY= 8 ", "LOGSPOUT_STREAM={{.Name}}@{{.Host}}?", "GZIP=", "ROUTE=cloudwatch://eu-west-1?DELAY=8",
		"AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_ACCESS_KEY=secret", "AWS_SECRET_ACCESS_KEY=secret",
		"AWS_SECRET_KEY=secret", "AWS_SESSION_TOKEN=secret", "AWS_CONTAINER_AUTHORIZATION_TOKEN=secret",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/.aws/token", "AWS_WEB_IDENTITY_TOKEN_FILE=/.aws/web",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1/secret", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/secret",
		"AWS_ENDPOINT_URL=https://user:secret@vpce.example.com/x?token=secret#secret", "HTTPS_PROXY=user:secret@secret@proxy:3128",
		"http_proxy=http://secret@proxy", "NO_PROXY=10.0.0.0/8,.local",
		"HTTP_PROXY=http://user:sec?ret@proxy", "https_proxy=user:sec#ret@proxy",
	})
	want := []Variable{
		{"ROUTE", "cloudwatch://eu-west-1?DELAY=8"}, {"LOGSPOUT_STREAM", "{{.Name}}@{{.Host}}?"}, {"DELAY", "8"}, {"AWS_REGION", "eu-west-1"}, {"LOG_OPTS", `{"credentials-endpoint":"(not shown)","delay":"8"}`},
		{"AWS_ACCESS_KEY", "(not shown)"}, {"AWS_ACCESS_KEY_ID", "****************MPLE"},
		{"AWS_CONTAINER_AUTHORIZATION_TOKEN", "(not shown)"}, {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/.aws/token"},
		{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "(not shown)"}, {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "(not shown)"},
		{"AWS_ENDPOINT_URL", "https://(not shown)@vpce.example.com/x?(not shown)"},
		{"AWS_SECRET_ACCESS_KEY", "(not shown)"}, {"AWS_SECRET_KEY", "(not shown)"}, {"AWS_SESSION_TOKEN", "(not shown)"},
		{"AWS_WEB_IDENTITY_TOKEN_FILE", "/.aws/web"},
		{"HTTPS_PROXY", "(not shown)@proxy:3128"}, {"HTTP_PROXY", "http://(not shown)"}, {"NO_PROXY", "10.0.0.0/8,.local"}, {"http_proxy", "http://(not shown)@proxy"},
		{"https_proxy", "(not shown)"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// secretVariables are the variables of config.json whose value is a secret.
var secretVariables = []string{
	"AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN",
}

// A new variable of config.json must be shown, or be in secretVariables.
func TestVariablesOfThePluginAreShownOrSecret(t *testing.T) {
	text, err := os.ReadFile("../../config.json")
	if err != nil {
		t.Fatal(err)
	}
	var config struct{ Env []struct{ Name string } }
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	var secret []string
	for _, e := range config.Env {
		got := Shown([]string{e.Name + "={}"})
		if len(got) != 1 || got[0].Name != e.Name {
			t.Errorf("%s is not shown: %v", e.Name, got)
		} else if got[0].Value == hidden {
			secret = append(secret, e.Name)
		}
	}
	got, want := strings.Join(secret, " "), secretVariables
	for _, name := range want {
		if !strings.Contains(" "+got+" ", " "+name+" ") {
			t.Errorf("%s is shown", name)
		}
	}
	if len(secret) != len(want) {
		t.Errorf("hidden are %s, want %s", got, strings.Join(want, " "))
	}
}
