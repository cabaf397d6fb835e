package uploader

import (
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

// Feed is an ordered source of events: one container, or one of its two outputs if they go
// to different streams. The uploader calls the methods of one feed from one goroutine at a
// time, except Backlog. The methods wait for nothing but the local disk.
type Feed interface {
	// Next returns the next event that was not returned since the last Rewind, and false if
	// there is none now. The event is valid until the next call of any method of the feed, and
	// the caller must not change it. An unfinished event that is older than its deadline at now
	// is returned as it is.
	Next(now time.Time) (*events.Event, bool)
	// Unread takes back the event that the last Next returned: the next Next returns it
	// again. It may be called once after each Next.
	Unread()
	// Due returns when Next will return the event that is still unfinished (the end of a
	// long line has not arrived), and the zero time if there is none. The uploader calls
	// Next again at that time, even if nothing new was written.
	Due() time.Time
	// Lost reports that events that the next Ack covers are not in CloudWatch and never
	// will be. The feed accounts for them at that Ack. It returns how many of them, and how
	// many bytes, count as lost: its own markers do not.
	//
	// ranges are the ranges of the events that are lost completely, from which a feed finds
	// its lost markers. An event of which only the end is lost adds none, and neither does
	// an event without ranges (one made from the middle of a very large frame). The feed
	// must not keep the slice.
	Lost(why events.LossReason, ranges []stream.Range, events int, bytes int64, from, to time.Time) (int, int64)
	// Accepted reports that CloudWatch accepted a batch with this many events of the feed, and
	// their size as CloudWatch counts it: the messages, and 26 bytes for each event. Events
	// that CloudWatch dropped from the batch are not counted; markers are. It is called once
	// for each batch, before the Ack.
	Accepted(events int, bytes int64)
	// Ack says that the events of these ranges are delivered, or are lost and accounted
	// for. When it returns nil, this survives a crash of the process. Ranges may come in
	// any order.
	Ack(ranges []stream.Range) error
	// Rewind makes Next return everything again, in order, that was returned and not
	// acknowledged.
	Rewind()
	// SetMaxMessage sets how long a message may be, in bytes as CloudWatch counts them. The
	// feed divides longer events. Rewind follows at once, so that the limit holds for all
	// later events.
	SetMaxMessage(bytes int)
	// Release gives back buffers and files until the next Next. Positions stay as they are.
	Release()
	// Backlog describes the feed for the log. name is what an operator calls it, such as
	// "web (1f2e3d4c5b6a)". bytes is how much is not acknowledged. oldest is the time of
	// the oldest such event, and zero if it is unknown. Any goroutine may call Backlog,
	// also while another method runs. It must not block, and must not take a lock that is
	// held while Attach is called.
	Backlog() (name string, bytes int64, oldest time.Time)
}

// maxPassedOver is how many batches in a row may have no room for a delivery's next event
// before the delivery gets a batch of its own.
const maxPassedOver = 4

// unfinishedPause is how long the sender waits if a feed did not return an unfinished event
// at the time that its Due had named.
const unfinishedPause = 100 * time.Millisecond

// Delivery is one feed that an Uploader delivers to one target. Attach makes it.
type Delivery struct {
	sender   *sender
	feed     Feed
	delay    time.Duration
	create   target.Create
	done     chan struct{}
	released chan struct{} // released is closed when the feed is not called any more.

	notified atomic.Bool // notified says that Notify was called since the feed was last asked.
	finished atomic.Bool // finished says that Finish was called.
	detached atomic.Bool // detached says that Detach was called.

	feedState  // feedState belongs to the sender's goroutine.
	batchState // batchState belongs to the sender's goroutine.
	lossState  // lossState belongs to the sender's goroutine.
}

// feedState is what the sender knows about a feed. At first, and after a Rewind, the feed
// may have more than Notify has counted.
type feedState struct {
	open        bool      // open says that Next was called since the last Release.
	drained     bool      // drained says that the last Next returned no event.
	mayHaveMore bool      // mayHaveMore says that the feed may have more than is pending.
	finishSeen  bool      // finishSeen says that Finish was called before the feed was drained.
	due         time.Time // due is the feed's Due when it was drained.
}

// batchState is what the sender knows about a delivery's events in batches.
type batchState struct {
	inFlight    int  // inFlight counts the batches in flight or held with events of this feed.
	needsRewind bool // needsRewind says that a batch with events of this feed has failed.
	passedOver  int  // passedOver counts the batches in a row without room for the next event.
}

// lossState is what a delivery loses.
type lossState struct {
	deferred []loss // deferred has the losses that a later acknowledgement will cover.
	logs     [events.LossReasons]*faultlog.Loss
}

func newDelivery(s *sender, t target.Target, f Feed, delay time.Duration) *Delivery {
	return &Delivery{
		sender: s, feed: f, delay: max(delay, 0), create: t.Create,
		done: make(chan struct{}), released: make(chan struct{}),
		feedState: feedState{mayHaveMore: true},
	}
}

// Notify says that frames were appended to the feed. bytes is their size in the container's
// stream. Any goroutine may call it. It costs a few atomic operations, and
// wakes the sender only if nothing was pending before or if enough for a whole batch is
// pending now.
func (d *Delivery) Notify(frames, bytes int) {
	if !d.notified.Load() {
		d.notified.Store(true)
	}
	d.sender.notify(int64(frames), int64(bytes))
}

// Finish says that nothing more will be appended, so that pending events are sent at once.
// Tell the feed first if it must know that it has ended.
func (d *Delivery) Finish() {
	d.finished.Store(true)
	d.sender.wake()
}

// Done returns a channel that is closed after Finish, when all events of the feed are
// delivered or accounted for, and acknowledged. It stays open if the feed is detached or
// the uploader stops before that.
func (d *Delivery) Done() <-chan struct{} { return d.done }

// Detach ends the delivery early. No more events are taken from the feed. Requests in
// flight are answered, and their events acknowledged. The returned channel is closed when
// the uploader will not call the feed any more.
func (d *Delivery) Detach() <-chan struct{} {
	d.detached.Store(true)
	d.sender.wake()
	return d.released
}

// Failure returns what stops the delivery now: the failure of the last request of its log
// stream, of the creation of the stream or its group, or of the access if events wait for
// their first try. It is nil if the last request was accepted, or if nothing was tried. Any
// goroutine may call it. It takes no lock, and the caller must not change the result.
func (d *Delivery) Failure() *status.Failure {
	s := d.sender
	if f := s.failure.Load(); f != nil {
		return f
	}
	why, since := s.svc.condition.accessFailure()
	if why == nil || s.lastAccepted.Load() >= since.UnixNano() {
		return nil
	}
	if _, waiting, _ := d.feed.Backlog(); waiting == 0 {
		return nil
	}
	f := *why
	f.Since = since
	return &f
}

// mayHaveEvent reports whether the feed may have an event.
func (d *Delivery) mayHaveEvent(now time.Time) bool {
	return !d.drained || d.notified.Load() || d.finished.Load() && !d.finishSeen ||
		!d.due.IsZero() && !now.Before(d.due)
}

// exhausted reports whether the feed was asked after Finish and had nothing more.
func (d *Delivery) exhausted() bool { return d.drained && d.finishSeen && !d.notified.Load() }

// next returns the feed's next event.
func (d *Delivery) next(now time.Time) (*events.Event, bool) {
	// Both come before Next, so that what happens during Next is not missed. A load is much
	// cheaper than a store.
	if d.notified.Load() {
		d.notified.Store(false)
	}
	finished := d.finished.Load()
	d.open = true
	ev, ok := d.feed.Next(now)
	if d.drained = !ok; ok {
		return ev, true
	}
	d.mayHaveMore, d.passedOver, d.finishSeen = false, 0, finished
	if d.due = d.feed.Due(); !d.due.IsZero() && !d.due.After(now) {
		d.mayHaveMore = true
		d.due = now.Add(unfinishedPause)
	}
	return nil, false
}

// searches reports whether the feed has looked for an event for long, and has to go on.
func (d *Delivery) searches() bool { return d.drained && d.mayHaveMore }

// unread gives back the event that next returned, because this batch has no place for it.
func (d *Delivery) unread() {
	d.feed.Unread()
	d.passedOver++
}

// release releases the feed's buffers and files, if it may have any.
func (d *Delivery) release() {
	if d.open {
		d.feed.Release()
		d.open = false
	}
}

// rewind makes the feed return what is not acknowledged again.
func (d *Delivery) rewind() {
	d.feed.Rewind()
	d.open = true
	d.release()
	d.needsRewind, d.drained, d.mayHaveMore, d.finishSeen = false, false, true, false
	d.deferred = nil
}

func (d *Delivery) setMaxMessage(n int) {
	d.feed.SetMaxMessage(n)
	d.rewind()
}
