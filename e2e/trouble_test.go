//go:build e2e

package e2e

import (
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
	"github.com/logspool/logspool/internal/hosttest"
	"github.com/logspool/logspool/internal/promtest"
)

// mostTimeToSee is how long it may take until an operator can see what is wrong.
const mostTimeToSee = 30 * time.Second

// trouble is something that keeps lines from being delivered, and what an operator sees of it.
type trouble struct {
	cause    string
	settings []string // settings beside the usual ones
	opts     []string // log options of the container
	size     int      // bytes of a line; 0: as short as possible
	rate     int      // lines per second; 0: as fast as possible
	begin    func(*testing.T, *troubled)
	then     func(*testing.T, *troubled) // after the container's first lines

	// says and remedy are what logspool status and the page say, as regexps. check is what a
	// line of logspool check says. alert is the alert that fires.
	says, remedy, check, alert string
}

// fault returns a begin that makes the service fail.
func fault(f cwlocal.Fault) func(*testing.T, *troubled) {
	return func(_ *testing.T, p *troubled) { p.stand.AddFault(f) }
}

// troubles are the causes of docs/troubleshooting.md.
var troubles = []trouble{
	{
		cause: "no region", settings: []string{"AWS_REGION="}, rate: 20,
		says: `no AWS region found`, remedy: `set AWS_REGION`, check: `BAD +region +no AWS region`, alert: "LogspoolNoRegion",
	}, {
		cause: "no credentials", settings: []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}, rate: 20,
		says: `get credentials: no EC2 IMDS role found`, remedy: `the plugin has no AWS credentials: give the instance a role, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or mount AWS files \(aws.source\)`,
		check: `BAD +credentials +no credentials`, alert: "LogspoolUnauthenticated",
	}, {
		cause: "`logs:CreateLogGroup` is denied", rate: 20, opts: []string{"group=denied-group"},
		begin: fault(cwlocal.Fault{Kind: cwlocal.Denied, Operation: "CreateLogGroup"}),
		says:  `is not authorized to perform: logs:CreateLogGroup`, remedy: `allow logs:CreateLogGroup for this log group, or create the group`,
		check: `BAD +logs:CreateLogGroup +AccessDeniedException`, alert: "LogspoolDenied",
	}, {
		cause: "`logs:PutLogEvents` is denied", rate: 20,
		begin: fault(cwlocal.Fault{Kind: cwlocal.Denied, Operation: "PutLogEvents"}),
		says:  `is not authorized to perform: logs:PutLogEvents`, remedy: `allow logs:PutLogEvents for this log group`,
		check: `BAD +logs:PutLogEvents +AccessDeniedException`, alert: "LogspoolDenied",
	}, {
		cause: "the host's clock is wrong", rate: 20,
		begin: func(t *testing.T, p *troubled) { p.useStand(t, -3*time.Hour) },
		says:  `the host's clock is wrong`, remedy: `set the host's clock, and run an NTP client`,
		check: `BAD +clock +this host's clock is 3h`, alert: "LogspoolClockWrong",
	}, {
		cause: "DNS does not know the endpoint", settings: []string{"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=https://logs.logspool.invalid"}, rate: 20,
		says: `lookup logs.logspool.invalid`, remedy: `the host's DNS`,
		check: `BAD +endpoint +https://logs.logspool.invalid: couldn't resolve the host name`, alert: "LogspoolUnreachable",
	}, {
		cause: "the proxy is down", settings: []string{"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=https://logs.us-east-1.amazonaws.com", "HTTPS_PROXY=http://127.0.0.1:9"}, rate: 20,
		says: `the proxy http://127.0.0.1:9 cannot be reached`, remedy: `check that it runs, and check HTTPS_PROXY`,
		check: `(BAD +endpoint) +.*(couldn't connect to the proxy)`, alert: "LogspoolUnreachable",
	}, {
		cause: "throttling", rate: 20,
		begin: fault(cwlocal.Fault{Kind: cwlocal.Throttle, Operation: "PutLogEvents"}),
		says:  `ThrottlingException`, remedy: `raise the quota of PutLogEvents requests in Service Quotas, or set a longer DELAY`,
		check: `BAD +throttling +CloudWatch throttles the account's requests`, alert: "LogspoolThrottled",
	}, {
		cause: "the disk is full", size: 1000, rate: 2000,
		begin: func(t *testing.T, p *troubled) {
			p.stand.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable})
			p.smallDisk(t)
		},
		says: `the disk of the state directory is full`, remedy: `free space`,
		check: `(BAD +disk) +.*(less than the spool of one container may have)`, alert: "LogspoolSpoolUnwritable",
	}, {
		cause: "a spool is full", settings: []string{"SPOOL_MAX_SIZE=1m"}, size: 1000, rate: 2000,
		begin: fault(cwlocal.Fault{Kind: cwlocal.Unavailable}),
		says:  `a container's lines are lost`, remedy: `find out why the lines are not delivered, or raise spool-max-size or SPOOL_TOTAL_SIZE`,
		check: `BAD +delivery +a container's lines are lost`, alert: "LogspoolDropping",
	}, {
		cause: "the KMS key cannot be used", settings: []string{"KMS_KEY_ID=arn:aws:kms:eu-west-1:123456789012:key/1234abcd"}, rate: 20, opts: []string{"group=encrypted"},
		says: `KMS key does not exist or is not allowed to be used`, remedy: `check that the key is enabled, that it is in the group's region, that its policy lets logs.REGION.amazonaws.com use it`,
		check: `(BAD +kms key) +.*(check that the key is enabled)`, alert: "LogspoolLogGroupFailing",
	}, {
		cause: "the log group was deleted, with `create-group=false`", rate: 20, opts: []string{"group=deleted", "create-group=false"},
		says: `The specified log group does not exist`, remedy: `create it, or let the plugin create it \(create-group, create-stream\)`,
		check: `BAD +delivery +sending to the log group failed`, alert: "LogspoolLogGroupFailing",
	}, {
		cause: "the plugin was killed", rate: 20,
		then: func(t *testing.T, p *troubled) { kill(t, &p.plugin) },
		says: `the plugin's last process was killed or crashed`, remedy: `look for an out-of-memory kill`,
		check: `BAD +delivery +the plugin's last process was killed`, alert: "LogspoolKilled",
	},
}

// troubled is a plugin with everything by which an operator sees what is wrong.
type troubled struct {
	plugin
	stand      *cwlocal.Server
	prometheus *promtest.Server
	addr       string // of the status page
	command    string // the host's command
	undo       []func()
}

// newTroubled makes a plugin of its own, and a Prometheus that scrapes it.
func newTroubled(t *testing.T) *troubled {
	if err := promtest.Missing(); err != nil {
		if os.Getenv("LOGSPOOL_E2E") == "required" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	p := &troubled{plugin: plugin{local, ours + ":" + newName(t)}, command: filepath.Join(runDir, "plugin", "rootfs", "logspool")}
	dir := filepath.Join(t.TempDir(), "plugin")
	if err := copyTree(filepath.Join(runDir, "plugin"), dir); err != nil {
		t.Fatal(err)
	}
	// dockerd does not accept two plugins with the same content.
	if err := os.WriteFile(filepath.Join(dir, "rootfs", "troubled"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = local.run("plugin", "rm", "-f", p.name) })
	local.must(t, "plugin", "create", p.name, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	l.Close()
	rules, err := os.ReadFile("../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	if p.prometheus, err = promtest.Start(promtest.Options{Rules: promtest.Shorten(string(rules)), Targets: []string{p.addr}, Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.prometheus.Close() })
	return p
}

// useStand makes a new stand-in whose clock is off.
func (p *troubled) useStand(t *testing.T, off time.Duration) {
	t.Helper()
	o := standOptions()
	o.Now = func() time.Time { return time.Now().Add(off) }
	var err error
	if p.stand, err = cwlocal.Start("127.0.0.1:0", o); err != nil {
		t.Fatal(err)
	}
	stand := p.stand
	p.undo = append(p.undo, func() { stand.Close() })
}

// smallDisk mounts a file system of 4 MB as the plugin's propagated mount. dockerd unmounts it
// when it disables the plugin.
func (p *troubled) smallDisk(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(p.dir(t), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "logspool-e2e", p.dir(t)).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
}

// run runs the host's command, and returns what it printed.
func (p *troubled) run(args ...string) string {
	out, _ := exec.Command(p.command, append(args, "--plugin", p.name)...).CombinedOutput()
	return string(out)
}

var (
	tags   = regexp.MustCompile(`<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
)

// page returns the text of the status page.
func (p *troubled) page() string {
	answer, err := http.Get("http://" + p.addr + "/")
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	b, _ := io.ReadAll(answer.Body)
	return spaces.ReplaceAllString(html.UnescapeString(tags.ReplaceAllString(string(b), " ")), " ")
}

// matched returns the text that re matches, or only its groups, because what is between them
// differs from run to run.
func matched(re *regexp.Regexp, text string) string {
	all := re.FindStringSubmatch(text)
	if len(all) > 1 {
		all = []string{strings.Join(all[1:], " … ")}
	}
	return spaces.ReplaceAllString(all[0], " ")
}

// seen is what an operator sees of a trouble: the texts that match its regexps.
type seen struct{ says, remedy, check string }

// TestTroubleIsExplained causes each trouble on purpose. Within 30 s, logspool status, the page,
// logspool check and an alert name the cause and the remedy. With -write, it writes the table of
// docs/troubleshooting.md.
func TestTroubleIsExplained(t *testing.T) {
	p := newTroubled(t)
	var rows strings.Builder
	rows.WriteString("| cause | `logspool status` says | what to do | `logspool check` says | alert |\n|---|---|---|---|---|\n")
	for _, tr := range troubles {
		t.Run(strings.ReplaceAll(tr.cause, "`", ""), func(t *testing.T) {
			s := p.suffer(t, tr)
			fmt.Fprintf(&rows, "| %s | %s | %s | %s | `%s` |\n", tr.cause, s.says, s.remedy, s.check, tr.alert)
		})
	}
	t.Run("too few descriptors", func(t *testing.T) {
		tr := trouble{
			cause: "too few file descriptors",
			says:  `containers are refused because too many files are open`, remedy: `raise dockerd's limit \(LimitNOFILE in its systemd unit\) and restart dockerd`,
			check: `BAD +delivery +containers are refused because too many files are open`, alert: "LogspoolDescriptorsNearlyExhausted",
		}
		s := p.runOutOfDescriptors(t, tr)
		fmt.Fprintf(&rows, "| %s | %s | %s | %s | `%s` |\n", tr.cause, s.says, s.remedy, s.check, tr.alert)
	})
	if n := strings.Count(rows.String(), "\n"); !t.Failed() && n == len(troubles)+3 { // all of them ran
		updateTable(t, "../docs/troubleshooting.md", "<!-- table: causes -->", "<!-- end -->", rows.String())
	}
}

// fewFiles is a limit of open files that suffices for some forty containers.
const fewFiles = 80

// runOutOfDescriptors starts the plugin without Docker and with a low limit of open files, and
// starts containers until it refuses one.
func (p *troubled) runOutOfDescriptors(t *testing.T, tr trouble) seen {
	p.useStand(t, 0)
	defer p.stand.Close()
	dir := t.TempDir()
	state, socket := filepath.Join(dir, "state"), filepath.Join(dir, "s")
	env := append(settings(p.stand.URL()), "AWS_ENDPOINT_URL_STS="+p.stand.URL(), "STATUS_ADDR="+p.addr, "STATE_DIR="+state, "PLUGIN_SOCKET="+socket, "PATH="+os.Getenv("PATH"))
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0"`, fewFiles), p.command)
	cmd.Env = env
	process, err := hosttest.StartProgram("the plugin", cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer process.Kill()
	if err := process.WaitLogged("logspool is listening", patience); err != nil {
		t.Fatal(err)
	}
	daemon, err := dockertest.NewDaemon(dockertest.Options{Socket: socket, Dir: filepath.Join(dir, "fifos")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range fewFiles {
		info := dockertest.Info{ContainerID: fmt.Sprintf("%064x", i+1), ContainerName: fmt.Sprintf("/c%d", i)}
		if _, err = daemon.Start(t.Context(), info); err != nil {
			break
		}
	}
	if err == nil {
		t.Fatalf("%d containers were started with %d files", fewFiles, fewFiles)
	}
	run := func(args ...string) string {
		cmd := exec.Command(p.command, args...)
		cmd.Env = env
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	return p.await(t, tr, func() string { return run("status", "--no-trunc", "--state-dir", state) }, func() string { return run("check", "--env") })
}

// suffer causes a trouble, and returns what an operator sees.
func (p *troubled) suffer(t *testing.T, tr trouble) seen {
	p.useStand(t, 0)
	defer func() {
		_ = p.disable()
		for _, f := range slices.Backward(p.undo) {
			f()
		}
		p.undo = nil
		_ = os.RemoveAll(filepath.Join(p.dir(t), ".state"))
	}()
	if tr.begin != nil {
		tr.begin(t, p)
	}
	usual := append(settings(p.stand.URL()), "AWS_ENDPOINT_URL_STS="+p.stand.URL(), "STATUS_ADDR="+p.addr,
		"HTTPS_PROXY=", "SPOOL_MAX_SIZE=", "KMS_KEY_ID=")
	if err := p.set(append(usual, tr.settings...)...); err != nil {
		t.Fatal(err)
	}
	if err := p.enable(); err != nil {
		t.Fatal(err)
	}
	remote, docker, control := newRemote(t)
	if tr.size > 0 {
		control = append(control, "-size", fmt.Sprint(tr.size))
	}
	c := start(t, spec{docker: append(docker, "--log-driver", p.name), plain: true, opts: tr.opts, args: control})
	defer func() { _, _ = local.run("rm", "-f", c.name) }()
	remote.connect()
	remote.tell("flood %d", tr.rate)
	if tr.then != nil {
		tr.then(t, p)
	}

	return p.await(t, tr, func() string { return p.run("status", "--no-trunc") }, func() string { return p.run("check") })
}

// await waits until an operator sees what is wrong. statusOf and checkOf run logspool status and
// logspool check.
func (p *troubled) await(t *testing.T, tr trouble, statusOf, checkOf func() string) seen {
	t.Helper()
	// The page begins sentences with a capital letter.
	says, remedy, check := regexp.MustCompile("(?i)"+tr.says), regexp.MustCompile("(?i)"+tr.remedy), regexp.MustCompile(tr.check)
	var status, page, checked string
	var firing []string
	deadline := time.Now().Add(mostTimeToSee)
	for {
		status, page, checked = statusOf(), p.page(), checkOf()
		alerts, err := p.prometheus.Firing()
		if err != nil {
			t.Fatal(err)
		}
		firing = alerts[p.addr]
		if says.MatchString(status) && remedy.MatchString(status) && says.MatchString(page) && remedy.MatchString(page) &&
			check.MatchString(checked) && slices.Contains(firing, tr.alert) {
			return seen{matched(says, status), matched(remedy, status), matched(check, checked)}
		}
		if time.Now().After(deadline) {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Errorf("after %v, an operator doesn't see what is wrong: want %q, %q, %q and %s\nlogspool status:\n%s\nthe page:\n%s\nlogspool check:\n%s\nalerts: %q",
		mostTimeToSee, tr.says, tr.remedy, tr.check, tr.alert, status, page, checked, firing)
	return seen{}
}
