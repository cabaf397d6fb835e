package driver

import (
	"strings"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/naming"
)

// eventOptions is what the container's options make of its lines.
func (s *session) eventOptions(c *naming.Container, conf *config.Container) events.Options {
	o := events.Options{
		Wait:      eventWait(conf),
		Pattern:   conf.Pattern,
		StripANSI: conf.StripANSI,
		Include:   conf.Include,
		Exclude:   conf.Exclude,
	}
	if conf.Format != config.FormatJSON {
		return o
	}
	o.JSON = &events.JSON{
		ContainerID:   c.ID,
		ContainerName: strings.TrimPrefix(c.Name, "/"),
		ImageName:     c.ImageName,
		Attrs:         c.Attrs,
	}
	if conf.Tag == nil {
		return o
	}
	o.JSON.Tag = s.tag(c, conf)
	return o
}

// tag renders the tag. One that fails, or panics, is left out.
func (s *session) tag(c *naming.Container, conf *config.Container) (tag string) {
	defer func() {
		if r := recover(); r != nil {
			s.logPanic("rendering the tag of a container's events panicked; it is left out", r)
			tag = ""
		}
	}()
	tag, err := conf.Tag.Execute(c)
	if err != nil {
		s.d.log.Warn("the tag is left out of a container's events", "container", s.name(), "err", err)
	}
	return tag
}

// eventWait is how long an event of several lines waits for its next line; 0: as long as is usual. Where the flush
// interval is longer, as long as that: so it is with awslogs (moby, daemon/logger/awslogs, collectBatch), and events that
// are written slowly stay whole.
func eventWait(conf *config.Container) time.Duration {
	if conf.Pattern != nil && conf.Delay > events.DefaultWait {
		return conf.Delay
	}
	return 0
}
