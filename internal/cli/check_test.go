package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/check"
	"github.com/logspool/logspool/internal/cwlocal"
)

// checkHost puts a docker command into the PATH. cases are the cases of a shell script. The
// command answers docker info and docker ps.
func checkHost(t *testing.T, version, cases string) {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in\n%s\ninfo*) echo '{\"ServerVersion\":%q,\"DockerRootDir\":%q}' ;;\nps*) ;;\n"+
		"*) echo \"unexpected: $*\" >&2; exit 1 ;;\nesac\n", cases, version, dir)
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

// pluginCases are the cases of a docker command with one plugin.
func pluginCases(enabled bool, env ...string) string {
	text, err := json.Marshal([]any{map[string]any{
		"Id": "abc", "Name": "logspool:latest", "Enabled": enabled,
		"Config":   map[string]any{"Interface": map[string]any{"Socket": "logspool.sock"}},
		"Settings": map[string]any{"Env": env, "Mounts": []any{map[string]any{"Name": "aws", "Source": "/sys/module"}}},
	}})
	if err != nil {
		panic(err)
	}
	return "\"plugin ls\"*) echo abc ;;\n\"plugin inspect\"*) echo '" + string(text) + "' ;;"
}

func runCheckCLI(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = Run("1.2.3", args, &out, &errs)
	return status, out.String(), errs.String()
}

// If nothing can be checked, the exit status is 2, and one line says why.
func TestCheckWithoutAnAnswer(t *testing.T) {
	for _, test := range []struct {
		name, cases string
		args        []string
		want        string
	}{
		{"no plugin", `"plugin ls"*) ;;`, nil, "no logspool plugin is installed in this Docker engine: install it, or check the settings in this environment with --env"},
		{"engine down", `info*) echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock." >&2; exit 1 ;;`, nil, "Cannot connect to the Docker daemon"},
		{"engine error", `info*) echo '{"ServerErrors":["no daemon"]}' ;;`, nil, "no daemon"},
		{"not JSON", `info*) echo hello ;;`, nil, "couldn't read the answer of docker info"},
		{"unknown plugin", `"plugin inspect"*) echo "Error: No such plugin: x" >&2; exit 1 ;;`, []string{"--plugin", "x"}, "No such plugin"},
		{"bad option", "", []string{"--log-opt", "group"}, `--log-opt "group" is not KEY=VALUE`},
		{"bad group", "", []string{"--group", "a b"}, `--group "a b" is not the name of a log group`},
		{"long group", "", []string{"--group", strings.Repeat("a", 513)}, `is not the name of a log group`},
		{"bad wait", "", []string{"--wait", "-1s"}, "--wait -1s is not a time"},
		{"env and plugin", "", []string{"--env", "--plugin", "x"}, "none of the others can be"},
		{"argument", "", []string{"now"}, "unknown command"},
	} {
		checkHost(t, "28.5.2", test.cases)
		status, out, errs := runCheckCLI(append([]string{"check"}, test.args...)...)
		if status != 2 || out != "" || !strings.Contains(errs, test.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: status %d, output %q, error %q, want %q", test.name, status, out, errs, test.want)
		}
	}
	t.Setenv("PATH", "/nonexistent")
	if status, _, errs := runCheckCLI("check"); status != 2 || errs != "logspool: there is no docker command in the PATH\n" {
		t.Errorf("status %d, error %q", status, errs)
	}
}

// withoutAWS makes the process's environment say nothing about AWS.
func withoutAWS(t *testing.T) {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
}

// The exit status is 1 if a line is BAD. JSON has the same results.
func TestCheckPrintsOneLinePerResult(t *testing.T) {
	withoutAWS(t)
	server, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	env := []string{"AWS_REGION=eu-central-1", "NOEC2=1", "AWS_ACCESS_KEY_ID=AKID", "AWS_SECRET_ACCESS_KEY=hidden", "AWS_ENDPOINT_URL=" + server.URL(), "DELAY=soon"}
	checkHost(t, "19.03.1", pluginCases(false, env...))
	status, out, errs := runCheckCLI("check", "--group", "mine")
	if status != 1 || errs != "" {
		t.Errorf("status %d, error %q", status, errs)
	}
	for _, want := range []string{
		"BAD  settings ", "BAD  plugin ", "BAD  engine ", "ok   region  ", "ok   logs:CreateLogGroup ",
		"; remedy: docker plugin enable --timeout 0 logspool\n", "the log group mine was created and deleted\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "hidden") {
		t.Errorf("a secret is shown:\n%s", out)
	}
	status, out, _ = runCheckCLI("check", "--json")
	var answer struct {
		Bad    bool
		Checks []check.Result
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || status != 1 || !answer.Bad || len(answer.Checks) < 15 || answer.Checks[0].Check != "settings" {
		t.Errorf("status %d, %v:\n%s", status, err, out)
	}
}

// With --env, the engine is not needed, and the settings are those of the environment.
func TestCheckOfTheEnvironmentNeedsNoEngine(t *testing.T) {
	withoutAWS(t)
	server, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	t.Setenv("PATH", "/nonexistent")
	for name, value := range map[string]string{
		"AWS_REGION": "eu-central-1", "NOEC2": "1", "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s", "AWS_ENDPOINT_URL": server.URL(),
	} {
		t.Setenv(name, value)
	}
	status, out, errs := runCheckCLI("check", "--env", "--dry-run")
	if errs != "" || (status == 1) != strings.Contains(out, "BAD ") || status == 2 {
		t.Errorf("status %d, error %q:\n%s", status, errs, out)
	}
	for _, want := range []string{"there is no docker command in the PATH", "eu-central-1, from AWS_REGION", "nothing was written"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if len(server.Groups()) > 0 {
		t.Errorf("got %v", server.Groups())
	}
}
