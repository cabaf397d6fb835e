package store

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"sort"
	"strconv"
	"time"
)

// An Event is an accepted event.
type Event struct {
	// Timestamp is in milliseconds since 1970.
	Timestamp int64 `json:"timestamp"`
	// Ingested is in milliseconds since 1970.
	Ingested int64 `json:"ingestionTime"`
	// Seq is the event's number in order of arrival, over all streams.
	Seq     uint64 `json:"seq"`
	Message string `json:"message"`
}

type stream struct {
	name         string
	created      int64 // created is in milliseconds since 1970.
	lastIngested int64 // lastIngested is the Event.Ingested of the newest event.

	keepMax int     // keepMax is Options.Keep.
	kept    []Event // kept has events in order of arrival, and may have more than keepMax.
	sorted  []Event // sorted is what byTime returned last, and nil if events arrived since.

	stats  StreamStats // stats lacks the fields that result fills in.
	digest hash.Hash   // digest computes StreamStats.Digest.
	seqs   map[string]*sequence
}

func newStream(name string, now int64, keepMax int) *stream {
	return &stream{name: name, created: now, keepMax: keepMax, digest: sha256.New(), seqs: map[string]*sequence{}}
}

// arrived returns the kept events in order of arrival. The slice may be read without the
// lock, because its elements never change.
func (st *stream) arrived() []Event {
	from := 0
	if st.keepMax > 0 {
		from = max(0, len(st.kept)-st.keepMax)
	}
	return st.kept[from:len(st.kept):len(st.kept)]
}

// byTime returns the kept events in the service's order: by time, and by arrival within a
// millisecond. The slice may be read without the lock, as arrived's.
func (st *stream) byTime() []Event {
	if st.sorted != nil {
		return st.sorted
	}
	older := func(a, b Event) int { return cmp.Compare(a.Timestamp, b.Timestamp) }
	st.sorted = st.arrived()
	if !slices.IsSortedFunc(st.sorted, older) {
		st.sorted = slices.Clone(st.sorted)
		slices.SortStableFunc(st.sorted, older)
	}
	return st.sorted
}

// keep adds events. If their number is limited, it drops the oldest when there are twice as
// many.
func (st *stream) keep(events []Event) {
	if st.keepMax < 0 {
		return
	}
	st.kept = append(st.kept, events...)
	st.sorted = nil
	if st.keepMax > 0 && len(st.kept) > 2*st.keepMax {
		st.kept = slices.Clone(st.arrived()) // a copy: readers may still hold the old slice
	}
}

// A position is a place in the service's order of events: by time, and then by arrival.
type position struct {
	timestamp int64
	seq       uint64
}

func (e *Event) position() position { return position{e.Timestamp, e.Seq} }

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.timestamp, q.timestamp), cmp.Compare(p.seq, q.seq))
}

// String returns 56 digits, as the service's event IDs have.
func (p position) String() string { return fmt.Sprintf("%020d%036d", p.timestamp, p.seq) }

func parsePosition(s string) (p position, ok bool) {
	if len(s) != 56 {
		return p, false
	}
	t, err1 := strconv.ParseUint(s[:20], 10, 63)
	n, err2 := strconv.ParseUint(s[20:], 10, 64)
	return position{int64(t), n}, err1 == nil && err2 == nil
}

// firstAt returns the index of the first event, of events in the service's order, that is
// not before p.
func firstAt(events []Event, p position) int {
	return sort.Search(len(events), func(i int) bool { return events[i].position().compare(p) >= 0 })
}

func millis(t time.Time) int64 { return t.UnixMilli() }
