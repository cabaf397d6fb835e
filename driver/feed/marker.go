package feed

import (
	"fmt"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/spool"
)

// gapText is the text of a gap marker: how much is missing, from when to when, and why.
//
// It has two lines, and no newline at its end, so that no container can forge it. dockerd ends a line at each newline: a
// line has none. An event of several lines ends with one, if it is not as long as CloudWatch allows. With format=json
// every event but a marker is an object.
func gapText(g spool.Gap) string {
	what := fmt.Sprintf("%d bytes", g.Bytes)
	if g.Frames > 0 {
		what = fmt.Sprintf("%d lines, %s", g.Frames, what)
	}
	when := ""
	if g.MinTime != 0 {
		when = fmt.Sprintf(", from %s to %s", gapTime(g.MinTime), gapTime(g.MaxTime))
	}
	return fmt.Sprintf("[logspool] missing here: %s%s;\nreason: %s (%s)", what, when, reasonWord(g.Reason), gapReasons[g.Reason])
}

func gapTime(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z") }

// gapReason returns the number of a loss behind the spool in a gap of the spool.
func gapReason(r events.LossReason) spool.Reason { return spool.FirstForeign + spool.Reason(r) }

// lossReason returns the reason of a gap for a loss behind the spool; false for the spool's own reasons.
func lossReason(r spool.Reason) (events.LossReason, bool) {
	if r < spool.FirstForeign || r >= gapReason(events.LossReasons) {
		return 0, false
	}
	return events.LossReason(r - spool.FirstForeign), true
}

// reasonWord returns the word for a gap's reason in markers and logs.
func reasonWord(r spool.Reason) string {
	if loss, ok := lossReason(r); ok {
		return loss.String()
	}
	return r.String()
}

var gapReasons = map[spool.Reason]string{
	spool.Full:                      "the spool was full",
	spool.Unwritable:                "the spool could not be written",
	spool.Damaged:                   "the spool was damaged on disk",
	spool.Unreadable:                "what was written to the FIFO could not be read",
	gapReason(events.TooOld):        "the service takes nothing older than 14 days",
	gapReason(events.Expired):       "older than the log group's retention",
	gapReason(events.TooNew):        "the service takes nothing from more than 2 hours ahead",
	gapReason(events.Refused):       "the service refused it",
	gapReason(events.TooLarge):      "larger than the service takes",
	gapReason(events.Unprocessable): "the plugin failed to process it",
}
