package driver

import (
	"context"
	"errors"
	"time"

	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/naming"
)

// retryDelay is how long to wait before asking for the region again. The Locator paces the look-ups themselves.
const retryDelay = 2 * time.Second

// entityWait is how long the delivery waits for the EC2 instance's ID where only the events' entity needs it.
const entityWait = 3 * time.Second

// deliver is the owner's work. From the first message of a run on it ships what is spooled of it under the names
// computed then. When nothing more is expected it waits for the delivery, and ends the session when nobody holds it.
func (s *session) deliver(ctx context.Context) {
	for {
		if !s.waitFor(ctx, func() bool { return s.hasWork() || s.idle() }) {
			return
		}
		if !s.hasWork() {
			if s.retire() {
				return
			}
			continue
		}
		run := s.runToDeliver()
		if !s.awaitRelease(ctx, run) {
			return // spooled until the setting is fixed, which takes a new start of the plugin
		}
		to, err := s.destinations(ctx, run)
		if errors.Is(err, config.ErrNoGroup) {
			s.holdBack(ctx, err)
			return
		}
		if err != nil {
			return
		}
		before := s.spool.Acked()
		if !s.deliverRun(ctx, run, to) {
			return
		}
		// When all is delivered that can be read, and there is more, it cannot be read now.
		if run.ended.Load() && s.hasWork() && s.spool.Acked() == before && !pause(ctx, retryDelay) {
			return
		}
	}
}

// pause waits for d; false when ctx is done before.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// waitFor returns true once ready does, which is asked whenever something has changed; false when ctx is done.
func (s *session) waitFor(ctx context.Context, ready func() bool) bool {
	for !ready() {
		select {
		case <-ctx.Done():
			return false
		case <-s.changed:
		}
	}
	return ctx.Err() == nil
}

func (s *session) hasWork() bool { return s.spool.Pending() }

// holdBack logs why no group may have the container's lines, again and again until ctx is done. They are spooled.
func (s *session) holdBack(ctx context.Context, err error) {
	defer s.d.holds.over(s, noGroup, false)
	for {
		s.d.holds.waits(s, noGroup, err)
		if !pause(ctx, faultlog.Repeat+time.Second) {
			return
		}
	}
}

// destination is where the events of some outputs go, and what they look like there.
type destination struct {
	target.Target
	outputs feed.Outputs
	events  events.Options
}

// deliverRun delivers what is spooled of a run until it has ended and everything of it is delivered, or it goes on.
// It returns false when ctx is done before that.
func (s *session) deliverRun(ctx context.Context, run *containerRun, to []destination) bool {
	deliveries, feeds := s.startDeliveries(run, to)
	defer func() {
		s.deliveries.Store(nil)
		for i, f := range feeds {
			<-deliveries[i].Detach()
			f.Close()
		}
		s.mu.Lock()
		s.active = nil
		s.mu.Unlock()
	}()
	if !s.waitFor(ctx, run.ended.Load) {
		return false
	}
	for _, delivery := range deliveries {
		delivery.Finish()
	}
	for _, delivery := range deliveries {
		for delivered := false; !delivered && run.ended.Load(); {
			select {
			case <-ctx.Done():
				return false
			case <-s.changed:
			case <-delivery.Done():
				delivered = true
			}
		}
	}
	return true
}

// startDeliveries makes the feeds of a run and ships them.
func (s *session) startDeliveries(run *containerRun, to []destination) (deliveries []Delivery, feeds []*feed.Feed) {
	s.mu.Lock()
	delay := run.conf.Delay
	for _, t := range to {
		feeds = append(feeds, feed.New(s.spool, feed.Options{
			Outputs: t.outputs, Ended: &run.ended, Limit: run.to, Events: t.events, Name: s.name(),
			OnLost: s.losses.lost, OnPanic: s.panicked, OnPoison: s.setAside,
		}))
	}
	s.active = &activeRun{run, feeds} // from here on a new run ends the feeds
	s.mu.Unlock()
	for i, t := range to {
		deliveries = append(deliveries, s.d.o.Deliverer.Deliver(t.Target, feeds[i], delay))
	}
	s.deliveries.Store(&deliveries)
	return deliveries, feeds
}

// destinations computes where the container's events go. It waits until there is a region; the error is ctx's.
func (s *session) destinations(ctx context.Context, run *containerRun) ([]destination, error) {
	s.mu.Lock()
	info, conf, host := run.info, run.conf, run.host
	s.mu.Unlock()
	c := s.d.container(&info, conf)
	c.Host = host
	var err error
	if c.Region, err = s.region(ctx, conf); err != nil {
		return nil, err
	}
	uses := func(field string) bool { return conf.Group.Uses(field) || conf.Stream.Uses(field) }
	switch {
	case uses("InstanceID"): // a name must not be made without it
		if c.InstanceID, err = s.d.o.Locator.InstanceID(ctx); err != nil {
			return nil, err
		}
	case conf.HasEntity(): // of which it is one attribute of several
		brief, cancel := context.WithTimeout(ctx, entityWait)
		c.InstanceID, _ = s.d.o.Locator.InstanceID(brief)
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
	stdout, err := s.destination(&c, conf)
	if err != nil {
		return nil, err
	}
	if !uses("Source") {
		return []destination{{stdout, feed.BothOutputs, options}}, nil
	}
	c.Source = "stderr"
	stderr, err := s.destination(&c, conf)
	if err != nil {
		return nil, err
	}
	if stderr == stdout {
		return []destination{{stdout, feed.BothOutputs, options}}, nil
	}
	return []destination{{stdout, feed.Outputs{Stdout: true}, options}, {stderr, feed.Outputs{Stderr: true}, options}}, nil
}

// container is what the names can say of a container, without what has to be looked up.
func (d *Driver) container(info *container.Info, conf *config.Container) naming.Container {
	return naming.Container{
		Info:       *info,
		Attrs:      conf.Attrs(info.Labels, info.Env),
		LoggerHost: d.o.LoggerHost,
		Region:     conf.Region,

		EnvIsForeign: !d.o.Settings.ContainerEnv,
	}
}

func (s *session) region(ctx context.Context, conf *config.Container) (string, error) {
	if conf.Region != "" {
		return conf.Region, nil
	}
	lookUp := s.d.o.Locator.Region
	if conf.RegionAuto {
		lookUp = s.d.o.Locator.AutoRegion
	}
	for {
		region, err := lookUp(ctx)
		if err == nil {
			s.d.holds.over(s, noRegion, true)
			return region, nil
		}
		if ctx.Err() == nil {
			s.d.holds.waits(s, noRegion, err)
		}
		if !pause(ctx, retryDelay) {
			s.d.holds.over(s, noRegion, false)
			return "", ctx.Err()
		}
	}
}

// askHost asks the engine for the container's host name and keeps the answer: the container may be gone
// when it is needed again. Nothing means that the engine could not say, and Docker's default stands in.
func (s *session) askHost(ctx context.Context, run *containerRun) string {
	if !s.d.engine.mounted(ctx) {
		return ""
	}
	host, err := s.d.engine.hostname(ctx, s.id)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			s.d.log.Warn("the engine did not tell a container's host name; the ID's first 12 characters stand in",
				"container", s.name(), "err", err)
		}
		return ""
	}
	s.setHost(run, host)
	return host
}

// destination renders the names and logs what is not as the template says. The error is a config.ErrNoGroup.
func (s *session) destination(c *naming.Container, conf *config.Container) (target.Target, error) {
	group, err := s.logGroup(c, conf)
	if err != nil {
		return target.Target{}, err
	}
	stream := s.render("log stream", naming.Stream, conf.Stream.Template, c)
	for _, n := range []struct {
		what, from string
		naming.Name
	}{{"log group", conf.Group.From, group}, {"log stream", conf.Stream.From, stream}} {
		if n.Fallback != nil {
			s.d.log.Warn("the default name stands in for a "+n.what, "container", s.name(), "from", n.from, "name", n.Name.Name, "err", n.Fallback)
		}
		if n.Changed != "" {
			s.d.log.Warn("the name of a "+n.what+" was made valid", "container", s.name(), "from", n.from, "name", n.Name.Name, "change", n.Changed)
		}
	}
	entity, err := conf.Entity(c)
	if err != nil {
		s.d.log.Warn("a part of a container's entity is left out", "container", s.name(), "err", err)
	}
	to := target.Target{
		Access: conf.Access, Group: group.Name, Stream: stream.Name,
		EMF: conf.Format == config.FormatEMF, Entity: entity, Create: conf.Create,
	}
	to.Region = c.Region
	return to, nil
}

// logGroup renders the name of the group that may have the container's lines. After a panic it is the default group's, as
// far as that is allowed.
func (s *session) logGroup(c *naming.Container, conf *config.Container) (n naming.Name, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.logPanic("rendering the name of a log group panicked; the default name is used", r)
			plain := *conf
			plain.Group = s.d.o.Settings.Group
			n, err = s.d.o.Settings.LogGroup(&plain, c)
		}
	}()
	return s.d.o.Settings.LogGroup(conf, c)
}

// render renders a name. A template that panics costs the container its name, not its lines: the default is used.
func (s *session) render(what string, render func(*naming.Template, *naming.Container) naming.Name, t *naming.Template, c *naming.Container) (n naming.Name) {
	defer func() {
		if r := recover(); r != nil {
			s.logPanic("rendering the name of a "+what+" panicked; the default name is used", r)
			n = render(nil, &naming.Container{Info: container.Info{ID: c.ID, Name: c.Name}, LoggerHost: c.LoggerHost})
		}
	}()
	return render(t, c)
}
