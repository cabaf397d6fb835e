package cwlocal

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/logspool/logspool/internal/cwlocal/stats"
	"github.com/logspool/logspool/internal/cwlocal/store"
)

func TestStatsCountRequestsAndEvents(t *testing.T) {
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

func TestRefusalDescribesTheRequest(t *testing.T) {
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

func TestDigestCoversMessagesInOrderOfArrival(t *testing.T) {
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

func TestKeepLimitsTheEventsOfAStream(t *testing.T) {
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

func TestSequencesReportMissingAndRepeatedNumbers(t *testing.T) {
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
