package uploader

import (
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/target"
)

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
