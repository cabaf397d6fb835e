package events

import "fmt"

// LossReason says why an event, or the end of one, is not in CloudWatch although it was
// spooled.
type LossReason uint8

// The reasons. Their numbers are on disk, in the gaps of a spool, so a new one goes
// before LossReasons. It also needs a row in lossDocs, and a lossHint in package uploader
// if the operator can do something. If CloudWatch would reject a marker with the time of
// the lost events too, Feed.marker in package driver/feed must know the reason.
//
// CloudWatch drops events that are too old, expired or too new, and accepts the rest of
// their batch (PutLogEvents, rejectedLogEventsInfo).
const (
	TooOld        LossReason = iota // more than 14 days old
	Expired                         // older than the log group's retention
	TooNew                          // more than 2 hours in the future
	Refused                         // CloudWatch rejects every batch with the event.
	TooLarge                        // CloudWatch accepts only the beginning of the event.
	Unprocessable                   // The plugin panicked on it.

	LossReasons // the number of reasons
)

// lossDocs has the word for each reason, and the text that explains it in a marker.
var lossDocs = [LossReasons]struct{ word, text string }{
	TooOld:        {"too_old", "CloudWatch accepts nothing older than 14 days"},
	Expired:       {"expired", "older than the log group's retention"},
	TooNew:        {"too_new", "CloudWatch accepts nothing from more than 2 hours in the future"},
	Refused:       {"refused", "CloudWatch refused it"},
	TooLarge:      {"too_large", "larger than CloudWatch accepts"},
	Unprocessable: {"unprocessable", "the plugin failed to process it"},
}

// String returns the word for the reason in gap markers, logs and metrics.
func (r LossReason) String() string {
	if r >= LossReasons {
		return fmt.Sprintf("LossReason(%d)", uint8(r))
	}
	return lossDocs[r].word
}

// Text returns the text that explains the reason in a marker.
func (r LossReason) Text() string {
	if r >= LossReasons {
		return ""
	}
	return lossDocs[r].text
}
