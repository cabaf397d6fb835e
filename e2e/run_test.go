//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// TestDefaultNames: without options, the group is the host's name and the stream the container's.
func TestDefaultNames(t *testing.T) {
	c := start(t, spec{args: []string{"-lines", "500", "-to", "stdout,stderr"}})
	c.finish(t)
	to(hostName(t), c.name).has(t, printed(c.name, "stdout", 500), printed(c.name, "stderr", 500))
}

// TestNoFinalNewline: text without a newline at the end of the output arrives. dockerd
// sends it as a partial frame that no last one follows.
func TestNoFinalNewline(t *testing.T) {
	c := start(t, spec{args: []string{"-text", "first\nthe end"}})
	c.finish(t)
	to(hostName(t), c.name).hasMessages(t, "first", "the end")
}

// TestLongLineIsOneEvent: a line that dockerd cuts after 16 KiB is one event.
func TestLongLineIsOneEvent(t *testing.T) {
	c := start(t, spec{args: []string{"-lines", "20", "-size", "100000", "-to", "stdout,stderr"}})
	c.finish(t)
	to(hostName(t), c.name).has(t, printed(c.name, "stdout", 20), printed(c.name, "stderr", 20))
}

// TestTTYKeepsCarriageReturns: a terminal ends lines with \r\n, and dockerd removes only
// the newline.
func TestTTYKeepsCarriageReturns(t *testing.T) {
	c := start(t, spec{docker: []string{"-t"}, args: []string{"-text", "one\ntwo\nthree"}})
	c.finish(t)
	to(hostName(t), c.name).hasMessages(t, "one\r", "two\r", "three")
}

// TestSecondRunContinuesTheStream: the lines of a container's second run follow those of the first.
func TestSecondRunContinuesTheStream(t *testing.T) {
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
	expectFinal(s, 20)
}

// TestDockerLogsWorksBeforeAndAfterStop: docker logs works while a container runs and
// after it has stopped.
func TestDockerLogsWorksBeforeAndAfterStop(t *testing.T) {
	c := start(t, spec{args: []string{"-text", "one\ntwo\nthree\n", "-hold"}})
	to(hostName(t), c.name).waitFor(t, 3)
	if got := c.engine.must(t, "logs", c.name); got != "one\ntwo\nthree" {
		t.Errorf("docker logs of a running container: %q", got)
	}
	c.engine.must(t, "stop", c.name)
	if got := c.engine.must(t, "logs", "--tail", "2", c.name); got != "two\nthree" {
		t.Errorf("docker logs --tail 2 of a stopped container: %q", got)
	}
	// For a stopped container, dockerd has started and stopped logging without a line.
	to(hostName(t), c.name).hasMessages(t, "one", "two", "three")
}
