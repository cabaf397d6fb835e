package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/logspool/logspool/internal/installed"
	"github.com/logspool/logspool/internal/statusserver"
	"github.com/logspool/logspool/spool"
)

func newSpoolDrop(w *where) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "drop CONTAINER",
		Short: "Give up the undelivered lines of a container",
		Long: "drop gives up the undelivered lines of a container: the plugin never sends them. docker logs\n" +
			"still shows them, as long as the history reaches. What the container writes later is sent.\n" +
			"drop works only while the plugin is disabled. Export the lines first if you may need them.",
		Example: "  docker plugin disable -f logspool\n" +
			"  logspool spool export web >lines.txt\n" +
			"  logspool spool drop web\n" +
			"  docker plugin enable --timeout 0 logspool",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, p, err := w.find(c.Context())
			if err != nil {
				return err
			}
			if err := checkStopped(c.Context(), dir, p); err != nil {
				return err
			}
			l, err := findLog(dir, args[0])
			if err != nil {
				return err
			}
			confirm := func(question string) (bool, error) {
				if yes {
					return true, nil
				}
				return ask(c.InOrStdin(), c.ErrOrStderr(), question)
			}
			stopped := func() error { return checkStopped(c.Context(), dir, p) }
			return drop(l, confirm, stopped, c.OutOrStdout())
		},
		ValidArgsFunction: completeSpool(w),
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// pluginDir matches the state directory of an installed plugin, and its plugin's ID.
var pluginDir = regexp.MustCompile(`/plugins/([0-9a-f]{64})/propagated-mount(/|$)`)

// notFound matches what docker plugin inspect says about a plugin that is not installed.
var notFound = regexp.MustCompile(`(?i)not found|no such plugin`)

// checkStopped returns an error if a plugin runs with the state directory, or if that cannot be
// ruled out. p is the plugin, or nil if it is not known.
func checkStopped(ctx context.Context, stateDir string, p *installed.Plugin) error {
	_, err := statusserver.Get(ctx, stateDir)
	switch {
	case err == nil:
		return fmt.Errorf("the plugin runs with %s: disable it first (docker plugin disable -f %s)", printable(stateDir), pluginName(p))
	case !errors.Is(err, statusserver.ErrNotRunning):
		return fmt.Errorf("couldn't check that the plugin is disabled: %w", err)
	}
	dir, err := filepath.EvalSymlinks(stateDir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return dirError(stateDir, err)
	}
	name := ""
	if p != nil {
		name = p.Name
	} else if m := pluginDir.FindStringSubmatch(dir); m != nil {
		name = m[1]
	} else {
		return nil // of a plugin outside Docker, which always serves its status
	}
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	now, _, err := installed.Find(ctx, name)
	switch {
	case err != nil && p == nil && notFound.MatchString(err.Error()):
		return nil // the plugin was removed
	case err != nil:
		return fmt.Errorf("couldn't check that the plugin is disabled: %w", err)
	case now.Enabled:
		return fmt.Errorf("the plugin %s is enabled: disable it first (docker plugin disable -f %[1]s)", printable(now.Name))
	}
	return nil
}

func pluginName(p *installed.Plugin) string {
	if p == nil {
		return "NAME"
	}
	return printable(p.Name)
}

// drop gives up the undelivered lines of a container, if confirm agrees and stopped returns nil
// after that.
func drop(l *containerLog, confirm func(question string) (bool, error), stopped func() error, w io.Writer) error {
	if l.archived {
		_, err := fmt.Fprintf(w, "%s has no undelivered lines\n", l.full())
		return err
	}
	b, err := spool.Undelivered(nil, l.spoolDir())
	if err != nil {
		return spoolError(l, err)
	}
	what := fmt.Sprintf("%s (%s)", plural(int64(b.Frames), "line"), size(b.Bytes))
	if b.Gaps > 0 {
		what += " and " + plural(int64(b.Gaps), "gap")
	}
	if b.Empty() {
		_, err := fmt.Fprintf(w, "%s has no undelivered lines\n", l.full())
		return err
	}
	if ok, err := confirm(fmt.Sprintf("Give up %s of %s, which are never sent then?", what, l.full())); err != nil {
		return err
	} else if !ok {
		return errors.New("nothing was dropped")
	}
	if err := stopped(); err != nil {
		return err
	}
	if err := spool.Drop(nil, l.spoolDir()); err != nil {
		return spoolError(l, err)
	}
	_, err = fmt.Fprintf(w, "%s: dropped %s\n", l.full(), what)
	return err
}

// ask asks a question, and reports whether the answer is yes. Without an answer, it is no.
func ask(in io.Reader, out io.Writer, question string) (bool, error) {
	if _, err := fmt.Fprintf(out, "%s [y/N] ", question); err != nil {
		return false, err
	}
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("couldn't read the answer: %w (--yes does not ask)", err)
	}
	if err != nil {
		fmt.Fprintln(out)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}
