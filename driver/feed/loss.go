package feed

import (
	"slices"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

const (
	// A marker that was lost is sent again after a minute, after another loss twice as late, and so on up to ten
	// minutes: a service that refuses everything sees no more markers than that.
	firstMarkerRetry = time.Minute
	maxMarkerRetry   = 10 * time.Minute
)

// losses is what a feed knows of losses behind the spool, and of markers.
type losses struct {
	// Since the last Ack.
	events []spool.Gap
	ranges []stream.Range

	markers []marker // handed out since the last Rewind, and not acknowledged

	held     bool          // a gap is held whose marker was lost, until
	retry    time.Time     // when it is put into the stream again; zero: at the next Next it is decided when
	interval time.Duration // that it was held for last; 0: no marker was lost since one was accepted
	now      time.Time     // as the last Next had it
}

// marker is the marker of a gap.
type marker struct {
	stream.Range
	gap   spool.Gap
	bytes int64 // of its text
}

func (l *losses) forget() { l.events, l.ranges, l.markers = nil, nil, nil }

// retriesMarkers reports whether this feed sends the markers that were lost: the one that gaps belong to, of the
// container's last run.
func (f *Feed) retriesMarkers() bool { return f.o.Outputs.has(events.Unknown) && f.limit.Load() == 0 }

// marker returns the event that replaces what is missing; false if the feed has none for it.
func (f *Feed) marker(item spool.Item, now time.Time) (events.Event, bool) {
	g, l := *item.Gap, &f.losses
	if !f.o.Outputs.has(events.Unknown) {
		return events.Event{}, false
	}
	f.age.read(item.Range, f.last)
	if l.held { // the service refuses markers: it would refuse this one too
		f.spool.HoldGap(g)
		f.pending = append(f.pending, item.Range)
		return events.Event{}, false
	}
	at := g.MinTime
	if at == 0 {
		at = f.last
	}
	switch g.Reason {
	case gapReason(events.TooOld), gapReason(events.Expired), gapReason(events.TooNew):
		at = 0 // the service would not take the marker either
	}
	if at == 0 || l.interval > 0 {
		at = now.UnixNano()
	}
	text := []byte(gapText(g))
	l.markers = append(l.markers, marker{item.Range, g, int64(len(text))})
	return events.Event{
		Time:    at,
		Source:  events.Stdout,
		Message: text,
		Ranges:  []stream.Range{stream.Range(item.Range)},
	}, true
}

// Lost takes note that events were lost behind the spool. At the next Ack it becomes a gap in the stream, on disk
// before the lost events are acknowledged. ranges are those of events that are lost whole: markers are found by them.
// It returns how many events, of how many bytes, are lost: a marker is not counted.
func (f *Feed) Lost(why events.LossReason, ranges []stream.Range, lost int, bytes int64, from, to time.Time) (int, int64) {
	l := &f.losses
	begin := len(l.ranges)
	l.ranges = appendRanges(l.ranges, ranges)
	for _, m := range l.markers {
		if within(m.Range, l.ranges[begin:]) {
			lost--
			bytes -= m.bytes
		}
	}
	lost, bytes = max(lost, 0), max(bytes, 0)
	if lost > 0 {
		l.events = append(l.events, spool.Gap{
			Reason: gapReason(why), Frames: uint64(lost), Bytes: uint64(bytes), MinTime: from.UnixNano(), MaxTime: to.UnixNano(),
		})
	}
	return lost, bytes
}

// within reports whether one of ranges covers r.
func within(r stream.Range, ranges []stream.Range) bool {
	return slices.ContainsFunc(ranges, func(o stream.Range) bool { return o.From <= r.From && r.To <= o.To })
}

// account records what Lost reported, before the ranges are acknowledged. The gap of a marker that is itself
// lost is held in the spool until a marker has a chance again.
func (f *Feed) account(acked []stream.Range) {
	l := &f.losses
	if len(l.events) == 0 && len(l.markers) == 0 && !l.held {
		l.ranges = l.ranges[:0]
		return
	}
	ordinary := size(acked) - size(l.ranges)
	lost, accepted := false, false
	l.markers = slices.DeleteFunc(l.markers, func(m marker) bool {
		switch {
		case !within(m.Range, acked):
			return false
		case within(m.Range, l.ranges):
			f.spool.HoldGap(m.gap)
			lost = true
		default:
			accepted = true
			ordinary -= int64(m.To - m.From)
		}
		return true
	})
	for _, g := range l.events { // behind the markers: when one was lost, more of them have no chance
		f.addLoss(g)
	}
	l.events, l.ranges = l.events[:0], l.ranges[:0]
	switch {
	case lost:
		l.hold()
	case accepted:
		l.interval = 0
	}
	// An event was accepted: a marker may be, too. If that was tried in vain, the time decides.
	if l.held && !lost && ordinary > 0 && l.interval <= firstMarkerRetry {
		f.releaseMarker()
	}
}

// addLoss puts a loss into the stream, or adds it to the gap that is held.
func (f *Feed) addLoss(g spool.Gap) {
	if f.spool.HoldsGap() {
		f.spool.HoldGap(g)
	} else {
		f.spool.AddGap(g)
	}
}

func size(ranges []stream.Range) (n int64) {
	for _, r := range ranges {
		n += int64(r.To - r.From)
	}
	return n
}

// hold takes note that a marker was lost.
func (l *losses) hold() {
	l.interval = min(max(2*l.interval, firstMarkerRetry), maxMarkerRetry)
	l.held, l.retry = true, l.now.Add(l.interval)
}

// retryMarker puts the held gap into the stream again when its time has come.
func (f *Feed) retryMarker(now time.Time) {
	l := &f.losses
	l.now = now
	switch {
	case !l.held || !f.retriesMarkers():
	case l.retry.IsZero(): // held since before the feed began
		l.retry = now.Add(firstMarkerRetry)
	case !now.Before(l.retry):
		f.releaseMarker()
	}
}

func (f *Feed) releaseMarker() {
	f.losses.held, f.losses.retry = false, time.Time{}
	f.spool.ReleaseGap()
}
