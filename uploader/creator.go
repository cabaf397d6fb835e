package uploader

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/target"
)

// creator creates missing log streams and groups. It creates nothing before PutLogEvents
// has said that the stream or group does not exist. The quota of PutLogEvents is a hundred
// times that of CreateLogStream, a restarted container finds its stream, and if streams
// exist, no permission to create is needed. A new stream costs one more request with a
// body, which is small at that time.
//
// The rates of the calls stay below the quotas, which all hosts of the account share. A
// limiter of its own slows the calls down if CloudWatch throttles them nevertheless.
type creator struct {
	svc       *service
	log       *slog.Logger
	limiter   *limiter
	endpoint  *endpoint
	retention *faultlog.Fault

	mu    sync.Mutex
	known map[string]*group
}

// maxCreations is how many calls that create may be in flight at once.
const maxCreations = 4

// maxKnownGroups bounds how many groups are remembered. A forgotten group costs at most one
// request.
const maxKnownGroups = 1024

func newCreator(svc *service, log *slog.Logger, e *endpoint) *creator {
	return &creator{
		svc: svc, log: log,
		limiter:  newLimiter(maxCreations),
		endpoint: e,
		retention: faultlog.NewFault(log, "cannot set a log group's retention; the plugin keeps trying, and logs are delivered",
			"a log group's retention can be set again", nil),
		known: make(map[string]*group),
	}
}

// create creates the target's stream, and its group if the group does not exist. It
// succeeds if they exist already. It blocks until the quotas allow the calls and the
// answers arrive, or the uploader stops trying. All senders of a group share a failure of
// the group: until is when the next call is worth making.
func (c *creator) create(t target.Target) (v verdict, until time.Time, err error) {
	ctx := c.svc.u.trying
	g := c.group(t.Group)
	for {
		first, err := g.await(ctx)
		if err != nil {
			return cancelled, until, err
		}
		if first {
			defer func() { <-g.lookup }()
			if f := g.failure; f.applies(t) {
				return f.verdict, f.until, f.err
			}
			v, err = c.createWithGroup(ctx, g, t)
			return v, g.failure.until, err
		}
		v, err = c.createStream(ctx, t)
		if v != notFound {
			return v, until, err
		}
		g.exists.Store(false) // the group existed and was deleted
	}
}

func (c *creator) createStream(ctx context.Context, t target.Target) (verdict, error) {
	return c.call(ctx, c.endpoint.streams, func(ctx context.Context, cl client) error {
		return cl.CreateLogStream(ctx, t.Group, t.Stream)
	})
}

// createWithGroup creates the stream while it is unknown whether the group exists. The
// caller holds g.lookup.
func (c *creator) createWithGroup(ctx context.Context, g *group, t target.Target) (verdict, error) {
	v, err := c.createStream(ctx, t)
	if v == accepted && g.mayBeOurs() {
		c.groupCreated(t.Group, g.days)
	}
	aboutGroup := v == notFound
	if aboutGroup && t.Create.Group {
		if v, err = c.createGroup(ctx, g, t); v == accepted {
			v, err = c.createStream(ctx, t)
			aboutGroup = v == notFound
		}
	}
	g.exists.Store(v == accepted)
	switch {
	case !aboutGroup:
		g.failure = groupFailure{}
	case v != accepted && v != cancelled && !v.shared():
		g.failure = g.failure.next(t, v, err)
	}
	return v, err
}

// group returns what is known about the group.
func (c *creator) group(name string) *group {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.known[name]
	if g == nil {
		if len(c.known) >= maxKnownGroups {
			clear(c.known)
		}
		g = newGroup(c, name)
		c.known[name] = g
	}
	return g
}

// call makes one call that creates. It blocks until the rate and the limiter allow the
// call.
func (c *creator) call(ctx context.Context, rate *rate.Limiter, f func(context.Context, client) error) (verdict, error) {
	// Hosts that boot together must not send their first calls together.
	jitter := time.NewTimer(rand.N(100 * time.Millisecond))
	defer jitter.Stop()
	select {
	case <-jitter.C:
	case <-ctx.Done():
		return cancelled, ctx.Err()
	}
	if err := rate.Wait(ctx); err != nil {
		return cancelled, err
	}
	p := c.limiter.enqueue(false, false)
	select {
	case <-p.ready:
		if p.refused {
			return cancelled, errStopped
		}
	case <-ctx.Done():
		p.cancel()
		return cancelled, ctx.Err()
	}
	err := c.svc.call(f)
	v := classify(err, false)
	p.release(v, 0)
	return v, err
}
