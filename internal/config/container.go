package config

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/naming"
)

// Container is what holds for one container.
type Container struct {
	Group, Stream Template
	// Access says where the logs go and whose credentials sign. Its Region is empty if it has to be looked up:
	// in the SDK's configuration, then on EC2.
	target.Access
	// RegionAuto says that the log option region is auto. An empty Region is then looked up whatever region
	// ROUTE has.
	RegionAuto bool
	Create     target.Create // NewGroup is never nil and belongs to the Container.
	Delay      time.Duration

	// The entity that its events belong to, which the method Entity renders. Nil: not given.
	EntityService, EntityEnvironment *naming.Template
	EntityAttributes                 map[string]string // shared: nobody may change it

	// Pattern matches the first line of an event (log options multiline-pattern and
	// datetime-format). Nil: each line is an event.
	Pattern *regexp.Regexp
	Format  Format
	// Include and Exclude choose the events to ship: those that Include matches (nil: all) and
	// Exclude does not (nil: none).
	Include, Exclude *regexp.Regexp
	StripANSI        bool // without terminal codes

	// Tag is the log option tag, whatever names the stream; nil: none.
	Tag *naming.Template
	// Labels, LabelsRegex, Env and EnvRegex choose what Attrs returns. Names are as they were
	// given, nil regexps match nothing.
	Labels, Env           []string
	LabelsRegex, EnvRegex *regexp.Regexp

	SpoolMaxSize int64
	SpoolFull    FullPolicy
	HistorySize  int64 // delivered bytes kept for docker logs; 0: none

	// Ignore says that the container asked not to be shipped. It is read all the same.
	Ignore bool
	// Hold says why the container's lines are spooled and not sent, in one line; empty: they are sent.
	Hold string
	// Warnings is what the plugin's log should say of this container, one line each: templates in
	// its environment that are broken and have been replaced by the default name, and sequences of
	// datetime-format that are not known.
	Warnings []string
}

// Container reads a container's log options and its environment, entries KEY=value. What counts is
// its log options, then its own environment (unless ContainerEnv is off), then the settings.
//
// If there are bad options, the error is an Errors with one for each, and the result is usable all
// the same, with the settings in place of the bad ones: a container that was attached before an
// upgrade or other settings goes on. Where a bad option decides where lines go, as whom or with which
// key, they are held.
func (s *Settings) Container(opts map[string]string, env []string) (*Container, error) {
	newGroup := s.NewGroup
	c := &Container{
		Access:       target.Access{Region: s.Region},
		Create:       target.Create{Group: true, Stream: true, NewGroup: &newGroup},
		Delay:        s.Delay,
		SpoolMaxSize: s.SpoolMaxSize,
		SpoolFull:    s.SpoolFull,
		HistorySize:  s.HistorySize,
		Format:       FormatText,

		EntityService: s.EntityService, EntityEnvironment: s.EntityEnvironment, EntityAttributes: s.EntityAttributes,
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
			// awslogs's default, so that changing the driver's name changes nothing else.
			c.Stream = Template{Template: fullID, From: "log option awslogs-group"}
		}
	}
	return c, errs.orNil()
}

// applyEnv reads logspout's variables from the container's environment, where no option has named
// the same thing already.
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
