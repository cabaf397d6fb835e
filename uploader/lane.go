package uploader

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/faultlog"
)

// lane sends to one stream. Its goroutine alone calls the members' feeds: it waits until something is due, pulls a
// batch from them (pull.go), hands it to a goroutine that sends it, and acknowledges or rewinds when the answer is
// there (answer.go). In trouble it lets the answers of all that is under way come in, rewinds, waits, and builds anew.
type lane struct {
	u      *Uploader
	s      *service
	key    laneKey
	target Target // whether to create is decided by the members of the moment

	wake    chan struct{} // of capacity 1: something has changed
	answers chan answer   // of capacity for all that can be under way: whoever sends never waits

	// Counted by Notify, and by the lane when it has pulled. What is appended and not out is pending. These are
	// estimates where frames and events are not the same, and right again whenever all feeds are drained.
	frames, bytes       atomic.Int64
	framesOut, bytesOut atomic.Int64
	empty               atomic.Bool // nothing was pending when the lane last looked: wake it at once

	accepted atomic.Int64 // when CloudWatch last accepted a batch, in nanoseconds since the epoch

	mu       sync.Mutex
	joining  []*Subscription
	attached []*Subscription // members and joining, for the log

	// The goroutine's own.
	members  []*Subscription
	heads    heads
	sizer    sizer
	due      time.Time // when what is pending must go; zero: nothing is pending
	ticket   *permit   // a place in the brake's queue
	held     *batch    // built, and not to be sent before those under way are answered
	underWay []*batch
	built    uint64 // batches so far
	creating bool
	trouble  answer // the first failure among those under way; verdict accepted: none
	failures int    // in a row
	made     int    // times in a row that the stream was made, and nothing accepted since
	givenUp  int    // events refused for good since one was accepted
	retryAt  time.Time
	stopping bool
	flushed  bool // the last batch before the end is built, or there is no hope for one

	maxMessage int  // what the members' feeds were told
	guessedMax int  // a limit of an event that CloudWatch did not state
	plainNext  bool // an odd answer may be about the encoding: the next batch is not compressed
	rejectedAs map[string]bool
	log        *slog.Logger
	group      *group
	acks       *faultlog.Fault
}

func newLane(u *Uploader, s *service, key laneKey, t Target) *lane {
	log := s.log.With("group", t.Group, "stream", t.Stream)
	l := &lane{
		u: u, s: s, key: key, target: t,
		wake:       make(chan struct{}, 1),
		answers:    make(chan answer, maxUnderWay+1),
		sizer:      sizer{now: fullSize},
		maxMessage: maxMessageBytes, guessedMax: maxMessageBytes,
		log:   log,
		group: s.creator.group(t.Group),
	}
	l.acks = faultlog.NewFault(log, "cannot save delivery progress; events may be sent again after a restart",
		"delivery progress is saved again", func() []any { return backlog([]*lane{l}) })
	return l
}

// poke wakes the lane if it sleeps.
func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// notify counts what was appended. The caller has set the member's written before: the lane sets empty first and
// looks at written then, so one of the two sees the other.
func (l *lane) notify(frames, bytes int64) {
	pendingBytes := l.bytes.Add(bytes) - l.bytesOut.Load()
	pendingFrames := l.frames.Add(frames) - l.framesOut.Load()
	if pendingBytes >= maxBatchBytes && pendingBytes-bytes < maxBatchBytes ||
		pendingFrames >= maxBatchEvents && pendingFrames-frames < maxBatchEvents ||
		l.empty.Load() && l.empty.Swap(false) {
		l.poke()
	}
}

// join adds a member. It is called with the uploader's lock held, so that it cannot miss retire.
func (l *lane) join(m *Subscription) {
	l.mu.Lock()
	l.joining = append(l.joining, m)
	l.attached = append(l.attached, m)
	l.mu.Unlock()
	l.poke()
}

func (l *lane) expectsMembers() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.joining) > 0
}

// run is the lane's goroutine. It returns when the last member has left or the uploader stops.
func (l *lane) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	stopping, trying := l.u.stopping, l.u.trying.Done()
	for {
		now := time.Now()
		l.settle(now)
		l.admit(now)
		l.dismiss()
		if l.idle() && (l.stopping && l.spent() || len(l.members) == 0 && l.u.retire(l)) {
			break
		}
		l.applyLimit()
		l.look(now)
		wanted, next := l.wants(now)
		switch {
		case wanted && l.ticket == nil:
			l.ticket = l.s.brake.enqueue()
		case !wanted:
			l.dropTicket()
		}
		var ready <-chan struct{}
		if l.ticket != nil {
			ready = l.ticket.ready
		}
		wait := time.Hour
		if !next.IsZero() {
			wait = next.Sub(now)
		}
		timer.Reset(wait)
		l.releaseIfWaiting()

		select {
		case <-l.wake:
		case <-timer.C:
		case a := <-l.answers:
			l.answered(a)
		case <-ready:
			p := l.ticket
			l.ticket = nil
			if p.refused { // only at the end, when the service fails
				l.flushed = true
			} else {
				l.send(p, time.Now())
			}
		case <-stopping:
			stopping, l.stopping = nil, true
		case <-trying:
			trying, l.stopping, l.flushed = nil, true, true
		}
	}
	l.dropTicket()
	l.s.health.forget(l)
	l.group.health.forget(l)
	for _, m := range l.members {
		l.leave(m, false)
	}
}

// leave lets go of a member. Its feed is not called any more when done or left is closed.
func (l *lane) leave(m *Subscription, done bool) {
	m.feed.Release()
	l.mu.Lock()
	l.attached = slices.DeleteFunc(l.attached, func(a *Subscription) bool { return a == m })
	l.mu.Unlock()
	m.closeLossLogs()
	if done {
		close(m.done)
	}
	close(m.left)
}

// releaseIfWaiting gives back the buffers and files of the feeds before a wait for a permit, for the next try or for
// something to send: after an outage many senders wait. Between two batches of a backlog the feeds keep them.
func (l *lane) releaseIfWaiting() {
	if l.ticket != nil {
		select {
		case <-l.ticket.ready:
			return
		default:
		}
	} else if len(l.underWay) > 0 {
		return
	}
	for _, m := range l.members {
		m.release()
	}
}

// limit is how long a message may be.
func (l *lane) limit() int { return min(l.guessedMax, int(l.s.endpoint.maxMessage.Load())) }

// applyLimit has the feeds divide longer events where the limit has become smaller. Nothing may be under way, because
// the feeds start again from what is acknowledged.
func (l *lane) applyLimit() {
	n := l.limit()
	if n == l.maxMessage || !l.idle() {
		return
	}
	l.maxMessage = n
	for _, m := range l.members {
		m.setMaxMessage(n)
	}
}

// idle reports whether nothing is under way or waits for what is.
func (l *lane) idle() bool { return len(l.underWay) == 0 && l.held == nil && !l.creating }

// spent reports whether a lane that is to stop has nothing more to try.
func (l *lane) spent() bool { return l.flushed || l.failures > 0 || !l.pending() }

// pending reports whether a feed may have something to send.
func (l *lane) pending() bool {
	return slices.ContainsFunc(l.members, func(m *Subscription) bool {
		return !m.detached.Load() && (!m.drained || m.written.Load())
	})
}

// admit takes in those who have joined. What their feeds have already waits for the delay as well.
func (l *lane) admit(now time.Time) {
	l.mu.Lock()
	joined := l.joining
	l.joining = nil
	l.mu.Unlock()
	if len(joined) > 0 {
		if l.maxMessage != maxMessageBytes {
			for _, m := range joined {
				m.setMaxMessage(l.maxMessage)
			}
		}
		l.members = append(l.members, joined...)
		l.fall(now.Add(l.delay()))
	}
}

// dismiss lets go of members who are done or detached and have nothing under way.
func (l *lane) dismiss() {
	kept := l.members[:0]
	for _, m := range l.members {
		finished := m.finished.Load() && m.exhausted() && m.due.IsZero()
		if m.underWay > 0 || m.rewind || !finished && !m.detached.Load() {
			kept = append(kept, m)
			continue
		}
		l.leave(m, finished)
	}
	clear(l.members[len(kept):])
	l.members = kept
}

// look finds out whether anything new is pending.
func (l *lane) look(now time.Time) {
	if !l.due.IsZero() || len(l.members) == 0 {
		return
	}
	l.empty.Store(true)
	if slices.ContainsFunc(l.members, func(m *Subscription) bool { return m.written.Load() }) {
		l.empty.Store(false)
		l.due = now.Add(l.delay())
	}
}

// fall makes what is pending due at t at the latest.
func (l *lane) fall(t time.Time) {
	if l.due.IsZero() || t.Before(l.due) {
		l.due = t
	}
}

// wants reports whether a batch should be built now, and if not, when to look again (the zero time: when woken).
func (l *lane) wants(now time.Time) (wanted bool, next time.Time) {
	switch {
	case l.held != nil, l.creating, l.trouble.verdict != accepted, len(l.underWay) >= maxUnderWay,
		l.stopping && l.flushed, len(l.members) == 0, l.limit() != l.maxMessage:
		return false, time.Time{}
	case now.Before(l.retryAt):
		return false, l.retryAt
	case len(l.underWay) > 0:
		// Company only where there is a backlog, and while all is well.
		return l.sizer.now == fullSize && l.full(), time.Time{}
	case l.full(), l.stopping && l.pending():
		return true, time.Time{}
	}
	next = l.due
	for _, m := range l.members {
		switch {
		case m.detached.Load():
		case m.finished.Load() && !m.exhausted():
			return true, time.Time{}
		case !m.due.IsZero() && (next.IsZero() || m.due.Before(next)):
			next = m.due
		}
	}
	if !next.IsZero() && !now.Before(next) {
		return true, time.Time{}
	}
	return false, next
}

// full reports whether there is a batch's worth, or more than fitted the last batch where nobody knows how much.
func (l *lane) full() bool {
	if l.bytes.Load()-l.bytesOut.Load() >= maxBatchBytes || l.frames.Load()-l.framesOut.Load() >= maxBatchEvents {
		return true
	}
	return slices.ContainsFunc(l.members, func(m *Subscription) bool {
		return m.unknown && m.passed > 0 && !m.detached.Load()
	})
}

// delay is the shortest of the members' delays.
func (l *lane) delay() time.Duration {
	d := l.members[0].delay
	for _, m := range l.members[1:] {
		d = min(d, m.delay)
	}
	return d
}

func (l *lane) dropTicket() {
	if l.ticket != nil {
		l.ticket.cancel()
		l.ticket = nil
	}
}
