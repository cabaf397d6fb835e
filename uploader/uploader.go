// Package uploader delivers events to CloudWatch Logs. It takes events from feeds, builds
// batches within CloudWatch's limits, sends them until CloudWatch accepts them, creates
// missing log groups and streams, and acknowledges to each feed what is delivered.
//
// An event is in its feed and, while a request is in flight, in that request's body, and
// nowhere else. A batch that failed is discarded, its feeds are rewound, and the next try
// builds a new batch. An outage therefore costs no memory, however long it lasts and
// however many containers there are (docs/decisions/0002-forget-failed-batches.md).
//
// Each log stream has a sender (sender.go), whose goroutine is the only one that calls the
// feeds of that stream. Senders of one access (region, endpoint and credentials) share a
// client, a limiter and the creation of groups and streams (service.go). A sender with little to
// send goes before those with a backlog (limiter.go, docs/decisions/0010-small-requests-first.md).
//
// The package must not know FIFOs, containers, log options or the spool. Only client.go
// knows the AWS SDK.
package uploader

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/target"
)

// Options configure an Uploader.
//
// The Uploader calls Config before the first request, again after Config failed, and
// again when CloudWatch does not accept the credentials. Config may block, and must
// return when ctx is done.
type Options struct {
	// Config returns the AWS configuration for an access, with its credentials.
	Config ConfigFunc
	// Plain means that request bodies are not compressed.
	Plain bool
	// Version is the plugin's version, for the user agent.
	Version string
	// Log gets failures, losses, what was created, and a line for each batch at level
	// Debug; nil means slog.Default().
	Log *slog.Logger

	// connector is a test's own CloudWatch.
	connector connector
}

// Uploader sends the events of many feeds. Make one with New.
type Uploader struct {
	log       *slog.Logger
	plain     bool
	connector connector
	pool      *pool
	requests  chan func() // requests hands a request to a goroutine that waits for one.
	clock     *faultlog.Shared[*service]
	created   time.Time // created is when the uploader was made, from which common times count.

	stopping   chan struct{}   // stopping is closed when Stop begins; nothing new may begin then.
	trying     context.Context // trying is done when nothing may be waited for any more.
	stopTrying context.CancelFunc
	wg         sync.WaitGroup // wg counts every goroutine of the uploader.

	registry
}

// registry holds the services and senders of an Uploader.
type registry struct {
	mu       sync.Mutex
	stopped  bool
	services map[target.Access]*service
	senders  map[target.Target]*sender // senders has each sender by its target without Create.
	retired  Metrics                   // retired has the sums of the services that were forgotten.
}

// New makes an uploader. It starts no goroutine and sends no request until a feed is
// attached.
func New(o Options) *Uploader {
	u := &Uploader{
		log: o.Log, plain: o.Plain, connector: o.connector,
		pool:     newPool(),
		requests: make(chan func()),
		created:  time.Now(),
		stopping: make(chan struct{}),
		registry: registry{
			services: make(map[target.Access]*service),
			senders:  make(map[target.Target]*sender),
		},
	}
	if u.log == nil {
		u.log = slog.Default()
	}
	if u.connector == nil {
		u.connector = newSDK(o.Config, o.Version)
	}
	u.clock = faultlog.NewShared[*service](u.log, "the host's clock is wrong; events get wrong times, and CloudWatch drops events that are hours ahead",
		"the host's clock is right again", func([]*service) []any { return nil })
	u.trying, u.stopTrying = context.WithCancel(context.Background())
	return u
}

// Attach starts to deliver the feed's events to the target: those that the feed has, and
// those that Notify reports later. An event waits up to delay so that others can be sent
// with it. Feeds of one target share batches, and the shortest of their delays applies.
// Attach does not block. After Stop, nothing is delivered.
func (u *Uploader) Attach(t target.Target, f Feed, delay time.Duration) *Delivery {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := t
	key.Create = target.Create{}
	s := u.senders[key]
	if s == nil {
		svc := u.services[key.Access]
		if svc == nil {
			svc = newService(u, key.Access, u.endpointLocked(key.Access))
			u.services[key.Access] = svc
		}
		s = newSender(u, svc, key, t)
		if !u.stopped {
			u.senders[key] = s
			svc.senders++
			u.wg.Go(s.run)
		}
	}
	d := newDelivery(s, t, f, delay)
	if u.stopped {
		close(d.released)
		return d
	}
	s.join(d)
	return d
}

// endpointLocked returns the endpoint of the access, which other accesses may share.
func (u *Uploader) endpointLocked(a target.Access) *endpoint {
	for b, svc := range u.services {
		if a.Region == b.Region && a.Endpoint == b.Endpoint {
			return svc.endpoint
		}
	}
	return newEndpoint()
}

// retire forgets the sender and returns true, unless a delivery has joined it in the
// meantime.
func (u *Uploader) retire(s *sender) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.expectsDeliveries() {
		return false
	}
	delete(u.senders, s.key)
	// Over the years, many containers with accesses of their own may come and go.
	if s.svc.senders--; s.svc.senders > 0 {
		return true
	}
	u.clock.Forget(s.svc) // no answer will say that the clock is right again
	if len(u.services) > maxIdleServices {
		delete(u.services, s.svc.access)
		s.svc.stats.addTo(&u.retired)
		s.svc.stop()
	}
	return true
}

// Stop ends all deliveries. Each sender tries once to send what is pending. Requests in
// flight get their answer, so that nothing is sent twice. When ctx is done, all requests
// are cancelled and nothing is waited for any more. Stop returns when every goroutine has
// ended. The feeds keep what is not acknowledged by then, and are not called any more. Stop
// returns ctx's error if it had to cancel.
func (u *Uploader) Stop(ctx context.Context) error {
	u.mu.Lock()
	if !u.stopped {
		u.stopped = true
		close(u.stopping)
		for _, svc := range u.services {
			svc.close()
		}
	}
	u.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		u.wg.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = ctx.Err()
		u.stopTrying()
		<-ended
	}
	u.stopTrying()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, svc := range u.services {
		svc.stop()
	}
	u.connector.close()
	return err
}

// Metrics is a snapshot of what an Uploader has counted since New.
type Metrics struct {
	Batches   int64 // Batches counts accepted batches.
	Events    int64 // Events counts accepted events, without those that CloudWatch dropped.
	Bytes     int64 // Bytes is the size of Events, as CloudWatch counts it.
	BodyBytes int64 // BodyBytes is the size of accepted batches' bodies before compression.
	SentBytes int64 // SentBytes is the size of accepted batches' bodies as they were sent.
	Retries   int64 // Retries counts requests that failed and are sent again.
	Throttles int64 // Throttles counts the Retries that CloudWatch throttled.
	Created   int64 // Created counts streams that were created or already existed.
	Senders   int64 // Senders is the number of streams that have a sender now.
	InFlight  int64 // InFlight is the number of requests in flight now.

	DroppedEvents [events.LossReasons]int64
	DroppedBytes  [events.LossReasons]int64
}

// Metrics returns what was counted so far, as a sum over all services.
func (u *Uploader) Metrics() Metrics {
	u.mu.Lock()
	defer u.mu.Unlock()
	m := u.retired
	for _, svc := range u.services {
		svc.stats.addTo(&m)
	}
	m.Senders = int64(len(u.senders))
	return m
}

// Status describes each service: CloudWatch Logs with one access. The services are in the
// order of their regions. A service that no log stream uses any more is idle, and is
// forgotten some time later.
//
// Status takes no lock that a sender takes for a batch.
func (u *Uploader) Status() []status.Service {
	type user struct {
		svc     *service
		senders int
	}
	u.mu.Lock()
	users := make([]user, 0, len(u.services))
	for _, svc := range u.services {
		users = append(users, user{svc, svc.senders})
	}
	u.mu.Unlock()
	slices.SortFunc(users, func(x, y user) int { return compareAccess(x.svc.access, y.svc.access) })
	now := time.Now()
	all := make([]status.Service, 0, len(users))
	for _, user := range users {
		all = append(all, user.svc.status(now, user.senders))
	}
	return all
}

func compareAccess(x, y target.Access) int {
	return cmp.Or(cmp.Compare(x.Region, y.Region), cmp.Compare(x.Endpoint, y.Endpoint), cmp.Compare(x.RoleARN, y.RoleARN),
		cmp.Compare(x.ExternalID, y.ExternalID), cmp.Compare(x.CredentialsEndpoint, y.CredentialsEndpoint))
}
