package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// each calls f for a command and all commands below it.
func each(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		each(sub, f)
	}
}

// Each command explains itself, and each of our own has an example that begins with its name.
func TestEveryCommandHasHelp(t *testing.T) {
	n := 0
	root := New("test")
	addCompletion(root)
	each(root, func(c *cobra.Command) {
		n++
		if c.Short == "" || c.Example == "" && c.Long == "" {
			t.Errorf("%s: short %q, long %q, example %q", c.CommandPath(), c.Short, c.Long, c.Example)
		}
		if c.Parent() == nil || c.Parent().Name() != "completion" {
			if c.Name() != "help" && !strings.Contains(c.Example, c.CommandPath()) {
				t.Errorf("%s: the example is %q", c.CommandPath(), c.Example)
			}
		}
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		if exit, out, errs := run(t, args...); exit != 0 || errs != "" || !strings.Contains(out, "Usage:") {
			t.Errorf("%q: %d, %q, %q", args, exit, out, errs)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: --%s has no description", c.CommandPath(), f.Name)
			}
		})
	})
	if n < 10 {
		t.Errorf("%d commands", n)
	}
}

func TestBadCommandsExitWithStatus2(t *testing.T) {
	for _, args := range [][]string{
		{"undelivered"}, {"--nosuch"}, {"spool", "nosuch"}, {"spool", "cat"}, {"spool", "export"}, {"spool", "drop"},
		{"spool", "export", "a", "b"}, {"status", "--interval", "x"}, {"completion", "powershell"}, {"completion", "nosuch"},
	} {
		exit, out, errs := run(t, args...)
		if exit != 2 || out != "" || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "logspool: ") {
			t.Errorf("%q: %d, %q, %q", args, exit, out, errs)
		}
	}
}

func TestCompletionOfShells(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if exit, out, errs := run(t, "completion", shell); exit != 0 || !strings.Contains(out, "logspool") || errs != "" {
			t.Errorf("%s: %d, %q", shell, exit, errs)
		}
	}
}
