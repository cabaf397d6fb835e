package uploader

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

// narrow is a CloudWatch Logs that accepts so many bytes a second, first come, first served, and
// answers latency later. It is its own connector.
type narrow struct {
	fake
	bytesPerSecond int                                 // bytesPerSecond is 0 if there is no limit.
	delay          time.Duration                       // delay is how long a request takes on top.
	refuses        func(stream string, size int) error // refuses is called with the lock held.

	mu      sync.Mutex
	free    time.Time // free is when the last byte of all requests is accepted.
	busy    int
	busiest int
	tries   int
	bytes   int
}

func (n *narrow) connect(context.Context, target.Access) (client, error) { return n, nil }

func (n *narrow) PutLogEvents(ctx context.Context, r putRequest) (rejected, error) {
	n.mu.Lock()
	n.tries++
	n.busy++
	n.busiest = max(n.busiest, n.busy)
	err := n.refuses(r.stream, len(r.body))
	now := time.Now()
	until := now
	if err == nil && n.bytesPerSecond > 0 {
		if n.free.Before(now) {
			n.free = now
		}
		n.free = n.free.Add(time.Duration(len(r.body)) * time.Second / time.Duration(n.bytesPerSecond))
		until = n.free
	}
	n.mu.Unlock()
	time.Sleep(until.Add(n.delay).Sub(now))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.busy--
	if err == nil {
		n.bytes += len(r.body)
	}
	return rejected{}, err
}

// flood is a feed that always has more. It gives the next events also after a failure, because
// nothing here looks at them.
type flood struct {
	endless
	message [8 << 10]byte
}

func (f *flood) Next(now time.Time) (*events.Event, bool) {
	f.i++
	f.r[0] = stream.Range{From: uint64(f.i), To: uint64(f.i + 1)}
	f.event = events.Event{Time: f.at + int64(f.i)*1e6, Message: f.message[:], Ranges: f.r[:]}
	return &f.event, true
}

func (f *flood) Rewind()                             {}
func (f *flood) Backlog() (string, int64, time.Time) { return "", 1 << 40, time.Time{} }

// attachFlood attaches a feed that always has more.
func attachFlood(u *Uploader, stream string) *Delivery {
	f := &flood{endless: endless{at: time.Now().UnixNano()}}
	for i := range f.message {
		f.message[i] = 'x'
	}
	d := u.Attach(streamTarget(stream), f, time.Second)
	d.Notify(1<<30, 1<<40)
	return d
}

func streamTarget(stream string) target.Target {
	return target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: stream}
}

// timed is a feed of one line a second. It notes how long each line waits for its
// acknowledgement.
type timed struct {
	endless
	written atomic.Int64
	times   []time.Time // times are when the lines were written.
	delays  []time.Duration
	taken   int
}

func (f *timed) Next(now time.Time) (*events.Event, bool) {
	if f.taken == int(f.written.Load()) {
		return nil, false
	}
	f.taken++
	f.r[0] = stream.Range{From: uint64(f.taken), To: uint64(f.taken + 1)}
	f.event = events.Event{Time: now.UnixNano(), Message: []byte("quiet"), Ranges: f.r[:]}
	return &f.event, true
}
func (f *timed) Unread() { f.taken-- }
func (f *timed) Rewind() { f.taken = len(f.delays) }
func (f *timed) Ack(ranges []stream.Range) error {
	for _, r := range ranges {
		for range r.To - r.From {
			f.delays = append(f.delays, time.Since(f.times[len(f.delays)]))
		}
	}
	return nil
}
func (f *timed) Backlog() (string, int64, time.Time) {
	return "", (f.written.Load() - int64(len(f.delays))) * 30, time.Time{}
}

// quietAmongFloods has one container write a line a second, with a delay of one second, while ten
// others flood. It returns the median and the longest time until a line is accepted, without the
// first eight lines, and what share of the service's bytes a second the floods got.
func quietAmongFloods(t *testing.T, n *narrow) (median, worst time.Duration, used float64) {
	t.Helper()
	u := New(Options{connector: n, Log: discard, Plain: true})
	var deliveries []*Delivery
	for i := range 10 {
		deliveries = append(deliveries, attachFlood(u, fmt.Sprint(i)))
	}
	const lines, before = 30, 8
	feed := &timed{times: make([]time.Time, lines)}
	quiet := u.Attach(streamTarget("quiet"), feed, time.Second)
	begun := time.Now()
	for i := range lines {
		time.Sleep(time.Second)
		feed.times[i] = time.Now()
		feed.written.Add(1)
		quiet.Notify(1, 30)
	}
	n.mu.Lock()
	bytes := n.bytes
	n.mu.Unlock()
	if n.bytesPerSecond > 0 {
		used = float64(bytes) / (time.Since(begun).Seconds() * float64(n.bytesPerSecond))
	}
	quiet.Finish()
	<-quiet.Done()
	for _, d := range deliveries {
		<-d.Detach()
	}
	stop(t, u)
	delays := slices.Sorted(slices.Values(feed.delays[before:]))
	median, worst = delays[len(delays)/2], delays[len(delays)-1]
	t.Logf("median %v, worst %v, %.0f %% of the service used, %d requests", median, worst, used*100, n.tries)
	return median, worst, used
}

// perSecond throttles all requests but n a second.
func perSecond(n float64) func(string, int) error {
	tokens, last := n, time.Time{}
	return func(string, int) error {
		now := time.Now()
		tokens, last = min(n, tokens+now.Sub(last).Seconds()*n), now
		if tokens < 1 {
			return apiErr("ThrottlingException")
		}
		tokens--
		return nil
	}
}

// TestQuietContainerWaitsForNoFlood: a line of a quiet container is accepted soon after its
// delay, whatever its neighbours do.
func TestQuietContainerWaitsForNoFlood(t *testing.T) {
	accept := func(string, int) error { return nil }
	for name, n := range map[string]*narrow{
		"8 MiB a second": {bytesPerSecond: 8 << 20, delay: 5 * time.Millisecond},
		"4 MiB a second": {bytesPerSecond: 4 << 20, delay: 5 * time.Millisecond},
		"an account that accepts ten requests a second": {bytesPerSecond: 5 << 20, delay: 5 * time.Millisecond, refuses: perSecond(10)},
		"a throttled stream": {bytesPerSecond: 5 << 20, delay: 5 * time.Millisecond, refuses: func(stream string, _ int) error {
			if stream == "0" {
				return apiErr("ThrottlingException")
			}
			return nil
		}},
		"five throttled streams": {bytesPerSecond: 4 << 20, delay: 5 * time.Millisecond, refuses: func(stream string, _ int) error {
			if stream < "5" {
				return apiErr("ThrottlingException")
			}
			return nil
		}},
		"all floods throttled": {delay: 5 * time.Millisecond, refuses: func(stream string, _ int) error {
			if stream != "quiet" {
				return apiErr("ThrottlingException")
			}
			return nil
		}},
		"all floods fail": {delay: 5 * time.Millisecond, refuses: func(stream string, _ int) error {
			if stream != "quiet" {
				return apiErr("ServiceUnavailableException")
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if n.refuses == nil {
				n.refuses = accept
			}
			synctest.Test(t, func(t *testing.T) {
				median, worst, used := quietAmongFloods(t, n)
				if median > 1500*time.Millisecond || worst > 3*time.Second {
					t.Errorf("median %v, worst %v", median, worst)
				}
				if name == "8 MiB a second" && used < 0.95 {
					t.Errorf("the floods get %v of what CloudWatch accepts", used)
				}
			})
		})
	}
}

// TestOneFloodIsNotLimitedByLatency: one stream gets all that CloudWatch accepts, if each request
// takes 30 ms on top.
func TestOneFloodIsNotLimitedByLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &narrow{bytesPerSecond: 40 << 20, delay: 30 * time.Millisecond, refuses: func(string, int) error { return nil }}
		u := New(Options{connector: n, Log: discard, Plain: true})
		d := attachFlood(u, "flood")
		const from, to = time.Second, 4 * time.Second
		time.Sleep(from)
		n.mu.Lock()
		before := n.bytes
		n.mu.Unlock()
		time.Sleep(to - from)
		n.mu.Lock()
		used := float64(n.bytes-before) / ((to - from).Seconds() * float64(n.bytesPerSecond))
		n.mu.Unlock()
		if used < 0.95 {
			t.Errorf("%v of what CloudWatch accepts", used)
		}
		if n.busiest > maxInFlight {
			t.Errorf("%d requests in flight", n.busiest)
		}
		<-d.Detach()
		stop(t, u)
	})
}

// TestOutageSeesOneRequestAtATime: during an outage, one request is in flight, whatever the number
// of senders and whatever they have to send.
func TestOutageSeesOneRequestAtATime(t *testing.T) {
	for name, err := range map[string]error{"throttled": apiErr("ThrottlingException"), "failing": errNoAnswer} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &narrow{delay: 100 * time.Millisecond, refuses: func(string, int) error { return err }}
				u := New(Options{connector: n, Log: discard, Plain: true})
				var deliveries []*Delivery
				for i := range 10 {
					deliveries = append(deliveries, attachFlood(u, fmt.Sprint(i)))
				}
				for i := range 50 {
					feed := &timed{times: make([]time.Time, 1)}
					feed.written.Store(1)
					d := u.Attach(streamTarget(fmt.Sprint("quiet", i)), feed, time.Second)
					d.Notify(1, 30)
					deliveries = append(deliveries, d)
				}
				time.Sleep(time.Minute)
				n.mu.Lock()
				n.busiest, n.tries = 0, 0
				n.mu.Unlock()
				time.Sleep(10 * time.Minute)
				n.mu.Lock()
				if n.busiest > 1 || n.tries > 240 {
					t.Errorf("%d requests at once, %d in ten minutes", n.busiest, n.tries)
				}
				t.Log(n.tries, "requests in ten minutes")
				n.mu.Unlock()
				for _, d := range deliveries {
					<-d.Detach()
				}
				stop(t, u)
			})
		})
	}
}
