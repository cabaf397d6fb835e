package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/logspool/logspool/internal/statusserver"
)

// completionTimeout limits how long a shell waits for a completion.
const completionTimeout = 2 * time.Second

// addCompletion adds the command completion for the shells of Linux. It writes to the output
// that root has now.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Short = "Print the completion script for a shell"
		c.Example = "  logspool completion bash >/etc/bash_completion.d/logspool\n" +
			"  source <(logspool completion zsh)"
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		for _, shell := range c.Commands() {
			if shell.Name() == "powershell" {
				c.RemoveCommand(shell)
			}
		}
	}
}

// completeContainers returns the names and IDs of the containers that the plugin reports, or if
// it does not run, of those in its state directory.
func completeContainers(ctx context.Context, w *where, args []string) ([]string, cobra.ShellCompDirective) {
	return complete(ctx, w, args, func(ctx context.Context, dir string) (names []string) {
		r, err := statusserver.Get(ctx, dir)
		if err != nil {
			return spoolNames(dir)
		}
		for _, c := range r.Containers {
			names = append(names, displayName(c.Name, c.ID))
		}
		return names
	})
}

// completeSpools returns the names of the containers in the state directory.
func completeSpools(ctx context.Context, w *where, args []string) ([]string, cobra.ShellCompDirective) {
	return complete(ctx, w, args, func(_ context.Context, dir string) []string { return spoolNames(dir) })
}

// complete returns what list finds in the state directory, for a command's only argument.
func complete(ctx context.Context, w *where, args []string, list func(ctx context.Context, dir string) []string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(orBackground(ctx), completionTimeout)
	defer cancel()
	dir, _, err := w.find(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return list(ctx, dir), cobra.ShellCompDirectiveNoFileComp
}

func orBackground(ctx context.Context) context.Context {
	if ctx == nil { // cobra completes without a context
		return context.Background()
	}
	return ctx
}

// spoolNames returns the names of the containers in a state directory.
func spoolNames(stateDir string) []string {
	all, _ := listLogs(stateDir)
	var names []string
	for _, l := range all {
		names = append(names, displayName(l.name, l.id))
	}
	return slices.Compact(names)
}
