package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/logspool/logspool/internal/check"
	"github.com/logspool/logspool/internal/installed"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/statusserver"
	"github.com/logspool/logspool/naming"
)

// engineLimit bounds the questions to the Docker engine before the checks.
const engineLimit = 10 * time.Second

type checkFlags struct {
	plugin  string
	env     bool
	logOpts []string
	group   string
	dryRun  bool
	asJSON  bool
	wait    time.Duration
}

// newCheck returns the command check.
func newCheck() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check",
		Short: "Check settings, host, network and permissions",
		Long: "check tests whether the installed plugin can work: its settings and files, this host, the network,\n" +
			"and each permission. It prints one line per check: ok, BAD with the remedy, or ? if it cannot know.\n\n" +
			"To test the permissions, it creates a log group and a log stream, writes one event, and deletes\n" +
			"what it created. Run it as root, because only root can read the plugin's files.\n\n" +
			"The exit status is 0 if nothing is bad, 1 if something is bad, and 2 if nothing could be checked.",
		Example: "  logspool check\n" +
			"  logspool check --dry-run --json\n" +
			"  logspool check --group shop --log-opt role-arn=arn:aws:iam::123456789012:role/logs\n" +
			"  AWS_REGION=eu-central-1 logspool check --env    # before the plugin is installed",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runCheck(c.Context(), c.Root().Version, f, c.OutOrStdout())
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.plugin, "plugin", "", "name of the plugin, if several are installed")
	flags.BoolVar(&f.env, "env", false, "check the settings in this environment, and not those of an installed plugin")
	flags.StringArrayVar(&f.logOpts, "log-opt", nil, "log option `KEY=VALUE` to check and to use, as for docker run")
	flags.StringVar(&f.group, "group", "", "log group to write to (default logspool-check-HOST)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "write nothing to CloudWatch")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	flags.DurationVar(&f.wait, "wait", 30*time.Second, "the longest time for all checks")
	c.MarkFlagsMutuallyExclusive("env", "plugin")
	return c
}

func runCheck(ctx context.Context, version string, f checkFlags, w io.Writer) error {
	o := check.Options{Group: f.group, DryRun: f.dryRun, Version: version, LogOpts: map[string]string{}}
	for _, opt := range f.logOpts {
		name, value, ok := strings.Cut(opt, "=")
		if !ok || name == "" {
			return fmt.Errorf("--log-opt %q is not KEY=VALUE", opt)
		}
		o.LogOpts[name] = value
	}
	if f.group != "" && !naming.IsGroup(f.group) {
		return fmt.Errorf("--group %q is not the name of a log group: use letters, digits and . - _ / #", f.group)
	}
	if f.wait <= 0 {
		return fmt.Errorf("--wait %v is not a time: use one such as 30s", f.wait)
	}
	if ctx == nil {
		ctx = context.Background()
	}
	// What was written is deleted also after an interrupt.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	if err := findForCheck(ctx, f, &o); err != nil {
		return err
	}
	results := check.Run(ctx, o)
	if err := printCheck(w, results, f.asJSON); err != nil {
		return err
	}
	if check.AnyBad(results) {
		return errBad
	}
	return nil
}

// findForCheck asks the Docker engine for the plugin. With --env, only the engine matters.
func findForCheck(ctx context.Context, f checkFlags, o *check.Options) error {
	ctx, cancel := context.WithTimeout(ctx, engineLimit)
	defer cancel()
	p, engine, err := installed.Find(ctx, f.plugin)
	o.Engine, o.EngineErr = engine, err
	if f.env {
		// A plugin outside of Docker, as in tests.
		if dir := os.Getenv("STATE_DIR"); dir != "" {
			o.Status = statusOf(dir)
		}
		return nil
	}
	if errors.Is(err, installed.ErrNone) {
		return fmt.Errorf("%w: install it, or check the settings in this environment with --env", err)
	}
	o.Plugin = p
	if p != nil {
		o.Status = statusOf(p.StateDir())
	}
	return err
}

func statusOf(stateDir string) func(context.Context) (*status.Report, error) {
	return func(ctx context.Context) (*status.Report, error) { return statusserver.Get(ctx, stateDir) }
}

// printCheck prints the results, one per line.
func printCheck(w io.Writer, results []check.Result, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(struct {
			Bad    bool           `json:"bad"`
			Checks []check.Result `json:"checks"`
		}{check.AnyBad(results), results})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	words := map[check.State]string{check.OK: "ok", check.Bad: "BAD", check.Unknown: "?"}
	for _, r := range results {
		detail := r.Detail
		if r.Remedy != "" {
			detail += "; remedy: " + r.Remedy
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", words[r.State], r.Check, detail)
	}
	return t.Flush()
}
