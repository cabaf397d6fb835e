package uploader

import (
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// Reason says why an event was not delivered as it was.
type Reason int

// The reasons. TooOld, Expired and TooNew are the service's own: it drops those events and takes the rest of
// the batch. A Refused event makes the service refuse any batch it is in. Of a TooLarge event the beginning is
// delivered and the rest, beyond what the service takes, is not.
const (
	TooOld Reason = iota
	Expired
	TooNew
	Refused
	TooLarge
	reasons
)

// String returns the reason as the metrics' label spells it.
func (r Reason) String() string {
	return [...]string{"too_old", "expired", "too_new", "refused", "too_large"}[r]
}

// hint says what the reason means; empty where the error of the service says it.
func (r Reason) hint() string {
	switch r {
	case TooOld:
		return "CloudWatch takes no event that is more than 14 days old"
	case Expired:
		return "CloudWatch takes no event that is older than the log group's retention"
	case TooNew:
		return "CloudWatch takes no event that is more than 2 hours in the future: check the host's clock"
	case TooLarge:
		return "the beginning of the event is delivered; the rest is more than CloudWatch takes"
	default:
		return ""
	}
}

// Dropped describes events of one feed that CloudWatch does not have, all for one reason.
type Dropped struct {
	Target target.Target
	Reason Reason
	Events int
	Bytes  int64     // of their messages, as the service counts them
	From   time.Time // of the first
	To     time.Time // of the last
}

// Metrics is a snapshot of what an Uploader has counted since its start.
type Metrics struct {
	Batches   int64 // accepted
	Events    int64 // in them, those that the service dropped not included
	Bytes     int64 // of those events' messages, as the service counts them
	BodyBytes int64 // of accepted requests' bodies before compression
	SentBytes int64 // of accepted requests' bodies as they were sent
	Retries   int64 // requests that failed and were, or will be, made again
	Throttles int64 // of them, those that were one too many for the service
	Created   int64 // streams made, or found to be there
	Senders   int64 // streams that are being sent to now
	InFlight  int64 // requests in flight now

	DroppedEvents map[Reason]int64
	DroppedBytes  map[Reason]int64
}

// counters are Metrics while they count.
type counters struct {
	batches, events, bytes, bodyBytes, sentBytes, retries, throttles, created, senders, inFlight atomic.Int64

	droppedEvents, droppedBytes [reasons]atomic.Int64
}

func (c *counters) snapshot() Metrics {
	m := Metrics{
		Batches: c.batches.Load(), Events: c.events.Load(), Bytes: c.bytes.Load(),
		BodyBytes: c.bodyBytes.Load(), SentBytes: c.sentBytes.Load(), Retries: c.retries.Load(),
		Throttles: c.throttles.Load(), Created: c.created.Load(), Senders: c.senders.Load(), InFlight: c.inFlight.Load(),
		DroppedEvents: make(map[Reason]int64), DroppedBytes: make(map[Reason]int64),
	}
	for r := range reasons {
		m.DroppedEvents[r] = c.droppedEvents[r].Load()
		m.DroppedBytes[r] = c.droppedBytes[r].Load()
	}
	return m
}
