package uploader

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

// lineFeed hands out lines through an events.Pipeline, as the driver's feed does.
type lineFeed struct {
	t *testing.T

	mu       sync.Mutex
	lines    []events.Frame // line i is at [i, i+1)
	next     int
	acked    []bool
	pipeline *events.Pipeline
	unread   bool
	last     events.Event
	max      []int // what SetMaxMessage was called with
	lost     []stream.Range
}

func newLineFeed(t *testing.T, lines ...string) *lineFeed {
	f := &lineFeed{t: t, pipeline: events.NewPipeline(events.Options{})}
	at := time.Now().Add(-time.Minute).UnixNano()
	for i, text := range lines {
		f.lines = append(f.lines, events.Frame{Source: events.Stdout, Time: at + int64(i)*1e6, Line: []byte(text)})
	}
	f.acked = make([]bool, len(lines))
	return f
}

func (f *lineFeed) Next(now time.Time) (*events.Event, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unread {
		f.unread = false
		return &f.last, true
	}
	for {
		if e, ok := f.pipeline.Next(); ok {
			f.last = e
			return &f.last, true
		}
		for f.next < len(f.lines) && f.acked[f.next] {
			f.next++
		}
		if f.next == len(f.lines) {
			return nil, false
		}
		f.pipeline.Push(f.lines[f.next], uint64(f.next), uint64(f.next+1), now)
		f.next++
	}
}

func (f *lineFeed) Unread()        { f.unread = true }
func (f *lineFeed) Due() time.Time { return time.Time{} }
func (f *lineFeed) Release() {
	if f.unread {
		f.last.Message, f.last.Ranges = slices.Clone(f.last.Message), slices.Clone(f.last.Ranges)
	}
}

func (f *lineFeed) Lost(_ events.LossReason, ranges []stream.Range, n int, bytes int64, _, _ time.Time) (int, int64) {
	f.lost = append(f.lost, ranges...)
	return n, bytes
}

func (f *lineFeed) Ack(ranges []stream.Range) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range ranges {
		for i := r.From; i < r.To; i++ {
			if f.acked[i] {
				f.t.Errorf("line %d is acknowledged twice", i)
			}
			f.acked[i] = true
		}
	}
	return nil
}

func (f *lineFeed) Rewind() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next, f.unread = 0, false
	f.pipeline.Reset()
}

func (f *lineFeed) Accepted(int, int64) {}

func (f *lineFeed) SetMaxMessage(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.max = append(f.max, n)
	f.pipeline = events.NewPipeline(events.Options{MaxBytes: n})
}

func (f *lineFeed) Backlog() (string, int64, time.Time) { return "", 0, time.Time{} }

// joined joins the parts of long lines in the order in which they arrived.
func joined(t *testing.T, shown []stored) (lines []string) {
	t.Helper()
	part := 1
	for _, s := range shown {
		text := s.message
		if part > 1 {
			var ok bool
			if text, ok = strings.CutPrefix(text, fmt.Sprintf("[logspool: part %d] ", part)); !ok {
				t.Errorf("part %d begins with %.30q", part, text)
			}
			text = lines[len(lines)-1] + text
			lines = lines[:len(lines)-1]
		}
		part++
		text, continued := strings.CutSuffix(text, fmt.Sprintf(" [logspool: continued in part %d]", part))
		if !continued {
			part = 1
		}
		lines = append(lines, text)
	}
	return lines
}

// TestEventsAreDividedAtTheEndpointsLimit: an event that an endpoint refuses for its size
// is divided, and nothing is lost. Once the limit is known, no request exceeds it.
func TestEventsAreDividedAtTheEndpointsLimit(t *testing.T) {
	const limit = 256 << 10
	exact := strings.Repeat("e", limit-26)
	over := exact + "e"
	long := strings.Repeat("0123456789", 100_000)
	for name, k := range map[string]struct {
		fault    cwlocal.Fault
		remember bool // the limit is remembered, so that no request of another stream is refused
	}{
		"stated":      {cwlocal.Fault{Limit: limit}, true},
		"smaller":     {cwlocal.Fault{Limit: 100_000}, true},
		"only a word": {cwlocal.Fault{Limit: limit, Text: "Message is too long"}, true},
		"no word":     {cwlocal.Fault{Limit: limit, Text: "no"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logged
			s, u, local := standIn(t, Options{Log: log.log()})
			k.fault.Kind = cwlocal.SmallEvents
			s.AddFault(k.fault)
			refusals := func() int64 { return s.Stats().Requests["PutLogEvents"]["fault:small-events"] }
			ship := func(stream string, lines ...string) {
				t.Helper()
				to := local
				to.Stream = stream
				feed := newLineFeed(t, lines...)
				d := u.Attach(to, feed, time.Millisecond)
				d.Finish()
				<-d.Done()
				if got := joined(t, arrived(s, to)); !slices.Equal(got, lines) {
					t.Errorf("%s: %d lines arrived: %.100q", stream, len(got), got)
				}
				if slices.Contains(feed.acked, false) {
					t.Errorf("%s: acknowledged %v", stream, feed.acked)
				}
				for _, e := range s.Arrived(to.Region, to.Group, stream) {
					if n := len(e.Message) + 26; n > k.fault.Limit {
						t.Errorf("%s: an event of %d bytes", stream, n)
					}
				}
			}
			ship("first", "before", exact, over, "between", long, "after")
			first := refusals()
			ship("second", "before", long, "after")
			if second := refusals() - first; (second == 0) != k.remember {
				t.Errorf("%d refusals, and then %d", first, second)
			}
			if n := u.Metrics().DroppedEvents[events.Refused]; n != 0 {
				t.Errorf("%d events were dropped", n)
			}
			if n := len(log.with("WARN", "the endpoint's limit for a log event is smaller")); (n == 1) != k.remember {
				t.Errorf("logged %d times", n)
			}
		})
	}
}

// TestNewLimitAppliesWhenNothingIsInFlight: a sender with batches in flight applies a limit
// that another sender has learned.
func TestNewLimitAppliesWhenNothingIsInFlight(t *testing.T) {
	f := newFake(t)
	e := newEndpoint()
	u := New(Options{Log: discard, connector: f})
	defer stop(t, u)
	s := newSender(u, newService(u, target.Access{Region: "r"}, e), target.Target{}, testTarget)
	feed := newLineFeed(t, "x")
	d := newDelivery(s, testTarget, feed, 0)
	s.deliveries = []*Delivery{d}
	b := &batch{permit: &permit{limiter: s.svc.limiter}, memory: memory{budget: &u.pool.backlog},
		contents: contents{parts: []part{{delivery: d}}, records: []record{{bytes: 1}}}}
	d.inFlight++
	s.flight.batches = append(s.flight.batches, b)
	s.pending.bytes.Store(2 * maxBatchBytes) // a backlog, of which several batches may be in flight
	if wanted, _ := s.nextAction(time.Now()); !wanted {
		t.Error("a backlog wants no batch")
	}
	e.lowerMaxMessage(5000)
	s.applyMessageLimit()
	if wanted, _ := s.nextAction(time.Now()); wanted || len(feed.max) > 0 {
		t.Error("a batch is wanted under the old limit, or the feed is rewound while a batch is in flight")
	}
	s.answered(answer{batch: b, verdict: accepted})
	s.applyMessageLimit()
	if !slices.Equal(feed.max, []int{5000}) {
		t.Errorf("Lost was called with %v", feed.max)
	}
}

// TestEventLimitOfErrors: a limit is taken from an error about one event, and not from one
// about a batch.
func TestEventLimitOfErrors(t *testing.T) {
	const guess = 262_144 - 26
	invalid := func(message string) error {
		return &codeErr{fakeErr{code: "InvalidParameterException", message: message, status: 400}}
	}
	for _, k := range []struct {
		err    error
		events int
		limit  int
		stated bool
		ok     bool
	}{
		{invalid("Log event too large: 262145 bytes exceeds limit of 262144"), 1, guess, true, true},
		{invalid("Log event too large: 262145 bytes exceeds limit of 262144"), 7, guess, true, true},
		{invalid("Log event too large: 99 bytes exceeds limit of 65536"), 1, 65_536 - 26, true, true},
		{invalid("Upload too large: 1048577 bytes exceeds limit of 1048576"), 7, 0, false, false},
		{invalid("Upload too large: 1048577 bytes exceeds limit of 1048576"), 1, guess, true, true},
		{invalid("A log event is not acceptable."), 1, guess, false, true},
		{invalid("A log event is not acceptable."), 2, 0, false, false},
		{&fakeErr{status: 413}, 1, guess, true, true},
		{&fakeErr{status: 413}, 2, 0, false, false},
		{errors.New("x"), 2, 0, false, false},
	} {
		limit, stated, ok := eventLimitOf(k.err, k.events)
		if limit != k.limit || stated != k.stated || ok != k.ok {
			t.Errorf("%v with %d events: %d, %v, %v", k.err, k.events, limit, stated, ok)
		}
	}
}

// TestWrongGuessOfLimitIsForgotten: if a long event is refused for another reason than its
// length, its parts are refused too. Later long events are whole again.
func TestWrongGuessOfLimitIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.has("g", "s")
		f.refuse = func(message string) bool { return strings.Contains(message, "poison") }
		u := start(t, f, Options{})
		feed := newLineFeed(t, "before", strings.Repeat("poison", 100_000), "between")
		d := u.Attach(testTarget, feed, time.Second)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		long := strings.Repeat("x", 600_000)
		feed.mu.Lock()
		feed.lines = append(feed.lines, events.Frame{Source: events.Stdout, Time: time.Now().UnixNano(), Line: []byte(long)})
		feed.acked = append(feed.acked, false)
		feed.mu.Unlock()
		d.Notify(1, len(long))
		d.Finish()
		<-d.Done()
		shown := f.shown("g", "s")
		if n := len(shown); n != 3 || shown[n-1].message != long {
			t.Errorf("%d events, the last has %d bytes", n, len(shown[n-1].message))
		}
		if slices.Contains(feed.acked, false) {
			t.Errorf("acknowledged %v", feed.acked)
		}
		stop(t, u)
	})
}
