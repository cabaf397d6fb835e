package check

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/naming"
)

func (c *checker) checkSettings(context.Context) []Result {
	var results []Result
	for _, p := range c.problems {
		results = append(results, bad("settings", c.correct(p.Setting), "%s: %s; until it is corrected: %s", p.Setting, p.Text, p.Applies))
	}
	return orGood(results, "settings", "all settings are valid")
}

// correct says how to correct a setting.
func (c *checker) correct(setting string) string {
	name, _, _ := strings.Cut(setting, " ") // "ROUTE option DELAY"
	return c.set(name + "=VALUE")
}

// set says how to change a setting.
func (c *checker) set(assignment string) string {
	if c.Plugin == nil {
		return "set " + assignment
	}
	name := c.pluginName()
	return fmt.Sprintf("docker plugin disable -f %s; docker plugin set %s %s; docker plugin enable --timeout 0 %s", name, name, assignment, name)
}

// checkLogOptions checks log options as a start of a container does.
func (c *checker) checkLogOptions(context.Context) []Result {
	if len(c.LogOpts) == 0 {
		return nil
	}
	const name, remedy = "log options", "correct the option: docker run would fail with this line"
	var results []Result
	var invalid config.Errors
	switch {
	case errors.As(c.containerErr, &invalid):
		for _, err := range invalid {
			results = append(results, bad(name, remedy, "%v", err))
		}
	case c.containerErr != nil:
		results = append(results, bad(name, remedy, "%v", c.containerErr))
	}
	if err := c.settings.CheckGroup(c.container, c.exampleContainer()); err != nil {
		results = append(results, bad(name, remedy, "%v", err))
	}
	switch warnings := c.container.Warnings; {
	case results != nil:
	case len(warnings) > 0:
		results = append(results, good(name, "valid, with a warning: %s", strings.Join(warnings, "; ")))
	default:
		results = append(results, good(name, "valid"))
	}
	return results
}

// exampleContainer returns a container that the names are rendered for.
func (c *checker) exampleContainer() *naming.Container {
	return &naming.Container{
		Info: container.Info{
			ID: strings.Repeat("0", 64), Name: "/logspool-check", ImageName: "logspool-check",
		},
		LoggerHost: c.hostName,
		Region:     c.container.Region,
	}
}
