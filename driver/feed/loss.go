package feed

import (
	"slices"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// losses are events that were lost after the feed read them from the spool, since the last
// Ack.
type losses struct {
	gaps   []spool.Gap
	ranges []stream.Range // ranges are those of events that are lost whole.
}

// Lost records that events were lost after the feed read them from the spool. The next
// Ack puts the loss into the stream as a gap, which is on disk before the lost events are
// acknowledged. ranges are those of events that are lost whole. Lost returns the number
// of lost events and their bytes without the markers among them, which it recognises by
// their ranges.
func (f *Feed) Lost(
	why events.LossReason, ranges []stream.Range, lost int, bytes int64, from, to time.Time,
) (int, int64) {
	f.losses.ranges = append(f.losses.ranges, ranges...)
	for _, m := range f.markers.sent {
		if within(m.Range, ranges) {
			lost--
			bytes -= m.bytes
		}
	}
	lost, bytes = max(lost, 0), max(bytes, 0)
	if lost > 0 {
		f.losses.gaps = append(f.losses.gaps, spool.Gap{
			Reason: gapReason(why), Frames: uint64(lost), Bytes: uint64(bytes), MinTime: from.UnixNano(), MaxTime: to.UnixNano(),
		})
	}
	return lost, bytes
}

// within reports whether one of ranges covers r.
func within(r stream.Range, ranges []stream.Range) bool {
	return slices.ContainsFunc(ranges, func(o stream.Range) bool { return o.From <= r.From && r.To <= o.To })
}

// account records what Lost reported, before the ranges are acknowledged. The spool
// holds the gap of a marker that is itself lost until a marker may succeed.
func (f *Feed) account(acked []stream.Range) {
	l, m := &f.losses, &f.markers
	if len(l.gaps) == 0 && len(m.sent) == 0 && !m.held {
		l.ranges = l.ranges[:0]
		return
	}
	ordinary := size(acked) - size(l.ranges)
	lost, accepted := false, false
	m.sent = slices.DeleteFunc(m.sent, func(sent marker) bool {
		if !within(sent.Range, acked) {
			return false
		}
		if sent.found {
			f.foundLoss(sent.gap)
		}
		switch {
		case within(sent.Range, l.ranges):
			f.spool.HoldGap(sent.gap)
			lost = true
		default:
			accepted = true
			ordinary -= int64(sent.To - sent.From)
		}
		return true
	})
	// The gaps come after the markers: if a marker was lost, the markers of these would
	// be, too.
	for _, g := range l.gaps {
		f.countLoss(g)
		f.putGap(g)
	}
	l.gaps, l.ranges = l.gaps[:0], l.ranges[:0]
	switch {
	case lost:
		m.hold(f.progress.now)
	case accepted:
		m.interval = 0
	}
	// CloudWatch has accepted an event, so it may accept a marker. If that has failed
	// before, the pause decides.
	if m.held && !lost && ordinary > 0 && m.interval <= firstMarkerRetry {
		f.releaseMarker()
	}
}

// foundLoss reports a loss that reading has found.
func (f *Feed) foundLoss(g spool.Gap) {
	f.countLoss(g)
	if f.o.OnLost != nil {
		f.o.OnLost(reasonOf(g).String(), int(g.Frames), int64(g.Bytes))
	}
}

func (f *Feed) countLoss(g spool.Gap) {
	if f.o.OnDropped != nil {
		f.o.OnDropped(reasonOf(g).String(), int(g.Frames), int64(g.Bytes))
	}
}

// putGap puts a loss into the stream, or adds it to the gap that the spool holds.
func (f *Feed) putGap(g spool.Gap) {
	if f.spool.HoldsGap() {
		f.spool.HoldGap(g)
	} else {
		f.spool.AddGap(g)
	}
}
