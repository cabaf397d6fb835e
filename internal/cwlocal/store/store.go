// Package store is the account behind the stand-in: the log groups, streams and events that it holds, its
// access keys and the sessions of assumed roles, and the rules of the service that say what may be done
// with them. Each operation checks its members, then changes or reads the account under one lock.
//
// It was written from AWS's documentation alone, so it must not know the plugin's uploader. It must not
// know HTTP, JSON, signatures or faults either.
package store

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"sort"
	"strconv"
	"sync"
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

// KeepNone is the value of Options.Keep that keeps no event.
const KeepNone = -1

// Options say what a Store keeps. Now must be set.
type Options struct {
	Now func() time.Time

	// Keep is how many events each stream keeps for reading: 0 is all of them, N the N that came
	// last, KeepNone none. Counts, digests and sequences cover all events whatever Keep is.
	Keep int

	// OnAccepted is called for every accepted batch, in order of arrival, with the Store's lock held:
	// it must be quick and must not call the Store. It may keep the events.
	OnAccepted func(region, group, stream string, events []Event)

	// Sequence finds a writer's name and a running number in a message, so that StreamStats can
	// say what is missing, doubled or out of order (see MarkedSequence). Nil checks nothing.
	Sequence func(message string) (writer string, n uint64, ok bool)
}

// A Store is what the account holds: by region, then by group's name. All methods may be called at
// once.
type Store struct {
	opts Options

	mu      sync.Mutex
	regions map[string]map[string]*group
	seq     uint64 // of the newest event
	batches uint64
	stats   EventStats
}

// New makes an empty Store.
func New(opts Options) *Store {
	return &Store{opts: opts, regions: map[string]map[string]*group{}}
}

// Do carries out a request of CloudWatch Logs that protocol.Request.Read has accepted.
func (s *Store) Do(r *protocol.Request) (any, *protocol.Error) {
	return operations[r.Operation](s, r)
}

// operations carry out the operations.
var operations = map[string]func(*Store, *protocol.Request) (any, *protocol.Error){
	"PutLogEvents": (*Store).putLogEvents,

	"CreateLogGroup":        (*Store).createLogGroup,
	"DeleteLogGroup":        (*Store).deleteLogGroup,
	"PutRetentionPolicy":    (*Store).putRetentionPolicy,
	"DeleteRetentionPolicy": (*Store).deleteRetentionPolicy,
	"TagResource":           (*Store).tagResource,
	"UntagResource":         (*Store).untagResource,
	"ListTagsForResource":   (*Store).listTagsForResource,
	"DescribeLogGroups":     (*Store).describeLogGroups,

	"CreateLogStream":    (*Store).createLogStream,
	"DeleteLogStream":    (*Store).deleteLogStream,
	"DescribeLogStreams": (*Store).describeLogStreams,

	"GetLogEvents":    (*Store).getLogEvents,
	"FilterLogEvents": (*Store).filterLogEvents,
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

func (s *Store) group(region, name string) (*group, *protocol.Error) {
	if g := s.regions[region][name]; g != nil {
		return g, nil
	}
	return nil, errNoGroup
}

func (s *Store) stream(region, groupName, name string) (*group, *stream, *protocol.Error) {
	g, err := s.group(region, groupName)
	if err != nil {
		return nil, nil, err
	}
	if st := g.streams[name]; st != nil {
		return g, st, nil
	}
	return nil, nil, errNoStream
}

func newStream(name string, now int64, keepMax int) *stream {
	return &stream{name: name, created: now, keepMax: keepMax, digest: sha256.New(), seqs: map[string]*sequence{}}
}

// arrived returns the kept events in order of arrival. The slice may be read after the lock is gone:
// what it shows is never written again.
func (st *stream) arrived() []Event {
	from := 0
	if st.keepMax > 0 {
		from = max(0, len(st.kept)-st.keepMax)
	}
	return st.kept[from:len(st.kept):len(st.kept)]
}

// byTime returns the kept events by time, and in order of arrival where that is the same. The slice
// may be read after the lock is gone, as arrived's.
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

// keep adds events. Where only some are kept, it forgets the others when there are twice as many.
func (st *stream) keep(events []Event) {
	if st.keepMax < 0 {
		return
	}
	st.kept = append(st.kept, events...)
	st.sorted = nil
	if st.keepMax > 0 && len(st.kept) > 2*st.keepMax {
		st.kept = slices.Clone(st.arrived()) // anew: readers may still hold the old ones
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
