package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/statusserver"
)

// statusCommand is the command status.
type statusCommand struct {
	where
	maxAge   time.Duration
	interval time.Duration
	watch    bool
	asJSON   bool
	noTrunc  bool
	// container is a container's name, ID or beginning of an ID, or empty.
	container string
}

func newStatus() *cobra.Command {
	s := &statusCommand{}
	c := &cobra.Command{
		Use:   "status [CONTAINER]",
		Short: "Show what the plugin delivers, what waits and what fails",
		Long: "status shows what the plugin delivers, what waits and what fails. The first line says\n" +
			"whether something is wrong. With a container's name or ID, it shows all about that container.\n\n" +
			"The exit status is 0 if the plugin is healthy, 1 if a line has been undelivered for longer\n" +
			"than --max-age or lines are being lost, and 2 if there is no status.",
		Example: "  logspool status\n" +
			"  logspool status web\n" +
			"  logspool status --watch\n" +
			"  logspool status --max-age 1m >/dev/null || echo 'logs are late'\n" +
			"  logspool status --json | jq '.containers[] | {name, undelivered}'",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				s.container = args[0]
			}
			return s.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return completeContainers(c.Context(), &s.where, args)
		},
	}
	s.addFlags(c)
	c.Flags().DurationVar(&s.maxAge, "max-age", status.DefaultMaxAge, "how long a line may be undelivered")
	c.Flags().BoolVarP(&s.watch, "watch", "w", false, "refresh until Ctrl-C")
	c.Flags().DurationVar(&s.interval, "interval", 2*time.Second, "how often to refresh with --watch")
	c.Flags().BoolVar(&s.asJSON, "json", false, "print the report for programs; with --watch, one per line")
	c.Flags().BoolVar(&s.noTrunc, "no-trunc", false, "do not fit the table to the terminal")
	return c
}

func (s *statusCommand) run(ctx context.Context, w, errs io.Writer) error {
	switch {
	case s.interval <= 0:
		return fmt.Errorf("--interval is %v, but must be positive", s.interval)
	case s.maxAge < 0:
		return fmt.Errorf("--max-age is %v, but must not be negative", s.maxAge)
	case s.watch:
		return s.runWatch(ctx, w, errs)
	}
	healthy, err := s.once(ctx, w, s.width(w))
	if err == nil && !healthy {
		return errBad
	}
	return err
}

// width returns the width for which to write to w, or 0 for no limit.
func (s *statusCommand) width(w io.Writer) int {
	width, _ := terminalSize(w)
	if s.noTrunc {
		return 0
	}
	return width
}

// once writes the status once. healthy is false if lines are undelivered for too long.
func (s *statusCommand) once(ctx context.Context, w io.Writer, width int) (healthy bool, err error) {
	raw, r, err := s.get(ctx)
	if err != nil {
		return false, err
	}
	removeRequestIDs(r)
	c, err := s.choose(r)
	if err != nil {
		return false, err
	}
	if c != nil {
		r.Containers = []status.Container{*c}
		c = &r.Containers[0]
	}
	healthy, _ = r.Health(s.maxAge)
	switch {
	case s.asJSON:
		err = s.writeJSON(w, raw, c)
	case c != nil:
		err = writeContainer(w, r, c, s.maxAge, width)
	default:
		err = writeStatus(w, r, s.maxAge, width)
	}
	return healthy, err
}

// choose returns the container that the command is about, or nil if it is about all.
func (s *statusCommand) choose(r *status.Report) (*status.Container, error) {
	if s.container == "" {
		return nil, nil
	}
	all := make([]identity, len(r.Containers))
	for i, c := range r.Containers {
		all[i] = identity{c.ID, c.Name}
	}
	i, err := choose(all, s.container)
	if errors.Is(err, errNoContainer) {
		return nil, fmt.Errorf("%w: logspool status lists those that run or have undelivered lines, and logspool spool ls also those that have stopped", err)
	} else if err != nil {
		return nil, err
	}
	return &r.Containers[i], nil
}

// get returns the report of the plugin.
func (s *statusCommand) get(ctx context.Context) (raw []byte, r *status.Report, err error) {
	dir, p, err := s.find(ctx)
	if err != nil {
		if p != nil && !p.Enabled {
			err = fmt.Errorf("the plugin %s is disabled: enable it (docker plugin enable --timeout 0 %[1]s)", printable(p.Name))
		}
		return nil, nil, err
	}
	if p != nil && !p.Enabled {
		return nil, nil, fmt.Errorf("the plugin %s is disabled: enable it (docker plugin enable --timeout 0 %[1]s); logspool spool ls shows the lines that wait", printable(p.Name))
	}
	raw, r, err = statusserver.GetRaw(ctx, dir)
	switch {
	case !errors.Is(err, statusserver.ErrNotRunning):
	case p != nil:
		err = fmt.Errorf("the plugin %s is enabled, but nothing answers at its %s: it is starting, or it has no status; see its log", printable(p.Name), status.SocketName)
	default:
		err = fmt.Errorf("%w (logspool spool ls reads the files of a plugin that does not run)", err)
	}
	return raw, r, err
}

// writeJSON writes the report as the plugin sent it, or one container.
func (s *statusCommand) writeJSON(w io.Writer, raw []byte, c *status.Container) error {
	if c != nil {
		var err error
		if raw, err = json.Marshal(c); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	var err error
	if s.watch {
		err = json.Compact(&b, raw)
	} else {
		err = json.Indent(&b, bytes.TrimSpace(raw), "", "  ")
	}
	if err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err = w.Write(b.Bytes())
	return err
}
