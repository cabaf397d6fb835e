package events

import "fmt"

// LossReason says why an event, or the end of one, is not in CloudWatch although it was spooled.
type LossReason uint8

// The reasons. Their numbers are on disk, in the gaps of a spool, so a new one goes before
// LossReasons. It also needs a word in lossWords, a text in gapReasons (driver/feed/marker.go), a
// row in docs/operating.md, and possibly a lossHint in package uploader.
//
// CloudWatch drops events that are too old, expired or too new, and accepts the rest of their batch
// (PutLogEvents, rejectedLogEventsInfo).
const (
	TooOld        LossReason = iota // more than 14 days old
	Expired                         // older than the log group's retention
	TooNew                          // more than 2 hours in the future
	Refused                         // CloudWatch rejects every batch with the event.
	TooLarge                        // CloudWatch accepts only the beginning of the event.
	Unprocessable                   // The plugin panicked on it.

	LossReasons // the number of reasons
)

var lossWords = [LossReasons]string{
	TooOld:        "too_old",
	Expired:       "expired",
	TooNew:        "too_new",
	Refused:       "refused",
	TooLarge:      "too_large",
	Unprocessable: "unprocessable",
}

// String returns the word for the reason in gap markers, logs and metrics.
func (r LossReason) String() string {
	if r >= LossReasons {
		return fmt.Sprintf("LossReason(%d)", uint8(r))
	}
	return lossWords[r]
}
