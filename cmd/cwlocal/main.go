// Command cwlocal runs the strict stand-in for Amazon CloudWatch Logs as a program, for the demo,
// for benchmarks, and for any client that takes an endpoint, such as the AWS CLI.
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

Start it, and point a client at it:

    cwlocal -listen 127.0.0.1:4586
    export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1
    aws --endpoint-url http://127.0.0.1:4586 logs create-log-group --log-group-name demo
    aws --endpoint-url http://127.0.0.1:4586 logs tail demo --follow

It is STS too, as far as AssumeRole goes (stats and streams say whose keys were used):

    aws --endpoint-url http://127.0.0.1:4586 sts assume-role --role-arn arn:aws:iam::123456789012:role/logs --role-session-name me

What it saw:

    curl http://127.0.0.1:4586/_cwlocal/stats       counts of requests, bytes and events
    curl http://127.0.0.1:4586/_cwlocal/streams     counts by stream, digests, sequences
    curl http://127.0.0.1:4586/_cwlocal/refusals    requests that broke a rule of the service
    curl http://127.0.0.1:4586/_cwlocal/sessions    keys that were given out for roles
    curl 'http://127.0.0.1:4586/_cwlocal/events?region=us-east-1&group=demo&stream=a&order=arrival'
    curl 'http://127.0.0.1:4586/_cwlocal/wait?region=us-east-1&group=demo&stream=a&events=10&timeout=30s'

Make it fail (every member but kind may be left out):

    curl -d '{"kind":"503","operation":"PutLogEvents","for":"12s"}' http://127.0.0.1:4586/_cwlocal/faults
    curl -d '{"kind":"reset-after","probability":0.1,"seed":7}' http://127.0.0.1:4586/_cwlocal/faults
    curl -d '{"kind":"slow","delay":"500ms","group":"demo","stream":"a","count":3}' http://127.0.0.1:4586/_cwlocal/faults
    curl -d '{"kind":"poison","text":"bad line"}' http://127.0.0.1:4586/_cwlocal/faults
    curl http://127.0.0.1:4586/_cwlocal/faults                list them
    curl -X DELETE http://127.0.0.1:4586/_cwlocal/faults/1    clear one
    curl -X DELETE http://127.0.0.1:4586/_cwlocal/faults      clear all

    kinds: KINDS

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program. It blocks until ctx is done and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts := cwlocal.Options{Keys: map[string]string{}}
	flags := flag.NewFlagSet("cwlocal", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		var kinds []string
		for _, k := range cwlocal.FaultKinds {
			kinds = append(kinds, string(k))
		}
		fmt.Fprint(stderr, strings.Replace(usage, "KINDS", strings.Join(kinds, ", "), 1))
		flags.PrintDefaults()
	}
	listen := flags.String("listen", "127.0.0.1:4586", "`address` to listen on; port 0 takes a free one")
	flags.Func("keys", "access key as `ID:SECRET`; may be given again. Then requests must be signed with one of them; without, any key will do", func(v string) error {
		id, secret, ok := strings.Cut(v, ":")
		if !ok || id == "" || secret == "" {
			return errors.New("it must be ID:SECRET")
		}
		opts.Keys[id] = secret
		return nil
	})
	flags.Func("role", "role that AssumeRole gives keys for, as `ARN[=EXTERNAL-ID]`; may be given again. Without, every role will do", func(v string) error {
		arn, external, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(arn, "arn:") {
			return errors.New("it must be ARN or ARN=EXTERNAL-ID")
		}
		if opts.Roles == nil {
			opts.Roles = map[string]cwlocal.Role{}
		}
		opts.Roles[arn] = cwlocal.Role{ExternalID: external}
		return nil
	})
	flags.BoolVar(&opts.Quotas, "quotas", false, "hold each region to the service's request quotas")
	flags.IntVar(&opts.Keep, "keep", 0, "`number` of newest events to keep of each stream; 0 keeps all, -1 none (counts and digests stay)")
	sequence := flags.Bool("sequence", false, "check that running numbers written as seq=WRITER:N arrive once each and in order (see /_cwlocal/streams)")
	verbose := flags.Bool("v", false, "print each event as it is accepted, and each request that is refused")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "cwlocal: %q is not a flag; see cwlocal -h\n", flags.Arg(0))
		return 2
	}
	if *sequence {
		opts.Sequence = cwlocal.MarkedSequence
	}
	if *verbose {
		p := &printer{w: stdout}
		opts.OnAccepted, opts.OnRefused = p.accepted, p.refused
	}

	s, err := cwlocal.Start(*listen, opts)
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

// printer writes whole lines, whoever calls.
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
