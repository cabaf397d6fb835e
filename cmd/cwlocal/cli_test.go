package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// awsCLI is Debian's package; another aws in the PATH may be anything.
const awsCLI = "/usr/bin/aws"

type cli struct {
	t   *testing.T
	url string
	env []string
}

// command is killed when it takes a minute, so that nothing hangs.
func (c *cli) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	c.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, awsCLI, append([]string{"--endpoint-url", c.url, "logs"}, args...)...)
	cmd.Env = c.env
	return cmd
}

func (c *cli) run(args ...string) string {
	c.t.Helper()
	out, err := c.command(args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("aws logs %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// The AWS CLI is a client that no one here wrote, and the one that people will use.
func TestWithTheAWSCLI(t *testing.T) {
	if _, err := os.Stat(awsCLI); err != nil {
		t.Skipf("skipped: %v; Debian's package awscli has it", err)
	}
	url, lines, _ := start(t, "-v", "-keys", "ID:SECRET")
	home := t.TempDir()
	c := &cli{t, url, []string{"HOME=" + home, "PATH=/usr/bin:/bin", "AWS_ACCESS_KEY_ID=ID", "AWS_SECRET_ACCESS_KEY=SECRET",
		"AWS_DEFAULT_REGION=eu-west-1", "AWS_PAGER=", "PYTHONUNBUFFERED=1", "AWS_CONFIG_FILE=" + filepath.Join(home, "none"), "AWS_EC2_METADATA_DISABLED=true"}}
	printed := make(chan string, 100)
	go func() {
		defer close(printed)
		for lines.Scan() {
			printed <- lines.Text()
		}
	}()

	now := time.Now().UnixMilli()
	put := func(stream string, messages ...string) {
		t.Helper()
		var events []map[string]any
		for i, m := range messages {
			events = append(events, map[string]any{"timestamp": now + int64(i), "message": m})
		}
		now += int64(len(messages))
		b, err := json.Marshal(events)
		if err != nil {
			t.Fatal(err)
		}
		c.run("put-log-events", "--log-group-name", "demo", "--log-stream-name", stream, "--log-events", string(b))
	}
	c.run("create-log-group", "--log-group-name", "demo", "--tags", "team=a")
	c.run("create-log-stream", "--log-group-name", "demo", "--log-stream-name", "one")
	put("one", "hello", `a "quoted" wörld`, "three")
	at := time.UnixMilli(now - 3).UTC().Format("2006-01-02T15:04:05.000Z")
	if got, want := <-printed, at+" eu-west-1 demo one hello"; got != want {
		t.Errorf("-v printed %q, want %q", got, want)
	}

	for _, tc := range []struct{ args, want string }{
		{"describe-log-groups --query logGroups[].logGroupName --output text", "demo\n"},
		{"describe-log-streams --log-group-name demo --query logStreams[].logStreamName --output text", "one\n"},
		{"get-log-events --log-group-name demo --log-stream-name one --start-from-head --query events[].message --output text", "hello\ta \"quoted\" wörld\tthree\n"},
		{"filter-log-events --log-group-name demo --filter-pattern hello --query events[].message --output text", "hello\n"},
		{"filter-log-events --log-group-name demo --page-size 1 --query events[].message --output text", "hello\na \"quoted\" wörld\nthree\n"},
		{"list-tags-for-resource --resource-arn arn:aws:logs:eu-west-1:123456789012:log-group:demo --query tags.team --output text", "a\n"},
	} {
		got := c.run(strings.Fields(tc.args)...)
		if strings.Contains(tc.args, "page-size") {
			got = strings.ReplaceAll(got, "\t", "\n")
		}
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.args, got, tc.want)
		}
	}
	if got := c.run("tail", "demo"); !strings.Contains(got, " one hello\n") || strings.Count(got, "\n") != 3 {
		t.Errorf("tail: %q", got)
	}
	c.follow(func() { put("one", "four") })

	if out, err := c.command("put-retention-policy", "--log-group-name", "demo", "--retention-in-days", "2").CombinedOutput(); err == nil || !bytes.Contains(out, []byte("(InvalidParameterException)")) {
		t.Errorf("a bad retention: %v %s", err, out)
	}
	resp, err := http.Get(url + "/_cwlocal/refusals")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if n := bytes.Count(b, []byte(`"requestId"`)); err != nil || n != 1 || !bytes.Contains(b, []byte("PutRetentionPolicy")) {
		t.Errorf("refusals: %s, want the bad retention alone", b)
	}
}

// follow runs tail --follow, waits for what is there, does something, and waits for what that brings.
func (c *cli) follow(then func()) {
	c.t.Helper()
	cmd := c.command("tail", "demo", "--follow", "--format", "short")
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	var got []string
	for want := range []int{0, 1, 2, 3} {
		if want == 3 {
			then()
		}
		if !lines.Scan() {
			c.t.Fatalf("tail --follow ended after %q", got)
		}
		got = append(got, lines.Text()[len("2006-01-02T15:04:05 "):])
	}
	if s := fmt.Sprint(got); s != `[hello a "quoted" wörld three four]` {
		c.t.Errorf("tail --follow: %s", s)
	}
}
