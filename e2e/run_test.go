//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

func TestDefaults(t *testing.T) {
	c := start(t, spec{args: []string{"-lines", "500", "-to", "stdout,stderr"}})
	c.finish(t)
	to(hostName(t), c.name).has(t, printed(c.name, "stdout", 500), printed(c.name, "stderr", 500))
}

// The output's end has no newline, so the last line is a piece that is never closed.
func TestNoFinalNewline(t *testing.T) {
	c := start(t, spec{args: []string{"-text", "first\nthe end"}})
	c.finish(t)
	to(hostName(t), c.name).hasMessages(t, "first", "the end")
}

// dockerd cuts lines after 16 KiB.
func TestLongLines(t *testing.T) {
	c := start(t, spec{args: []string{"-lines", "20", "-size", "100000", "-to", "stdout,stderr"}})
	c.finish(t)
	to(hostName(t), c.name).has(t, printed(c.name, "stdout", 20), printed(c.name, "stderr", 20))
}

// A terminal ends lines in \r\n, of which dockerd strips the newline alone.
func TestTTY(t *testing.T) {
	c := start(t, spec{docker: []string{"-t"}, args: []string{"-text", "one\ntwo\nthree"}})
	c.finish(t)
	to(hostName(t), c.name).hasMessages(t, "one\r", "two\r", "three")
}

func TestContainerStartedAgain(t *testing.T) {
	c := start(t, spec{args: []string{"-lines", "10"}})
	c.finish(t)
	to(hostName(t), c.name).waitFor(t, 10)
	local.must(t, "start", c.name)
	c.finish(t)
	s := to(hostName(t), c.name)
	s.waitFor(t, 20)
	got := s.messages()
	if first, second := strings.Join(got[:10], "\n"), strings.Join(got[10:], "\n"); first != second {
		t.Errorf("%v: the two runs have\n%s\nand\n%s", s, first, second)
	}
	settle(s, 20)
}

// dockerd keeps a cache of its own for drivers that cannot read.
func TestDockerLogs(t *testing.T) {
	c := start(t, spec{args: []string{"-text", "one\ntwo\nthree\n", "-hold"}})
	to(hostName(t), c.name).waitFor(t, 3)
	if got := c.engine.must(t, "logs", c.name); got != "one\ntwo\nthree" {
		t.Errorf("docker logs of a running container: %q", got)
	}
	c.engine.must(t, "stop", c.name)
	if got := c.engine.must(t, "logs", "--tail", "2", c.name); got != "two\nthree" {
		t.Errorf("docker logs --tail 2 of a stopped container: %q", got)
	}
	// Asking makes dockerd attach and detach the plugin without a line.
	to(hostName(t), c.name).hasMessages(t, "one", "two", "three")
}
