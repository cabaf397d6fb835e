package spool

import "cmp"

// Reason is the reason for which a part of the stream is missing.
type Reason uint8

// The reasons of a Gap. Their numbers are on disk. The numbers from FirstForeign on belong to the
// caller of AddGap; the spool does not know what they mean.
const (
	Full       Reason = 1 // the spool was full
	Unwritable Reason = 2 // the disk refused the write
	Damaged    Reason = 3 // the disk holds something other than what was written
	Unreadable Reason = 4 // what was written is not a frame

	FirstForeign Reason = 16
)

var reasonWords = map[Reason]string{Full: "spool_full", Unwritable: "spool_unwritable", Damaged: "spool_damaged", Unreadable: "unreadable"}

func (r Reason) String() string {
	return cmp.Or(reasonWords[r], "unknown")
}

// Gap describes a missing part of the stream.
type Gap struct {
	Reason  Reason
	Frames  uint64 // the number of missing frames, as far as it is known
	Bytes   uint64 // the number of missing bytes
	MinTime int64  // the least time of the missing frames, in Unix nanoseconds; 0: not known
	MaxTime int64  // the greatest time of them
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
