package feed

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
)

// refusing plays CloudWatch, which rejects the events that a test chooses, and a clock.
type refusing struct {
	*feedRig
	f       *Feed
	now     time.Time
	refuses func(message string) bool
	sent    []string // messages sent since the last check, accepted or rejected
	counted []string // results of Lost that are not zero
}

func newRefusing(t *testing.T, o Options) *refusing {
	r := &refusing{feedRig: newFeedRig(t), now: someTime, refuses: func(string) bool { return false }}
	o.Outputs, o.Ended = BothOutputs, &r.ended
	r.f = New(r.spool, o)
	t.Cleanup(func() {
		r.f.Close()
		r.spool.Close()
	})
	return r
}

// deliver sends all events as one batch.
func (r *refusing) deliver() []string {
	var acked, lost []stream.Range
	refused, bytes := 0, 0
	for {
		e, ok := r.f.Next(r.now)
		if !ok {
			break
		}
		r.sent = append(r.sent, string(e.Message))
		acked = append(acked, e.Ranges...)
		if r.refuses(string(e.Message)) {
			lost = append(lost, e.Ranges...)
			refused++
			bytes += len(e.Message)
		}
	}
	if refused > 0 {
		if n, size := r.f.Lost(events.TooNew, lost, refused, int64(bytes), r.now, r.now); n > 0 {
			r.counted = append(r.counted, fmt.Sprint(n, " ", size))
		}
	}
	if len(acked) > 0 {
		if err := r.f.Ack(acked); err != nil {
			r.t.Fatalf("Ack: %v", err)
		}
	}
	return nil
}

// check compares the messages sent since the last check, with the end of markers cut off.
func (r *refusing) check(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, m := range r.sent {
		m, _, _ = strings.Cut(m, ", from")
		got = append(got, m)
	}
	if !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	r.sent = nil
}

const missing = "[logspool] missing here: "

// TestLostMarkerIsSentAgain checks that a marker that CloudWatch rejects is sent again
// as soon as it accepts an event, and that the loss is pending until then.
func TestLostMarkerIsSentAgain(t *testing.T) {
	r := newRefusing(t, Options{})
	r.refuses = func(string) bool { return true }
	r.append(r.line("stdout", "refused"))
	r.deliver() // the line
	r.deliver() // its marker
	r.deliver()
	r.check(t, "refused", missing+"1 lines, 7 bytes")
	if !r.spool.HoldsGap() || r.f.Due().IsZero() {
		t.Fatalf("the loss is not held; due %v", r.f.Due())
	}
	r.refuses = func(string) bool { return false }
	r.append(r.line("stdout", "accepted"))
	r.deliver()
	r.deliver()
	r.check(t, "accepted", missing+"1 lines, 7 bytes")
	if r.spool.HoldsGap() || r.spool.Pending() || !r.f.Due().IsZero() {
		t.Errorf("still held; due %v", r.f.Due())
	}
}

// TestLostMarkersAreRare checks that CloudWatch gets no more markers than the retry time
// allows if it rejects everything, also when the container has stopped, and that no
// loss is forgotten.
func TestLostMarkersAreRare(t *testing.T) {
	r := newRefusing(t, Options{})
	r.refuses = func(string) bool { return true }
	lines, markers := 0, 0
	for minute := range 60 {
		if minute == 30 {
			r.ended.Store(true)
		}
		for range 6 {
			if minute < 30 {
				r.append(r.line("stdout", "lines"))
				lines++
			}
			r.deliver()
			r.deliver()
			r.now = r.now.Add(10 * time.Second)
		}
	}
	for _, m := range r.sent {
		if strings.HasPrefix(m, missing) {
			markers++
		}
	}
	if want := 1 + 4 + 5; markers < want-2 || markers > want+1 { // after 1, 2, 4, 8 and then 10 minutes each
		t.Errorf("%d markers in an hour, want about %d", markers, want)
	}
	r.sent = nil
	r.refuses = func(string) bool { return false }
	if due := r.f.Due(); due.IsZero() || due.After(r.now.Add(maxMarkerRetry)) {
		t.Fatalf("due at %v, in %v", due, due.Sub(r.now))
	}
	r.now = r.f.Due()
	r.deliver()
	r.check(t, fmt.Sprintf("%s%d lines, %d bytes", missing, lines, 5*lines))
	if r.spool.HoldsGap() || r.spool.Pending() || !r.f.Due().IsZero() {
		t.Errorf("still held; due %v", r.f.Due())
	}
}

// TestLostMarkerAmongLines checks that a marker that is lost together with ordinary
// events is held, and that these events become a loss of their own.
func TestLostMarkerAmongLines(t *testing.T) {
	r := newRefusing(t, Options{OnLost: func(string, int, int64) { t.Error("OnLost was called for what Lost reports") }})
	r.refuses = func(m string) bool { return m != "good" }
	r.append(r.line("stdout", "bad"))
	r.deliver()
	r.append(slices.Concat(r.line("stdout", "bad"), r.line("stdout", "bad")))
	r.deliver() // the marker, and the lines after it
	r.deliver()
	r.check(t, "bad", missing+"1 lines, 3 bytes", "bad", "bad")
	if want := []string{"1 3", "2 6"}; !slices.Equal(r.counted, want) {
		t.Errorf("Lost counted %q, want %q", r.counted, want)
	}
	r.append(r.line("stdout", "good"))
	r.refuses = func(m string) bool { return m == "bad" }
	r.deliver()
	r.append(r.line("stdout", "bad"))
	r.deliver()
	for r.f.Due() != (time.Time{}) {
		r.now = r.f.Due()
		r.deliver()
	}
	r.deliver()
	r.check(t, "good", missing+"3 lines, 9 bytes", "bad", missing+"1 lines, 3 bytes")
}

// TestHeldMarkerSurvivesFeed checks that a feed that finds a held gap sends its marker,
// and that a feed that ends with a run leaves it to the next feed.
func TestHeldMarkerSurvivesFeed(t *testing.T) {
	r := newRefusing(t, Options{})
	r.refuses = func(string) bool { return true }
	r.append(r.line("stdout", "refused"))
	r.deliver()
	r.deliver()
	r.f.Close()
	r.sent = nil
	r.refuses = func(string) bool { return false }

	r.f = New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended, Limit: r.spool.End()})
	r.deliver()
	r.check(t)
	if due := r.f.Due(); !due.IsZero() {
		t.Errorf("due at %v after the end", due)
	}
	r.f.Close()

	r.f = New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended})
	r.deliver()
	r.check(t)
	if due := r.f.Due(); !due.Equal(r.now.Add(firstMarkerRetry)) {
		t.Errorf("due at %v", due)
	}
	r.now = r.f.Due()
	r.deliver()
	r.check(t, missing+"1 lines, 7 bytes")
}
