//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

// awsCLI is the AWS CLI of Debian's package. Another aws in the PATH may be any version.
const awsCLI = "/usr/bin/aws"

// awsLogs runs a command of the AWS CLI against the stand-in and returns what it printed.
func awsLogs(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	home := t.TempDir()
	cmd := exec.CommandContext(ctx, awsCLI, append([]string{"--endpoint-url", stand.URL(), "logs"}, args...)...)
	cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "AWS_PAGER=", "AWS_CONFIG_FILE=" + filepath.Join(home, "none"),
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_DEFAULT_REGION=" + region, "AWS_EC2_METADATA_DISABLED=true"}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("aws logs %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// TestAWSCLIShowsEvents: the AWS CLI shows what the containers printed, and when.
func TestAWSCLIShowsEvents(t *testing.T) {
	if _, err := os.Stat(awsCLI); err != nil {
		if os.Getenv("LOGSPOOL_E2E") == "required" {
			t.Fatalf("%v: install Debian's package awscli", err)
		}
		t.Skipf("%v: install Debian's package awscli", err)
	}
	group := newName(t)
	var printed []string // as aws logs tail shows it
	var messages []string
	times := lineTimes{}
	// The containers run one after the other, because the CLI orders the lines of both by time.
	for _, c := range []struct {
		stream, option string
		prints         []chunk
		want           []string
	}{
		{"text", "delay=100ms", []chunk{{"stdout", texts + "\n"}, {"stderr", "an error\n"}}, append(lines(texts), "an error")},
		{"java", `multiline-pattern=^\d{4}-\d\d-\d\d `, stdout(strings.Join(javaTrace, "")), javaTrace},
	} {
		r, docker, args := newRemote(t)
		dir, _, _ := strings.Cut(docker[1], ":")
		run := start(t, spec{docker: docker, args: args, opts: []string{"group=" + group, "stream=" + c.stream, c.option}})
		r.connect()
		f := startFollower(t, run, "logs", "-f")
		for _, out := range c.prints {
			if err := os.WriteFile(filepath.Join(dir, out.to), []byte(out.text), 0o600); err != nil {
				t.Fatal(err)
			}
			r.tell("file %s /control/%s", out.to, out.to)
			f.waitFor(t, finalLine(out.text))
		}
		r.end()
		run.finish(t)
		to(group, c.stream).hasMessages(t, c.want...)
		for _, m := range c.want {
			messages = append(messages, m)
			// The CLI removes white space at the end (awscli/customizations/logs/tail.py).
			printed = append(printed, strings.TrimRightFunc("TIME "+c.stream+" "+m, unicode.IsSpace)+"\n")
		}
		times.add(t, run)
	}

	if want, got := strings.Join(printed, ""), tailTime.ReplaceAllLiteralString(awsLogs(t, "tail", group, "--since", "1h"), "TIME "); got != want {
		t.Errorf("aws logs tail shows\n%q, want\n%q", got, want)
	}
	var found struct {
		Events []struct {
			Timestamp int64
			Message   string
		}
	}
	if err := json.Unmarshal([]byte(awsLogs(t, "filter-log-events", "--log-group-name", group, "--output", "json")), &found); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range found.Events {
		got = append(got, e.Message)
		first, _, _ := strings.Cut(e.Message, "\n")
		if at, ok := times.next(first); !ok || at.UnixMilli() != e.Timestamp {
			t.Errorf("aws logs filter-log-events has %.60q at %v, and docker logs at %v", first, time.UnixMilli(e.Timestamp).UTC(), at)
		}
	}
	if !slices.Equal(got, messages) {
		t.Errorf("aws logs filter-log-events has\n%q, want\n%q", got, messages)
	}
	if got, want := awsLogs(t, "filter-log-events", "--log-group-name", group, "--filter-pattern", "IllegalStateException", "--query", "events[].message", "--output", "text"), javaTrace[1]+"\n"; got != want {
		t.Errorf("aws logs filter-log-events with a pattern has %q, want %q", got, want)
	}
}

var tailTime = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00 `)
