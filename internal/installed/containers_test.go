package installed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// dockerCommand puts a docker command into the PATH, which runs a shell script.
func dockerCommand(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

func TestRunningAndTheirDrivers(t *testing.T) {
	dockerCommand(t, `case "$*" in
"ps --quiet --no-trunc") printf 'a\nb\n' ;;
inspect*"-- a b") printf 'logspool\njson-file\n' ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac`)
	ids, err := Running(t.Context())
	if err != nil || !slices.Equal(ids, []string{"a", "b"}) {
		t.Fatalf("got %q, %v", ids, err)
	}
	if n, err := CountDriver(t.Context(), ids, "logspool:latest"); n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if n, err := CountDriver(t.Context(), nil, "logspool"); n != 0 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := CountDriver(t.Context(), []string{"c"}, "logspool"); err == nil {
		t.Error("an unknown container is no error")
	}
}

// Many IDs go into several commands.
func TestCountDriverNamesAThousandAtATime(t *testing.T) {
	dockerCommand(t, `shift 4; [ $# -le 1000 ] || exit 1; for id; do echo logspool; done`)
	ids := make([]string, 2500)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	if n, err := CountDriver(t.Context(), ids, "logspool"); n != len(ids) || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestEnabled(t *testing.T) {
	dockerCommand(t, `case "$*" in *"-- on") echo true ;; *"-- off") echo false ;; *"-- odd") echo maybe ;;
*) echo "Error: No such plugin" >&2; exit 1 ;; esac`)
	for name, want := range map[string]bool{"on": true, "off": false} {
		if got, err := Enabled(t.Context(), name); got != want || err != nil {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{"odd": "couldn't read", "none": "No such plugin"} {
		if _, err := Enabled(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A child of the docker command that keeps the output open does not hold up the answer.
func TestDockerIsNotWaitedForAfterTheDeadline(t *testing.T) {
	dir := t.TempDir()
	dockerCommand(t, "sleep 60 & echo $! >"+dir+"/child; wait")
	t.Cleanup(func() {
		pid, _ := os.ReadFile(filepath.Join(dir, "child"))
		_ = exec.Command("kill", strings.TrimSpace(string(pid))).Run()
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := Running(ctx); done <- err }()
	for { // the child has the output
		if pid, _ := os.ReadFile(filepath.Join(dir, "child")); len(pid) > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("there is no error")
		}
	case <-time.After(30 * time.Second):
		t.Error("docker is still waited for")
	}
}

func TestReferenceHasATag(t *testing.T) {
	for name, want := range map[string]string{
		"logspool": "logspool:latest", "logspool:v1": "logspool:v1", "host:5000/logspool": "host:5000/logspool:latest", "host:5000/a:b": "host:5000/a:b",
	} {
		if got := Reference(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestHostPathKnowsTheMounts(t *testing.T) {
	p := &Plugin{Dir: "/plugins/1", Mounts: map[string]string{"aws": "/root/.aws"}}
	for path, want := range map[string]string{
		"/.aws/config":               "/root/.aws/config",
		"/.aws":                      "/root/.aws",
		"/.aws/../etc/passwd":        "",
		"/.awsome":                   "",
		"/etc/ssl/ca.pem":            "",
		"/run/docker/logging/.state": "/plugins/1/propagated-mount/.state",
	} {
		if got, ok := p.HostPath(path); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", path, got, ok, want)
		}
	}
	if got, ok := (&Plugin{}).HostPath("/.aws/config"); ok {
		t.Errorf("got %q without a mount", got)
	}
}
