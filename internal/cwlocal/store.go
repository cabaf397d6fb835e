package cwlocal

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// An Event is one that was accepted.
type Event struct {
	Timestamp int64  `json:"timestamp"`     // milliseconds since 1970
	Ingested  int64  `json:"ingestionTime"` // milliseconds since 1970
	Seq       uint64 `json:"seq"`           // order of arrival, over all streams
	Message   string `json:"message"`
}

// store is what the account holds: by region, then by group's name. Guarded by Server.mu.
type store struct {
	regions map[string]map[string]*group
	seq     uint64 // of the newest event
	batches uint64
}

type group struct {
	name, region, class, kmsKey string
	created                     int64
	retention                   int64 // days; 0 is for good
	tags                        map[string]string
	streams                     map[string]*stream
}

type stream struct {
	name         string
	created      int64
	lastIngested int64

	keepMax int     // Options.Keep
	kept    []Event // in order of arrival; see arrived
	sorted  []Event // the same by time; nil when not made yet. kept itself when that is in order

	stats  StreamStats // Group, Stream, Region and Digest are filled in when asked for
	digest hash.Hash
	seqs   map[string]*sequence
}

func (st *store) group(region, name string) (*group, *protocol.Error) {
	if g := st.regions[region][name]; g != nil {
		return g, nil
	}
	return nil, errNoGroup
}

func (st *store) stream(region, groupName, name string) (*group, *stream, *protocol.Error) {
	g, err := st.group(region, groupName)
	if err != nil {
		return nil, nil, err
	}
	if s := g.streams[name]; s != nil {
		return g, s, nil
	}
	return nil, nil, errNoStream
}

func newStream(name string, now int64, keepMax int) *stream {
	return &stream{name: name, created: now, keepMax: keepMax, digest: sha256.New(), seqs: map[string]*sequence{}}
}

// arrived returns the kept events in order of arrival. The slice may be read after the lock is gone:
// what it shows is never written again.
func (s *stream) arrived() []Event {
	from := 0
	if s.keepMax > 0 {
		from = max(0, len(s.kept)-s.keepMax)
	}
	return s.kept[from:len(s.kept):len(s.kept)]
}

// byTime returns the kept events by time, and in order of arrival where that is the same. The slice
// may be read after the lock is gone, as arrived's.
func (s *stream) byTime() []Event {
	if s.sorted != nil {
		return s.sorted
	}
	older := func(a, b Event) int { return cmp.Compare(a.Timestamp, b.Timestamp) }
	s.sorted = s.arrived()
	if !slices.IsSortedFunc(s.sorted, older) {
		s.sorted = slices.Clone(s.sorted)
		slices.SortStableFunc(s.sorted, older)
	}
	return s.sorted
}

// keep adds events. Where only some are kept, it forgets the others when there are twice as many.
func (s *stream) keep(events []Event) {
	if s.keepMax < 0 {
		return
	}
	s.kept = append(s.kept, events...)
	s.sorted = nil
	if s.keepMax > 0 && len(s.kept) > 2*s.keepMax {
		s.kept = slices.Clone(s.arrived()) // anew: readers may still hold the old ones
	}
}

// A position is a place among events that are ordered by time and then by arrival.
type position struct {
	timestamp int64
	seq       uint64
}

func (e *Event) position() position { return position{e.Timestamp, e.Seq} }

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.timestamp, q.timestamp), cmp.Compare(p.seq, q.seq))
}

// String is 56 digits, as the service's event IDs are.
func (p position) String() string { return fmt.Sprintf("%020d%036d", p.timestamp, p.seq) }

func parsePosition(s string) (p position, ok bool) {
	if len(s) != 56 {
		return p, false
	}
	t, err1 := strconv.ParseUint(s[:20], 10, 63)
	n, err2 := strconv.ParseUint(s[20:], 10, 64)
	return position{int64(t), n}, err1 == nil && err2 == nil
}

// firstAt is the index of the first event that is not before p.
func firstAt(events []Event, p position) int {
	return sort.Search(len(events), func(i int) bool { return events[i].position().compare(p) >= 0 })
}

func millis(t time.Time) int64 { return t.UnixMilli() }

// The errors that a client gets in its daily work without breaking a rule. The service ends some of
// the messages with a full stop and some without.
var (
	errNoGroup      = &protocol.Error{Status: 400, Code: "ResourceNotFoundException", Message: "The specified log group does not exist.", Expected: true}
	errNoStream     = &protocol.Error{Status: 400, Code: "ResourceNotFoundException", Message: "The specified log stream does not exist.", Expected: true}
	errGroupExists  = &protocol.Error{Status: 400, Code: "ResourceAlreadyExistsException", Message: "The specified log group already exists", Expected: true}
	errStreamExists = &protocol.Error{Status: 400, Code: "ResourceAlreadyExistsException", Message: "The specified log stream already exists", Expected: true}
)

var errBadToken = protocol.Invalid("The specified nextToken is invalid.")
