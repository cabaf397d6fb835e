package driver

import (
	"strings"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/naming"
)

// shape is what the container's options make of its lines.
func (s *session) shape(c *naming.Container, conf *config.Container) events.Options {
	o := events.Options{
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
	tag, err := conf.Tag.Execute(c)
	if err != nil {
		s.d.log.Warn("the tag is left out of a container's events", "container", s.id, "err", err)
	}
	o.JSON.Tag = tag
	return o
}
