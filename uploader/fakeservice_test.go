package uploader

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/logspool/logspool/internal/target"
)

// fakeErr is an error like the SDK's, with a status or without.
type fakeErr struct {
	code, message string
	status        int
}

func (e *fakeErr) Error() string        { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }
func (e *fakeErr) ErrorMessage() string { return e.message }
func (e *fakeErr) HTTPStatusCode() int  { return e.status }

// codeErr is an error with a code, which only an answer of CloudWatch has.
type codeErr struct{ fakeErr }

func (e *codeErr) ErrorCode() string { return e.code }

func apiErr(code string) error { return apiErrWith(code, "as the test says") }

func apiErrWith(code, message string) error {
	return &codeErr{fakeErr{code: code, message: message, status: 400}}
}

// fault is what happens to one call.
type fault struct {
	err   error
	after bool // the call has its effect nevertheless
	hang  bool // the answer never arrives
}

// stored is one event in the fake service.
type stored struct {
	ms      int64
	message string
}

// fake is a CloudWatch Logs whose rules are written from the API reference. It is its own
// connector.
type fake struct {
	t *testing.T

	ahead atomic.Int64 // how far the host's clock is ahead

	mu       sync.Mutex
	groups   map[string]bool
	asked    map[string]target.NewGroup // what each group was created with
	set      map[string]int32           // the retention of each group
	emf      map[string][]bool          // by group and stream: whether each accepted batch was EMF
	accesses []target.Access            // the accesses of all connects
	streams  map[string][]stored        // by group and stream
	calls    map[string]int
	faults   func(op, group, stream string) *fault // called with the lock held
	refuse   func(message string) bool
	rejects  rejected
	entity   func(e string) error // the error of a request with this entity
	latency  time.Duration
	connErr  error
	connects int
	options  func(target.NewGroup) error // the error of creating such a group
	busy     int
	busiest  int
	batches  []int // how many events each accepted batch had
	first    []time.Time
	times    []time.Time // when each put call began
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
func (f *fake) invalidate(client)         {}
func (f *fake) ClockAhead() time.Duration { return time.Duration(f.ahead.Load()) }
func (f *fake) close()                    {}

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
		f.t.Errorf("a request that CloudWatch refuses: "+format, args...)
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

// has creates a group and a stream before the test begins.
func (f *fake) has(group, stream string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups[group] = true
	if stream != "" {
		f.streams[group+"|"+stream] = []stored{}
	}
}

// shown returns a stream's events in the order in which CloudWatch shows them.
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
