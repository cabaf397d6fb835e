// Command cwlocal runs the strict stand-in for Amazon CloudWatch Logs as a program, for any
// client whose endpoint can be set, such as the AWS CLI.
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
	"sync"
	"syscall"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
)

const usage = `cwlocal is a strict stand-in for Amazon CloudWatch Logs. It keeps everything in memory.

Start it:

    cwlocal -listen 127.0.0.1:4586

Use it from another shell:

    export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1
    aws --endpoint-url http://127.0.0.1:4586 logs create-log-group --log-group-name demo
    aws --endpoint-url http://127.0.0.1:4586 logs tail demo --follow

It also serves AssumeRole and GetCallerIdentity of STS. The stats show which requests used the keys of a role:

    aws --endpoint-url http://127.0.0.1:4586 sts assume-role --role-arn arn:aws:iam::123456789012:role/logs --role-session-name me

See what it received:

    curl http://127.0.0.1:4586/_cwlocal/stats       counts of requests, bytes and events
    curl http://127.0.0.1:4586/_cwlocal/streams     counts, digest and sequences of each stream
    curl http://127.0.0.1:4586/_cwlocal/refusals    requests that broke a rule of the service
    curl http://127.0.0.1:4586/_cwlocal/sessions    sessions of assumed roles
    curl 'http://127.0.0.1:4586/_cwlocal/events?region=us-east-1&group=demo&stream=a&order=arrival'
    curl 'http://127.0.0.1:4586/_cwlocal/wait?region=us-east-1&group=demo&stream=a&events=10&timeout=30s'

Make it fail. A fault needs a kind; slow also needs delay, poison text, small-events and bottleneck limit, and code an error code:

    curl -d '{"kind":"503","operation":"PutLogEvents","for":"12s"}' http://127.0.0.1:4586/_cwlocal/faults
    curl -d '{"kind":"reset-after","probability":0.1,"seed":7}' http://127.0.0.1:4586/_cwlocal/faults
    curl -d '{"kind":"slow","delay":"500ms","group":"demo","stream":"a","count":3}' http://127.0.0.1:4586/_cwlocal/faults
    curl -d '{"kind":"poison","text":"bad line"}' http://127.0.0.1:4586/_cwlocal/faults
    curl -d '{"kind":"code","code":"LimitExceededException","operation":"CreateLogGroup"}' http://127.0.0.1:4586/_cwlocal/faults
    curl http://127.0.0.1:4586/_cwlocal/faults                list the faults
    curl -X DELETE http://127.0.0.1:4586/_cwlocal/faults/1    clear fault 1
    curl -X DELETE http://127.0.0.1:4586/_cwlocal/faults      clear all faults

    kinds: KINDS

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the program until ctx is done. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	address, opts, err := parseArgs(args, stdout, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil: // parseArgs has printed it
		return 2
	}
	s, err := cwlocal.Start(address, opts)
	if err != nil {
		fmt.Fprintf(stderr, "cwlocal: %v\n", err)
		return 1
	}
	fmt.Fprintf(stdout, "cwlocal: listening on %s\n", s.URL())
	<-ctx.Done()
	if err := s.Close(); err != nil {
		fmt.Fprintf(stderr, "cwlocal: %v\n", err)
		return 1
	}
	return 0
}

// parseArgs reads the command line. It prints errors, and the usage text if there is an
// error or if help is requested.
func parseArgs(args []string, stdout, stderr io.Writer) (address string, opts cwlocal.Options, err error) {
	flags := flag.NewFlagSet("cwlocal", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { printUsage(flags) }
	flags.StringVar(&address, "listen", "127.0.0.1:4586", "`address` to listen on; port 0 picks a free port")
	flags.Func("keys", "access key as `ID:SECRET`, repeatable. Requests must be signed with one of the keys. "+
		"Without this flag, every key is accepted", func(v string) error { return addKey(&opts, v) })
	flags.Func("role", "role that AssumeRole issues keys for, as `ARN[=EXTERNAL-ID]`, repeatable. "+
		"Without this flag, every role is accepted", func(v string) error { return addRole(&opts, v) })
	flags.BoolVar(&opts.Quotas, "quotas", false, "apply the service's request quotas to each region")
	flags.IntVar(&opts.Keep, "keep", 0, "`number` of events to keep per stream, the newest ones; "+
		"0 keeps all, -1 none. Counts and digests cover all events")
	sequence := flags.Bool("sequence", false, "check that sequence numbers in messages, written as seq=WRITER:N, "+
		"arrive once each and in order. The results are in /_cwlocal/streams")
	verbose := flags.Bool("v", false, "print each accepted event and each refused request")
	if err := flags.Parse(args); err != nil {
		return "", opts, err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("%q is not a flag; see cwlocal -h", flags.Arg(0))
		fmt.Fprintf(stderr, "cwlocal: %v\n", err)
		return "", opts, err
	}
	if *sequence {
		opts.Sequence = cwlocal.MarkedSequence
	}
	if *verbose {
		p := &printer{w: stdout}
		opts.OnAccepted, opts.OnRefused = p.accepted, p.refused
	}
	return address, opts, nil
}

func printUsage(flags *flag.FlagSet) {
	var kinds []string
	for _, k := range cwlocal.FaultKinds {
		kinds = append(kinds, string(k))
	}
	fmt.Fprint(flags.Output(), strings.Replace(usage, "KINDS", strings.Join(kinds, ", "), 1))
	flags.PrintDefaults()
}

func addKey(opts *cwlocal.Options, v string) error {
	id, secret, ok := strings.Cut(v, ":")
	if !ok || id == "" || secret == "" {
		return errors.New("it must be ID:SECRET")
	}
	if opts.Keys == nil {
		opts.Keys = map[string]string{}
	}
	opts.Keys[id] = secret
	return nil
}

func addRole(opts *cwlocal.Options, v string) error {
	arn, external, _ := strings.Cut(v, "=")
	if !strings.HasPrefix(arn, "arn:") {
		return errors.New("it must be ARN or ARN=EXTERNAL-ID")
	}
	if opts.Roles == nil {
		opts.Roles = map[string]cwlocal.Role{}
	}
	opts.Roles[arn] = cwlocal.Role{ExternalID: external}
	return nil
}

// A printer prints events and refusals. Its methods may be called concurrently.
type printer struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *printer) accepted(region, group, stream string, events []cwlocal.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range events {
		at := time.UnixMilli(e.Timestamp).UTC().Format("2006-01-02T15:04:05.000Z")
		fmt.Fprintf(p.w, "%s %s %s %s %s\n", at, region, group, stream, strings.ReplaceAll(e.Message, "\n", "\n    "))
	}
}

func (p *printer) refused(r cwlocal.Refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "cwlocal: refused %s %s %s: %s: %s\n", r.Operation, r.Group, r.Stream, r.Code, r.Message)
}
