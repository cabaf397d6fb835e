package driver

import (
	"context"
	"errors"
	"fmt"
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
		s.announce(run, to)
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
	defer s.removeHold(noGroup, false)
	for {
		s.addHold(noGroup, err.Error(), err)
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
		s.endActive()
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
	streams := s.setStreams(to)
	s.mu.Lock()
	delay, limit := run.conf.Delay, run.to
	s.mu.Unlock()
	for _, t := range streams { // without mu, because a feed takes the spool's lock
		feeds = append(feeds, feed.New(s.spool, feed.Options{
			Outputs: t.outputs, Ended: &run.ended, Limit: limit, Events: t.events, Name: s.name(), Stats: &t.stats,
			OnLost: s.losses.lost, OnPanic: s.logPoison, OnPoison: s.savePoison,
			OnDropped: func(reason string, events int, bytes int64) {
				t.drops.add(reason, events, bytes)
				s.traffic.drops.add(reason, events, bytes)
			},
		}))
	}
	s.mu.Lock()
	if limit == 0 && run.to > 0 { // Another run has begun since.
		for _, f := range feeds {
			f.EndAt(run.to)
		}
	}
	s.active = &activeRun{run, feeds} // From now on, the start of another run ends the feeds.
	s.mu.Unlock()
	for i, t := range to {
		deliveries = append(deliveries, s.env.deliverer.Deliver(t.Target, feeds[i], delay))
	}
	s.mu.Lock()
	for i, t := range streams {
		t.delivery, t.feed = deliveries[i], feeds[i]
	}
	s.mu.Unlock()
	s.deliveries.Store(&deliveries)
	return deliveries, feeds
}

// endActive records that nothing is delivered any more.
func (s *session) endActive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = nil
	for _, t := range s.streams {
		t.delivery, t.feed = nil, nil
	}
}

// announce logs where the lines of a container run go, before its first line is delivered and
// when that changes.
func (s *session) announce(run *containerRun, to []destination) {
	attrs := []any{"container", s.name(), "region", to[0].Region, "group", to[0].Group, "stream", to[0].Stream}
	if len(to) > 1 {
		attrs = append(attrs, "stderr_group", to[1].Group, "stderr_stream", to[1].Stream)
	}
	attrs = append(attrs, "group_from", to[0].from.group, "stream_from", to[0].from.stream)
	if text := fmt.Sprint(attrs[2:]...); text != run.announced {
		run.announced = text
		s.env.log.Info("delivering a container's lines", attrs...)
	}
}
