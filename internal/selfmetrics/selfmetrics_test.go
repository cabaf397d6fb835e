package selfmetrics

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/goleak"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/uploader"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The feed is what the uploader expects.
var _ uploader.Feed = (*feed)(nil)

// source is a Source whose counters grow with each report.
type source struct {
	mu sync.Mutex
	n  int64
}

func (s *source) Report() *status.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	now := time.Now()
	return &status.Report{
		Time: now,
		Services: []status.Service{{Requests: map[string]int64{
			"accepted": 9 * s.n, "throttled": 2 * s.n, "unavailable": s.n, "not_found": s.n, "cancelled": s.n,
		}}},
		Disk: status.Disk{Limit: 10000},
		Containers: []status.Container{{
			Name: "web", Undelivered: status.Backlog{Bytes: 250, Oldest: now.Add(-90 * time.Second)}, Spool: status.Spool{Limit: 1000},
			Traffic: status.Traffic{Delivered: status.Counter{Lines: 10 * s.n, Bytes: 100 * s.n}},
		}},
		Ended: status.Traffic{Dropped: map[string]status.Counter{"spool_full": {Lines: s.n, Bytes: 3 * s.n}, "too_old": {Lines: s.n, Bytes: s.n}}},
	}
}

func (s *source) History(string) []status.Point { return nil }

// units are the units of CloudWatch (API reference, MetricDatum).
var units = strings.Fields(`Seconds Microseconds Milliseconds Bytes Kilobytes Megabytes Gigabytes Terabytes Bits Kilobits Megabits
	Gigabits Terabits Percent Count Bytes/Second Kilobytes/Second Megabytes/Second Gigabytes/Second Terabytes/Second Bits/Second
	Kilobits/Second Megabits/Second Gigabits/Second Terabits/Second Count/Second None`)

// checkFormat checks an event against the specification of the embedded metric format, and
// returns its metrics.
func checkFormat(t *testing.T, text []byte, now time.Time) map[string]float64 {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	meta, _ := root["_aws"].(map[string]any)
	at, ok := meta["Timestamp"].(float64)
	if !ok || at != float64(int64(at)) || time.UnixMilli(int64(at)).Sub(now).Abs() > 2*time.Hour {
		t.Errorf("Timestamp %v: it must be in milliseconds", meta["Timestamp"])
	}
	directives, _ := meta["CloudWatchMetrics"].([]any)
	if len(meta) != 2 || len(directives) != 1 {
		t.Fatalf("_aws is %v", meta)
	}
	d, _ := directives[0].(map[string]any)
	if len(d) != 3 || d["Namespace"] != Namespace {
		t.Errorf("directive %v", d)
	}
	if !reflect.DeepEqual(d["Dimensions"], []any{[]any{"Host"}}) {
		t.Errorf("dimensions %v", d["Dimensions"])
	}
	dimension, _ := root["Host"].(string)
	if !regexp.MustCompile(`^[!-9;-~][!-~]*$`).MatchString(dimension) || len(dimension) > 1024 {
		t.Errorf("the dimension is %q", dimension)
	}
	all, _ := d["Metrics"].([]any)
	if len(all) == 0 || len(all) > 100 {
		t.Errorf("%d metrics", len(all))
	}
	values := map[string]float64{}
	for _, m := range all {
		m, _ := m.(map[string]any)
		name, _ := m["Name"].(string)
		unit, _ := m["Unit"].(string)
		value, ok := root[name].(float64)
		if len(m) != 2 || name == "" || !ok || !slices.Contains(units, unit) || values[name] != 0 {
			t.Errorf("metric %v with the value %v", m, root[name])
		}
		values[name] = value
	}
	if len(root) != len(values)+2 {
		t.Errorf("%s has more members than the metrics need", text)
	}
	return values
}

func TestEventFollowsTheEmbeddedMetricFormat(t *testing.T) {
	src := &source{}
	first := figuresOf(src.Report())
	now := time.Now()
	text := encode("node-1", now, figuresOf(src.Report()).since(first))
	got := checkFormat(t, text, now)
	want := map[string]float64{
		"Up": 1, "OldestUndelivered": 90, "UndeliveredBytes": 250, "SpoolUsed": 25, "DeliveredEvents": 10, "DeliveredBytes": 100,
		"DroppedLines": 2, "DroppedBytes": 4, "FailedRequests": 3,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(Docs()) != len(want) {
		t.Errorf("%d metrics are documented", len(Docs()))
	}
}

// Every host has a valid dimension and a valid stream, and an event that no endpoint divides.
func TestEveryHostNameMakesAValidEvent(t *testing.T) {
	for _, host := range []string{"", " ", ":", "a b", "höst\x00", "\xff", "日本", strings.Repeat("x", 64), "a:b*c"} {
		f := figuresOf((&source{n: 1e12}).Report())
		f.oldest, f.undelivered = 1e9/3, 1<<50
		text := encode(host, time.Now(), f)
		checkFormat(t, text, time.Now())
		if len(text) > 1024-26 {
			t.Errorf("the event has %d bytes", len(text))
		}
		if name := streamName(host); name == "" || strings.ContainsAny(name, ":*") {
			t.Errorf("%q: stream %q", host, name)
		}
	}
	if text := encode(strings.Repeat("ü", 4000), time.Now(), figures{}); len(text) > 2000 {
		t.Errorf("the event has %d bytes", len(text))
	}
}

// next returns the numbers of the events that Next returns.
func next(f *feed) (numbers []uint64) {
	for {
		e, ok := f.Next(time.Now())
		if !ok {
			return numbers
		}
		numbers = append(numbers, e.Ranges[0].From)
	}
}

func TestFeedKeepsTheNewestEvents(t *testing.T) {
	f := &feed{}
	for i := range 100 {
		f.add(time.Unix(int64(i), 0), fmt.Append(nil, i))
	}
	e, ok := f.Next(time.Now())
	if !ok || string(e.Message) != "40" || e.Time != 40e9 {
		t.Fatalf("the oldest event is %q", e.Message)
	}
	f.Unread()
	if got := next(f); len(got) != maxEvents || got[0] != 40 {
		t.Errorf("Next returns %d", got)
	}
	if got := next(f); got != nil {
		t.Errorf("Next returns %d again", got)
	}
	f.Rewind()
	// What is acknowledged may be dropped already, and in any order.
	if err := f.Ack([]stream.Range{{From: 95, To: 100}, {From: 0, To: 50}}); err != nil {
		t.Error(err)
	}
	if got := next(f); len(got) != 45 || got[0] != 50 || got[44] != 94 {
		t.Errorf("Next returns %d", got)
	}
	if n, bytes := f.Lost(events.TooOld, nil, 3, 9, time.Time{}, time.Time{}); n != 0 || bytes != 0 {
		t.Error("the feed counts a loss")
	}
	if name, bytes, oldest := f.Backlog(); name != "" || bytes != 0 || !oldest.IsZero() {
		t.Error("the feed has a backlog")
	}
	f.add(time.Now(), []byte("x"))
	if got := next(f); !slices.Equal(got, []uint64{100}) {
		t.Errorf("Next returns %d", got)
	}
}

// log collects what the uploader logs.
type log struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // written has a token after a Write.
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.written <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

// await waits until the log has the text.
func (l *log) await(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for !strings.Contains(l.String(), text) {
		select {
		case <-l.written:
		case <-timeout:
			t.Fatalf("not logged: %s", text)
		}
	}
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const region = "eu-central-1"

// standIn starts a CloudWatch Logs, and an uploader for it.
func standIn(t *testing.T) (*cwlocal.Server, *uploader.Uploader, *log) {
	t.Helper()
	s, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := &log{written: make(chan struct{}, 1)}
	u := uploader.New(uploader.Options{
		Config: func(context.Context, target.Access) (aws.Config, error) {
			return aws.Config{
				BaseEndpoint: aws.String(s.URL()),
				Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
					return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
				}),
			}, nil
		},
		Log: slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := u.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, r := range s.Refusals() {
			t.Errorf("refused: %+v", r)
		}
	})
	return s, u, l
}

func options(u *uploader.Uploader) Options {
	return Options{
		Source: &source{}, Uploader: u, Group: "/logspool/metrics", Host: "node:1",
		Region: func(context.Context) (string, error) { return region, nil },
		Create: target.Create{Group: true, Stream: true, NewGroup: &target.NewGroup{RetentionDays: 7, Class: "INFREQUENT_ACCESS"}},
	}
}

// await waits until the stand-in has n events.
func await(t *testing.T, s *cwlocal.Server, n int) []cwlocal.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Wait(ctx, func() bool { return len(s.Sorted(region, "/logspool/metrics", "node_1")) >= n }); err != nil {
		t.Fatal(err)
	}
	return s.Sorted(region, "/logspool/metrics", "node_1")
}

// The events arrive in requests that say that they are in the embedded metric format. The
// group gets the settings, except the class, in which CloudWatch would make no metrics.
func TestEventsArriveAsEmbeddedMetrics(t *testing.T) {
	s, u, _ := standIn(t)
	o := options(u)
	o.Access.Region, o.Region = region, nil // nothing is looked up
	sender := New(o)
	now := time.Now()
	sender.send(t.Context(), now)
	sender.send(t.Context(), now.Add(time.Second))
	got := await(t, s, 2)
	for _, e := range got {
		checkFormat(t, []byte(e.Message), now)
	}
	second := checkFormat(t, []byte(got[1].Message), now)
	if second["DeliveredEvents"] != 10 || second["Up"] != 1 {
		t.Errorf("the second event has %v", second)
	}
	st, ok := s.Stream(region, "/logspool/metrics", "node_1")
	if !ok || st.EMFBatches != st.Batches || st.Batches == 0 {
		t.Errorf("%d batches, of which %d have the header", st.Batches, st.EMFBatches)
	}
	if g := s.Groups(); len(g) != 1 || g[0].Class != "STANDARD" {
		t.Errorf("groups %+v", g)
	}
}

// A container's lines are delivered, although the group of the figures is denied or hangs.
func TestFailingFiguresDoNotDelayContainers(t *testing.T) {
	s, u, l := standIn(t)
	for _, kind := range []cwlocal.FaultKind{cwlocal.Denied, cwlocal.Hang} {
		fault := s.AddFault(cwlocal.Fault{Kind: kind, Group: "/logspool/metrics"})
		sender := New(options(u))
		sender.send(t.Context(), time.Now())
		container := &feed{}
		container.add(time.Now(), []byte("a line"))
		d := u.Attach(target.Target{Access: target.Access{Region: region}, Group: "shop", Stream: string(kind), Create: target.Create{Group: true, Stream: true}}, container, 0)
		d.Finish()
		select {
		case <-d.Done():
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: the container's line is not delivered", kind)
		}
		if kind == cwlocal.Denied { // the operator learns about it all the same
			l.await(t, `msg="sending to the log group failed; the plugin keeps trying" region=eu-central-1 group=/logspool/metrics`)
		}
		s.ClearFault(fault)
		<-sender.delivery.Detach()
	}
}

// While there is no region, events are kept. Nothing is logged about them: the log is about
// the containers.
func TestEventsWaitForTheRegion(t *testing.T) {
	s, u, l := standIn(t)
	o, known := options(u), false
	o.Region = func(context.Context) (string, error) {
		if known {
			return region, nil
		}
		return "", errors.New("no region")
	}
	sender := New(o)
	now := time.Now()
	for i := range 3 {
		sender.send(t.Context(), now.Add(time.Duration(i)*time.Millisecond))
	}
	if l.String() != "" {
		t.Errorf("logged: %s", l)
	}
	known = true
	sender.send(t.Context(), now.Add(3*time.Millisecond))
	await(t, s, 4)
}

// While CloudWatch fails, the newest events are kept and sent afterwards. A loss of events is
// no loss of lines.
func TestNewestEventsAreSentAfterAnOutage(t *testing.T) {
	s, u, l := standIn(t)
	fault := s.AddFault(cwlocal.Fault{Kind: cwlocal.Unavailable})
	sender := New(options(u))
	now := time.Now().Add(-time.Hour)
	const n = maxEvents + 40
	for i := range n {
		sender.send(t.Context(), now.Add(time.Duration(i)*time.Millisecond))
	}
	s.ClearFault(fault)
	got := await(t, s, maxEvents)
	if last := got[len(got)-1].Timestamp; last != now.UnixMilli()+n-1 {
		t.Errorf("the newest event is missing")
	}
	if strings.Contains(l.String(), "lost") {
		t.Errorf("logged: %s", l)
	}
}

// Run makes an event at once and one each minute. It does not wait for the uploader.
func TestRunMakesAnEventEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(nil)
		o.Region = func(ctx context.Context) (string, error) {
			<-ctx.Done() // as slow as it may be
			return "", ctx.Err()
		}
		sender := New(o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { sender.Run(ctx); close(done) }()
		for want := 1; want <= 5; want++ {
			synctest.Wait()
			if got := next(&sender.feed); len(got) != 1 || got[0] != uint64(want-1) {
				t.Errorf("the new events are %d, want %d", got, want-1)
			}
			time.Sleep(Interval)
		}
		cancel()
		<-done
	})
}
