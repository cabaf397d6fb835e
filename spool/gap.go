package spool

// Reason says why something of the stream cannot be had.
type Reason uint8

// The reasons of a Gap. Their numbers are on disk. Those from FirstForeign on belong to the caller of AddGap, and
// the spool does not know what they mean.
const (
	Full       Reason = 1 // the spool was full and gave way
	Unwritable Reason = 2 // the disk did not take it
	Damaged    Reason = 3 // what is on the disk is not what was written
	Unreadable Reason = 4 // what was written is not a frame

	FirstForeign Reason = 16
)

func (r Reason) String() string {
	switch r {
	case Full:
		return "spool_full"
	case Unwritable:
		return "spool_unwritable"
	case Damaged:
		return "spool_damaged"
	case Unreadable:
		return "unreadable"
	default:
		return "unknown"
	}
}

// Gap describes a piece of the stream that cannot be had.
type Gap struct {
	Reason  Reason
	Frames  uint64 // how many frames are missing, as far as is known
	Bytes   uint64 // how many bytes of stream are missing
	MinTime int64  // least and greatest time of the missing frames in nanoseconds since the Unix
	MaxTime int64  // epoch; 0 when not known
}

func (g *Gap) join(o Gap) {
	g.Frames += o.Frames
	g.Bytes += o.Bytes
	if o.MinTime != 0 && (g.MinTime == 0 || o.MinTime < g.MinTime) {
		g.MinTime = o.MinTime
	}
	g.MaxTime = max(g.MaxTime, o.MaxTime)
}

// minus returns g less the frames and bytes of o, a part of it.
func (g Gap) minus(o Gap) Gap {
	g.Frames -= o.Frames
	g.Bytes -= o.Bytes
	return g
}
