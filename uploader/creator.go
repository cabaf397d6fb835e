package uploader

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// creator makes the streams and groups that turn out to be missing. Nothing is created before
// PutLogEvents has said that it is missing: the quota of that call is a hundred times CreateLogStream's, a
// container that was restarted finds its stream there, and where streams exist no permission to create is needed. A
// new stream costs one request more that way, with a body that is small at that time.
//
// Calls are spread below the quotas, which all hosts of the account share, and a brake of their own
// holds them when they are throttled all the same.
type creator struct {
	s         *service
	log       *slog.Logger
	brake     *brake
	quotas    *quotas
	retention *reporter

	mu    sync.Mutex
	known map[string]*group
}

// maxCreating is how many creating calls may be under way at once.
const maxCreating = 4

func newCreator(s *service, log *slog.Logger, q *quotas) *creator {
	return &creator{
		s: s, log: log,
		brake:     newBrake(maxCreating),
		quotas:    q,
		retention: &reporter{log: log, what: "setting a log group's retention", then: "it is tried again, and logging goes on"},
		known:     make(map[string]*group),
	}
}

// mostKnown bounds how many groups are remembered. Forgetting costs a request at most.
const mostKnown = 1024

// create makes the target's stream, and its group if that is missing too. That something exists
// already is success. It blocks until the quotas allow, the answer is there, or the uploader
// stops trying.
func (c *creator) create(t Target) (verdict, error) {
	ctx := c.s.u.trying
	g := c.group(t.Group)
	stream := func(ctx context.Context, cl client) error { return cl.CreateLogStream(ctx, t.Group, t.Stream) }
	for {
		first, err := c.enter(ctx, g)
		if err != nil {
			return cancelled, err
		}
		v, err := c.call(ctx, c.quotas.streams, stream)
		if v == accepted && first && g.mayBeOurs() {
			c.made(t.Group, g.days)
		}
		if v == missing && first && t.CreateGroup {
			if v, err = c.makeGroup(ctx, g, t); v == accepted {
				v, err = c.call(ctx, c.quotas.streams, stream)
			}
		}
		if v == accepted || v == missing {
			c.setExists(g, v == accepted)
		}
		if first {
			<-g.first
		} else if v == missing {
			continue // the group was there and is deleted
		}
		return v, err
	}
}

// group returns what is known of the group.
func (c *creator) group(name string) *group {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.known[name]
	if g == nil {
		if len(c.known) >= mostKnown {
			clear(c.known)
		}
		g = &group{first: make(chan struct{}, 1)}
		c.known[name] = g
	}
	return g
}

// enter waits until the group is known to exist, and returns false; or until it is the caller who has to find out, and
// returns true: then g.first is the caller's to give back.
func (c *creator) enter(ctx context.Context, g *group) (first bool, err error) {
	if c.exists(g) {
		return false, nil
	}
	select {
	case g.first <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if c.exists(g) {
		<-g.first
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
	p := c.brake.enqueue()
	select {
	case <-p.ready:
		if p.refused {
			return cancelled, errStopped
		}
	case <-ctx.Done():
		p.cancel()
		return cancelled, ctx.Err()
	}
	err := c.s.with(f)
	v := classify(err, false)
	p.release(v)
	return v, err
}
