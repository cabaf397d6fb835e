// Package selfmetrics sends the plugin's key figures to CloudWatch Logs once a minute, so that
// CloudWatch's alarms find a host that does not ship. The figures are events in the embedded
// metric format (figures.go), which the uploader delivers like those of a container (feed.go).
//
// The events are only in memory, and there are few of them: they must never take anything from
// the containers' lines. The package must not know FIFOs, containers or the spool.
package selfmetrics

import (
	"context"
	"strings"
	"time"

	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/uploader"
)

const (
	// Interval is the time between two events. It is the resolution of CloudWatch's metrics.
	Interval = time.Minute

	// maxEvents is how many events are kept while CloudWatch accepts none.
	maxEvents = 60

	// lookUpTime is how long a look-up of the region may take. The next one comes with the
	// next event.
	lookUpTime = 10 * time.Second
)

// Options configure a Sender.
type Options struct {
	// Source has the figures.
	Source status.Source
	// Uploader delivers the events.
	Uploader *uploader.Uploader
	// Access is that of a container without log options, so that they share a client. If its
	// region is empty, Region finds it.
	Access target.Access
	// Region finds the region. It may wait until ctx is done.
	Region func(ctx context.Context) (string, error)
	// Group is the log group. It is a valid name.
	Group string
	// Create says what the plugin may create, and what a new group gets.
	Create target.Create
	// Host is the Docker host's name.
	Host string
}

// Sender sends the figures.
type Sender struct {
	o        Options
	feed     feed
	delivery *uploader.Delivery // delivery is nil until the region is known.
	last     figures            // last has the counters of the last event.
}

// New returns a Sender. It does nothing until Run.
func New(o Options) *Sender { return &Sender{o: o} }

// Run makes an event at once, and then one each minute, until ctx is done. It blocks. The
// uploader may still deliver events afterwards: its Stop ends that.
func (s *Sender) Run(ctx context.Context) {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		s.send(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// send makes an event, and hands it to the uploader once there is a region.
func (s *Sender) send(ctx context.Context, now time.Time) {
	r := s.o.Source.Report()
	if r == nil {
		return
	}
	current := figuresOf(r)
	message := encode(s.o.Host, now, current.since(s.last))
	s.last = current
	s.feed.add(now, message)
	if s.delivery == nil && !s.attach(ctx) {
		return
	}
	s.delivery.Notify(1, len(message))
}

// attach attaches the feed, if the region is known. Nothing is logged if it is not: the
// containers need it too, and the log says so for them.
func (s *Sender) attach(ctx context.Context) bool {
	to := target.Target{Access: s.o.Access, Group: s.o.Group, Stream: streamName(s.o.Host), EMF: true, Create: s.o.Create}
	if to.Region == "" {
		ctx, cancel := context.WithTimeout(ctx, lookUpTime)
		defer cancel()
		var err error
		if to.Region, err = s.o.Region(ctx); err != nil {
			return false
		}
	}
	if to.Create.NewGroup != nil {
		n := *to.Create.NewGroup
		n.Class = "" // CloudWatch makes no metrics of events in another class than STANDARD
		to.Create.NewGroup = &n
	}
	s.delivery = s.o.Uploader.Attach(to, &s.feed, 0)
	return true
}

// streamName returns a valid name of a log stream (API reference, CreateLogStream).
func streamName(host string) string {
	return strings.NewReplacer(":", "_", "*", "_").Replace(dimension(host))
}
