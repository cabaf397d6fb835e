package driver

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/naming"
)

// destination is where the events of some outputs go, and what makes events of their lines.
type destination struct {
	target.Target
	from    origin
	outputs feed.Outputs
	events  events.Options
}

// origin says for an operator where the names of a destination come from.
type origin struct{ region, group, stream string }

// entityWait is how long the delivery waits for the EC2 instance's ID if only the entity or
// the objects of format=json have it.
const entityWait = 3 * time.Second

// destinations computes where the events of a container run go. It waits until a region is
// known. The error is ctx's, or a config.ErrNoGroup.
func (s *session) destinations(ctx context.Context, run *containerRun) ([]destination, error) {
	s.mu.Lock()
	info, conf, host := run.info, run.conf, run.host
	s.mu.Unlock()
	c := s.env.container(&info, conf)
	c.Host = host
	var err error
	if c.Region, err = s.region(ctx, conf); err != nil {
		return nil, err
	}
	uses := func(field string) bool { return conf.Group.Uses(field) || conf.Stream.Uses(field) }
	switch {
	case uses("InstanceID"): // No name may be made without it.
		if c.InstanceID, err = s.env.host.locator.InstanceID(ctx); err != nil {
			return nil, err
		}
	case conf.HasEntity() || conf.Format == config.FormatJSON: // It is one attribute of several.
		brief, cancel := context.WithTimeout(ctx, entityWait)
		c.InstanceID, _ = s.env.host.locator.InstanceID(brief)
		cancel()
	}
	if (uses("Host") || conf.EntityUses("Host")) && c.Host == "" && c.NeedsHost() {
		c.Host = s.askHost(ctx, run)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	options := s.eventOptions(&c, conf)
	c.Source = "stdout"
	stdout, from, err := s.target(&c, conf)
	if err != nil {
		return nil, err
	}
	both := []destination{{stdout, from, feed.BothOutputs, options}}
	if !uses("Source") {
		return both, nil
	}
	c.Source = "stderr"
	stderr, fromErr, err := s.target(&c, conf)
	if err != nil {
		return nil, err
	}
	if stderr == stdout {
		return both, nil
	}
	return []destination{{stdout, from, feed.Outputs{Stdout: true}, options}, {stderr, fromErr, feed.Outputs{Stderr: true}, options}}, nil
}

// container returns what names can say about a container, without what has to be looked up.
func (e *environment) container(info *container.Info, conf *config.Container) naming.Container {
	return naming.Container{
		Info:       *info,
		Attrs:      conf.Attrs(info.Labels, info.Env),
		LoggerHost: e.host.name,
		Region:     conf.Region,

		EnvIsForeign: !e.settings.ContainerEnv,
	}
}

// region returns the container's region. It waits until one is known. The error is ctx's.
func (s *session) region(ctx context.Context, conf *config.Container) (string, error) {
	if conf.Region != "" {
		return conf.Region, nil
	}
	lookUp := s.env.host.locator.Region
	if conf.RegionAuto {
		lookUp = s.env.host.locator.AutoRegion
	}
	for {
		region, err := lookUp(ctx)
		if err == nil {
			s.removeHold(noRegion, true)
			return region, nil
		}
		if ctx.Err() == nil {
			s.addHold(noRegion, "no AWS region found: "+err.Error(), err)
		}
		if !pause(ctx, retryDelay) {
			s.removeHold(noRegion, false)
			return "", ctx.Err()
		}
	}
}

// askHost asks the engine for the container's host name, and saves it in the record because
// the container may be gone when the name is needed again. It returns an empty name if the
// engine cannot say. The template then uses Docker's default, the short ID.
func (s *session) askHost(ctx context.Context, run *containerRun) string {
	host, err := s.env.host.engine.hostname(ctx, s.id)
	if err != nil {
		if !errors.Is(err, errNoEngine) && !errors.Is(err, context.Canceled) {
			s.env.log.Warn("the Docker engine did not return a container's host name; its short ID is used instead",
				"container", s.name(), "err", err)
		}
		return ""
	}
	s.setHost(run, host)
	return host
}

// target renders the names, and logs where they differ from what the templates say. The error
// is a config.ErrNoGroup.
func (s *session) target(c *naming.Container, conf *config.Container) (target.Target, origin, error) {
	group, err := s.logGroup(c, conf)
	if err != nil {
		return target.Target{}, origin{}, err
	}
	stream := s.render("log stream", naming.Stream, conf.Stream.Template, c)
	for _, n := range []struct {
		what, from string
		naming.Name
	}{{"log group", conf.Group.From, group}, {"log stream", conf.Stream.From, stream}} {
		if n.Fallback != nil {
			s.env.log.Warn("the default name is used for a "+n.what, "container", s.name(), "from", n.from, "name", n.Name.Name, "err", n.Fallback)
		}
		if n.Changed != "" {
			s.env.log.Warn("the name of a "+n.what+" was changed to a valid one", "container", s.name(), "from", n.from, "name", n.Name.Name, "change", n.Changed)
		}
	}
	entity, err := conf.Entity(c)
	if err != nil {
		s.env.log.Warn("cannot render a part of a container's entity; it is left out", "container", s.name(), "err", err)
	}
	to := target.Target{
		Access: conf.Access, Group: group.Name, Stream: stream.Name,
		EMF: conf.Format == config.FormatEMF, Entity: entity, Create: conf.Create,
	}
	to.Region = c.Region
	return to, origin{cmp.Or(conf.RegionFrom, lookedUp), nameFrom(conf, group, conf.Group.From), nameFrom(conf, stream, conf.Stream.From)}, nil
}

// nameFrom says where a name comes from, given where its template does.
func nameFrom(conf *config.Container, n naming.Name, from string) string {
	const instead = "default, instead of "
	if n.Fallback != nil {
		return instead + from + ": " + n.Fallback.Error()
	}
	for _, w := range conf.Warnings { // an invalid template in the container's environment
		if text, ok := strings.CutSuffix(w, "; the default name is used"); ok && strings.HasPrefix(text, from+": ") {
			return instead + text
		}
	}
	return from
}

// lookedUp says that a region comes from a look-up.
const lookedUp = "a look-up: the AWS configuration, or else EC2 metadata"

// logGroup renders the name of a group that ALLOW_GROUPS allows. If that panics, it renders
// the name of the default group.
func (s *session) logGroup(c *naming.Container, conf *config.Container) (n naming.Name, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.logPanic("rendering the name of a log group panicked; the default name is used", r)
			plain := *conf
			plain.Group = s.env.settings.Group
			n, err = s.env.settings.LogGroup(&plain, c)
		}
	}()
	return s.env.settings.LogGroup(conf, c)
}

// render renders a name. If that panics, it renders the default name.
func (s *session) render(what string, render func(*naming.Template, *naming.Container) naming.Name, t *naming.Template, c *naming.Container) (n naming.Name) {
	defer func() {
		if r := recover(); r != nil {
			s.logPanic("rendering the name of a "+what+" panicked; the default name is used", r)
			n = render(nil, &naming.Container{Info: container.Info{ID: c.ID, Name: c.Name}, LoggerHost: c.LoggerHost})
		}
	}()
	return render(t, c)
}
