package cwlocal

import (
	"github.com/logspool/logspool/internal/cwlocal/fault"
	"github.com/logspool/logspool/internal/cwlocal/protocol"
	"github.com/logspool/logspool/internal/cwlocal/stats"
	"github.com/logspool/logspool/internal/cwlocal/store"
)

// The types and values of the packages below that users of a Server need.
type (
	ActiveFault   = fault.Status
	Fault         = fault.Fault
	FaultKind     = fault.Kind
	Entity        = protocol.Entity
	EntityStats   = store.EntityStats
	Event         = store.Event
	GroupInfo     = store.GroupInfo
	Refusal       = stats.Refusal
	Role          = store.Role
	SequenceStats = store.SequenceStats
	Session       = store.Session
	StreamStats   = store.StreamStats
)

// FaultKinds are all kinds of faults.
var FaultKinds = fault.Kinds

// The kinds of faults; package fault says what each does.
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
	Slow               = fault.Slow
	GzipCrash          = fault.GzipCrash
	Poison             = fault.Poison
	SmallEvents        = fault.SmallEvents
)

// AccountID is the account that owns everything in a Server. It is part of each ARN.
const AccountID = protocol.AccountID

// KeepNone is the value of Options.Keep that keeps no event.
const KeepNone = store.KeepNone

// MarkedSequence is an Options.Sequence for messages that hold seq=WRITER:N, such as seq=web-3:1200.
func MarkedSequence(message string) (writer string, n uint64, ok bool) {
	return store.MarkedSequence(message)
}

// Groups lists all groups by region and name.
func (s *Server) Groups() []GroupInfo { return s.store.Groups() }

// Streams lists the streams that are there by region, group and name.
func (s *Server) Streams() []StreamStats { return s.store.Streams() }

// Stream is one stream's counts.
func (s *Server) Stream(region, group, name string) (StreamStats, bool) {
	return s.store.Stream(region, group, name)
}

// Arrived are a stream's kept events in order of arrival. The slice must not be written to.
func (s *Server) Arrived(region, group, stream string) []Event {
	return s.store.Arrived(region, group, stream)
}

// Sorted are a stream's kept events as the service shows them: by time, and in order of arrival where
// that is the same. The slice must not be written to.
func (s *Server) Sorted(region, group, stream string) []Event {
	return s.store.Sorted(region, group, stream)
}

// Sessions lists what AssumeRole gave out, in no order. Those that have expired may be missing.
func (s *Server) Sessions() []Session { return s.keys.Sessions() }
