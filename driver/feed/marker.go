package feed

import (
	"fmt"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/backoff"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// gapText returns the text of a gap's marker: how much is missing, from when to when,
// and why.
//
// A container cannot forge a marker, because it has two lines and no newline at its
// end. An event of one line has no newline. An event of several lines ends with one,
// unless it is as long as CloudWatch allows. With format=json, every event except a
// marker is an object.
func gapText(g spool.Gap) string {
	what := fmt.Sprintf("%d bytes", g.Bytes)
	if g.Frames > 0 {
		what = fmt.Sprintf("%d lines, %s", g.Frames, what)
	}
	when := ""
	if g.MinTime != 0 {
		when = fmt.Sprintf(", from %s to %s", gapTime(g.MinTime), gapTime(g.MaxTime))
	}
	r := reasonOf(g)
	return fmt.Sprintf("[logspool] missing here: %s%s;\nreason: %s (%s)", what, when, r, r.Text())
}

func gapTime(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z") }

// gapReason returns the spool's reason for a gap of events that the feed has read.
func gapReason(r events.LossReason) spool.Reason { return spool.FirstForeign + spool.Reason(r) }

// A reason is an events.LossReason or a spool.Reason.
type reason interface {
	String() string // the word for it in markers and logs
	Text() string   // explains it in a marker
}

// reasonOf returns the reason of a gap.
func reasonOf(g spool.Gap) reason {
	if g.Reason >= spool.FirstForeign && g.Reason < gapReason(events.LossReasons) {
		return events.LossReason(g.Reason - spool.FirstForeign)
	}
	return g.Reason
}

const (
	// firstMarkerRetry is the pause before a marker that was lost is sent again. It
	// doubles with each further loss, up to maxMarkerRetry, so that CloudWatch gets no
	// more markers than that even if it rejects everything.
	firstMarkerRetry = time.Minute
	maxMarkerRetry   = 10 * time.Minute
)

// markers is the state of the markers of a feed. The spool holds the gap of a marker that
// was lost, until that gap is put into the stream again.
type markers struct {
	sent     []marker      // sent has the markers since the last Rewind, until acknowledged.
	held     bool          // held says that the spool holds a gap.
	retry    time.Time     // retry is when the gap is released, or zero until Next sets it.
	interval time.Duration // interval is the last pause, or 0 after an accepted marker.
}

// marker is the marker of a gap.
type marker struct {
	stream.Range
	gap   spool.Gap
	found bool  // found says that nothing has counted the gap yet.
	bytes int64 // bytes is the length of the marker's text.
}

// retriesMarkers reports whether this feed sends lost markers again: the feed that gaps
// belong to, of the container's last run.
func (f *Feed) retriesMarkers() bool { return f.o.Outputs.has(events.Unknown) && f.limit.Load() == 0 }

// marker returns the marker of a gap as an event. It returns false if the feed sends
// none for it.
func (f *Feed) marker(item spool.Item, now time.Time) (events.Event, bool) {
	g, m := *item.Gap, &f.markers
	if !f.o.Outputs.has(events.Unknown) {
		return events.Event{}, false
	}
	f.age.read(item.Range, f.progress.latest)
	if m.held { // CloudWatch rejects markers, so it would reject this one too.
		if item.Found {
			f.foundLoss(g)
		}
		f.spool.HoldGap(g)
		f.acks.pending = append(f.acks.pending, item.Range)
		return events.Event{}, false
	}
	at := g.MinTime
	if at == 0 {
		at = f.progress.latest
	}
	switch g.Reason {
	case gapReason(events.TooOld), gapReason(events.Expired), gapReason(events.TooNew):
		at = 0 // CloudWatch would not accept a marker with that time either.
	}
	if at == 0 || m.interval > 0 {
		at = now.UnixNano()
	}
	text := []byte(gapText(g))
	m.sent = append(m.sent, marker{item.Range, g, item.Found, int64(len(text))})
	return events.Event{
		Time:    at,
		Source:  events.Stdout,
		Message: text,
		Ranges:  []stream.Range{item.Range},
	}, true
}

// hold schedules the next try after a marker was lost.
func (m *markers) hold(now time.Time) {
	m.interval = backoff.Next(m.interval, firstMarkerRetry, maxMarkerRetry)
	m.held, m.retry = true, now.Add(m.interval)
}

// retryMarker releases the held gap once its pause is over.
func (f *Feed) retryMarker(now time.Time) {
	m := &f.markers
	switch {
	case !m.held || !f.retriesMarkers():
	case m.retry.IsZero(): // The gap was held before the feed began.
		m.retry = now.Add(firstMarkerRetry)
	case !now.Before(m.retry):
		f.releaseMarker()
	}
}

// releaseMarker puts the held gap into the stream again.
func (f *Feed) releaseMarker() {
	f.markers.held, f.markers.retry = false, time.Time{}
	f.spool.ReleaseGap()
}
