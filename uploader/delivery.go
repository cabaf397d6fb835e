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
	sender *sender
	feed   Feed
	delay  time.Duration
	done   chan struct{}
	left   chan struct{}

	// Set by any goroutine, read by the sender.
	written  atomic.Bool // Notify was called since the sender last looked
	finished atomic.Bool
	detached atomic.Bool

	// The sender's own.
	create   target.Create
	open     bool      // the feed was read since its last Release
	drained  bool      // Next has said that there is nothing
	unknown  bool      // there may be more than Notify has told of: at the beginning, and after a Rewind
	due      time.Time // the feed's Due when it was drained
	inFlight int       // batches in flight with events of this feed
	rewind   bool      // a batch with events of this feed has failed
	passed   int       // batches in a row that had no room for its next event
	seen     bool      // finished was set before it was drained
	owed     []loss    // losses whose acknowledgement has not come
	losses   [events.LossReasons]*faultlog.Loss
}

func newDelivery(l *sender, t target.Target, f Feed, delay time.Duration) *Delivery {
	return &Delivery{
		sender: l, feed: f, delay: max(delay, 0),
		done: make(chan struct{}), left: make(chan struct{}),
		create:  t.Create,
		unknown: true,
	}
}

// release gives back the feed's buffers and files, if it may have any.
func (m *Delivery) release() {
	if m.open {
		m.feed.Release()
		m.open = false
	}
}

// startOver makes the feed hand out again what is not acknowledged.
func (m *Delivery) startOver() {
	m.feed.Rewind()
	m.open = true
	m.release()
	m.rewind, m.drained, m.unknown, m.seen = false, false, true, false
	m.owed = nil
}

func (m *Delivery) setMaxMessage(n int) {
	m.feed.SetMaxMessage(n)
	m.startOver()
}

// Notify says that so many frames, of so many bytes in the stream of positions, were appended to the feed. It may
// be called from any goroutine, costs a few atomic operations, and wakes the sender only when there was nothing
// before or when a batch's worth has come together.
func (m *Delivery) Notify(frames, bytes int) {
	if !m.written.Load() {
		m.written.Store(true)
	}
	m.sender.notify(int64(frames), int64(bytes))
}

// Finish says that nothing more will be appended: what is there is sent now rather than at the delay. Whatever the
// feed was told about its end, it must have been told before.
func (m *Delivery) Finish() {
	m.finished.Store(true)
	m.sender.wake()
}

// Done is closed when all that the feed had is delivered, or accounted for, and acknowledged, after Finish. It
// stays open if the feed is detached or the uploader stopped before that.
func (m *Delivery) Done() <-chan struct{} { return m.done }

// Detach ends the delivery without waiting for delivery: nothing more is pulled from the feed, requests
// in flight with its events get their answer and are acknowledged. The channel it returns is closed when the uploader will
// not call the feed any more.
func (m *Delivery) Detach() <-chan struct{} {
	m.detached.Store(true)
	m.sender.wake()
	return m.left
}

// worthAsking reports whether the feed may have an event.
func (m *Delivery) worthAsking(now time.Time) bool {
	return !m.drained || m.written.Load() || m.finished.Load() && !m.seen ||
		!m.due.IsZero() && !now.Before(m.due)
}

// exhausted reports whether the feed had nothing more when it was last asked, and that was after Finish.
func (m *Delivery) exhausted() bool { return m.drained && m.seen && !m.written.Load() }

// unfinishedPause is how long a feed is left alone that did not hand out an unfinished event at the time it had
// named itself.
const unfinishedPause = 100 * time.Millisecond

// next pulls the feed's next event.
func (m *Delivery) next(now time.Time) (events.Event, bool) {
	// Both before the feed is asked: what comes after that is not missed.
	m.written.Store(false)
	finished := m.finished.Load()
	m.open = true
	ev, ok := m.feed.Next(now)
	if m.drained = !ok; ok {
		return ev, true
	}
	m.unknown, m.passed, m.seen = false, 0, finished
	if m.due = m.feed.Due(); !m.due.IsZero() && !m.due.After(now) {
		m.due = now.Add(unfinishedPause)
	}
	return events.Event{}, false
}

// putBack gives the event back that was pulled last and has no place in this batch.
func (m *Delivery) putBack() {
	m.feed.Unread()
	m.passed++
}
