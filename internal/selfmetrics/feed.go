package selfmetrics

import (
	"slices"
	"sync"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
)

// feed is an uploader.Feed of the newest events, in memory. The zero value is ready for use.
// While CloudWatch accepts nothing, the oldest event makes room for a new one.
//
// The feed has no backlog and loses nothing as far as the log and the status are concerned:
// they are about the containers' lines.
type feed struct {
	mu     sync.Mutex
	events []event
	added  uint64 // added counts the events that were added.
	next   uint64 // next is the number of the first event that Next has not returned.
	last   uint64 // last is the number of the event that Next returned last.
}

// event is one event. Its number is its position in the stream.
type event struct {
	number uint64
	at     time.Time
	text   []byte
}

// add appends an event. The feed owns the text then.
func (f *feed) add(at time.Time, text []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.events) == maxEvents {
		f.events = slices.Delete(f.events, 0, 1)
	}
	f.events = append(f.events, event{f.added, at, text})
	f.added++
}

// Next implements uploader.Feed.
func (f *feed) Next(time.Time) (*events.Event, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.number >= f.next {
			f.last, f.next = e.number, e.number+1
			return &events.Event{
				Time: e.at.UnixNano(), Message: e.text,
				Ranges: []stream.Range{{From: e.number, To: e.number + 1}},
			}, true
		}
	}
	return nil, false
}

// Unread implements uploader.Feed.
func (f *feed) Unread() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = f.last
}

// Due implements uploader.Feed. No event is unfinished.
func (f *feed) Due() time.Time { return time.Time{} }

// Lost implements uploader.Feed.
func (f *feed) Lost(events.LossReason, []stream.Range, int, int64, time.Time, time.Time) (int, int64) {
	return 0, 0
}

// Accepted implements uploader.Feed.
func (f *feed) Accepted(int, int64) {}

// Ack implements uploader.Feed.
func (f *feed) Ack(ranges []stream.Range) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = slices.DeleteFunc(f.events, func(e event) bool {
		return slices.ContainsFunc(ranges, func(r stream.Range) bool { return r.From <= e.number && e.number < r.To })
	})
	return nil
}

// Rewind implements uploader.Feed.
func (f *feed) Rewind() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = 0
}

// SetMaxMessage implements uploader.Feed. An event is shorter than the smallest limit that the
// uploader knows.
func (f *feed) SetMaxMessage(int) {}

// Release implements uploader.Feed.
func (f *feed) Release() {}

// Backlog implements uploader.Feed.
func (f *feed) Backlog() (name string, bytes int64, oldest time.Time) { return "", 0, time.Time{} }
