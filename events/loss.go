package events

import "fmt"

// LossReason says why a whole event, or the end of one, is not in CloudWatch although it
// was spooled.
type LossReason uint8

// The reasons. Their numbers are on disk, in the gaps of a spool. CloudWatch drops events
// that are too old, expired or too new, and accepts the rest of their batch
// (PutLogEvents, rejectedLogEventsInfo).
const (
	TooOld        LossReason = iota // more than 14 days old
	Expired                         // older than the log group's retention
	TooNew                          // more than 2 hours in the future
	Refused                         // CloudWatch refuses every batch that holds the event
	TooLarge                        // the beginning of the event was delivered, the rest was not
	Unprocessable                   // the plugin panicked on it
	LossReasons                     // LossReasons is the number of reasons.
)

// String returns the word for the reason in gap markers, logs and metrics.
func (r LossReason) String() string {
	words := [LossReasons]string{"too_old", "expired", "too_new", "refused", "too_large", "unprocessable"}
	if r >= LossReasons {
		return fmt.Sprintf("LossReason(%d)", uint8(r))
	}
	return words[r]
}
