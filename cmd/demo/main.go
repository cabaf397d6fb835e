// Command demo shows the plugin at work: it installs it under a name of its own, stands in for CloudWatch
// Logs, runs a few containers that name their groups and streams in different ways, and shows what arrives,
// read back through the AWS API. It ends well only if every line arrived exactly once. Whatever happens, it
// removes what it made, and it touches nothing else.
//
// Where no Docker engine answers it runs the plugin's binary itself and plays dockerd's part (dockertest).
//
// The command must not know the plugin's packages: like a user, it has settings, log options and the AWS API.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
)

const (
	// longest is how long all of it may take, the build aside.
	longest = 2 * time.Minute
	// patience is how long a stream may stand still: the outage, and 30 s until the plugin tries again, have to
	// be over by then.
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

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	binary := flags.String("binary", "", "the plugin's `binary`, for where no engine answers (make build)")
	dir := flags.String("plugin", "", "`directory` that docker plugin create takes (make rootfs)")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	fmt.Fprintln(stdout, "logspool: what containers print arrives in CloudWatch Logs")
	fmt.Fprintln(stdout)

	var h host
	version, err := engineVersion(ctx)
	if err == nil {
		fmt.Fprintf(stdout, "engine   Docker %s; the plugin is %s, for as long as this runs\n", version, pluginName)
		h = newDockerHost(*dir)
	} else {
		fmt.Fprintf(stdout, "engine   none (%v): dockerd's part is played, the plugin's binary is the real one\n", err)
		h = newPlayedHost(*binary)
	}
	d := demonstration{host: h, scenes: scenes, patience: patience, out: stdout}
	if err := d.run(ctx); err != nil {
		fmt.Fprintf(stderr, "\ndemo: FAILED: %v\n", err)
		return 1
	}
	return 0
}

// host is a Docker host with the plugin on it. After install nothing of it may be left when remove returns,
// however far it got.
type host interface {
	// install makes the plugin ready, with these settings.
	install(ctx context.Context, settings []string) error
	// name is the host's own name, where the default group comes from.
	name() string
	// start starts a container and does not wait for its end.
	start(ctx context.Context, s scene) error
	// logs returns what docker logs -f of a container prints until the container ends.
	logs(ctx context.Context, s scene) (string, error)
	// finish waits for the containers' ends and stops the plugin: nothing is sent after it.
	finish(ctx context.Context) error
	// remove removes all that install and start made.
	remove() error
	// help says where the plugin's own log is, in lines after the first; nothing where there is no plugin.
	help() string
}

// demonstration is what is shown, where, and to whom.
type demonstration struct {
	host   host
	scenes []scene
	// patience is how long a stream may stand still before it is taken to have all it will get.
	patience time.Duration
	out      io.Writer
}

// run is the demonstration. The error says what is missing, if anything is.
func (d demonstration) run(ctx context.Context) (err error) {
	h, out := d.host, d.out
	ctx, cancel := context.WithTimeoutCause(ctx, longest, fmt.Errorf("not done after %v", longest))
	defer cancel()
	service, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{Keys: map[string]string{pluginKey: keySecret, readerKey: keySecret}})
	if err != nil {
		return err
	}
	defer service.Close()
	fmt.Fprintf(out, "service  a strict stand-in for CloudWatch Logs (cmd/cwlocal) at %s\n", service.URL())

	begun := false
	defer func() {
		switch {
		case err == nil:
		case ctx.Err() != nil: // whatever it made of the step under way
			err = context.Cause(ctx)
		default:
			err = fmt.Errorf("%w%s", err, h.help())
		}
		if removeErr := h.remove(); removeErr != nil {
			err = errors.Join(err, removeErr)
		} else if begun {
			fmt.Fprintln(out, "\nEverything that the demo made is removed.")
		}
	}()
	if err := h.install(ctx, []string{
		"AWS_REGION=" + region, "AWS_ACCESS_KEY_ID=" + pluginKey, "AWS_SECRET_ACCESS_KEY=" + keySecret,
		"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=" + service.URL(), "NOEC2=1", "DELAY=500ms",
	}); err != nil {
		return err
	}
	begun = true
	api := newReader(service.URL())
	want := contents{}
	for i, s := range d.scenes {
		fmt.Fprintf(out, "\n%d. %s\n\n   %s\n", i+1, s.title, s.command())
		if s.outage > 0 {
			service.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable, AccessKey: pluginKey, For: s.outage})
			fmt.Fprintf(out, "\n   for %v from now on the service answers the plugin with 503\n", s.outage)
		}
		since := time.Now()
		if err := h.start(ctx, s); err != nil {
			return err
		}
		if s.outage > 0 {
			if err := d.showLogs(ctx, s); err != nil {
				return err
			}
		}
		for _, to := range s.expected(h.name()) {
			want[to.address] = to.lines
			if err := follow(ctx, api, to, d.patience, out); err != nil {
				return err
			}
		}
		if s.outage > 0 {
			fmt.Fprintf(out, "\n   they arrived %.1f s after the container's start\n", time.Since(since).Seconds())
		}
	}
	if err := h.finish(ctx); err != nil {
		return err
	}
	have, err := api.all(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nWhat the service has now (DescribeLogGroups, DescribeLogStreams, GetLogEvents):\n\n%s", have)
	if err := compare(want, have); err != nil {
		return err
	}
	if refused := service.Refusals(); len(refused) > 0 {
		return fmt.Errorf("%d requests broke a rule of the service, the first one: %+v", len(refused), refused[0])
	}
	fmt.Fprintf(out, "\nAll %d lines arrived, each of them once and in order, and no request broke a rule of the service.\n", want.count())
	fmt.Fprint(out, againstAWS)
	return nil
}

// showLogs shows docker logs, which needs no service.
func (d demonstration) showLogs(ctx context.Context, s scene) error {
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

const againstAWS = `
The same against AWS, with your own region and keys (or see docs/configuration.md, "Credentials"):

   make plugin
   docker plugin set logspool AWS_REGION=eu-central-1 AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…
   make enable
   docker run --rm --log-driver logspool --name hello busybox echo 'hello, CloudWatch'
   aws logs tail "$(hostname)" --region eu-central-1
`
