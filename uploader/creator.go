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

// creator makes the streams and groups that turn out to be missing. Nothing is created before
// PutLogEvents has said that it is missing: the quota of that call is a hundred times CreateLogStream's, a
// container that was restarted finds its stream there, and where streams exist no permission to create is needed. A
// new stream costs one request more that way, with a body that is small at that time.
//
// Calls are spread below the quotas, which all hosts of the account share, and a limiter of their own
// holds them when they are throttled all the same.
type creator struct {
	svc       *service
	log       *slog.Logger
	limiter   *limiter
	endpoint  *endpoint
	retention *faultlog.Fault

	mu    sync.Mutex
	known map[string]*group
}

// maxCreations is how many creating calls may be in flight at once.
const maxCreations = 4

func newCreator(svc *service, log *slog.Logger, e *endpoint) *creator {
	return &creator{
		svc: svc, log: log,
		limiter:  newLimiter(maxCreations),
		endpoint: e,
		retention: faultlog.NewFault(log, "setting a log group's retention failed; the plugin keeps trying, and logging goes on",
			"setting a log group's retention works again", nil),
		known: make(map[string]*group),
	}
}

// maxKnownGroups bounds how many groups are remembered. Forgetting costs a request at most.
const maxKnownGroups = 1024

// create makes the target's stream, and its group if that is missing too. That something exists already is success. It
// blocks until the quotas allow, the answer is there, or the uploader stops trying. A failure that is the group's is
// shared by all who want a stream in it: until says when the next call is worth making.
func (c *creator) create(t target.Target) (v verdict, until time.Time, err error) {
	ctx := c.svc.u.trying
	g := c.group(t.Group)
	for {
		first, err := c.awaitGroup(ctx, g)
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
		c.setExists(g, false) // the group was there and is deleted
	}
}

func (c *creator) createStream(ctx context.Context, t target.Target) (verdict, error) {
	return c.call(ctx, c.endpoint.streams, func(ctx context.Context, cl client) error {
		return cl.CreateLogStream(ctx, t.Group, t.Stream)
	})
}

// createWithGroup creates the stream where nobody knows whether the group exists. g.first is held.
func (c *creator) createWithGroup(ctx context.Context, g *group, t target.Target) (verdict, error) {
	v, err := c.createStream(ctx, t)
	if v == accepted && g.mayBeOurs() {
		c.groupCreated(t.Group, g.days)
	}
	groups := v == notFound // the answer is about the group
	if groups && t.Create.Group {
		if v, err = c.createGroup(ctx, g, t); v == accepted {
			v, err = c.createStream(ctx, t)
			groups = v == notFound
		}
	}
	c.setExists(g, v == accepted)
	switch {
	case !groups:
		g.failure = groupFailure{}
	case v != accepted && v != cancelled && !v.shared():
		g.failure = g.failure.next(t, v, err)
	}
	return v, err
}

// group returns what is known of the group.
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

// awaitGroup waits until the group is known to exist, and returns false; or until it is the caller who has to find out, and
// returns true: then g.first is the caller's to give back.
func (c *creator) awaitGroup(ctx context.Context, g *group) (first bool, err error) {
	if c.exists(g) {
		return false, nil
	}
	select {
	case g.lookup <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if c.exists(g) {
		<-g.lookup
		return false, nil
	}
	return true, nil
}

func (c *creator) exists(g *group) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return g.exists
}

func (c *creator) setExists(g *group, exists bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g.exists = exists
}

// call makes one creating call when its turn has come.
func (c *creator) call(ctx context.Context, l *rate.Limiter, f func(context.Context, client) error) (verdict, error) {
	// Hosts that boot together must not knock together.
	jitter := time.NewTimer(rand.N(100 * time.Millisecond))
	defer jitter.Stop()
	select {
	case <-jitter.C:
	case <-ctx.Done():
		return cancelled, ctx.Err()
	}
	if err := l.Wait(ctx); err != nil {
		return cancelled, err
	}
	p := c.limiter.enqueue()
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
	p.release(v)
	return v, err
}
