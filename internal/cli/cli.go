// Package cli has the commands of the logspool binary for the operator of a host. Without a
// command, the binary is the plugin.
//
// Each command is in a file of its own and is added in New. A command prints its result to
// its output, and an error as one line. Its exit status is a probe's: 0 means well, 1 that
// the answer is bad, and 2 that there is no answer.
//
// The package must not know how the plugin works inside: it reads the plugin's status, its
// state directory and its settings.
package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// errBad makes the exit status 1: the command has printed its answer, and the answer is bad.
var errBad = errors.New("")

// New returns the command logspool with all its subcommands. version is the binary's version.
func New(version string) *cobra.Command {
	root := &cobra.Command{
		Use:   "logspool",
		Short: "See into the logspool plugin of this Docker host",
		Long: "logspool is a Docker logging driver for Amazon CloudWatch Logs.\n" +
			"These commands see into the plugin of this host, and into its files.",
		Example: "  logspool status\n" +
			"  logspool spool ls --undelivered",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.AddCommand(newStatus(), newCheck(), newSpool())
	return root
}

// Run runs a command and returns the exit status: 0, 1 if the answer is bad, or 2 after an
// error.
func Run(version string, args []string, stdout, stderr io.Writer) int {
	c := New(version)
	if args == nil {
		args = []string{} // cobra would take those of the process
	}
	c.SetArgs(args)
	c.SetOut(stdout)
	c.SetErr(stderr)
	addCompletion(c)
	switch err := c.Execute(); {
	case err == nil:
		return 0
	case errors.Is(err, errBad):
		return 1
	default:
		fmt.Fprintln(stderr, "logspool:", err)
		return 2
	}
}
