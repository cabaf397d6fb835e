package feed

import (
	"fmt"
	"time"

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

// The reasons of losses behind the spool. Their numbers are on disk.
const (
	tooOld spool.Reason = spool.FirstForeign + iota
	expired
	tooNew
	refused
	tooLarge
	unprocessable
)

var lossReasons = map[string]spool.Reason{
	"too_old": tooOld, "expired": expired, "too_new": tooNew, "refused": refused, "too_large": tooLarge,
	"unprocessable": unprocessable,
}

// reasonWord is the word for a reason, in markers and metrics.
func reasonWord(r spool.Reason) string {
	for word, reason := range lossReasons {
		if reason == r {
			return word
		}
	}
	return r.String()
}

var gapReasons = map[spool.Reason]string{
	spool.Full:       "the spool was full",
	spool.Unwritable: "the spool could not be written",
	spool.Damaged:    "the spool was damaged on disk",
	spool.Unreadable: "what was written to the FIFO could not be read",
	tooOld:           "the service takes nothing older than 14 days",
	expired:          "older than the log group's retention",
	tooNew:           "the service takes nothing from more than 2 hours ahead",
	refused:          "the service refused it",
	tooLarge:         "larger than the service takes",
	unprocessable:    "the plugin failed to process it",
}
