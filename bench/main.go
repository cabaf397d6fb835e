// Command bench measures what the plugin costs. `make bench` runs the measurement "rows": the
// table of results. `make benchstatus` runs the measurement "status", which compares a plugin
// whose status is read every second with one whose status nobody reads.
//
// The plugin is the real binary. Package dockertest stands in for dockerd, and cwlocal for
// CloudWatch Logs. The command must not know the plugin's packages: it sees what a user sees,
// which is settings, addresses and the processor time of a process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/logspool/logspool/internal/hosttest"
)

// bench is a run of the command.
type bench struct {
	binary, base string
	plugin       string // plugin is the directory for docker plugin create.
	yardstick    string // yardstick is the yardstick's binary.
	only         *regexp.Regexp
	turns        int
	scale        float64
	document     string
	images       string // images is the directory for the charts.
	profile      string

	out    io.Writer
	dir    string
	thread *hosttest.Thread // thread starts the plugin's processes, which end with it.
	tables []string         // tables has what measurements show besides their rows.
}

// measurements has the measurements by name. A measurement returns its table. An error that is
// errLimit says that a figure is worse than it may be.
var measurements = map[string]measurement{
	"rows":   {"bench", (*bench).table},
	"plots":  {"bench-plots", (*bench).plots},
	"status": {"benchstatus WRITE=1", (*bench).status},
}

type measurement struct {
	command string // command is what makes the document, without "make".
	measure func(*bench, context.Context) (table string, err error)
}

// errLimit is the error of a measurement whose figures are complete, but not good enough.
var errLimit = errors.New("a figure is over its limit")

func main() {
	if ok, err := runPart(); ok {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	if len(args) > 0 && args[0] == writeCommand {
		return runWriter(args[1:], out)
	}
	b := &bench{out: out}
	names := slices.Sorted(maps.Keys(measurements))
	var only string
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.StringVar(&b.binary, "binary", "", "the plugin's `binary`")
	flags.StringVar(&b.base, "base", "", "another `binary` of the plugin, to compare with")
	flags.StringVar(&b.plugin, "plugin", "", "the plugin's `directory`, as for docker plugin create")
	flags.StringVar(&b.yardstick, "yardstick", "", "the `binary` of the yardstick")
	flags.StringVar(&only, "run", "", "run only the loads whose name matches this `regexp`")
	flags.IntVar(&b.turns, "turns", 0, "measure each of the things that are compared this `number` of times; 0 means as often as the load needs")
	flags.Float64Var(&b.scale, "scale", 1, "multiply the size of each load by this `factor`")
	flags.StringVar(&b.profile, "profile", "", "write a processor profile of the plugin with each variant to a file whose name begins with this `prefix`")
	flags.StringVar(&b.images, "images", "", "write the charts into this `directory`")
	flags.StringVar(&b.document, "write", "", "also write the table into this `document`")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: bench [flags] %s\n", strings.Join(names, "|"))
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	m, ok := measurements[flags.Arg(0)]
	if !ok || flags.NArg() != 1 || b.binary == "" || b.turns < 0 || b.scale <= 0 {
		flags.Usage()
		return errors.New("the flag -binary or the name of a measurement is missing or wrong")
	}
	if b.only, err = regexp.Compile(only); err != nil {
		return err
	}
	if b.document != "" && (only != "" || b.scale != 1 || b.turns != 0) {
		return errors.New("-write needs the whole measurement: it cannot be used with -run, -scale or -turns")
	}
	if b.dir, err = os.MkdirTemp("/var/tmp", "logspool-bench-"); err != nil { // a real file system, as users' spools are on
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.thread, err = hosttest.NewThread(false); err != nil {
		return err
	}
	defer b.thread.End()
	table, err := m.measure(b, ctx)
	if table == "" || err != nil && !errors.Is(err, errLimit) {
		return err
	}
	fmt.Fprint(out, "\n", table)
	if b.document != "" {
		err = errors.Join(err, rewrite(b.document, m.command, table))
	}
	return err
}
