// Command fault runs the fault matrix: each row breaks something while containers write
// numbered lines, and counts what became of every line. `make fault` prints the matrix.
// docs/reliability.md shows it and explains each row.
//
// The plugin is the real binary. Package dockertest stands in for dockerd, and cwlocal for
// CloudWatch Logs, whose rules it checks. The last rows have a real Docker engine of their
// own. The command must not know the plugin's packages: it sees what a user sees, which is
// settings and events.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// settings are the command's flags.
type settings struct {
	binary, pluginDir string
	short, long       bool
	only              *regexp.Regexp
	seed              uint64
	parallel          int
	document          string
	verbose           bool
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == printCommand {
		if err := printLines(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	failed, err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fault:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (failed bool, err error) {
	var s settings
	var only string
	flags := flag.NewFlagSet("fault", flag.ExitOnError)
	flags.StringVar(&s.binary, "binary", "", "the plugin's `binary`")
	flags.StringVar(&s.pluginDir, "plugin", "", "`directory` for docker plugin create; without it, no row runs with a real engine")
	flags.BoolVar(&s.short, "short", false, "run only a few rows, each for a shorter time, in about a minute")
	flags.BoolVar(&s.long, "long", false, "also run the row that takes ten minutes")
	flags.StringVar(&only, "run", "", "run only the rows whose name matches this `regexp`")
	flags.Uint64Var(&s.seed, "seed", 1, "the seed of all random choices")
	flags.IntVar(&s.parallel, "parallel", 5, "how many rows may run at once")
	flags.StringVar(&s.document, "write", "", "also write the table into this `document`; implies -long")
	flags.BoolVar(&s.verbose, "v", false, "show the plugin's log of each row that fails")
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	if s.only, err = regexp.Compile(only); err != nil {
		return false, err
	}
	if s.document != "" && (s.short || only != "") {
		return false, errors.New("-write needs the whole matrix: it cannot be used with -short or -run")
	}
	s.long = s.long || s.document != ""
	l, err := newLab(s)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, l.close()) }()

	begun := time.Now()
	results := l.runAll(ctx, rows(), func(r *result) {
		fmt.Fprintln(out, r.line())
		if s.verbose && r.failed() {
			fmt.Fprintln(out, r.log)
		}
	})
	if ctx.Err() != nil {
		return true, errors.New("interrupted")
	}
	if len(results) == 0 {
		return true, fmt.Errorf("no row has a name that matches %q", only)
	}
	text := table(results)
	fmt.Fprintf(out, "\n%s\n%s", text, summary(results, time.Since(begun)))
	if s.document != "" {
		if err := rewrite(s.document, text, time.Now()); err != nil {
			return false, err
		}
	}
	return slices.ContainsFunc(results, (*result).failed), nil
}

// enginesAtOnce is how many rows share the real engine at a time. Each has five containers
// and their processes.
const enginesAtOnce = 3

// runAll runs the rows: first those that may run together, several at once, then those
// with a real engine, then the others one by one. It calls report with each result when
// it has it, and returns all of them in the order of the rows.
func (l *lab) runAll(ctx context.Context, all []row, report func(*result)) []*result {
	results := make([]*result, len(all))
	var mu sync.Mutex
	do := func(which func(row) bool, atOnce int) {
		var g errgroup.Group
		g.SetLimit(atOnce)
		for i, r := range all {
			if !l.only.MatchString(r.name) || l.short && !r.short || !which(r) {
				continue
			}
			g.Go(func() error {
				res := l.runRow(ctx, r)
				mu.Lock()
				defer mu.Unlock()
				results[i] = res
				report(res)
				return nil
			})
		}
		_ = g.Wait()
	}
	do(func(r row) bool { return !r.alone && r.engine == nil }, max(l.parallel, 1))
	do(func(r row) bool { return r.engine != nil }, enginesAtOnce)
	do(func(r row) bool { return r.alone }, 1)
	return slices.DeleteFunc(results, func(r *result) bool { return r == nil })
}
