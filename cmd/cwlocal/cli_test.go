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

// awsCLI is the program of Debian's package. Another aws in PATH may be anything.
const awsCLI = "/usr/bin/aws"

type cli struct {
	t   *testing.T
	url string
	env []string
}

// command returns a command of the AWS CLI, which is killed after a minute.
func (c *cli) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	c.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, awsCLI, append([]string{"--endpoint-url", c.url}, args...)...)
	cmd.Env = c.env
	return cmd
}

func (c *cli) run(args ...string) string {
	c.t.Helper()
	out, err := c.command(args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("aws %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// logs runs a command of CloudWatch Logs. words are arguments without spaces; more are
// further arguments.
func (c *cli) logs(words string, more ...string) string {
	c.t.Helper()
	return c.run(append(append([]string{"logs"}, strings.Fields(words)...), more...)...)
}

// refused checks that a command fails with an error of the service.
func (c *cli) refused(want string, args ...string) {
	c.t.Helper()
	if out, err := c.command(args...).CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
		c.t.Errorf("aws %s: %v: %s; want %s", strings.Join(args, " "), err, out, want)
	}
}

// A cliEvent is an event as the AWS CLI reads and writes it.
type cliEvent struct {
	Timestamp int64  `json:"timestamp"`
	Message   string `json:"message"`
}

func (c *cli) put(group, stream string, events ...cliEvent) {
	c.t.Helper()
	b, err := json.Marshal(events)
	if err != nil {
		c.t.Fatal(err)
	}
	c.logs("put-log-events --log-group-name "+group+" --log-stream-name "+stream+" --log-events", string(b))
}

// startCLI starts the program with arguments, and returns a cli for it and the program's
// output. It skips the test if there is no AWS CLI.
func startCLI(t *testing.T, args ...string) (*cli, *bufio.Scanner) {
	t.Helper()
	if _, err := os.Stat(awsCLI); err != nil {
		t.Skipf("skipped: %v; Debian's package awscli has it", err)
	}
	url, lines, _ := start(t, append([]string{"-keys", "ID:SECRET"}, args...)...)
	home := t.TempDir()
	return &cli{t, url, []string{"HOME=" + home, "PATH=/usr/bin:/bin", "AWS_ACCESS_KEY_ID=ID", "AWS_SECRET_ACCESS_KEY=SECRET",
		"AWS_DEFAULT_REGION=eu-west-1", "AWS_PAGER=", "PYTHONUNBUFFERED=1", "AWS_CONFIG_FILE=" + filepath.Join(home, "none"), "AWS_EC2_METADATA_DISABLED=true"}}, lines
}

// control gets a path of the control endpoint.
func (c *cli) control(path string) []byte {
	c.t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get(c.url + "/_cwlocal/" + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// The AWS CLI is independent of this code, and it is the client that most users have.
func TestAWSCLICanWriteReadAndFollow(t *testing.T) {
	t.Parallel()
	c, lines := startCLI(t, "-v")
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
		var events []cliEvent
		for i, m := range messages {
			events = append(events, cliEvent{now + int64(i), m})
		}
		now += int64(len(messages))
		c.put("demo", stream, events...)
	}
	c.logs("create-log-group --log-group-name demo --tags team=a")
	c.logs("create-log-stream --log-group-name demo --log-stream-name one")
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
		got := c.logs(tc.args)
		if strings.Contains(tc.args, "page-size") {
			got = strings.ReplaceAll(got, "\t", "\n")
		}
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.args, got, tc.want)
		}
	}
	if got := c.logs("tail demo"); !strings.Contains(got, " one hello\n") || strings.Count(got, "\n") != 3 {
		t.Errorf("tail: %q", got)
	}
	c.follow(func() { put("one", "four") })

	c.refused("(InvalidParameterException)", strings.Fields("logs put-retention-policy --log-group-name demo --retention-in-days 2")...)
	b := c.control("refusals")
	if n := bytes.Count(b, []byte(`"requestId"`)); n != 1 || !bytes.Contains(b, []byte("PutRetentionPolicy")) {
		t.Errorf("refusals: %s, want only the invalid retention", b)
	}
}

// follow runs tail --follow, waits for the three events that exist, calls then, and waits
// for the event that it adds.
func (c *cli) follow(then func()) {
	c.t.Helper()
	cmd := c.command("logs", "tail", "demo", "--follow", "--format", "short")
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

func TestAWSCLICanChangeGroups(t *testing.T) {
	t.Parallel()
	c, _ := startCLI(t)
	const key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"
	const arn = "arn:aws:logs:eu-west-1:123456789012:log-group:demo"
	c.logs("create-log-group --log-group-name demo --tags team=a,cost=b --kms-key-id " + key)
	c.logs("put-retention-policy --log-group-name demo --retention-in-days 30")
	c.logs("tag-resource --resource-arn " + arn + " --tags team=c,more=d")
	c.logs("untag-resource --resource-arn " + arn + " --tag-keys cost")
	for _, tc := range []struct{ args, want string }{
		{"describe-log-groups --query logGroups[].[logGroupName,retentionInDays,kmsKeyId] --output text", "demo\t30\t" + key + "\n"},
		{"list-tags-for-resource --resource-arn " + arn + " --query tags.[team,more,cost] --output text", "c\td\tNone\n"},
	} {
		if got := c.logs(tc.args); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.args, got, tc.want)
		}
	}
	c.logs("delete-retention-policy --log-group-name demo")
	if got := c.logs("describe-log-groups --query logGroups[].retentionInDays --output text"); strings.TrimSpace(got) != "" {
		t.Errorf("after the retention was deleted: %q", got)
	}
	c.refused("The specified KMS key does not exist", "logs", "create-log-group", "--log-group-name", "other", "--kms-key-id", "alias/logs")
}

func TestAWSCLICanReadPagesTimesAndPatterns(t *testing.T) {
	t.Parallel()
	c, _ := startCLI(t)
	c.logs("create-log-group --log-group-name demo")
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	lines := []string{"GET /index.html 200", "ERROR disk is full", "GET /missing 404", "warning: disk is slow", `{"level":"error","msg":"disk"}`}
	for s, stream := range []string{"a", "b"} {
		c.logs("create-log-stream --log-group-name demo --log-stream-name " + stream)
		var events []cliEvent
		for i, m := range lines {
			events = append(events, cliEvent{begin.Add(time.Duration(i)*time.Minute).UnixMilli() + int64(s), stream + " " + m})
		}
		c.put("demo", stream, events...)
	}

	texts := func(out string) []string {
		return strings.FieldsFunc(out, func(r rune) bool { return r == '\t' || r == '\n' })
	}
	filter := func(pattern string, want ...string) {
		t.Helper()
		got := texts(c.logs("filter-log-events --log-group-name demo --log-stream-names a --query events[].message --output text --filter-pattern", pattern))
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("pattern %s: %q, want %q", pattern, got, want)
		}
	}
	filter("disk -ERROR", "a "+lines[3], "a "+lines[4])
	filter(`"disk is"`, "a "+lines[1], "a "+lines[3])
	filter("?ERROR ?404", "a "+lines[1], "a "+lines[2])
	filter(`disk -"is full" -level`, "a "+lines[3])
	c.refused("(InvalidParameterException)", "logs", "filter-log-events", "--log-group-name", "demo", "--filter-pattern", `{ $.level = "error" }`)

	at := func(i int) string { return fmt.Sprint(begin.Add(time.Duration(i) * time.Minute).UnixMilli()) }
	got := texts(c.logs("filter-log-events --log-group-name demo --query events[].message --output text --start-time " + at(1) + " --end-time " + at(2)))
	if want := []string{"a " + lines[1], "b " + lines[1], "a " + lines[2]}; fmt.Sprint(got) != fmt.Sprint(want) { // the end is inclusive
		t.Errorf("between two times: %q, want %q", got, want)
	}

	var all []string
	for token := ""; ; {
		args := "get-log-events --log-group-name demo --log-stream-name b --start-from-head --limit 2"
		if token != "" {
			args += " --next-token " + token
		}
		var page struct {
			Events           []cliEvent
			NextForwardToken string
		}
		if err := json.Unmarshal([]byte(c.logs(args+" --output json")), &page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			all = append(all, e.Message)
		}
		if page.NextForwardToken == token { // the end of the stream
			break
		}
		token = page.NextForwardToken
	}
	if want := "b " + strings.Join(lines, "|b "); strings.Join(all, "|") != want {
		t.Errorf("page by page: %q, want %q", all, want)
	}

	stamp := begin.Add(time.Minute).UTC().Format("2006-01-02T15:04:05")
	if got, want := c.logs("tail demo --since 2h --format short --filter-pattern ERROR"), stamp+" a "+lines[1]+"\n"+stamp+" b "+lines[1]+"\n"; got != want {
		t.Errorf("tail: %q, want %q", got, want)
	}
	if got := c.logs("tail demo --since 2h --log-stream-names b"); strings.Count(got, " b b ") != len(lines) || strings.Contains(got, " a a ") {
		t.Errorf("tail of one stream: %q", got)
	}
	if got := c.logs("tail demo --since 5m"); got != "" {
		t.Errorf("tail of the last minutes: %q", got)
	}
}

func TestAWSCLICanAssumeRoles(t *testing.T) {
	const role = "arn:aws:iam::123456789012:role/logs"
	t.Parallel()
	c, _ := startCLI(t, "-role", role+"=our-id")
	c.refused("(AccessDenied)", "sts", "assume-role", "--role-arn", role, "--role-session-name", "me", "--external-id", "theirs")
	c.logs("create-log-group --log-group-name mine")
	var given struct {
		Credentials struct{ AccessKeyId, SecretAccessKey, SessionToken string }
	}
	out := c.run("sts", "assume-role", "--role-arn", role, "--role-session-name", "me", "--external-id", "our-id", "--output", "json")
	if err := json.Unmarshal([]byte(out), &given); err != nil {
		t.Fatal(err)
	}
	k := given.Credentials
	c.env = append(c.env, "AWS_ACCESS_KEY_ID="+k.AccessKeyId, "AWS_SECRET_ACCESS_KEY="+k.SecretAccessKey, "AWS_SESSION_TOKEN="+k.SessionToken)
	c.logs("create-log-stream --log-group-name mine --log-stream-name theirs")
	var stats struct{ By map[string]map[string]int }
	if err := json.Unmarshal(c.control("stats"), &stats); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(stats.By); got != "map[ID:map[AssumeRole:2 CreateLogGroup:1] "+role+":map[CreateLogStream:1]]" {
		t.Errorf("requests by sender: %s", got)
	}
	if got := string(c.control("sessions")); !strings.Contains(got, `"externalId":"our-id"`) || strings.Contains(got, k.SessionToken) || strings.Contains(got, k.SecretAccessKey) {
		t.Errorf("sessions: %s", got)
	}
}
