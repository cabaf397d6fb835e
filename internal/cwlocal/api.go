package cwlocal

import (
	"github.com/logspool/logspool/internal/cwlocal/fault"
	"github.com/logspool/logspool/internal/cwlocal/protocol"
	"github.com/logspool/logspool/internal/cwlocal/stats"
	"github.com/logspool/logspool/internal/cwlocal/store"
)

// These types and values of the parts are what users of a Server need.
type (
	ActiveFault   = fault.Status
	Entity        = protocol.Entity
	EntityStats   = store.EntityStats
	Event         = store.Event
	Fault         = fault.Fault
	FaultKind     = fault.Kind
	GroupInfo     = store.GroupInfo
	Refusal       = stats.Refusal
	Role          = store.Role
	SequenceStats = store.SequenceStats
	Session       = store.Session
	StreamStats   = store.StreamStats
)

// The kinds of faults. Package fault documents them.
const (
	Throttle           = fault.Throttle
	InternalError      = fault.InternalError
	Unavailable        = fault.Unavailable
	Denied             = fault.Denied
	ExpiredToken       = fault.ExpiredToken
	UnrecognizedClient = fault.UnrecognizedClient
	ResetBefore        = fault.ResetBefore
	ResetAfter         = fault.ResetAfter
	Hang               = fault.Hang
	HangAfter          = fault.HangAfter
	HTMLOK             = fault.HTMLOK
	HTMLBad            = fault.HTMLBad
	Truncated          = fault.Truncated
	DataAccepted       = fault.DataAccepted
	GzipUnsupported    = fault.GzipUnsupported
	GzipMisread        = fault.GzipMisread
	GzipCrash          = fault.GzipCrash
	Slow               = fault.Slow
	Poison             = fault.Poison
	SmallEvents        = fault.SmallEvents
	ErrorCode          = fault.ErrorCode
	Bottleneck         = fault.Bottleneck
)

// FaultKinds are all kinds of faults.
var FaultKinds = fault.Kinds

// AccountID is the account that owns everything in a Server. It is part of each ARN.
const AccountID = protocol.AccountID

// KeepNone is the value of Options.Keep that keeps no events.
const KeepNone = store.KeepNone

// MarkedSequence is an Options.Sequence for messages that contain seq=WRITER:N, such as
// seq=web-3:1200.
func MarkedSequence(message string) (writer string, n uint64, ok bool) {
	return store.MarkedSequence(message)
}

// Stats are counts since the start.
type Stats struct {
	stats.RequestStats
	store.EventStats
}

// Stats returns the current counts. If they show that a request has ended, they include its
// events.
func (s *Server) Stats() Stats {
	requests := s.recorder.Stats() // first: events are counted before their request ends
	return Stats{requests, s.store.Stats()}
}

// Refusals lists the requests that broke a rule, at most the first thousand. A test of a
// client expects none.
func (s *Server) Refusals() []Refusal { return s.recorder.Refusals() }

// Sessions lists the sessions of assumed roles, in no order. Expired ones may be missing.
func (s *Server) Sessions() []Session { return s.keys.Sessions() }

// Groups lists all groups by region and name.
func (s *Server) Groups() []GroupInfo { return s.store.Groups() }

// Streams lists the counts of all streams by region, group and name. Deleted streams are
// missing.
func (s *Server) Streams() []StreamStats { return s.store.Streams() }

// Stream returns the counts of one stream. ok is false if the stream does not exist.
func (s *Server) Stream(region, group, stream string) (st StreamStats, ok bool) {
	return s.store.Stream(region, group, stream)
}

// Arrived returns the events that a stream has kept, in order of arrival. The caller must
// not write to the slice.
func (s *Server) Arrived(region, group, stream string) []Event {
	return s.store.Arrived(region, group, stream)
}

// Sorted returns the events that a stream has kept, in the service's order: by time, and by
// arrival within a millisecond. The caller must not write to the slice.
func (s *Server) Sorted(region, group, stream string) []Event {
	return s.store.Sorted(region, group, stream)
}

// AddFault activates a fault and returns its number. It panics if the fault is invalid.
func (s *Server) AddFault(f Fault) (id int64) { return s.faults.Add(f, s.opts.Now()) }

// ListFaults lists the faults that were added and not cleared, including those that are
// used up.
func (s *Server) ListFaults() []ActiveFault { return s.faults.All() }

// ClearFault ends the fault with that number, or all faults if the number is 0. A request
// that hangs because of it gets its connection reset. ClearFault returns how many faults it
// ended.
func (s *Server) ClearFault(id int64) int { return s.faults.Clear(id) }
