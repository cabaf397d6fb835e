//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestDockerLogsAfterRestart: docker restart ends a docker logs -f, and the log continues after it.
func TestDockerLogsAfterRestart(t *testing.T) {
	p := startPair(t, printing{name: "restart"})
	for _, l := range p.both() {
		l.print(stdout("the first run\n" + endMark + "\n"))
		local.must(t, "restart", "-t", "30", l.name)
		l.remote.connect()
		l.follow.wait(t)
		l.follow = l.startFollow()
		l.print(stdout("the second run\n" + endMark + "\n"))
		l.follow.waitFor(t, "the second run\n"+endMark)
	}
	if d := differs(p.model.logs(), p.ours.logs()); d != "" {
		t.Error(d)
	}
	if d := differs(p.model.logs("--tail", "3"), p.ours.logs("--tail", "3")); d != "" {
		t.Error(d)
	}
}

// TestDockerLogsSendsNothing: docker logs of a stopped container sends nothing to the
// service, however often it is called.
func TestDockerLogsSendsNothing(t *testing.T) {
	c := start(t, spec{args: []string{"-lines", "100"}})
	c.finish(t)
	s := to(hostName(t), c.name)
	s.has(t, printed(c.name, "stdout", 100))
	want := c.logs()
	for range 5 {
		if d := differs(want, c.logs()); d != "" {
			t.Error(d)
		}
	}
	if n := strings.Count(want.stdout, "\n"); n != 100 {
		t.Errorf("%d lines", n)
	}
	// The audit at the end of the run checks the stream.
}

// TestDockerLogsOfIgnored: docker logs works for a container with LOGSPOUT=ignore.
func TestDockerLogsOfIgnored(t *testing.T) {
	c := start(t, spec{docker: []string{"-e", "LOGSPOUT=ignore"}, args: []string{"-lines", "1000"}})
	c.finish(t)
	if n := strings.Count(c.logs().stdout, "\n"); n != 1000 {
		t.Errorf("%d lines of 1000", n)
	}
	to(hostName(t), c.name).empty(t)
}

// TestDockerLogsWithoutHistory: with history-size=0, docker logs says why it has nothing.
// With HISTORY_SIZE=0, it answers from dockerd's own cache.
func TestDockerLogsWithoutHistory(t *testing.T) {
	c := start(t, spec{opts: []string{"history-size=0"}, args: []string{"-lines", "10"}})
	c.finish(t)
	// dockerd gets the error and the end of the log at once, and handles either first
	// (moby, daemon/logs.go).
	explained := false
	for tries := 0; tries < 50 && !explained; tries++ {
		a := c.logs()
		if a.stdout != "" {
			t.Fatalf("docker logs answered %+v", a)
		}
		explained = strings.Contains(a.stderr+a.err, "history-size is 0 for this container")
	}
	if !explained {
		t.Error("docker logs never said why it has nothing")
	}
	tested.with(t, []string{"HISTORY_SIZE=0"}, []string{"HISTORY_SIZE="})
	for _, opts := range [][]string{nil, {"history-size=1m"}} {
		c = start(t, spec{opts: opts, args: []string{"-lines", "10"}})
		c.finish(t)
		if a := c.logs(); strings.Count(a.stdout, "\n") != 10 {
			t.Errorf("%s: docker logs answered %+v from dockerd's cache", opts, a)
		}
	}
}

// TestFollowOutlivesDockersTimeout: dockerd aborts every answer of a plugin after the
// timeout with which the plugin was enabled, 30 s by default. `make enable`, which this
// test uses, and the documents disable it.
func TestFollowOutlivesDockersTimeout(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 35 s")
	}
	if err := tested.disable(); err != nil {
		t.Fatal(err)
	}
	name, tag, _ := strings.Cut(tested.name, ":")
	if err := makeTarget("enable", "PLUGIN_NAME="+name, "PLUGIN_TAG="+tag); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	for _, page := range append(pages, "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "docker plugin enable ") && !strings.Contains(line, "--timeout 0") {
				t.Errorf("%s enables the plugin with a timeout: %s", page, line)
			}
		}
	}
	p := startPair(t, printing{name: "long"})
	begun := time.Now()
	p.ours.print(stdout("the first\n" + endMark + "\n"))
	<-time.After(35*time.Second - time.Since(begun))
	p.ours.print(stdout("the last\n"))
	p.ours.follow.waitFor(t, "the last")
	p.ours.remote.end()
	p.ours.finish(t)
	if a := p.ours.follow.wait(t); a.err != "" || a.stdout != "the first\n"+endMark+"\nthe last\n" {
		t.Errorf("after %v, docker logs -f had answered %+v", time.Since(begun), a)
	}
}

// TestServiceLogs: docker service logs answers the same with the plugin as with json-file.
func TestServiceLogs(t *testing.T) {
	s := newSecondEngine(t)
	s.start(t, storage(t))
	s.install(t)
	if _, err := s.run("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1", "--data-path-addr", "127.0.0.1"); err != nil {
		t.Skipf("the second engine can't make a swarm: %v", err)
	}
	create := func(driver string) string {
		name := newName(t)
		s.must(t, "service", "create", "-q", "--detach", "--name", name, "--no-resolve-image", "--network", "host",
			"--label", label, "--container-label", label, "--restart-condition", "none", "--log-driver", driver,
			image, "-name", "service", "-lines", "50", "-size", "100", "-hold")
		return name
	}
	model, ours := create("json-file"), create(tested.name)
	t.Cleanup(func() {
		_, _ = s.run("service", "rm", model, ours)
		_, _ = s.run("swarm", "leave", "--force")
	})
	whole := map[string]string{}
	for _, service := range []string{model, ours} {
		f := startFollower(t, &container{engine: &s.engine, name: service}, "service", "logs", "-f", "--raw")
		f.waitFor(t, "n=000049")
		whole[service] = f.answer().stdout
		f.kill()
	}
	if whole[model] != whole[ours] || strings.Count(whole[ours], "\n") != 50 {
		t.Errorf("docker service logs -f: json-file gives %.200q, the plugin %.200q", whole[model], whole[ours])
	}
	lines := strings.SplitAfter(whole[ours], "\n")
	// Without -f, the manager ignores a task until it knows that the task runs, and then
	// answers nothing, with success (swarmkit, manager/logbroker/subscription.go, match).
	// The task may run before that.
	for _, service := range []string{model, ours} {
		for begun := time.Now(); !strings.HasPrefix(s.must(t, "service", "ps", "--format", "{{.CurrentState}}", service), "Running"); {
			if time.Since(begun) > patience {
				t.Fatalf("the manager does not know that %s runs", service)
			}
		}
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, whole[ours]},
		{[]string{"--tail", "5"}, strings.Join(lines[45:], "")},
		{[]string{"--since", "1h"}, whole[ours]},
		{[]string{"--since", "2096-01-01T00:00:00Z"}, ""},
	} {
		for _, service := range []string{model, ours} {
			got, err := s.run(append(append([]string{"service", "logs", "--raw"}, test.args...), service)...)
			if err != nil {
				t.Fatal(err)
			}
			// Without -f, the command does not print the last newline, with any driver.
			if got != strings.TrimSuffix(test.want, "\n") {
				t.Errorf("docker service logs %s of %s gives %d bytes, want %d: %.200q", test.args, service, len(got), len(test.want), got)
			}
		}
	}
}

// TestComposeLogs: docker compose logs shows the same as docker logs.
func TestComposeLogs(t *testing.T) {
	compose := []string{"docker", "compose"}
	if exec.Command("docker", "compose", "version").Run() != nil {
		compose = []string{"docker-compose"}
		if _, err := exec.LookPath(compose[0]); err != nil {
			t.Skip("neither docker compose nor docker-compose is installed")
		}
	}
	file := filepath.Join(t.TempDir(), "compose.yaml")
	text := "services:\n  program:\n    image: " + image + "\n    command: [-name, composed, -lines, '50']\n    network_mode: none\n" +
		"    labels: [" + label + "]\n    logging:\n      driver: " + strconv.Quote(tested.name) + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	project := newName(t)
	run := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), compose[0], slices.Concat(compose[1:], []string{"-p", project, "-f", file}, args)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := run(args...)
		if err != nil {
			t.Fatalf("%s %s: %v", compose, args, err)
		}
		return out
	}
	must("up", "-d")
	defer must("down")
	id := must("ps", "-q", "-a")
	local.must(t, "wait", id)
	want := strings.TrimSpace((&container{engine: local, name: id}).logs().stdout)
	if n := strings.Count(want, "\n"); n != 49 {
		t.Errorf("docker logs gives %d newlines in 50 lines", n)
	}
	got := must("logs", "--no-log-prefix", "--no-color")
	if rest, ok := strings.CutPrefix(got, "Attaching to "); ok { // this line is from docker-compose
		_, got, _ = strings.Cut(rest, "\n")
	}
	if got != want {
		t.Errorf("%s logs gives %.300q, docker logs %.300q", compose, got, want)
	}
}
