// Command demo shows the plugin at work. It installs the plugin under a name of its own and
// starts a stand-in for CloudWatch Logs. Then it runs a few containers that name their
// groups and streams in different ways, and shows what arrives, read back through the AWS
// API. It exits with status 0 only if every line arrived exactly once. It always removes
// what it made, and it touches nothing else.
//
// If no Docker engine answers, the demo runs the plugin's binary itself and stands in for
// dockerd (dockertest).
//
// The command must not know the plugin's packages: like a user, it has settings, log
// options and the AWS API.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
)

const (
	// longest is how long the demo may take, without the build.
	longest = 4 * time.Minute
	// patience is how long the demo waits for the next event of a stream. It is longer than
	// the outage and the 30 s until the plugin tries again.
	patience = 45 * time.Second
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "say" {
		os.Exit(say(os.Args[2])) // in a container
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	binary := flags.String("binary", "", "the plugin's `binary`, used if no engine answers (make build)")
	dir := flags.String("plugin", "", "`directory` that docker plugin create takes (make rootfs)")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	fmt.Fprintln(stdout, "logspool: container output arrives in CloudWatch Logs")
	fmt.Fprintln(stdout)

	var h host
	version, err := engineVersion(ctx)
	if err == nil {
		fmt.Fprintf(stdout, "engine   Docker %s; the plugin is installed as %s while the demo runs\n", version, pluginName)
		h = newDockerHost(*dir)
	} else {
		fmt.Fprintf(stdout, "engine   none (%v); the demo stands in for dockerd and runs the plugin's binary\n", err)
		h = newSimulatedHost(*binary)
	}
	d := demonstration{host: h, command: *binary, interactive: isTerminal(os.Stdin) && isTerminal(os.Stdout), scenes: scenes, patience: patience, out: stdout}
	if err := d.run(ctx); err != nil {
		fmt.Fprintf(stderr, "\ndemo: FAILED: %v\n", err)
		return 1
	}
	return 0
}

// host is a Docker host with the plugin. Nothing that install and start made is left when
// remove returns, even if they failed halfway.
type host interface {
	// install starts the plugin with these settings.
	install(ctx context.Context, settings []string) error
	// name returns the host's name, which is the default group.
	name() string
	// start starts a container, and does not wait until it exits.
	start(ctx context.Context, s scene) error
	// logs returns what docker logs -f prints of a container, until the container exits.
	logs(ctx context.Context, s scene) (string, error)
	// finish waits until the containers have exited, and stops the plugin. Nothing is sent
	// after that.
	finish(ctx context.Context) error
	// remove removes everything that install and start made.
	remove() error
	// find returns the flags of logspool status by which it finds the plugin.
	find() []string
	// help returns the plugin's log, or where it is, after a newline. It is empty if there
	// is no plugin.
	help() string
}

// demonstration is one run of the demo.
type demonstration struct {
	host    host
	command string // command is the host's logspool.
	page    string // page is the address of the status page.
	// interactive says that a person can look at the page before the demo ends.
	interactive bool
	scenes      []scene
	patience    time.Duration // patience is how long to wait for the next event of a stream.
	out         io.Writer
}

// run runs the demo. It returns an error that says what is missing if not every line
// arrived once.
func (d *demonstration) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, longest, fmt.Errorf("not done after %v", longest))
	defer cancel()
	service, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{Keys: map[string]string{pluginKey: keySecret, readerKey: keySecret}})
	if err != nil {
		return err
	}
	defer service.Close()
	fmt.Fprintf(d.out, "service  a strict stand-in for CloudWatch Logs (cmd/cwlocal) at %s\n", service.URL())

	if d.page, err = freeAddress(); err != nil {
		return err
	}
	installed := false
	defer func() { err = d.cleanUp(ctx, installed, err) }()
	if err := d.host.install(ctx, []string{
		"AWS_REGION=" + region, "AWS_ACCESS_KEY_ID=" + pluginKey, "AWS_SECRET_ACCESS_KEY=" + keySecret,
		"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=" + service.URL(), "AWS_ENDPOINT_URL_STS=" + service.URL(), "NOEC2=1", "DELAY=500ms", "STATUS_ADDR=" + d.page,
	}); err != nil {
		return err
	}
	installed = true
	api := newReader(service.URL())
	want := contents{}
	for i, s := range d.scenes {
		if s.live { // what arrived until now
			if err := d.sumUp(ctx, want, service, api); err != nil {
				return err
			}
		}
		fmt.Fprintf(d.out, "\n%d. %s\n\n   %s\n", i+1, s.title, s.command())
		if err := d.show(ctx, s, service, api); err != nil {
			return err
		}
		for _, to := range s.expected(d.host.name()) {
			want[to.address] = to.lines
		}
	}
	if err := d.host.finish(ctx); err != nil {
		return err
	}
	// Nothing is sent any more, so a line that is too much would be there.
	_, err = d.check(ctx, want, service, api)
	return err
}

// cleanUp removes what the demo made. It returns err, with why ctx has ended or where the
// plugin's log is.
func (d *demonstration) cleanUp(ctx context.Context, installed bool, err error) error {
	switch {
	case err == nil:
	case ctx.Err() != nil: // err is what the end of ctx caused
		err = context.Cause(ctx)
	default:
		err = fmt.Errorf("%w%s", err, d.host.help())
	}
	if removeErr := d.host.remove(); removeErr != nil {
		return errors.Join(err, removeErr)
	}
	if installed {
		fmt.Fprintln(d.out, "\nThe demo has removed everything that it made.")
	}
	return err
}

// show runs the container of a scene, and prints what arrives.
func (d *demonstration) show(ctx context.Context, s scene, service *cwlocal.Server, api *reader) error {
	if s.outage > 0 {
		service.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable, AccessKey: pluginKey, For: s.outage})
		fmt.Fprintf(d.out, "\n   for the next %v, the service answers the plugin with 503\n", s.outage)
	}
	since := time.Now()
	if err := d.host.start(ctx, s); err != nil {
		return err
	}
	if s.live {
		return d.showStatus(ctx, s, service)
	}
	if s.outage > 0 {
		if err := d.showLogs(ctx, s); err != nil {
			return err
		}
	}
	for _, to := range s.expected(d.host.name()) {
		if err := follow(ctx, api, to, d.patience, d.out); err != nil {
			return err
		}
	}
	if s.outage > 0 {
		fmt.Fprintf(d.out, "\n   the lines arrived %.1f s after the container started\n", time.Since(since).Seconds())
	}
	return nil
}

// check compares everything that the service has with what was printed, and returns it.
func (d *demonstration) check(ctx context.Context, want contents, service *cwlocal.Server, api *reader) (have contents, err error) {
	if have, err = api.all(ctx); err != nil {
		return nil, err
	}
	if err := compare(want, have); err != nil {
		return have, err
	}
	if refused := service.Refusals(); len(refused) > 0 {
		return have, fmt.Errorf("%d requests broke a rule of CloudWatch Logs; the first one: %+v", len(refused), refused[0])
	}
	return have, nil
}

// sumUp prints everything that the service has, after it was checked.
func (d *demonstration) sumUp(ctx context.Context, want contents, service *cwlocal.Server, api *reader) error {
	have, err := d.check(ctx, want, service, api)
	if have != nil {
		fmt.Fprintf(d.out, "\nThe service now has these streams (DescribeLogGroups, DescribeLogStreams, GetLogEvents):\n\n%s", have)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nAll %d lines arrived, each one once and in order, and no request broke a rule of CloudWatch Logs.\n", want.count())
	fmt.Fprint(d.out, againstAWS)
	return nil
}

// showLogs runs docker logs, which works while the service is down.
func (d *demonstration) showLogs(ctx context.Context, s scene) error {
	fmt.Fprintf(d.out, "\n   $ docker logs -f %s\n", s.name)
	printed, err := d.host.logs(ctx, s)
	if err != nil {
		return err
	}
	got := strings.Split(strings.TrimSuffix(printed, "\n"), "\n")
	for _, l := range got {
		fmt.Fprintf(d.out, "   %s\n", l)
	}
	var want []string
	for _, l := range s.lines {
		want = append(want, l.text)
	}
	if diff := difference(want, got); diff != "" {
		return fmt.Errorf("docker logs %s: %s", s.name, diff)
	}
	return nil
}

// showStatus shows what an operator sees while a container runs.
func (d *demonstration) showStatus(ctx context.Context, s scene, service *cwlocal.Server) error {
	to := s.expected(d.host.name())[0]
	if err := service.WaitEvents(ctx, region, to.group, to.stream, 10); err != nil {
		return err
	}
	fmt.Fprint(d.out, "\n   $ logspool status\n")
	out, err := exec.CommandContext(ctx, d.command, append([]string{"status"}, d.host.find()...)...).CombinedOutput()
	for l := range strings.Lines(string(out)) {
		fmt.Fprintf(d.out, "   %s", l)
	}
	if err != nil && os.Getuid() == 0 { // only root can see it
		return fmt.Errorf("logspool status: %w", err)
	}
	fmt.Fprintf(d.out, "\n   the status page, while the demo runs: http://%s/\n", d.page)
	if err := service.WaitEvents(ctx, region, to.group, to.stream, int64(len(to.lines))); err != nil || !d.interactive {
		return err
	}
	fmt.Fprintln(d.out, "\n   press Enter to end the demo")
	return awaitEnter(ctx, os.Stdin)
}

// awaitEnter waits until a line can be read, or a minute.
func awaitEnter(ctx context.Context, in *os.File) error {
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = bufio.NewReader(in).ReadString('\n')
	}()
	select {
	case <-read:
	case <-time.After(time.Minute):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// isTerminal reports whether a person sees what f gets.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// freeAddress returns an address on loopback on which nobody listens now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

const againstAWS = `
To do the same with AWS, use your own region and keys (or see docs/configuration.md, "Credentials"):

   make plugin
   docker plugin set logspool AWS_REGION=eu-central-1 AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…
   make enable
   docker run --rm --log-driver logspool --name hello busybox echo 'hello, CloudWatch'
   aws logs tail "$(hostname)" --region eu-central-1
`
