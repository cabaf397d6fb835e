package spool

// Reason is the reason for which a part of the stream is missing.
type Reason uint8

// The reasons of a Gap. Their numbers are on disk, so a new one goes before EndOfReasons.
// It also needs a row in reasonDocs. The numbers from FirstForeign on belong to the
// caller of AddGap; the spool does not know what they mean.
const (
	Full       Reason = iota + 1 // the budget or the spool's own limit has no space
	Unwritable                   // the disk refused the write
	Damaged                      // the disk holds something other than what was written
	Unreadable                   // what was written is not a frame

	EndOfReasons        // the number after the last reason
	FirstForeign Reason = 16
)

// The numbers of the spool end before FirstForeign.
var _ [FirstForeign - EndOfReasons]struct{}

// reasonDocs has the word for each reason, and the text that explains it in a marker.
var reasonDocs = [EndOfReasons]struct{ word, text string }{
	Full:       {"spool_full", "the spool was full"},
	Unwritable: {"spool_unwritable", "the spool could not be written"},
	Damaged:    {"spool_damaged", "the spool was damaged on disk"},
	Unreadable: {"unreadable", "what was written to the FIFO could not be read"},
}

// String returns the word for the reason in markers and logs.
func (r Reason) String() string {
	if r == 0 || r >= EndOfReasons {
		return "unknown"
	}
	return reasonDocs[r].word
}

// Text returns the text that explains the reason in a marker.
func (r Reason) Text() string {
	if r == 0 || r >= EndOfReasons {
		return "this version of the plugin does not know the reason"
	}
	return reasonDocs[r].text
}

// Gap describes a missing part of the stream. The times are 0 if they are not known.
type Gap struct {
	Reason  Reason
	Frames  uint64 // Frames is the number of missing frames, as far as it is known.
	Bytes   uint64 // Bytes is the number of missing bytes.
	MinTime int64  // MinTime is the least time of the missing frames, in Unix nanoseconds.
	MaxTime int64  // MaxTime is the greatest time of the missing frames, in Unix nanoseconds.
}

// join adds o to g. A zero g takes the reason of o.
func (g *Gap) join(o Gap) {
	if *g == (Gap{}) {
		g.Reason = o.Reason
	}
	g.Frames += o.Frames
	g.Bytes += o.Bytes
	if o.MinTime != 0 && (g.MinTime == 0 || o.MinTime < g.MinTime) {
		g.MinTime = o.MinTime
	}
	g.MaxTime = max(g.MaxTime, o.MaxTime)
}

// minus returns g without the frames and bytes of o, which is a part of g.
func (g Gap) minus(o Gap) Gap {
	g.Frames -= o.Frames
	g.Bytes -= o.Bytes
	return g
}

// gap returns the gap that results if the described bytes are lost.
func (i BlockInfo) gap(reason Reason, bytes int) Gap {
	return Gap{Reason: reason, Frames: uint64(i.Frames), Bytes: uint64(bytes), MinTime: i.MinTime, MaxTime: i.MaxTime}
}
