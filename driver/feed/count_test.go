package feed

import (
	"fmt"
	"slices"
	"testing"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/spool"
)

// TestLossesAreCountedOnce: a loss counts when an Ack covers it, however often the events are
// read before. Damage that reading finds counts too, and only it is passed to OnLost. A gap that
// the spool has reported does not count again.
func TestLossesAreCountedOnce(t *testing.T) {
	r := newFeedRig(t)
	var dropped, lost []string
	r.ended.Store(true)
	f := New(r.spool, Options{
		Outputs: BothOutputs, Ended: &r.ended,
		OnDropped: func(why string, n int, bytes int64) { dropped = append(dropped, fmt.Sprint(why, " ", n, " ", bytes)) },
		OnLost:    func(why string, n int, bytes int64) { lost = append(lost, fmt.Sprint(why, " ", n, " ", bytes)) },
	})
	defer f.Close()
	r.append(r.line("stdout", "refused"))
	r.append([]byte("garbage "))
	r.append(r.line("stdout", "a line"))
	r.spool.AddGap(spool.Gap{Reason: spool.Full, Frames: 5, Bytes: 50})
	check := func(when string, wantDropped, wantLost []string) {
		t.Helper()
		if !slices.Equal(dropped, wantDropped) || !slices.Equal(lost, wantLost) {
			t.Errorf("%s: counted %q, of which the feed has found %q", when, dropped, lost)
		}
	}
	for range 2 {
		all := take(f, 10)
		if len(all) != 4 {
			t.Fatalf("%d events: %q", len(all), messages(all))
		}
		f.Lost(events.TooOld, all[0].ranges, 1, 7, someTime, someTime)
		check("before the Ack", nil, nil)
		f.Rewind()
	}
	all := take(f, 10)
	f.Lost(events.TooOld, all[0].ranges, 1, 7, someTime, someTime)
	var ranges []stream.Range
	for _, e := range all {
		ranges = append(ranges, e.ranges...)
	}
	if err := f.Ack(ranges); err != nil {
		t.Fatal(err)
	}
	check("after the Ack", []string{"unreadable 0 8", "too_old 1 7"}, []string{"unreadable 0 8"})
	for _, e := range take(f, 10) { // the marker of the refused event
		if err := f.Ack(e.ranges); err != nil {
			t.Fatal(err)
		}
	}
	check("after the markers", []string{"unreadable 0 8", "too_old 1 7"}, []string{"unreadable 0 8"})
}
