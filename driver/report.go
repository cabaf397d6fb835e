package driver

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/status"
)

// Report fills in what the driver knows: containers, what has ended, the intake, the disk, and
// how many containers the descriptors suffice for. It may be called from any goroutine, also
// before Start has returned. It takes no lock that is held over disk I/O or a wait, so it
// answers while the disk hangs.
func (d *Driver) Report(r *status.Report) {
	sessions, ended := d.snapshot()
	sortByName(sessions)
	r.Containers = make([]status.Container, 0, len(sessions))
	for _, s := range sessions {
		if c, ok := s.report(); ok {
			r.Containers = append(r.Containers, c)
		} else {
			ended.Add(c.Traffic)
		}
	}
	r.Ended = ended
	r.Intake = d.reportIntake()
	r.Disk = d.reportDisk()
	r.Process.MaxContainers = d.limits.fifos
}

// sortByName sorts sessions by the name of their container, and then by its ID. It sorts them
// and not their reports, because a report is large.
func sortByName(sessions []*session) {
	type named struct {
		name string
		*session
	}
	all := make([]named, len(sessions))
	for i, s := range sessions {
		s.mu.Lock()
		all[i] = named{s.currentRunLocked().info.Name, s}
		s.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b named) int { return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.id, b.id)) })
	for i := range all {
		sessions[i] = all[i].session
	}
}

func (d *Driver) reportIntake() status.Intake {
	n := d.fifos.intake.Counts()
	i := status.Intake{Reads: n.Reads, Resyncs: n.Resyncs, ResyncBytes: n.Skipped, Refused: d.refused.starts.Load()}
	i.FIFOs, i.Discarding = d.fifos.count()
	return i
}

func (d *Driver) reportDisk() status.Disk {
	disk := d.space.report()
	disk.Used, disk.Archived, disk.Limit = d.budget.Used(), d.budget.Archived(), d.settings.SpoolTotalSize
	select {
	case <-d.ready: // Start may have raised the limit.
		disk.Limit = d.budget.Limit()
	default:
	}
	return disk
}

// report describes the container. ok is false if it does not run and everything is delivered.
func (s *session) report() (c status.Container, ok bool) {
	s.mu.Lock()
	info, conf := &s.currentRunLocked().info, s.currentRunLocked().conf
	attached, stopped := len(s.attached), 0
	for _, a := range s.attached {
		if a.stopped {
			stopped++
		}
	}
	streams := make([]status.Stream, len(s.streams))
	current := make([]currentStream, len(s.streams))
	for i, t := range s.streams {
		streams[i], current[i] = t.report(len(s.streams) > 1), currentStream{t.delivery, t.feed}
	}
	c = status.Container{ID: s.id, Name: strings.TrimPrefix(info.Name, "/")}
	s.mu.Unlock()

	c.Streams, c.Traffic = streams, s.trafficNow()
	for i, at := range current {
		if at.delivery != nil {
			streams[i].Error = at.delivery.Failure()
		}
	}
	c.Losses = s.traffic.drops.list()
	if at := s.traffic.lastEvent.Load(); at != 0 {
		c.LastEvent = time.Unix(0, at).UTC()
	}
	c.Options = s.options(conf)
	c.Spool = status.Spool{
		Bytes: s.spool.DiskUsage(), Limit: s.fullness.limit, HistoryLimit: s.history, Full: string(conf.SpoolFull),
	}
	var h hold
	c.State, h = s.state(conf, attached, stopped)
	c.Held, c.HeldRemedy = h.why, h.remedy
	if c.State == status.ContainerIgnored {
		c.Undelivered.Lines = new(int64)
		return c, attached > 0
	}
	c.Undelivered, c.PendingGaps = s.waiting(current)
	return c, attached > 0 || c.Undelivered.Bytes > 0 || c.PendingGaps > 0
}

// state returns the container's state, and why it is held.
func (s *session) state(conf *config.Container, attached, stopped int) (state string, h hold) {
	h.why = conf.Hold
	if now := s.held.Load(); now != nil {
		h = *now
	}
	switch {
	case conf.Ignore:
		return status.ContainerIgnored, hold{}
	case h.why != "":
		return status.ContainerHeld, h
	case attached == 0:
		return status.ContainerStopped, hold{}
	case stopped == attached:
		return status.ContainerDraining, hold{}
	}
	return status.ContainerRunning, hold{}
}

// currentStream is what delivers a stream now, or nothing.
type currentStream struct {
	delivery Delivery
	feed     *feed.Feed
}

// waiting returns what waits for delivery, and the number of losses without a marker.
//
// The spool knows the time of the first line, but in a long backlog only roughly. While one
// feed reads all of it, the feed knows it better. Both may be too early, but not too late.
func (s *session) waiting(streams []currentStream) (b status.Backlog, gaps int) {
	w := s.spool.Backlog()
	b.Bytes, b.Oldest = w.Bytes, w.Oldest.UTC()
	if lines := int64(w.Frames); lines >= 0 {
		b.Lines = &lines
	}
	if len(streams) == 1 && streams[0].feed != nil && w.Bytes > 0 {
		if _, _, oldest := streams[0].feed.Backlog(); oldest.After(b.Oldest) {
			b.Oldest = oldest.UTC()
		}
	}
	return b, w.Gaps
}

// report describes the stream, except for what stops its delivery. one says that the stream
// gets only one output. It is called with session.mu held.
func (t *logStream) report(one bool) status.Stream {
	r := status.Stream{
		Region: t.Region, Endpoint: t.Endpoint, Role: t.RoleARN, Group: t.Group, Stream: t.Stream,
		RegionFrom: t.from.region, GroupFrom: t.from.group, StreamFrom: t.from.stream,
		Delivered: t.deliveredNow(), Dropped: t.drops.counters(),
	}
	if one {
		r.Output = t.outputs.String()
	}
	if t.CredentialsEndpoint != "" {
		r.Credentials = status.EndpointCredentials
	}
	if at, events, bytes := t.stats.LastBatch(); !at.IsZero() {
		r.LastBatch = &status.Batch{Time: at.UTC(), Events: events, Bytes: bytes}
	}
	return r
}

// described are the options of a configuration, for the report.
type described struct {
	conf    *config.Container
	options []status.Option
}

// options returns the options as the plugin understands them. It describes a configuration
// once, because a report is made every few seconds.
func (s *session) options(conf *config.Container) []status.Option {
	if d := s.described.Load(); d != nil && d.conf == conf {
		return d.options
	}
	d := &described{conf: conf}
	for _, o := range conf.Described() {
		d.options = append(d.options, status.Option(o))
	}
	s.described.Store(d)
	return d.options
}
