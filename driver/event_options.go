package driver

import (
	"strings"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/naming"
)

// eventOptions returns how the container's lines become events.
func (s *session) eventOptions(c *naming.Container, conf *config.Container) events.Options {
	o := events.Options{
		Wait:      eventWait(conf),
		Pattern:   conf.Pattern,
		Traces:    conf.Traces,
		StripANSI: conf.StripANSI,
		Include:   conf.Include,
		Exclude:   conf.Exclude,
	}
	if conf.Format != config.FormatJSON {
		return o
	}
	o.JSON = &events.JSON{
		Host:          c.LoggerHost,
		InstanceID:    c.InstanceID,
		ContainerID:   container.ShortID(c.ID),
		ContainerName: strings.TrimPrefix(c.Name, "/"),
		ImageName:     c.ImageName,
		Attrs:         c.Attrs,
	}
	if conf.Tag != nil {
		o.JSON.Tag = s.tag(c, conf)
	}
	return o
}

// tag renders the tag. It returns an empty tag if that fails or panics.
func (s *session) tag(c *naming.Container, conf *config.Container) (tag string) {
	defer func() {
		if r := recover(); r != nil {
			s.logPanic("rendering the tag of a container's events panicked; it is left out", r)
			tag = ""
		}
	}()
	tag, err := conf.Tag.Execute(c)
	if err != nil {
		s.env.log.Warn("cannot render the tag of a container's events; it is left out", "container", s.name(), "err", err)
	}
	return tag
}

// eventWait returns how long a multi-line event waits for its next line. 0 means
// events.DefaultWait. A longer flush interval applies instead, as with awslogs (moby,
// daemon/logger/awslogs, collectBatch), so that events that are written slowly stay whole.
func eventWait(conf *config.Container) time.Duration {
	if (conf.Pattern != nil || conf.Traces != nil) && conf.Delay > events.DefaultWait {
		return conf.Delay
	}
	return 0
}
