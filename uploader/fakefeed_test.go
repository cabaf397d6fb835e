package uploader

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
)

// dropped is one loss that Lost was called with.
type dropped struct {
	reason   events.LossReason
	events   int
	bytes    int64
	from, to time.Time
}

// fakeFeed hands out events and checks that the uploader keeps to Feed's rules.
type fakeFeed struct {
	t *testing.T

	mu            sync.Mutex
	events        []events.Event
	next          int
	acked         map[uint64]bool
	at            uint64
	unreadOK      bool
	lent          *events.Event
	calls         int
	due           time.Time
	hold          int      // events at the end that are unfinished until due
	ended         bool     // no call may follow
	lost          []string // the losses that Lost was called with
	pending       []string // the losses since the last Ack or Rewind
	accounted     []string // the losses with the ranges of the Ack that covered them
	lostRanges    []stream.Range
	dropped       []dropped // the losses without markers
	onLost        func()    // called with the lock held when Lost counts an event
	name          string
	accepted      []int // how many events each accepted batch had
	acceptedBytes int64
	markers       int // events that Lost does not count
	max           int
	open          bool   // Next was called since the last Release
	onEmpty       func() // called with the lock held when Next has nothing
	ackErr        error  // ackErr is what Ack returns
}

func newFeed(t *testing.T) *fakeFeed { return &fakeFeed{t: t, acked: map[uint64]bool{}} }

// add appends an event to the feed, and returns the arguments for Notify.
func (f *fakeFeed) add(at time.Time, message string) (frames, size int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.append(at, message)
}

// addLong appends the parts of one long line. The last part has the ranges of all.
func (f *fakeFeed) addLong(at time.Time, parts ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.events)
	size := 0
	for _, p := range parts {
		_, s := f.append(at, p)
		size += s
	}
	for i := range parts {
		f.events[n+i].Ranges = nil
	}
	f.events[len(f.events)-1].Ranges = []stream.Range{{From: f.at - uint64(size), To: f.at}}
}

// line returns the range of event i's line.
func (f *fakeFeed) line(i int) stream.Range {
	for len(f.events[i].Ranges) == 0 {
		i++
	}
	return f.events[i].Ranges[0]
}

// append is add with the lock held.
func (f *fakeFeed) append(at time.Time, message string) (frames, size int) {
	size = len(message) + 24
	f.events = append(f.events, events.Event{
		Time: at.UnixNano(), Message: []byte(message), Ranges: []stream.Range{{From: f.at, To: f.at + uint64(size)}},
	})
	f.at += uint64(size)
	return 1, size
}

// use checks that the feed is not called concurrently or after its end, and overwrites the
// event that Next returned last.
func (f *fakeFeed) use() func() {
	if !f.mu.TryLock() {
		f.mu.Lock() // the test's own add, or a second caller, which the race detector finds by calls
	}
	f.calls++
	if f.ended {
		f.t.Error("feed called after it was released")
	}
	if e := f.lent; e != nil {
		for i := range e.Message {
			e.Message[i] = '!'
		}
		clear(e.Ranges)
		*e = events.Event{Time: -1}
		f.lent = nil
	}
	return f.mu.Unlock
}

func (f *fakeFeed) Next(now time.Time) (*events.Event, bool) {
	defer f.use()()
	f.open = true
	f.unreadOK = false
	for f.next < len(f.events) && f.acked[f.line(f.next).From] {
		f.next++
	}
	end := len(f.events)
	if f.hold > 0 && now.Before(f.due) {
		end -= f.hold
	}
	if f.next >= end {
		if f.onEmpty != nil {
			f.onEmpty()
		}
		return nil, false
	}
	ev := f.events[f.next]
	ev.Message = slices.Clone(ev.Message)
	ev.Ranges = slices.Clone(ev.Ranges)
	f.lent = &ev
	f.next++
	f.unreadOK = true
	return &ev, true
}

func (f *fakeFeed) Unread() {
	defer f.use()()
	if !f.unreadOK {
		f.t.Error("Unread without a Next")
	}
	f.unreadOK = false
	f.next--
}

func (f *fakeFeed) Due() time.Time {
	defer f.use()()
	if f.hold > 0 && f.next < len(f.events) {
		return f.due
	}
	return time.Time{}
}

func (f *fakeFeed) Ack(ranges []stream.Range) error {
	defer f.use()()
	if len(ranges) == 0 {
		return errors.New("Ack of nothing")
	}
	for _, a := range ranges {
		i := sort.Search(len(f.events), func(i int) bool { return f.line(i).From >= a.From })
		for ; i < len(f.events) && f.line(i).To <= a.To; i++ {
			if len(f.events[i].Ranges) == 0 {
				continue
			}
			at := f.line(i).From
			if f.acked[at] {
				f.t.Errorf("event at %d acknowledged twice", at)
			}
			f.acked[at] = true
		}
	}
	for _, l := range f.pending {
		f.accounted = append(f.accounted, fmt.Sprintf("%s by %v", l, ranges))
	}
	f.pending = nil
	return f.ackErr
}

func (f *fakeFeed) Accepted(events int, bytes int64) {
	defer f.use()()
	f.accepted = append(f.accepted, events)
	f.acceptedBytes += bytes
}

func (f *fakeFeed) Rewind() {
	defer f.use()()
	f.unreadOK = false
	f.next, f.pending = 0, nil
}

func (f *fakeFeed) Release() {
	defer f.use()()
	f.open = false
}

func (f *fakeFeed) SetMaxMessage(n int) {
	defer f.use()()
	f.max = n
}

func (f *fakeFeed) Backlog() (name string, bytes int64, oldest time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, e := range f.events {
		if !f.acked[f.line(i).From] {
			bytes += int64(len(e.Message))
			if oldest.IsZero() {
				oldest = time.Unix(0, e.Time)
			}
		}
	}
	return f.name, bytes, oldest
}

func (f *fakeFeed) Lost(why events.LossReason, ranges []stream.Range, events int, bytes int64, from, to time.Time) (int, int64) {
	defer f.use()()
	l := fmt.Sprintf("%s %d", why, events)
	f.lostRanges = append(f.lostRanges, ranges...)
	f.lost, f.pending = append(f.lost, l), append(f.pending, l)
	n := max(events-f.markers, 0)
	if n > 0 {
		f.dropped = append(f.dropped, dropped{why, n, bytes, from, to})
		if f.onLost != nil {
			f.onLost()
		}
	}
	return n, bytes
}

func (f *fakeFeed) ackedAll() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, e := range f.events {
		n += len(e.Ranges)
	}
	return len(f.acked) == n
}

// checkShown is the oracle. Every event of the feed is in the stream, and those of one
// millisecond are in the order in which they were written. doubles allows an event to be
// there twice. except says which events must not be there.
func checkShown(t *testing.T, shown []stored, feed *fakeFeed, doubles bool, except func(string) bool) {
	t.Helper()
	place := map[string]int{}
	for i, s := range shown {
		if _, twice := place[s.message]; twice {
			if !doubles {
				t.Errorf("%.40q delivered twice", s.message)
			}
			continue
		}
		place[s.message] = i
	}
	byMS := map[int64][]int{} // indices of the feed's events, in the order shown
	index := map[string]int{}
	for i, e := range feed.events {
		m := repaired(e.Message)
		index[m] = i
		at, ok := place[m]
		if except != nil && except(m) {
			if ok {
				t.Errorf("%.40q was delivered", m)
			}
			continue
		}
		if !ok {
			t.Errorf("%.40q was not delivered", m)
			continue
		}
		if want := max(e.Time, 0) / 1e6; shown[at].ms != want {
			t.Errorf("%.40q at %d ms, want %d", m, shown[at].ms, want)
		}
	}
	seen := map[int]bool{}
	for _, s := range shown {
		if i, ok := index[s.message]; ok && !seen[i] {
			seen[i] = true
			byMS[s.ms] = append(byMS[s.ms], i)
		}
	}
	for ms, order := range byMS {
		for k := 1; k < len(order); k++ {
			a, b := order[k-1], order[k]
			if b < a {
				t.Errorf("at %d ms event %d is shown before event %d", ms, a, b)
			}
		}
	}
}
