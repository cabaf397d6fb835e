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

// TestDockerLogsAfterRestart: docker restart ends a follow, and the log goes on in the same place.
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

// TestDockerLogsAsksNothingOfTheService: what docker logs does to a container that has stopped leaves no trace in the
// service, however often it is asked.
func TestDockerLogsAsksNothingOfTheService(t *testing.T) {
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
	// The audit at the end says so of the stream.
}

// TestDockerLogsOfIgnored: a container that asks to be ignored has its log all the same.
func TestDockerLogsOfIgnored(t *testing.T) {
	c := start(t, spec{docker: []string{"-e", "LOGSPOUT=ignore"}, args: []string{"-lines", "1000"}})
	c.finish(t)
	if n := strings.Count(c.logs().stdout, "\n"); n != 1000 {
		t.Errorf("%d lines of 1000", n)
	}
	to(hostName(t), c.name).empty(t)
}

// TestDockerLogsWithoutHistory: a container that has none says so, and with HISTORY_SIZE=0 the engine's own cache
// answers.
func TestDockerLogsWithoutHistory(t *testing.T) {
	c := start(t, spec{opts: []string{"history-size=0"}, args: []string{"-lines", "10"}})
	c.finish(t)
	// dockerd learns of the error and of the end of the log at once, and takes either first (moby, daemon/logs.go).
	told := false
	for tries := 0; tries < 50 && !told; tries++ {
		a := c.logs()
		if a.stdout != "" {
			t.Fatalf("docker logs said %+v", a)
		}
		told = strings.Contains(a.stderr+a.err, "history-size is 0 for this container")
	}
	if !told {
		t.Error("docker logs never said why there is nothing")
	}
	tested.with(t, []string{"HISTORY_SIZE=0"}, []string{"HISTORY_SIZE="})
	for _, opts := range [][]string{nil, {"history-size=1m"}} {
		c = start(t, spec{opts: opts, args: []string{"-lines", "10"}})
		c.finish(t)
		if a := c.logs(); strings.Count(a.stdout, "\n") != 10 {
			t.Errorf("%s: the engine's cache gave %+v", opts, a)
		}
	}
}

// TestFollowLastsLong: dockerd cuts every answer of a plugin that was enabled with a time-out, 30 s unless told
// otherwise. `make enable`, by which the plugin of this test is enabled, and the documents say 0.
func TestFollowLastsLong(t *testing.T) {
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
				t.Errorf("%s enables the plugin with a time-out: %s", page, line)
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
		t.Errorf("after %v the follow gave %+v", time.Since(begun), a)
	}
}

// TestServiceLogs: docker service logs reads the tasks' logs through the same door, with what it puts before each line.
func TestServiceLogs(t *testing.T) {
	s := newSecondEngine(t)
	s.start(t, storage(t))
	s.install(t)
	if _, err := s.run("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1", "--data-path-addr", "127.0.0.1"); err != nil {
		t.Skipf("the second engine makes no swarm: %v", err)
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
	// Without -f the manager asks nothing of a task that it does not yet know to run, and answers nothing with success
	// (swarmkit, manager/logbroker/subscription.go, match). The task itself is ahead of that.
	for _, service := range []string{model, ours} {
		for begun := time.Now(); !strings.HasPrefix(s.must(t, "service", "ps", "--format", "{{.CurrentState}}", service), "Running"); {
			if time.Since(begun) > patience {
				t.Fatalf("%s does not run, by its manager", service)
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
			// Without -f the command leaves out the last newline, with any driver.
			if got != strings.TrimSuffix(test.want, "\n") {
				t.Errorf("docker service logs %s of %s gives %d bytes, want %d: %.200q", test.args, service, len(got), len(test.want), got)
			}
		}
	}
}

// TestComposeLogs: what docker compose logs shows is what docker logs does.
func TestComposeLogs(t *testing.T) {
	compose := []string{"docker", "compose"}
	if exec.Command("docker", "compose", "version").Run() != nil {
		compose = []string{"docker-compose"}
		if _, err := exec.LookPath(compose[0]); err != nil {
			t.Skip("there is neither docker compose nor docker-compose")
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
	if rest, ok := strings.CutPrefix(got, "Attaching to "); ok { // docker-compose's own line
		_, got, _ = strings.Cut(rest, "\n")
	}
	if got != want {
		t.Errorf("%s logs gives %.300q, docker logs %.300q", compose, got, want)
	}
}
