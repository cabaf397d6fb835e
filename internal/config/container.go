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
// then on EC2. With RegionAuto, it is looked up even if ROUTE or LOG_OPTS has a region.
//
// The output of a container with Ignore is read all the same. Warnings report invalid
// templates in the container's environment, labels that have no effect, and unknown
// sequences in datetime-format.
type Container struct {
	Names
	// Access says where the logs go and whose credentials sign requests.
	target.Access
	// RegionFrom says where Access.Region was given, as Template.From does; empty means that
	// the region has to be looked up.
	RegionFrom string
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

	chosen  givenOptions      // chosen are the options that apply, for Described.
	sources map[string]string // sources is Settings.sources.
}

// newContainer returns the configuration of a container about which only the settings say
// something, without names.
func (s *Settings) newContainer() *Container {
	newGroup := s.NewGroup
	return &Container{
		Access:          target.Access{Region: s.Region},
		RegionFrom:      s.RegionFrom,
		Create:          target.Create{Group: true, Stream: true, NewGroup: &newGroup},
		Delay:           s.Delay,
		EntityTemplates: s.EntityTemplates,
		EventOptions:    EventOptions{Format: FormatText},
		SpoolLimits:     s.SpoolLimits,
	}
}

// Container reads a container's log options, its environment, entries KEY=value, and its
// labels. Log options take precedence over labels, labels over the environment, and the
// environment over the settings. The environment does not count if ContainerEnv is off, and
// labels do not count if ContainerLabels is off.
//
// If log options are invalid, the error is an Errors with one line for each. The result can
// be used all the same, with the next source in place of the invalid options: a container
// that is already attached must go on after an upgrade or a change of settings. If an
// invalid option decides where lines go, as whom or with which key, Hold is set. An invalid
// label is only a warning, because it can come from an image.
func (s *Settings) Container(opts map[string]string, env []string, labels map[string]string) (*Container, error) {
	c := s.newContainer()
	given, errs := s.readLogOptions(opts)
	own := choose(given)
	labelsCount := false
	if s.ContainerLabels || s.hold.containerLabels != "" {
		labelled, warnings := s.readLabels(labels)
		both := choose(given, labelled)
		labelsCount = len(both) > len(own)
		if s.ContainerLabels {
			own, c.Warnings = both, warnings
		}
	}
	c.apply(s, choose(own, s.logOpts))
	if tag, ok := own["tag"]; ok && c.Stream.Template == nil && c.Tag != nil {
		c.Stream = Template{Template: c.Tag, From: tag.from}
	}
	if attributes := given["entity-attributes"]; attributes.name != "" && !attributes.bad && !c.HasEntity() {
		c.Warnings = append(c.Warnings, attributes.from+": no effect without entity-service-name or entity-environment")
	}
	vars := lookup(env)
	undecided := c.undecided(s, vars, labelsCount)
	if s.ContainerEnv {
		c.applyEnv(vars)
	}
	c.Hold = c.holdReason(s, given, undecided)
	c.applyNames(s, own)
	return c, errs.orNil()
}

// applyNames sets the names that neither the container's options, given as own, nor its
// environment set.
func (c *Container) applyNames(s *Settings, own givenOptions) {
	group := own["group"]
	if c.Group.Template == nil {
		c.Group, group = s.Group, s.logOptsGroup
	}
	if c.Stream.Template != nil {
		return
	}
	c.Stream = s.Stream
	if s.Stream.From == fromDefault && group.awslogs {
		// This is awslogs's default. Changing the driver's name must change nothing else.
		c.Stream = Template{Template: fullID, From: group.source + group.row.alias}
	}
}

// applyEnv reads logspout's variables from the container's environment. A log option or label
// for the same name takes precedence.
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
