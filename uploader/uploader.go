// Package uploader delivers events to CloudWatch Logs: it pulls them from feeds, makes batches within the
// service's limits, sends them again until they are taken, makes groups and streams that
// are missing, and tells each feed what is delivered.
//
// An event is only ever in its feed and, while a request is in flight, in that request's body: a batch
// that failed is forgotten, its feeds are rewound, and it is built again at the next try. So an outage costs no
// memory, however long it is and however many containers there are.
//
// Each stream has a sender (sender.go), a goroutine of its own that alone calls the feeds of that stream. The senders of
// one access, that is region, endpoint and credentials, share a client, a limiter and the making of groups and streams
// (service.go).
//
// The package must not know FIFOs, containers, log options or the spool; the AWS SDK is known to
// client.go alone.
package uploader

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/target"
)

// Options configure an Uploader.
type Options struct {
	// Config returns the AWS configuration for an access, credentials included. It is called when the first
	// request is to be made, again after it failed, and again when the service does not accept the credentials. It
	// may block, and must return when ctx is done.
	Config ConfigFunc
	// Plain sends request bodies uncompressed.
	Plain bool
	// Version is the product's, for the user agent.
	Version string
	// Log takes what changes; nil: slog.Default(). With level Debug it takes a line a batch.
	Log *slog.Logger
	// OnDropped, if set, is called with every event that the service does not get as it was. It is called before
	// the event is acknowledged to the feed, from the goroutine that calls the feeds of that
	// target, and must not wait for the uploader.
	OnDropped func(Dropped)

	connector connector // tests put their own service here
}

// Uploader sends the events of many feeds. Make one with New.
type Uploader struct {
	log       *slog.Logger
	plain     bool
	onDropped func(Dropped)
	connector connector
	counters  counters

	builders chan struct{} // a token for each batch that is being built
	pool     sync.Pool     // *builder
	zippers  sync.Pool     // *compressor
	batches  sync.Pool     // *batch
	retained *semaphore.Weighted

	// trying ends when nothing more may be waited for; stopping is closed when nothing more may be begun.
	trying     context.Context
	stopTrying context.CancelFunc
	stopping   chan struct{}
	wg         sync.WaitGroup

	mu       sync.Mutex
	stopped  bool
	services map[target.Access]*service
	senders  map[target.Target]*sender // without Create
}

// New makes an uploader. It starts nothing and asks for nothing until a feed is attached.
func New(o Options) *Uploader {
	u := &Uploader{
		log: o.Log, plain: o.Plain, onDropped: o.OnDropped, connector: o.connector,
		builders: make(chan struct{}, min(maxBuilders, runtime.GOMAXPROCS(0))),
		retained: semaphore.NewWeighted(retainedBudget),
		stopping: make(chan struct{}),
		services: make(map[target.Access]*service),
		senders:  make(map[target.Target]*sender),
	}
	if u.log == nil {
		u.log = slog.Default()
	}
	if u.connector == nil {
		u.connector = newSDK(o.Config, o.Version)
	}
	if u.onDropped == nil {
		u.onDropped = func(Dropped) {}
	}
	u.pool.New = func() any { return new(builder) }
	u.zippers.New = func() any { return newCompressor() }
	u.batches.New = func() any { return new(batch) }
	u.trying, u.stopTrying = context.WithCancel(context.Background())
	return u
}

// Attach begins to deliver the feed's events to the target: what is there already, and what Notify reports.
// Events wait up to delay for company. Feeds with one target share batches, and the shortest of their
// delays counts. Attach never blocks. After Stop nothing is delivered any more.
func (u *Uploader) Attach(t target.Target, f Feed, delay time.Duration) *Delivery {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := t
	key.Create = target.Create{}
	s := u.senders[key]
	if s == nil {
		svc := u.services[key.Access]
		if svc == nil {
			svc = newService(u, key.Access, u.endpoint(key.Access))
			u.services[key.Access] = svc
		}
		s = newSender(u, svc, key, t)
		if !u.stopped {
			u.senders[key] = s
			svc.senders++
			u.counters.senders.Add(1)
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

// endpoint returns that of the access. The lock is held.
func (u *Uploader) endpoint(a target.Access) *endpoint {
	for b, svc := range u.services {
		if a.Region == b.Region && a.Endpoint == b.Endpoint {
			return svc.endpoint
		}
	}
	return newEndpoint()
}

// retire forgets the sender if nobody has joined it in the meantime.
func (u *Uploader) retire(s *sender) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.expectsDeliveries() {
		return false
	}
	delete(u.senders, s.key)
	u.counters.senders.Add(-1)
	// Containers with accesses of their own may come and go for years.
	if s.svc.senders--; s.svc.senders == 0 && len(u.services) > maxIdleServices {
		delete(u.services, s.svc.access)
		s.svc.stop()
	}
	return true
}

// Stop ends all. At once nothing more is taken but what is pending: each sender tries once to send that, and requests under
// way get their answer, so that nothing is sent twice. When ctx is done, nothing is waited for any
// more and all requests are cancelled. Stop returns when every goroutine has ended; what was not acknowledged by
// then is the feeds' still, and no feed is called any more. It returns ctx's error if that ended it.
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

// Metrics returns what was counted so far.
func (u *Uploader) Metrics() Metrics { return u.counters.snapshot() }

// countDropped counts events that will not be delivered, and reports them.
func (u *Uploader) countDropped(d Dropped) {
	u.counters.droppedEvents[d.Reason].Add(int64(d.Events))
	u.counters.droppedBytes[d.Reason].Add(d.Bytes)
	u.onDropped(d)
}

// Metrics is a snapshot of what an Uploader has counted since its start.
type Metrics struct {
	Batches   int64 // accepted
	Events    int64 // in them, those that the service dropped not included
	Bytes     int64 // of those events' messages, as the service counts them
	BodyBytes int64 // of accepted requests' bodies before compression
	SentBytes int64 // of accepted requests' bodies as they were sent
	Retries   int64 // requests that failed and were, or will be, made again
	Throttles int64 // of them, those that were one too many for the service
	Created   int64 // streams made, or found to be there
	Senders   int64 // streams that are being sent to now
	InFlight  int64 // requests in flight now

	DroppedEvents map[events.LossReason]int64
	DroppedBytes  map[events.LossReason]int64
}

// counters are Metrics while they count.
type counters struct {
	batches, events, bytes, bodyBytes, sentBytes, retries, throttles, created, senders, inFlight atomic.Int64

	droppedEvents, droppedBytes [events.LossReasons]atomic.Int64
}

func (c *counters) snapshot() Metrics {
	m := Metrics{
		Batches: c.batches.Load(), Events: c.events.Load(), Bytes: c.bytes.Load(),
		BodyBytes: c.bodyBytes.Load(), SentBytes: c.sentBytes.Load(), Retries: c.retries.Load(),
		Throttles: c.throttles.Load(), Created: c.created.Load(), Senders: c.senders.Load(), InFlight: c.inFlight.Load(),
		DroppedEvents: make(map[events.LossReason]int64), DroppedBytes: make(map[events.LossReason]int64),
	}
	for r := range events.LossReasons {
		m.DroppedEvents[r] = c.droppedEvents[r].Load()
		m.DroppedBytes[r] = c.droppedBytes[r].Load()
	}
	return m
}
