package cli

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/logspool/logspool/internal/oneline"
	"github.com/logspool/logspool/spool"
)

// newSpool returns the command spool, whose subcommands read the state directory of a plugin
// that runs, is disabled or was removed.
func newSpool() *cobra.Command {
	w := &where{}
	c := &cobra.Command{
		Use:   "spool",
		Short: "Read the spools of the plugin, whether it runs or not",
		Long: "spool reads the files of the plugin: undelivered lines, and the history of delivered ones.\n" +
			"The plugin may run or not. Only drop changes anything.",
		Example: "  logspool spool ls --undelivered\n" +
			"  logspool spool cat web",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	w.addFlags(c)
	c.AddCommand(newSpoolLs(w), newSpoolCat(w), newSpoolExport(w), newSpoolVerify(w), newSpoolDrop(w))
	return c
}

// completeSpool completes the argument CONTAINER.
func completeSpool(w *where) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return completeSpools(c.Context(), w, args)
	}
}

// openLog opens the spool of a container for reading.
func openLog(l *containerLog) (*spool.Spool, error) {
	s, err := spool.OpenReadOnly(nil, l.spoolDir())
	if err != nil {
		return nil, spoolError(l, err)
	}
	return s, nil
}

// spoolError explains why the spool of a container cannot be read.
func spoolError(l *containerLog, err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, spool.ErrVersion):
		return fmt.Errorf("%s: a newer version of the plugin wrote its spool in %s: use the logspool command of that version", l.full(), printable(l.dir))
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s has no spool in %s", l.full(), printable(l.dir))
	case errors.As(err, &path):
		err = path.Err
	}
	return fmt.Errorf("%s: couldn't read the spool in %s: %s", l.full(), printable(l.dir), oneline.Text(err.Error(), maxError))
}
