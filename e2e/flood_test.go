//go:build e2e

package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/dockertest"
)

// TestFiveContainersAtOnce: five containers print at the same time to both outputs, and
// every line arrives in its stream, once and in order. One container has a stream for each
// output.
func TestFiveContainersAtOnce(t *testing.T) {
	const lines = 100_000
	group := newName(t)
	var containers []*container
	for i := range 5 {
		opts := []string{"group=" + group + "/{{.Name}}"}
		if i == 0 {
			opts = []string{"group=" + group + "/{{.Name}}", "stream={{.Name}}-{{.Source}}"}
		}
		containers = append(containers, start(t, spec{
			opts: opts,
			args: []string{"-lines", strconv.Itoa(lines / 2), "-size", "120", "-to", "stdout,stderr"},
		}))
	}
	for i, c := range containers {
		stdout, stderr := printed(c.name, "stdout", lines/2), printed(c.name, "stderr", lines/2)
		if i == 0 {
			to(group+"/"+c.name, c.name+"-stdout").has(t, stdout)
			to(group+"/"+c.name, c.name+"-stderr").has(t, stderr)
			continue
		}
		to(group+"/"+c.name, c.name).has(t, stdout, stderr)
	}
	for _, c := range containers {
		c.finish(t)
	}
}

// TestStopInFloodLosesNothing: when a container that prints as fast as it can is stopped,
// every line arrives that it had printed.
func TestStopInFloodLosesNothing(t *testing.T) {
	r, docker, args := newRemote(t)
	c := start(t, spec{docker: docker, args: append(args, "-size", "200")})
	r.connect()
	r.tell("flood 0")
	s := to(hostName(t), c.name)
	s.waitFor(t, 20_000)
	begun := time.Now()
	c.engine.must(t, "stop", "-t", "30", c.name)
	// If the plugin does not read what is in the pipe, dockerd's copier gives up after 10 s.
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("docker stop took %v", took)
	}
	s.has(t, printed(c.name, "stdout", r.printed()))
}

// TestKillInFloodLeavesNoHole: when a container that prints as fast as it can is killed,
// the lines that arrive have no holes, and only the last one may be incomplete. The first
// line of the container's second run shows that nothing of the first run is missing.
func TestKillInFloodLeavesNoHole(t *testing.T) {
	r, docker, args := newRemote(t)
	c := start(t, spec{docker: docker, args: append(args, "-size", "200", "-ignore-term")})
	r.connect()
	r.tell("flood 0")
	s := to(hostName(t), c.name)
	s.waitFor(t, 20_000)
	begun := time.Now()
	c.engine.must(t, "stop", "-t", "1", c.name)
	if took := time.Since(begun); took > 11*time.Second {
		t.Errorf("docker stop -t 1 took %v", took)
	}
	local.must(t, "start", c.name)
	r.connect()
	r.tell("print 1")
	r.end()

	q := dockertest.Sequence{Container: c.name, Source: "stdout"}
	first := q.Next(200)
	var messages []string
	wait(t, stand, "the second run's line", func() bool {
		messages = s.messages()
		return len(messages) > 20_000 && messages[len(messages)-1] == first
	})
	expectFinal(s, len(messages))
	messages = messages[1 : len(messages)-1]
	for i, m := range messages {
		want := q.Next(200)
		if m == want || i == len(messages)-1 && strings.HasPrefix(want, m) {
			continue
		}
		t.Fatalf("line %d of %d is %q, want %q", i+1, len(messages), m, want)
	}
	t.Logf("%d lines arrived", len(messages)+1)
}
