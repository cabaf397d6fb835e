package uploader

import (
	"sync/atomic"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/target"
)

// lossHint explains a reason to the operator. It is empty if CloudWatch's error explains it.
func lossHint(r events.LossReason) string {
	switch r {
	case events.TooOld:
		return "CloudWatch takes no event that is more than 14 days old"
	case events.Expired:
		return "CloudWatch takes no event that is older than the log group's retention"
	case events.TooNew:
		return "CloudWatch takes no event that is more than 2 hours in the future: check the host's clock"
	case events.TooLarge:
		return "the beginning of the event is delivered; the rest is more than CloudWatch takes"
	default:
		return ""
	}
}

// Dropped describes events of one feed that CloudWatch does not have, all for one reason.
type Dropped struct {
	Target target.Target
	Reason events.LossReason
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

	DroppedEvents map[events.LossReason]int64
	DroppedBytes  map[events.LossReason]int64
}

// counters are Metrics while they count.
type counters struct {
	batches, events, bytes, bodyBytes, sentBytes, retries, throttles, created, senders, inFlight atomic.Int64

	droppedEvents, droppedBytes [events.LossReasons]atomic.Int64
}

func (c *counters) snapshot() Metrics {
	m := Metrics{
		Batches: c.batches.Load(), Events: c.events.Load(), Bytes: c.bytes.Load(),
		BodyBytes: c.bodyBytes.Load(), SentBytes: c.sentBytes.Load(), Retries: c.retries.Load(),
		Throttles: c.throttles.Load(), Created: c.created.Load(), Senders: c.senders.Load(), InFlight: c.inFlight.Load(),
		DroppedEvents: make(map[events.LossReason]int64), DroppedBytes: make(map[events.LossReason]int64),
	}
	for r := range events.LossReasons {
		m.DroppedEvents[r] = c.droppedEvents[r].Load()
		m.DroppedBytes[r] = c.droppedBytes[r].Load()
	}
	return m
}
