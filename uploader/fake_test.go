package uploader

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sort"
	"strconv"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

func TestMain(m *testing.M) {
	// Enough for every run of the tests; for a long search give -rapid.checks.
	if err := flag.Set("rapid.checks", "15"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// fakeErr is an error as the SDK gives them: a code, or a status, or neither.
type fakeErr struct {
	code, message string
	status        int
}

func (e *fakeErr) Error() string        { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }
func (e *fakeErr) ErrorMessage() string { return e.message }
func (e *fakeErr) HTTPStatusCode() int  { return e.status }

// codeErr has a code as well, as only an understood answer has.
type codeErr struct{ fakeErr }

func (e *codeErr) ErrorCode() string { return e.code }

func apiErr(code string) error { return &codeErr{fakeErr{code: code, message: "told to", status: 400}} }

// fault is what happens to one call.
type fault struct {
	err   error
	after bool // the call had its effect all the same
	hang  bool // the answer never comes
}

// stored is one event as the fake service has it.
type stored struct {
	ms      int64
	message string
}

// fake is a CloudWatch Logs of its own, with rules written down from the API reference. It is its own connector.
type fake struct {
	t *testing.T

	mu       sync.Mutex
	groups   map[string]bool
	asked    map[string]target.NewGroup // of the groups that were made by a call
	set      map[string]int32           // their retention
	emf      map[string][]bool          // by group and stream, of each accepted batch
	accesses []target.Access            // of all connects
	streams  map[string][]stored        // by group and stream
	calls    map[string]int
	faults   func(op, group, stream string) *fault // under the lock
	refuse   func(message string) bool
	rejects  rejected
	entity   func(e string) error // of a request with this entity
	latency  time.Duration
	connErr  error
	connects int
	options  func(target.NewGroup) error // of a group that is to be made
	busy     int
	busiest  int
	batches  []int // events of each accepted batch
	first    []time.Time
	times    []time.Time // of all put calls
}

func newFake(t *testing.T) *fake {
	return &fake{
		t: t, groups: map[string]bool{}, asked: map[string]target.NewGroup{}, set: map[string]int32{}, emf: map[string][]bool{}, streams: map[string][]stored{}, calls: map[string]int{},
		faults:  func(string, string, string) *fault { return nil },
		refuse:  func(string) bool { return false },
		options: func(target.NewGroup) error { return nil },
	}
}

func (f *fake) connect(ctx context.Context, a target.Access) (client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connects++
	f.accesses = append(f.accesses, a)
	return f, f.connErr
}
func (f *fake) invalidate(client) {}
func (f *fake) close()            {}

func (f *fake) begin(ctx context.Context, op, group, stream string) (*fault, error) {
	f.mu.Lock()
	f.calls[op]++
	if op == "put" {
		f.times = append(f.times, time.Now())
	}
	f.busy++
	f.busiest = max(f.busiest, f.busy)
	ft := f.faults(op, group, stream)
	latency := f.latency
	f.mu.Unlock()
	if latency > 0 {
		time.Sleep(latency)
	}
	if ft == nil {
		return nil, nil
	}
	if !ft.after {
		if ft.hang {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, ft.err
	}
	return ft, nil
}

func (f *fake) end(ctx context.Context, ft *fault, err error) error {
	f.mu.Lock()
	f.busy--
	f.mu.Unlock()
	switch {
	case ft == nil || err != nil:
		return err
	case ft.hang:
		<-ctx.Done()
		return ctx.Err()
	default:
		return ft.err
	}
}

func (f *fake) CreateLogGroup(ctx context.Context, group string, n target.NewGroup) error {
	ft, err := f.begin(ctx, "group", group, "")
	if err == nil {
		f.mu.Lock()
		if f.groups[group] {
			err = apiErr("ResourceAlreadyExistsException")
		} else if err = f.options(n); err == nil {
			f.groups[group], f.asked[group] = true, n
		}
		f.mu.Unlock()
	}
	return f.end(ctx, ft, err)
}

func (f *fake) PutRetentionPolicy(ctx context.Context, group string, days int32) error {
	ft, err := f.begin(ctx, "retention", group, "")
	if err == nil {
		f.mu.Lock()
		if !f.groups[group] {
			err = apiErr("ResourceNotFoundException")
		} else {
			f.set[group] = days
		}
		f.mu.Unlock()
	}
	return f.end(ctx, ft, err)
}

func (f *fake) CreateLogStream(ctx context.Context, group, stream string) error {
	ft, err := f.begin(ctx, "stream", group, stream)
	if err == nil {
		f.mu.Lock()
		key := group + "|" + stream
		if !f.groups[group] {
			err = apiErr("ResourceNotFoundException")
		} else if f.streams[key] != nil {
			err = apiErr("ResourceAlreadyExistsException")
		} else {
			f.streams[key] = []stored{}
		}
		f.mu.Unlock()
	}
	return f.end(ctx, ft, err)
}

func (f *fake) PutLogEvents(ctx context.Context, r putRequest) (rejected, error) {
	ft, err := f.begin(ctx, "put", r.group, r.stream)
	var rej rejected
	if err == nil {
		rej, err = f.put(r)
	}
	return rej, f.end(ctx, ft, err)
}

func (f *fake) put(r putRequest) (rejected, error) {
	invalid := func(format string, args ...any) (rejected, error) {
		f.t.Errorf("a request that the service refuses: "+format, args...)
		return rejected{}, apiErr("InvalidParameterException")
	}
	body := r.body
	if r.gzip {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return invalid("gzip: %v", err)
		}
		if body, err = io.ReadAll(z); err != nil {
			return invalid("gzip: %v", err)
		}
	}
	var in struct {
		LogGroupName, LogStreamName string
		Entity                      json.RawMessage
		LogEvents                   []struct {
			Timestamp int64
			Message   string
		}
	}
	if !utf8.Valid(body) {
		return invalid("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return invalid("JSON: %v", err)
	}
	if in.LogGroupName != r.group || in.LogStreamName != r.stream {
		return invalid("names %q %q", in.LogGroupName, in.LogStreamName)
	}
	n, total := len(in.LogEvents), 0
	if n < 1 || n > 10000 {
		return invalid("%d events", n)
	}
	poison := false
	for i, e := range in.LogEvents {
		total += len(e.Message) + 26
		if e.Message == "" {
			return invalid("empty message")
		}
		if i > 0 && e.Timestamp < in.LogEvents[i-1].Timestamp {
			return invalid("not in order at %d", i)
		}
		poison = poison || f.refuse(e.Message)
	}
	if total > 1048576 {
		return invalid("%d bytes", total)
	}
	if span := in.LogEvents[n-1].Timestamp - in.LogEvents[0].Timestamp; span >= 24*3600*1000 {
		return invalid("a span of %d ms", span)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := r.group + "|" + r.stream
	if f.streams[key] == nil {
		return rejected{}, apiErr("ResourceNotFoundException")
	}
	if f.entity != nil {
		if err := f.entity(string(in.Entity)); err != nil {
			return rejected{}, err
		}
	}
	if poison {
		return rejected{}, apiErr("InvalidParameterException")
	}
	for _, e := range in.LogEvents {
		f.streams[key] = append(f.streams[key], stored{e.Timestamp, e.Message})
	}
	f.emf[key] = append(f.emf[key], r.emf)
	f.batches = append(f.batches, n)
	f.first = append(f.first, time.Now())
	return f.rejects, nil
}

// has makes a group and a stream, as if they had always been there.
func (f *fake) has(group, stream string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups[group] = true
	if stream != "" {
		f.streams[group+"|"+stream] = []stored{}
	}
}

// shown returns a stream's events in the order in which the service shows them.
func (f *fake) shown(group, stream string) []stored {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := slices.Clone(f.streams[group+"|"+stream])
	slices.SortStableFunc(s, func(a, b stored) int { return int(a.ms - b.ms) })
	return s
}

func (f *fake) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// dropped is one loss that a feed was told about.
type dropped struct {
	reason   events.LossReason
	events   int
	bytes    int64
	from, to time.Time
}

// fakeFeed hands out events and checks that the uploader keeps to Feed's rules.
type fakeFeed struct {
	t *testing.T

	mu         sync.Mutex
	events     []events.Event
	next       int
	acked      map[uint64]bool
	at         uint64
	unreadOK   bool
	lent       []byte
	calls      int
	due        time.Time
	hold       int // events at the end that are unfinished until due
	left       bool
	lost       []string // what Lost was told
	pending    []string // of it, since the last Ack or Rewind
	accounted  []string // of it, at which Ack
	lostRanges []stream.Range
	dropped    []dropped // what Lost was told, without markers
	onLost     func()    // called with the lock held when Lost counts an event
	name       string
	markers    int // events that Lost does not count
	max        int
	open       bool   // it was read since the last Release
	onEmpty    func() // called with the lock held when Next has nothing
}

func newFeed(t *testing.T) *fakeFeed { return &fakeFeed{t: t, acked: map[uint64]bool{}} }

// add appends an event to the feed and returns what to tell Notify.
func (f *fakeFeed) add(at time.Time, message string) (frames, size int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.append(at, message)
}

// addLong appends the parts of one long line: the last has the ranges of all.
func (f *fakeFeed) addLong(at time.Time, parts ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.events)
	size := 0
	for _, p := range parts {
		_, s := f.append(at, p)
		size += s
	}
	for i := range parts {
		f.events[n+i].Ranges = nil
	}
	f.events[len(f.events)-1].Ranges = []stream.Range{{From: f.at - uint64(size), To: f.at}}
}

// line returns the ranges of the line that event i is of.
func (f *fakeFeed) line(i int) stream.Range {
	for len(f.events[i].Ranges) == 0 {
		i++
	}
	return f.events[i].Ranges[0]
}

// append is add with the lock held.
func (f *fakeFeed) append(at time.Time, message string) (frames, size int) {
	size = len(message) + 24
	f.events = append(f.events, events.Event{
		Time: at.UnixNano(), Message: []byte(message), Ranges: []stream.Range{{From: f.at, To: f.at + uint64(size)}},
	})
	f.at += uint64(size)
	return 1, size
}

// use checks that the feed is not called by two at once, or after it was left, and spoils what was lent.
func (f *fakeFeed) use() func() {
	if !f.mu.TryLock() {
		f.mu.Lock() // the test's own add, or a second caller: the race detector tells them apart by calls
	}
	f.calls++
	if f.left {
		f.t.Error("feed called after it was left")
	}
	for i := range f.lent {
		f.lent[i] = '!'
	}
	f.lent = nil
	return f.mu.Unlock
}

func (f *fakeFeed) Next(now time.Time) (events.Event, bool) {
	defer f.use()()
	f.open = true
	f.unreadOK = false
	for f.next < len(f.events) && f.acked[f.line(f.next).From] {
		f.next++
	}
	end := len(f.events)
	if f.hold > 0 && now.Before(f.due) {
		end -= f.hold
	}
	if f.next >= end {
		if f.onEmpty != nil {
			f.onEmpty()
		}
		return events.Event{}, false
	}
	ev := f.events[f.next]
	ev.Message = slices.Clone(ev.Message)
	ev.Ranges = slices.Clone(ev.Ranges)
	f.lent = ev.Message
	f.next++
	f.unreadOK = true
	return ev, true
}

func (f *fakeFeed) Unread() {
	defer f.use()()
	if !f.unreadOK {
		f.t.Error("Unread without a Next")
	}
	f.unreadOK = false
	f.next--
}

func (f *fakeFeed) Due() time.Time {
	defer f.use()()
	if f.hold > 0 && f.next < len(f.events) {
		return f.due
	}
	return time.Time{}
}

func (f *fakeFeed) Ack(ranges []stream.Range) error {
	defer f.use()()
	if len(ranges) == 0 {
		return errors.New("Ack of nothing")
	}
	for _, a := range ranges {
		i := sort.Search(len(f.events), func(i int) bool { return f.line(i).From >= a.From })
		for ; i < len(f.events) && f.line(i).To <= a.To; i++ {
			if len(f.events[i].Ranges) == 0 {
				continue
			}
			at := f.line(i).From
			if f.acked[at] {
				f.t.Errorf("event at %d acknowledged twice", at)
			}
			f.acked[at] = true
		}
	}
	for _, l := range f.pending {
		f.accounted = append(f.accounted, fmt.Sprintf("%s by %v", l, ranges))
	}
	f.pending = nil
	return nil
}

func (f *fakeFeed) Rewind() {
	defer f.use()()
	f.unreadOK = false
	f.next, f.pending = 0, nil
}

func (f *fakeFeed) Release() {
	defer f.use()()
	f.open = false
}

func (f *fakeFeed) SetMaxMessage(n int) {
	defer f.use()()
	f.max = n
}

func (f *fakeFeed) Backlog() (name string, bytes int64, oldest time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, e := range f.events {
		if !f.acked[f.line(i).From] {
			bytes += int64(len(e.Message))
			if oldest.IsZero() {
				oldest = time.Unix(0, e.Time)
			}
		}
	}
	return f.name, bytes, oldest
}

func (f *fakeFeed) Lost(why events.LossReason, ranges []stream.Range, events int, bytes int64, from, to time.Time) (int, int64) {
	defer f.use()()
	l := fmt.Sprintf("%s %d", why, events)
	f.lostRanges = append(f.lostRanges, ranges...)
	f.lost, f.pending = append(f.lost, l), append(f.pending, l)
	n := max(events-f.markers, 0)
	if n > 0 {
		f.dropped = append(f.dropped, dropped{why, n, bytes, from, to})
		if f.onLost != nil {
			f.onLost()
		}
	}
	return n, bytes
}

func (f *fakeFeed) ackedAll() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, e := range f.events {
		n += len(e.Ranges)
	}
	return len(f.acked) == n
}

// checkShown is the oracle: every event of the feed is in the stream, those of one millisecond in the order in which
// they were written; and none is there more often than the faults with an effect explain.
func checkShown(t *testing.T, shown []stored, feed *fakeFeed, doubles bool, except func(string) bool) {
	t.Helper()
	place := map[string]int{}
	for i, s := range shown {
		if _, twice := place[s.message]; twice {
			if !doubles {
				t.Errorf("%.40q delivered twice", s.message)
			}
			continue
		}
		place[s.message] = i
	}
	byMS := map[int64][]int{} // indices of the feed's events, in the order shown
	index := map[string]int{}
	for i, e := range feed.events {
		m := repaired(e.Message)
		index[m] = i
		at, ok := place[m]
		if except != nil && except(m) {
			if ok {
				t.Errorf("%.40q was delivered", m)
			}
			continue
		}
		if !ok {
			t.Errorf("%.40q was not delivered", m)
			continue
		}
		if want := max(e.Time, 0) / 1e6; shown[at].ms != want {
			t.Errorf("%.40q at %d ms, want %d", m, shown[at].ms, want)
		}
	}
	seen := map[int]bool{}
	for _, s := range shown {
		if i, ok := index[s.message]; ok && !seen[i] {
			seen[i] = true
			byMS[s.ms] = append(byMS[s.ms], i)
		}
	}
	for ms, order := range byMS {
		for k := 1; k < len(order); k++ {
			a, b := order[k-1], order[k]
			if b < a {
				t.Errorf("at %d ms event %d is shown before event %d", ms, a, b)
			}
		}
	}
}

var discard = slog.New(slog.DiscardHandler)

// testLog passes the log on to the test's.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}

func start(t *testing.T, f *fake, o Options) *Uploader {
	o.connector = f
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(testLog{t}, nil))
	}
	return New(o)
}

func stop(t *testing.T, u *Uploader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := u.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

var testTarget = target.Target{Access: target.Access{Region: "eu-central-1"}, Group: "g", Stream: "s", Create: target.Create{Group: true, Stream: true}}

func line(i int) string { return "line " + strconv.Itoa(i) }
