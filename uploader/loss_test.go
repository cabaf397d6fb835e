package uploader

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
)

// TestFeedGetsTheRangesOfItsLostEvents: each feed of a shared stream gets the ranges of its
// own lost events, and no others, before the acknowledgement. A feed can thus tell whether
// a marker was lost.
func TestFeedGetsTheRangesOfItsLostEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.has("g", "s")
		f.rejects = rejected{tooOldEnd: 2, expiredEnd: 3, tooNewStart: 6, tooNew: true}
		var log logged
		u := start(t, f, Options{Log: log.log()})
		at := time.Now()
		a, b := newFeed(t), newFeed(t)
		a.name, b.name = "web (1f2e3d4c5b6a)", "db (0123456789ab)"
		for i := range 8 { // a has 0 2 4 6, b has 1 3 5 7
			feed := []*fakeFeed{a, b}[i%2]
			feed.add(at.Add(time.Duration(i)*time.Second), fmt.Sprint(i))
		}
		for _, feed := range []*fakeFeed{a, b} {
			u.Attach(testTarget, feed, time.Second).Finish()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		stop(t, u)
		of := func(feed *fakeFeed, i ...int) (ranges []stream.Range) {
			for _, i := range i {
				ranges = append(ranges, feed.events[i].Ranges...)
			}
			return ranges
		}
		// 0 and 1 are too old, 2 is expired, 6 and 7 are too new.
		if want := of(a, 0, 1, 3); !slices.Equal(a.lostRanges, want) || fmt.Sprint(a.lost) != "[too_old 1 expired 1 too_new 1]" {
			t.Errorf("the first feed lost %v (%v), want %v", a.lostRanges, a.lost, want)
		}
		if want := of(b, 0, 3); !slices.Equal(b.lostRanges, want) || fmt.Sprint(b.lost) != "[too_old 1 too_new 1]" {
			t.Errorf("the second feed lost %v (%v), want %v", b.lostRanges, b.lost, want)
		}
		if n := len(a.dropped) + len(b.dropped); n != 5 || u.Metrics().DroppedEvents[events.TooOld] != 2 {
			t.Errorf("dropped %v and %v", a.dropped, b.dropped)
		}
		const lost = "CloudWatch does not accept log events; they are lost, and a marker in the stream reports them"
		if n := len(log.with("ERROR", lost)); n != 5 || len(log.with(lost, a.name, "expired")) != 1 || len(log.with(lost, b.name, "too_new", "clock")) != 1 {
			t.Errorf("logged %q", log.lines)
		}
	})
}

func TestRefusedEventIsReportedWithItsRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.has("g", "s")
		f.refuse = isPoison
		var log logged
		u := start(t, f, Options{Log: log.log()})
		feed := newFeed(t)
		feed.name = "web (1f2e3d4c5b6a)"
		var want []stream.Range
		for i := range 200 {
			text := line(i)
			if i%50 == 7 {
				text = "poison"
			}
			feed.add(time.Now().Add(-time.Duration(i%3)*time.Microsecond), text)
			if isPoison(text) {
				want = append(want, feed.events[i].Ranges...)
			}
		}
		d := u.Attach(testTarget, feed, time.Second)
		d.Finish()
		<-d.Done()
		stop(t, u)
		if !slices.Equal(feed.lostRanges, want) {
			t.Errorf("lost %v, want %v", feed.lostRanges, want)
		}
		// The first loss is logged at once, the others in a summary.
		if n := len(log.with("ERROR", "they are lost", "refused", "InvalidParameterException", feed.name)); n != 2 || len(log.with("in its stream")) > 0 {
			t.Errorf("logged %q", log.lines)
		}
	})
}

// TestLostMarkersAreNotCounted: what the feed does not count as an event of the container
// is neither counted nor logged as lost.
func TestLostMarkersAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.has("g", "s")
		f.rejects = rejected{tooOldEnd: 1}
		var log logged
		u := start(t, f, Options{Log: log.log()})
		feed := newFeed(t)
		feed.markers = 1
		feed.add(time.Now(), "a marker")
		d := u.Attach(testTarget, feed, time.Second)
		d.Finish()
		<-d.Done()
		stop(t, u)
		dropped := int64(0)
		for _, n := range u.Metrics().DroppedEvents {
			dropped += n
		}
		if len(feed.lost) != 1 || dropped != 0 || len(log.with("ERROR")) > 0 {
			t.Errorf("the feed lost %q, logged %q", feed.lost, log.lines)
		}
	})
}

func TestRejectedEventsAreAccountedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		f.rejects = rejected{tooOldEnd: 2, expiredEnd: 5, tooNewStart: 9, tooNew: true}
		u := start(t, f, Options{})
		at := time.Now()
		for i := range 10 {
			feed.add(at.Add(time.Duration(i)*time.Second), fmt.Sprint(i))
		}
		d := u.Attach(testTarget, feed, 0)
		d.Finish()
		<-d.Done()
		stop(t, u)
		sec := func(i int) time.Time { return time.Unix(0, at.Add(time.Duration(i)*time.Second).UnixNano()) }
		want := []dropped{
			{events.TooOld, 2, 2, sec(0), sec(1)}, {events.Expired, 3, 3, sec(2), sec(4)}, {events.TooNew, 1, 1, sec(9), sec(9)},
		}
		if !slices.Equal(feed.dropped, want) {
			t.Errorf("got %v\nwant %v", feed.dropped, want)
		}
		if want := []string{"too_old 2", "expired 3", "too_new 1"}; !slices.Equal(feed.lost, want) {
			t.Errorf("Lost was called with %v, want %v", feed.lost, want)
		}
		if got := u.Metrics().Events; got != 4 {
			t.Errorf("%d delivered", got)
		}
	})
}

func TestEventThatIsCutAndTooOldIsLostOnce(t *testing.T) {
	f := newFake(t)
	f.has("g", "s")
	f.rejects = rejected{tooOldEnd: 1}
	u := start(t, f, Options{})
	feed := newFeed(t)
	feed.add(time.Now(), strings.Repeat("x", maxMessageBytes+7))
	d := u.Attach(testTarget, feed, 0)
	d.Finish()
	<-d.Done()
	stop(t, u)
	if got := fmt.Sprint(feed.lost); got != "[too_old 1]" {
		t.Errorf("reported %s", got)
	}
}
