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
	"time"

	"golang.org/x/sync/semaphore"

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
	trying   context.Context
	giveUp   context.CancelFunc
	stopping chan struct{}
	wg       sync.WaitGroup

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
	u.trying, u.giveUp = context.WithCancel(context.Background())
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
	l := u.senders[key]
	if l == nil {
		s := u.services[key.Access]
		if s == nil {
			s = newService(u, key.Access, u.endpoint(key.Access))
			u.services[key.Access] = s
		}
		l = newSender(u, s, key, t)
		if !u.stopped {
			u.senders[key] = l
			s.senders++
			u.counters.senders.Add(1)
			u.wg.Go(l.run)
		}
	}
	m := newDelivery(l, t, f, delay)
	if u.stopped {
		close(m.left)
		return m
	}
	l.join(m)
	return m
}

// endpoint returns that of the access. The lock is held.
func (u *Uploader) endpoint(a target.Access) *endpoint {
	for b, s := range u.services {
		if a.Region == b.Region && a.Endpoint == b.Endpoint {
			return s.endpoint
		}
	}
	return newEndpoint()
}

// retire forgets the sender if nobody has joined it in the meantime.
func (u *Uploader) retire(l *sender) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if l.expectsDeliveries() {
		return false
	}
	delete(u.senders, l.key)
	u.counters.senders.Add(-1)
	// Containers with accesses of their own may come and go for years.
	if l.s.senders--; l.s.senders == 0 && len(u.services) > mostServices {
		delete(u.services, l.s.access)
		l.s.stop()
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
		for _, s := range u.services {
			s.close()
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
		u.giveUp()
		<-ended
	}
	u.giveUp()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.services {
		s.stop()
	}
	u.connector.close()
	return err
}

// Metrics returns what was counted so far.
func (u *Uploader) Metrics() Metrics { return u.counters.snapshot() }

// reserve returns an empty batch that may become as large as any, once there is memory for it and a builder is free.
// It returns nil when the uploader gives up.
func (u *Uploader) reserve(plain bool) *batch {
	weight := int64(retainedZipped)
	if plain {
		weight = retainedPlain
	}
	if u.retained.Acquire(u.trying, weight) != nil {
		return nil
	}
	select {
	case u.builders <- struct{}{}:
	case <-u.trying.Done():
		u.retained.Release(weight)
		return nil
	}
	b := u.batches.Get().(*batch)
	b.weight = weight
	return b
}

// built gives back the builder, and the memory that the batch did not need.
func (u *Uploader) built(b *batch) {
	<-u.builders
	if spare := b.weight - b.bytesHeld(); spare > 0 {
		u.retained.Release(spare)
		b.weight -= spare
	}
}

// unreserve gives back the batch's share of the retained budget, if it has one still.
func (u *Uploader) unreserve(b *batch) {
	u.retained.Release(b.weight)
	b.weight = 0
}

// free takes the batch back when nobody knows it any more.
func (u *Uploader) free(b *batch) {
	u.unreserve(b)
	b.permit = nil
	if cap(b.out) > maxBodyBytes*2 {
		b.out = nil // a single event made it so large
	}
	for i := range b.parts {
		b.parts[i].delivery = nil
	}
	u.batches.Put(b)
}

// drop counts events that will not be delivered, and reports them.
func (u *Uploader) drop(d Dropped) {
	u.counters.droppedEvents[d.Reason].Add(int64(d.Events))
	u.counters.droppedBytes[d.Reason].Add(d.Bytes)
	u.onDropped(d)
}
