package driver

import (
	"context"
	"errors"
	"time"

	"github.com/logspool/logspool/driver/feed"
	"github.com/logspool/logspool/internal/config"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/stream"
)

// retryDelay is how long to wait before trying again what failed, such as finding the region.
const retryDelay = 2 * time.Second

// deliver is the owner's work. It delivers the container runs one after the other, each under
// the names that are computed when its delivery begins. When nothing is left to deliver and
// nobody holds the session, it ends the session.
func (s *session) deliver(ctx context.Context) {
	for s.awaitWork(ctx, s.spool.Pending) {
		run := s.nextRun()
		if !s.waitWhileHeld(ctx, run) {
			return
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
		// If everything readable is delivered and more is pending, the rest cannot be
		// read now.
		if run.ended.Load() && s.spool.Pending() && s.spool.Acked() == before && !pause(ctx, retryDelay) {
			return
		}
	}
}

// ignoreStep is after how many bytes an ignored container's data is acknowledged. With a
// small history, it is an eighth of that.
const ignoreStep = 1 << 20

// ignore is the owner's work for a container that asked not to be delivered. It acknowledges
// what the container writes, which stays available for docker logs.
func (s *session) ignore(ctx context.Context) {
	step := uint64(min(ignoreStep, max(s.history/8, 16<<10)))
	due := func() bool {
		return s.spool.End()-s.spool.Acked() >= step || s.currentRun().ended.Load() && s.spool.Pending()
	}
	for s.awaitWork(ctx, due) {
		acked := s.spool.Acked()
		if err := s.spool.Ack([]stream.Range{{From: acked, To: s.spool.End()}}); err != nil && !pause(ctx, retryDelay) {
			return
		}
	}
}

// pause waits for d. It returns false if ctx is done before.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// waitFor calls ready after each change until ready returns true. It returns false if ctx is
// done.
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

// awaitWork waits until ready returns true. It returns false if ctx is done, or if it has
// ended the session because nobody holds it and there is no work.
func (s *session) awaitWork(ctx context.Context, ready func() bool) bool {
	for s.waitFor(ctx, func() bool { return ready() || s.idle() }) {
		if ready() {
			return true
		}
		if s.retire() {
			return false
		}
	}
	return false
}

// holdBack logs, until ctx is done, that ALLOW_GROUPS allows no group for the container's
// lines.
func (s *session) holdBack(ctx context.Context, err error) {
	defer s.env.holds.remove(s, noGroup, false)
	for {
		s.env.holds.add(s, noGroup, err)
		if !pause(ctx, faultlog.Repeat+time.Second) {
			return
		}
	}
}

// deliverRun delivers a container run until the run has ended and all of it is delivered, or
// it continues. It returns false if ctx is done before.
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
	for _, d := range deliveries {
		d.Finish()
	}
	for _, d := range deliveries {
		for delivered := false; !delivered && run.ended.Load(); {
			select {
			case <-ctx.Done():
				return false
			case <-s.changed:
			case <-d.Done():
				delivered = true
			}
		}
	}
	return true
}

// startDeliveries makes the feeds of a container run and starts their delivery.
func (s *session) startDeliveries(run *containerRun, to []destination) (deliveries []Delivery, feeds []*feed.Feed) {
	s.mu.Lock()
	delay := run.conf.Delay
	for _, t := range to {
		feeds = append(feeds, feed.New(s.spool, feed.Options{
			Outputs: t.outputs, Ended: &run.ended, Limit: run.to, Events: t.events, Name: s.name(),
			OnLost: s.losses.lost, OnPanic: s.logPoison, OnPoison: s.savePoison,
		}))
	}
	s.active = &activeRun{run, feeds} // From now on, the start of another run ends the feeds.
	s.mu.Unlock()
	for i, t := range to {
		deliveries = append(deliveries, s.env.deliverer.Deliver(t.Target, feeds[i], delay))
	}
	s.deliveries.Store(&deliveries)
	return deliveries, feeds
}
