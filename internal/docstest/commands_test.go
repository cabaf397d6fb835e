package docstest

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/logspool/logspool/internal/cli"
)

// runnable returns the commands that do something, with the flags of each.
func runnable(c *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	if !c.HasSubCommands() {
		all = append(all, c)
	}
	for _, sub := range c.Commands() {
		if sub.Hidden {
			continue
		}
		all = append(all, runnable(sub)...)
	}
	return all
}

func TestTableOfCommandsIsGenerated(t *testing.T) {
	var b strings.Builder
	b.WriteString("| command | what it does | flags |\n|---|---|---|\n")
	for _, c := range runnable(cli.New("")) {
		var flags []string
		add := func(f *pflag.Flag) { flags = append(flags, code("--"+f.Name)) }
		c.LocalFlags().VisitAll(add)
		c.InheritedFlags().VisitAll(add)
		use := strings.TrimSuffix(c.UseLine(), " [flags]")
		fmt.Fprintf(&b, "| %s | %s | %s |\n", code(use), sentence(c.Short), strings.Join(flags, " "))
	}
	generated(t, "docs/commands.md", "commands", b.String())
}

// TestCommandsInDocumentsExist checks each logspool command in the snippets and in the text.
func TestCommandsInDocumentsExist(t *testing.T) {
	invocation := regexp.MustCompile(`(?m)(?:^ *|[|;&(] *|sudo )logspool ([a-z][^\n|;&#>)]*)`)
	isMessage := map[string]bool{}
	for _, m := range messages(t) {
		isMessage[m] = true
	}
	n := 0
	for _, name := range documents(t) {
		parts := shellBlocks(t, name)
		for _, m := range codeMarkup.FindAllStringSubmatch(prose(read(t, name)), -1) {
			if strings.HasPrefix(m[1], "logspool ") && !isMessage[m[1]] {
				parts = append(parts, m[1])
			}
		}
		for _, text := range parts {
			for _, m := range invocation.FindAllStringSubmatch(text, -1) {
				n++
				root := cli.New("")
				root.InitDefaultCompletionCmd()
				args := strings.Fields(m[1])
				c, rest, err := root.Find(args)
				if err == nil {
					err = c.ParseFlags(rest)
				}
				if err == nil {
					err = c.ValidateArgs(c.Flags().Args())
				}
				if err != nil || !c.Runnable() || c.HasSubCommands() && len(args) > 1 {
					t.Errorf("%s: logspool %s: %v", name, m[1], err)
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("%d commands were found", n)
	}
}
