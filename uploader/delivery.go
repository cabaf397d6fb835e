package uploader

import (
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

// Feed is an ordered source of events that the uploader pulls from: one container, or one of its
// two outputs where they go to different streams. The uploader calls all methods of one feed from
// one goroutine at a time, except Backlog. No method waits for anything but the local disk.
type Feed interface {
	// Next returns the next event that has not been handed out since the last Rewind, and false
	// when there is none now. The event's Message and Ranges are valid until the next call of any
	// method of the feed. now is used to let go of an unfinished event that has waited too long.
	Next(now time.Time) (events.Event, bool)
	// Unread takes back the event that the last Next returned, so that the next Next returns it
	// again. It may be called once after each Next.
	Unread()
	// Due returns when an event that is still unfinished (the end of a long line has not come yet)
	// will be handed out as it is; the zero time when there is none. The uploader calls Next again
	// at that time even if nothing new was written.
	Due() time.Time
	// Lost reports that of the events that the next Ack is about so many, of so many bytes, from the one time to the
	// other, are not in CloudWatch and never will be, and why. The feed accounts for
	// them at that Ack. ranges are those of the events that are lost whole, and none of another event's: a feed
	// that hands out markers finds there which of them were lost. An event without ranges of its own (made from
	// the middle of a very large frame) adds none, nor does one of which only the end is lost. The feed must not keep the slice.
	// It returns how many of the events, of how many bytes, count as lost: a marker is none of the container's.
	Lost(why events.LossReason, ranges []stream.Range, events int, bytes int64, from, to time.Time) (int, int64)
	// Ack says that the events made from these ranges are delivered, or will never be and have been
	// accounted for. On return the fact survives a crash of the process. Ranges may come in any order.
	Ack(ranges []stream.Range) error
	// Rewind makes Next hand out again, in order, everything that has been handed out and not
	// acknowledged.
	Rewind()
	// SetMaxMessage bounds the length of a message in bytes, counted as CloudWatch counts it. Longer events are to be
	// divided. Rewind follows at once, so that the bound holds for all events that are handed out from then on.
	SetMaxMessage(bytes int)
	// Release gives buffers and files back until the next Next. Positions stay as they are.
	Release()
	// Backlog describes the feed for the log: name is what an operator calls it, such as "web (1f2e3d4c5b6a)", bytes
	// is how much is not acknowledged, oldest is the time of the oldest event of that, zero if nobody knows. It may
	// be called from any goroutine, also while another method runs. It must not block: it must not take a lock that
	// is held while Attach is called.
	Backlog() (name string, bytes int64, oldest time.Time)
}

// starvedAfter is how many batches in a row may pass a delivery by before it gets one to itself.
const starvedAfter = 4

// Delivery is one feed's membership of a sender.
type Delivery struct {
	sender   *sender
	feed     Feed
	delay    time.Duration
	done     chan struct{}
	released chan struct{}

	// Set by any goroutine, read by the sender.
	notified atomic.Bool // Notify was called since the sender last looked
	finished atomic.Bool
	detached atomic.Bool

	// The sender's own.
	create      target.Create
	open        bool      // the feed was read since its last Release
	drained     bool      // Next has said that there is nothing
	mayHaveMore bool      // there may be more than Notify has told of: at the beginning, and after a Rewind
	due         time.Time // the feed's Due when it was drained
	inFlight    int       // batches in flight with events of this feed
	needsRewind bool      // a batch with events of this feed has failed
	passedOver  int       // batches in a row that had no room for its next event
	finishSeen  bool      // finished was set before it was drained
	owed        []loss    // losses whose acknowledgement has not come
	losses      [events.LossReasons]*faultlog.Loss
}

func newDelivery(s *sender, t target.Target, f Feed, delay time.Duration) *Delivery {
	return &Delivery{
		sender: s, feed: f, delay: max(delay, 0),
		done: make(chan struct{}), released: make(chan struct{}),
		create:      t.Create,
		mayHaveMore: true,
	}
}

// release gives back the feed's buffers and files, if it may have any.
func (d *Delivery) release() {
	if d.open {
		d.feed.Release()
		d.open = false
	}
}

// rewind makes the feed hand out again what is not acknowledged.
func (d *Delivery) rewind() {
	d.feed.Rewind()
	d.open = true
	d.release()
	d.needsRewind, d.drained, d.mayHaveMore, d.finishSeen = false, false, true, false
	d.owed = nil
}

func (d *Delivery) setMaxMessage(n int) {
	d.feed.SetMaxMessage(n)
	d.rewind()
}

// Notify says that so many frames, of so many bytes in the stream of positions, were appended to the feed. It may
// be called from any goroutine, costs a few atomic operations, and wakes the sender only when there was nothing
// before or when a batch's worth has come together.
func (d *Delivery) Notify(frames, bytes int) {
	if !d.notified.Load() {
		d.notified.Store(true)
	}
	d.sender.notify(int64(frames), int64(bytes))
}

// Finish says that nothing more will be appended: what is there is sent now rather than at the delay. Whatever the
// feed was told about its end, it must have been told before.
func (d *Delivery) Finish() {
	d.finished.Store(true)
	d.sender.wake()
}

// Done is closed when all that the feed had is delivered, or accounted for, and acknowledged, after Finish. It
// stays open if the feed is detached or the uploader stopped before that.
func (d *Delivery) Done() <-chan struct{} { return d.done }

// Detach ends the delivery without waiting for delivery: nothing more is pulled from the feed, requests
// in flight with its events get their answer and are acknowledged. The channel it returns is closed when the uploader will
// not call the feed any more.
func (d *Delivery) Detach() <-chan struct{} {
	d.detached.Store(true)
	d.sender.wake()
	return d.released
}

// mayHaveEvent reports whether the feed may have an event.
func (d *Delivery) mayHaveEvent(now time.Time) bool {
	return !d.drained || d.notified.Load() || d.finished.Load() && !d.finishSeen ||
		!d.due.IsZero() && !now.Before(d.due)
}

// exhausted reports whether the feed had nothing more when it was last asked, and that was after Finish.
func (d *Delivery) exhausted() bool { return d.drained && d.finishSeen && !d.notified.Load() }

// unfinishedPause is how long a feed is left alone that did not hand out an unfinished event at the time it had
// named itself.
const unfinishedPause = 100 * time.Millisecond

// next pulls the feed's next event.
func (d *Delivery) next(now time.Time) (events.Event, bool) {
	// Both before the feed is asked: what comes after that is not missed.
	d.notified.Store(false)
	finished := d.finished.Load()
	d.open = true
	ev, ok := d.feed.Next(now)
	if d.drained = !ok; ok {
		return ev, true
	}
	d.mayHaveMore, d.passedOver, d.finishSeen = false, 0, finished
	if d.due = d.feed.Due(); !d.due.IsZero() && !d.due.After(now) {
		d.due = now.Add(unfinishedPause)
	}
	return events.Event{}, false
}

// unread gives the event back that was pulled last and has no place in this batch.
func (d *Delivery) unread() {
	d.feed.Unread()
	d.passedOver++
}
