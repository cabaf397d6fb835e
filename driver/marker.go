package driver

import (
	"fmt"
	"time"

	"github.com/logspool/logspool/spool"
)

// gapText is the text of a gap marker: how much is missing, from when to when, and why.
func gapText(g spool.Gap) string {
	what := fmt.Sprintf("%d bytes", g.Bytes)
	if g.Frames > 0 {
		what = fmt.Sprintf("%d lines, %s", g.Frames, what)
	}
	when := ""
	if g.MinTime != 0 {
		when = fmt.Sprintf(", from %s to %s", gapTime(g.MinTime), gapTime(g.MaxTime))
	}
	return fmt.Sprintf("[logspool] missing here: %s%s; reason: %s (%s)", what, when, g.Reason, gapReasons[g.Reason])
}

func gapTime(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z") }

var gapReasons = map[spool.Reason]string{
	spool.Full:       "the spool was full",
	spool.Unwritable: "the spool could not be written",
	spool.Damaged:    "the spool was damaged on disk",
	spool.Unreadable: "what was written to the FIFO could not be read",
}
