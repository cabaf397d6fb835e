package cwlocal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/logspool/logspool/internal/cwlocal/stats"
	"github.com/logspool/logspool/internal/cwlocal/store"
)

func TestStatsCountWhatCame(t *testing.T) {
	c := newStreamClient(t, Options{})
	body := batch(at(0, "ä"), at(0, "b"))
	packed := gzipped(t, body)
	c.serve(c.request("PutLogEvents", packed, gzipHeader))
	c.do("PutLogEvents", batchTo("g", "none", at(0, "x")))
	c.do("PutLogEvents", "{")
	c.do("Sing", "{}")
	st := c.s.Stats()
	wantRequests := map[string]map[string]int64{
		"CreateLogGroup":  {"ok": 1},
		"CreateLogStream": {"ok": 1},
		"PutLogEvents":    {"ok": 1, "ResourceNotFoundException": 1, "SerializationException": 1},
		"unknown":         {"UnknownOperationException": 1},
	}
	if diff := cmp.Diff(wantRequests, st.Requests); diff != "" {
		t.Error(diff)
	}
	other := len(`{"logGroupName":"g"}`) + len(`{"logGroupName":"g","logStreamName":"s"}`) + len(batchTo("g", "none", at(0, "x")))
	want := Stats{
		RequestStats: stats.RequestStats{
			By:            map[string]map[string]int64{testKey: {"CreateLogGroup": 1, "CreateLogStream": 1, "PutLogEvents": 3}},
			MaxConcurrent: 1, Refused: 2, GzipRequests: 1,
			WireBytes: int64(other + len(packed) + len("{") + len("{}")),
			BodyBytes: int64(other + len(body) + len("{")),
		},
		EventStats: store.EventStats{Batches: 1, Events: 2, EventBytes: 3},
	}
	if diff := cmp.Diff(want, st, cmpopts.IgnoreFields(Stats{}, "RequestStats.Requests")); diff != "" {
		t.Error(diff)
	}
	var codes []string
	for _, r := range c.s.Refusals() {
		codes = append(codes, r.Operation+" "+r.Code)
	}
	if diff := cmp.Diff([]string{"PutLogEvents SerializationException", "unknown UnknownOperationException"}, codes); diff != "" {
		t.Error(diff)
	}
}

func TestARefusalSaysWhatItWas(t *testing.T) {
	var told []Refusal
	c := newStreamClient(t, Options{OnRefused: func(r Refusal) { told = append(told, r) }})
	body := batch(at(0, "b"), at(-1*time.Second, "a"))
	c.do("PutLogEvents", body)
	want := []Refusal{{Time: testNow, Operation: "PutLogEvents", Region: testRegion, Group: "g", Stream: "s", Code: "InvalidParameterException",
		Message: "Log events in a single PutLogEvents request must be in chronological order.", Events: 2, Bytes: len(body)}}
	if diff := cmp.Diff(want, c.s.Refusals(), cmpopts.IgnoreFields(Refusal{}, "RequestID")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(c.s.Refusals(), told); diff != "" {
		t.Error(diff)
	}
}

func TestDigestIsOfTheMessagesInOrderOfArrival(t *testing.T) {
	for _, keep := range []int{0, 1, KeepNone} {
		c := newStreamClient(t, Options{Keep: keep})
		c.ok("PutLogEvents", batch(at(0, "late"), at(time.Second, "later")))
		c.ok("PutLogEvents", batch(at(-time.Second, "early")))
		sum := sha256.Sum256([]byte("late\nlater\nearly\n"))
		st, ok := c.s.Stream(testRegion, "g", "s")
		want := StreamStats{StreamID: store.StreamID{Region: testRegion, Group: "g", Stream: "s"}, Batches: 2, By: map[string]int64{testKey: 2}, Events: 3, Bytes: 14, Backwards: 1,
			FirstTimestamp: testNow.UnixMilli() - 1000, LastTimestamp: testNow.UnixMilli() + 1000, Digest: hex.EncodeToString(sum[:])}
		if diff := cmp.Diff(want, st); diff != "" || !ok {
			t.Errorf("keep %d: %s", keep, diff)
		}
	}
}

func TestKeepBoundsWhatIsKept(t *testing.T) {
	for keep, want := range map[int]string{0: "[0 1 2 3 4 5 6 7 8 9]", 3: "[7 8 9]", KeepNone: "[]"} {
		c := newStreamClient(t, Options{Keep: keep})
		for i := range 10 {
			c.ok("PutLogEvents", batch(at(0, fmt.Sprint(i))))
		}
		if got := fmt.Sprint(messages(c.s.Arrived(testRegion, "g", "s"))); got != want {
			t.Errorf("keep %d, one by one: %s", keep, got)
		}
		if got := fmt.Sprint(c.page("GetLogEvents", getBody("")).messages()); got != want {
			t.Errorf("keep %d, read: %s", keep, got)
		}
		c = newStreamClient(t, Options{Keep: keep})
		c.put(10)
		if got := fmt.Sprint(messages(c.s.Arrived(testRegion, "g", "s"))); got != want {
			t.Errorf("keep %d, at once: %s", keep, got)
		}
		if got := c.s.Stats().Events; got != 10 {
			t.Errorf("keep %d: %d events counted", keep, got)
		}
	}
}

func TestOnAcceptedSeesEveryBatchInOrder(t *testing.T) {
	var got []string
	c := newStreamClient(t, Options{Keep: KeepNone, OnAccepted: func(region, group, stream string, events []Event) {
		got = append(got, fmt.Sprint(region, group, stream, messages(events)))
	}})
	c.ok("PutLogEvents", batch(at(0, "a"), at(0, "b")))
	c.ok("PutLogEvents", batch(at(0, "c"), at(3*time.Hour, "too new")))
	c.ok("PutLogEvents", batch(at(3*time.Hour, "too new")))
	want := []string{testRegion + "gs[a b]", testRegion + "gs[c]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSequences(t *testing.T) {
	c := newStreamClient(t, Options{Keep: KeepNone, Sequence: MarkedSequence})
	send := func(marks ...string) {
		var events []ev
		for _, m := range marks {
			events = append(events, at(0, m))
		}
		c.ok("PutLogEvents", batch(events...))
	}
	send("seq=a:0", "x seq=a:1 y", "seq=b:1", "seq=b:2", "no mark", "seq=a:", "seq=a b:1", "seq=c:99999999999")
	send("seq=a:3", "seq=a:2", "seq=a:3", "seq=b:200")
	st, _ := c.s.Stream(testRegion, "g", "s")
	want := []SequenceStats{
		{Writer: "a", Highest: 3, Doubled: 1, Backwards: 1},
		{Writer: "b", Highest: 200, Missing: 197},
	}
	if diff := cmp.Diff(want, st.Sequences); diff != "" {
		t.Error(diff)
	}
}

func TestQuotasAreForARegionAndOperation(t *testing.T) {
	now := testNow
	c := newClient(t, Options{Quotas: true, Rates: map[string]float64{"DescribeLogGroups": 3}, Now: func() time.Time { return now }})
	burst := func(c *client, op, body string, n int) (taken int) {
		for i := range n {
			switch res := c.do(op, strings.ReplaceAll(body, "%", fmt.Sprint(now.UnixMilli(), "-", i))); {
			case res.status == 200:
				taken++
			case res.code != "ThrottlingException" || res.message != "Rate exceeded" || res.status != 400:
				t.Errorf("%s: got %d %s %s", op, res.status, res.code, res.message)
			}
		}
		return taken
	}
	c.ok("CreateLogGroup", `{"logGroupName":"g"}`)
	now = now.Add(time.Second)
	for _, tc := range []struct {
		op, body string
		want     int
	}{
		{"CreateLogGroup", `{"logGroupName":"%"}`, 10},
		{"CreateLogStream", `{"logGroupName":"g","logStreamName":"%"}`, 50},
		{"DescribeLogStreams", `{"logGroupName":"g"}`, 25},
		{"PutRetentionPolicy", `{"logGroupName":"g","retentionInDays":1}`, 5},
		{"TagResource", `{"resourceArn":"arn:aws:logs:` + testRegion + `:123456789012:log-group:g","tags":{"a":"b"}}`, 5},
		{"DescribeLogGroups", `{}`, 3}, // as Rates says
	} {
		if got := burst(c, tc.op, tc.body, 60); got != tc.want {
			t.Errorf("%s: %d of a burst of 60 were taken, want %d", tc.op, got, tc.want)
		}
	}
	now = now.Add(100 * time.Millisecond)
	if got := burst(c, "CreateLogStream", `{"logGroupName":"g","logStreamName":"%"}`, 60); got != 5 {
		t.Errorf("%d after 100 ms, want 5", got)
	}
	other := *c
	other.region = "us-west-2"
	if got := burst(&other, "CreateLogGroup", `{"logGroupName":"%"}`, 60); got != 10 {
		t.Errorf("another region: %d, want 10", got)
	}
	if r := c.s.Refusals(); len(r) != 0 {
		t.Errorf("to be throttled breaks no rule: %v", r)
	}
	if store.DefaultRates()["PutLogEvents"] != 5000 {
		t.Error("PutLogEvents' quota is 5,000/s")
	}
}

func TestWaiting(t *testing.T) {
	c := newStreamClient(t, Options{})
	c.ok("CreateLogStream", `{"logGroupName":"g","logStreamName":"t"}`)
	done := make(chan error, 3)
	for _, stream := range []string{"s", "t", ""} {
		n := int64(2)
		if stream == "" {
			n = 4
		}
		go func() { done <- c.s.WaitEvents(context.Background(), testRegion, "g", stream, n) }()
	}
	for _, stream := range []string{"s", "t", "s", "t"} {
		c.ok("PutLogEvents", batchTo("g", stream, at(0, "x")))
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := c.s.WaitEvents(ctx, testRegion, "g", "s", 3)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), `waited for 3 events in "eu-central-1" "g" "s", got 2`) {
		t.Error(err)
	}
	go func() { done <- c.s.Wait(context.Background(), func() bool { return false }) }()
	c.s.Close()
	if err := <-done; err == nil {
		t.Error("Close didn't end the wait")
	}
}

func TestIntrospectionOverHTTP(t *testing.T) {
	c := newStreamClient(t, Options{})
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		c.s.ServeHTTP(w, httptest.NewRequest("GET", "/_cwlocal/"+path, nil))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	c.ok("PutLogEvents", batch(at(0, "b")))
	c.ok("PutLogEvents", batch(at(-time.Second, "a")))
	c.do("PutLogEvents", "{")
	where := "region=" + testRegion + "&group=g&stream=s"
	for _, tc := range []struct {
		path   string
		status int
		want   string
	}{
		{"wait?events=2&timeout=1h&" + where, 200, `{"events":2}`},
		{"wait?events=3&timeout=1ms&" + where, 408, `{"events":2}`},
		{"wait?events=many", 400, `{"error":"events is \"many\"; it must be a number"}`},
		{"wait?events=1&timeout=soon", 400, `{"error":"time: invalid duration \"soon\""}`},
		{"events?order=odd", 400, `{"error":"order is \"odd\"; it must be sorted or arrival"}`},
		{"events?" + where, 200, `{"timestamp":1793620799000,"ingestionTime":1793620800000,"seq":2,"message":"a"}` + "\n" + `{"timestamp":1793620800000,"ingestionTime":1793620800000,"seq":1,"message":"b"}`},
		{"events?order=arrival&" + where, 200, `{"timestamp":1793620800000,"ingestionTime":1793620800000,"seq":1,"message":"b"}` + "\n" + `{"timestamp":1793620799000,"ingestionTime":1793620800000,"seq":2,"message":"a"}`},
	} {
		if status, got := get(tc.path); status != tc.status || got != tc.want {
			t.Errorf("%s:\n got %d %s\nwant %d %s", tc.path, status, got, tc.status, tc.want)
		}
	}
	for path, v := range map[string]any{"stats": c.s.Stats(), "streams": c.s.Streams(), "refusals": c.s.Refusals()} {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if status, got := get(path); status != 200 || got != string(want) {
			t.Errorf("%s: got %d %s, want %s", path, status, got, want)
		}
	}
}

// Many clients at once: nothing is lost or doubled, and each one's batches stay in order.
func TestParallelCalls(t *testing.T) {
	c := startClient(t, Options{Sequence: MarkedSequence})
	c.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer c.http.CloseIdleConnections()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				status, got, err := c.send(context.Background(), "PutLogEvents", nowBatch(fmt.Sprintf("seq=w%d:%d", w, i)))
				if status != 200 {
					t.Errorf("got %d %s %v", status, got, err)
				}
			}
		})
	}
	wg.Wait()
	st, _ := c.s.Stream(testRegion, "g", "s")
	if st.Events != 400 || len(st.Sequences) != 8 {
		t.Errorf("%d events of %d writers", st.Events, len(st.Sequences))
	}
	for _, q := range st.Sequences {
		if q.Highest != 49 || q.Missing+q.Doubled+q.Backwards != 0 {
			t.Errorf("%+v", q)
		}
	}
	if got := c.s.Stats(); got.Concurrent != 0 || got.MaxConcurrent < 1 || got.MaxConcurrent > 8 {
		t.Errorf("concurrent %d, at most %d", got.Concurrent, got.MaxConcurrent)
	}
}

func TestStartNeedsAFreeAddress(t *testing.T) {
	s, err := Start("127.0.0.1:0", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := Start(strings.TrimPrefix(s.URL(), "http://"), Options{}); err == nil {
		t.Error("two servers on one address")
	}
	resp, err := http.Get(s.URL() + "/_cwlocal/stats")
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}
