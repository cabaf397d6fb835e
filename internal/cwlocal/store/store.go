// Package store is the account behind the stand-in: its log groups, streams and events, its
// access keys and the sessions of assumed roles, and the rules of the service for all of
// them. Each operation first checks the members of the request, and then reads or changes
// the account.
//
// It must not know HTTP, JSON, signatures or faults. It must not know the plugin's packages
// either: its rules come from AWS's documentation alone.
package store

import (
	"sync"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// KeepNone is the value of Options.Keep that keeps no events.
const KeepNone = -1

// Options configure a Store. Now must be set. OnAccepted must not call the Store. It may
// keep the events.
type Options struct {
	Now func() time.Time

	// Keep is how many of each stream's newest events are kept for reading: 0 keeps all,
	// KeepNone none.
	Keep int

	// OnAccepted is called for every accepted batch, in order of arrival, with the
	// Store's lock held.
	OnAccepted func(region, group, stream string, events []Event)

	// Sequence finds a writer's name and a sequence number in a message; nil checks no
	// sequences.
	Sequence func(message string) (writer string, n uint64, ok bool)
}

// A Store holds the log groups of all regions. All methods may be called concurrently.
type Store struct {
	opts Options

	mu sync.Mutex
	// regions is keyed by region, and then by the group's name.
	regions map[string]map[string]*group
	// seq is the Event.Seq of the newest event.
	seq   uint64
	stats EventStats
}

// New makes an empty Store.
func New(opts Options) *Store {
	return &Store{opts: opts, regions: map[string]map[string]*group{}}
}

// Do carries out a request for CloudWatch Logs that protocol.Request.Read did not refuse.
// The result is nil if the operation has none.
func (s *Store) Do(r *protocol.Request) (result any, err *protocol.Error) {
	return operations[r.Operation](s, r)
}

// operations are the functions of protocol.Operations.
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
	name    string
	region  string
	class   string
	kmsKey  string
	created int64 // created is in milliseconds since 1970.

	retention int64 // retention is in days; 0 means that events do not expire.
	tags      map[string]string
	streams   map[string]*stream // streams is keyed by name.
}

// group finds a group. s.mu is held.
func (s *Store) group(region, name string) (*group, *protocol.Error) {
	if g := s.regions[region][name]; g != nil {
		return g, nil
	}
	return nil, errNoGroup
}

// stream finds a stream and its group. s.mu is held.
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

// A client may get these errors without breaking a rule. The service ends some of the
// messages with a full stop and some without.
var (
	errNoGroup      = expected("ResourceNotFoundException", "The specified log group does not exist.")
	errNoStream     = expected("ResourceNotFoundException", "The specified log stream does not exist.")
	errGroupExists  = expected("ResourceAlreadyExistsException", "The specified log group already exists")
	errStreamExists = expected("ResourceAlreadyExistsException", "The specified log stream already exists")
)

var errBadToken = protocol.Invalid("The specified nextToken is invalid.")

func expected(code, message string) *protocol.Error {
	e := protocol.Refuse(code, "%s", message)
	e.Expected = true
	return e
}
