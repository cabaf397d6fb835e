package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// Container is the configuration of one container.
//
// If Access.Region is empty, the region has to be looked up in the SDK's configuration,
// then on EC2. With RegionAuto, it is looked up even if ROUTE has a region.
//
// The output of a container with Ignore is read all the same. Warnings report invalid
// templates in the container's environment, and unknown sequences in datetime-format.
type Container struct {
	Names
	// Access says where the logs go and whose credentials sign requests.
	target.Access
	// RegionAuto says that the log option region is auto.
	RegionAuto bool
	// Create has a NewGroup that is not nil and belongs to the Container.
	Create target.Create
	// Delay is the time between flushes.
	Delay time.Duration
	EntityTemplates
	EventOptions
	AttrSelection
	SpoolLimits

	// Ignore says that the container's lines are not sent, although its output is still read.
	Ignore bool
	// Hold says in one line why the container's lines are spooled but not sent; empty
	// means they are sent.
	Hold string
	// Warnings are for the plugin's log, each one line.
	Warnings []string
}

// Container reads a container's log options and its environment, entries KEY=value. Log
// options take precedence over the environment, and the environment over the settings.
// The environment does not count if ContainerEnv is off.
//
// If options are invalid, the error is an Errors with one line for each. The result can
// be used all the same, with the settings in place of the invalid options: a container
// that is already attached must go on after an upgrade or a change of settings. If an
// invalid option decides where lines go, as whom or with which key, Hold is set.
func (s *Settings) Container(opts map[string]string, env []string) (*Container, error) {
	newGroup := s.NewGroup
	c := &Container{
		Access:          target.Access{Region: s.Region},
		Create:          target.Create{Group: true, Stream: true, NewGroup: &newGroup},
		Delay:           s.Delay,
		EntityTemplates: s.EntityTemplates,
		EventOptions:    EventOptions{Format: FormatText},
		SpoolLimits:     s.SpoolLimits,
	}
	given, errs := c.apply(s, opts)
	vars := lookup(env)
	if s.ContainerEnv {
		c.applyEnv(vars)
	}
	c.Hold = c.holdReason(s, given, vars)
	if c.Group.Template == nil {
		c.Group = s.Group
	}
	if c.Stream.Template == nil {
		c.Stream = s.Stream
		if s.Stream.From == fromDefault && strings.TrimSpace(opts["awslogs-group"]) != "" {
			// This is awslogs's default. Changing the driver's name must change nothing else.
			c.Stream = Template{Template: fullID, From: "log option awslogs-group"}
		}
	}
	return c, errs.orNil()
}

// applyEnv reads logspout's variables from the container's environment. A log option for the
// same name takes precedence.
func (c *Container) applyEnv(env map[string]string) {
	c.Ignore = isIgnore(env)
	for _, v := range []struct {
		name  string
		field *Template
		def   Template
	}{
		{"LOGSPOUT_GROUP", &c.Group, Template{Template: defaultGroup}},
		{"LOGSPOUT_STREAM", &c.Stream, Template{Template: defaultStream}},
	} {
		text := env[v.name]
		if v.field.Template != nil || strings.TrimSpace(text) == "" {
			continue
		}
		from := "the container's " + v.name
		if err := setTemplate(v.field, value{text: text, from: from}, v.def.Template); err != nil {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s: %v; the default name is used", from, err))
		}
	}
}
