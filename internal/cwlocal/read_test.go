package cwlocal

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type eventsPage struct {
	Events []struct {
		Timestamp, IngestionTime        int64
		Message, LogStreamName, EventID string
	}
	NextForwardToken, NextBackwardToken, NextToken string
	SearchedLogStreams                             []any
}

func (p eventsPage) messages() (out []string) {
	for _, e := range p.Events {
		out = append(out, e.Message)
	}
	return out
}

func (c *client) page(op, body string) (p eventsPage) {
	c.t.Helper()
	c.ok(op, body).into(c.t, &p)
	return p
}

func getBody(members string) string { return `{"logGroupName":"g","logStreamName":"s"` + members + `}` }

func TestEventsOfOneMillisecondStayInOrderOfArrival(t *testing.T) {
	c := newStreamClient(t, Options{})
	c.ok("PutLogEvents", batch(at(0, "1"), at(0, "2"), at(time.Second, "5")))
	c.ok("PutLogEvents", batch(at(-time.Second, "0"), at(0, "3"), at(0, "4")))
	if got := fmt.Sprint(c.page("GetLogEvents", getBody("")).messages()); got != "[0 1 2 3 4 5]" {
		t.Errorf("GetLogEvents: %s", got)
	}
	if got := fmt.Sprint(c.page("FilterLogEvents", `{"logGroupName":"g"}`).messages()); got != "[0 1 2 3 4 5]" {
		t.Errorf("FilterLogEvents: %s", got)
	}
	if got := fmt.Sprint(messages(c.s.Sorted(testRegion, "g", "s"))); got != "[0 1 2 3 4 5]" {
		t.Errorf("Sorted: %s", got)
	}
	if got := fmt.Sprint(messages(c.s.Arrived(testRegion, "g", "s"))); got != "[1 2 5 0 3 4]" {
		t.Errorf("Arrived: %s", got)
	}
	if st, _ := c.s.Stream(testRegion, "g", "s"); st.Backwards != 3 {
		t.Errorf("%d events arrived after a later one, want 3", st.Backwards)
	}
}

// put stores events 0 to n-1, one per millisecond up to testNow.
func (c *client) put(n int) (want []string) {
	c.t.Helper()
	var events []ev
	for i := range n {
		events = append(events, at(time.Duration(i-n)*time.Millisecond, fmt.Sprint(i)))
		want = append(want, fmt.Sprint(i))
	}
	c.ok("PutLogEvents", batch(events...))
	return want
}

func TestGetLogEventsReadsForwardFromTheHead(t *testing.T) {
	c := newStreamClient(t, Options{})
	want := c.put(10)
	var got []string
	token := ""
	for range 10 {
		p := c.page("GetLogEvents", getBody(`,"limit":3,"startFromHead":true`+token))
		got = append(got, p.messages()...)
		next := `,"nextToken":"` + p.NextForwardToken + `"`
		if next == token {
			break
		}
		token = next
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// With the last token, a reader gets the events that arrived since.
	c.ok("PutLogEvents", batch(at(0, "new")))
	p := c.page("GetLogEvents", getBody(token))
	if got := p.messages(); !slices.Equal(got, []string{"new"}) {
		t.Errorf("after the end: %q", got)
	}
}

func TestGetLogEventsReadsBackwardFromTheTail(t *testing.T) {
	c := newStreamClient(t, Options{})
	want := c.put(10)
	var got []string
	token, first := "", ""
	for range 10 {
		p := c.page("GetLogEvents", getBody(`,"limit":3`+token))
		got = append(p.messages(), got...)
		if first == "" {
			first = p.NextForwardToken
		}
		next := `,"nextToken":"` + p.NextBackwardToken + `"`
		if next == token {
			// A forward token from before the head leads to the head again.
			if p := c.page("GetLogEvents", getBody(`,"limit":2,"nextToken":"`+p.NextForwardToken+`"`)); !slices.Equal(p.messages(), want[:2]) {
				t.Errorf("forward from before the head: %q", p.messages())
			}
			break
		}
		token = next
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	p := c.page("GetLogEvents", getBody(`,"nextToken":"`+first+`"`))
	if len(p.Events) != 0 || p.NextForwardToken != first {
		t.Errorf("behind the tail: %q, token %q, want none and %q", p.messages(), p.NextForwardToken, first)
	}
	if p := c.page("GetLogEvents", getBody(`,"limit":2,"nextToken":"`+p.NextBackwardToken+`"`)); !slices.Equal(p.messages(), want[8:]) {
		t.Errorf("backward from behind the tail: %q", p.messages())
	}
}

func TestReadsReturnOnlyEventsBetweenTheTimes(t *testing.T) {
	c := newStreamClient(t, Options{})
	c.put(10)
	ms := testNow.UnixMilli()
	for _, tc := range []struct {
		op         string
		start, end int64
		want       string
	}{
		{"GetLogEvents", ms - 5, ms - 2, "[5 6 7]"}, // the end is exclusive
		{"FilterLogEvents", ms - 5, ms - 2, "[5 6 7 8]"},
		{"GetLogEvents", ms - 2, ms - 5, "[]"},
		{"FilterLogEvents", ms - 2, ms - 5, "[]"},
		{"GetLogEvents", ms, ms + 1, "[]"},
	} {
		body := fmt.Sprintf(`{"logGroupName":"g","startTime":%d,"endTime":%d`, tc.start, tc.end)
		if tc.op == "GetLogEvents" {
			body += `,"logStreamName":"s"`
		}
		if got := fmt.Sprint(c.page(tc.op, body+"}").messages()); got != tc.want {
			t.Errorf("%s from %d to %d: got %s, want %s", tc.op, tc.start-ms, tc.end-ms, got, tc.want)
		}
	}
	empty := newStreamClient(t, Options{})
	p := empty.page("GetLogEvents", getBody(""))
	empty.put(1)
	if p := empty.page("GetLogEvents", getBody(`,"nextToken":"`+p.NextForwardToken+`"`)); len(p.Events) != 1 {
		t.Error("the token of an empty stream does not lead to its first event")
	}
}

func TestPagesEndAtAMebibyte(t *testing.T) {
	c := newStreamClient(t, Options{})
	big := strings.Repeat("x", 400000)
	c.ok("PutLogEvents", batch(at(0, "1"+big), at(0, "2"+big)))
	c.ok("PutLogEvents", batch(at(0, "3"+big), at(0, "4"+big)))
	if p := c.page("GetLogEvents", getBody(`,"startFromHead":true`)); len(p.Events) != 2 || p.Events[0].Message[0] != '1' {
		t.Errorf("%d events from the head", len(p.Events))
	}
	if p := c.page("GetLogEvents", getBody("")); len(p.Events) != 2 || p.Events[0].Message[0] != '3' {
		t.Errorf("%d events from the tail", len(p.Events))
	}
	p := c.page("FilterLogEvents", `{"logGroupName":"g"}`)
	q := c.page("FilterLogEvents", `{"logGroupName":"g","nextToken":"`+p.NextToken+`"}`)
	if len(p.Events) != 2 || len(q.Events) != 2 || q.Events[0].Message[0] != '3' || q.NextToken != "" {
		t.Errorf("pages of %d and %d events", len(p.Events), len(q.Events))
	}
}

func TestFilterLogEventsMergesStreams(t *testing.T) {
	c := newStreamClient(t, Options{})
	c.ok("CreateLogStream", `{"logGroupName":"g","logStreamName":"t1"}`)
	c.ok("CreateLogStream", `{"logGroupName":"g","logStreamName":"t2"}`)
	for i := range 3 {
		c.ok("PutLogEvents", batchTo("g", "t1", at(time.Duration(2*i)*time.Second, fmt.Sprint("a", i)), at(time.Duration(2*i+1)*time.Second, fmt.Sprint("b", i))))
		c.ok("PutLogEvents", batchTo("g", "t2", at(time.Duration(2*i)*time.Second, fmt.Sprint("c", i))))
	}
	c.ok("PutLogEvents", batch(at(0, "else")))
	all := func(members string) (out []string) {
		t.Helper()
		ids := map[string]bool{}
		for token := ""; ; {
			p := c.page("FilterLogEvents", `{"logGroupName":"g","limit":2`+members+token+`}`)
			out = append(out, p.messages()...)
			for _, e := range p.Events {
				if ids[e.EventID] || len(e.EventID) != 56 {
					t.Errorf("event ID %q", e.EventID)
				}
				ids[e.EventID] = true
			}
			if p.NextToken == "" {
				return out
			}
			token = `,"nextToken":"` + p.NextToken + `"`
		}
	}
	for _, tc := range []struct{ members, want string }{
		{`,"interleaved":true`, "[a0 c0 else b0 a1 c1 b1 a2 c2 b2]"},
		{`,"logStreamNamePrefix":"t"`, "[a0 c0 b0 a1 c1 b1 a2 c2 b2]"},
		{`,"logStreamNames":["t2","s"]`, "[c0 else c1 c2]"},
		{`,"filterPattern":"a1"`, "[a1]"},
		{`,"filterPattern":"nothing"`, "[]"},
	} {
		if got := fmt.Sprint(all(tc.members)); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.members, got, tc.want)
		}
	}
	c.refused("FilterLogEvents", `{"logGroupName":"g","logStreamNames":["none"]}`, "ResourceNotFoundException", "The specified log stream does not exist.")
}

func TestReadsCheckTheirMembers(t *testing.T) {
	c := newStreamClient(t, Options{})
	const inv, one = "InvalidParameterException", "1 validation error detected: Value "
	for _, tc := range []struct{ op, body, code, message string }{
		{"GetLogEvents", getBody(`,"limit":10001`), inv, one + "'10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000"},
		{"GetLogEvents", getBody(`,"limit":0`), inv, one + "'0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"GetLogEvents", getBody(`,"startTime":-1`), inv, one + "'-1' at 'startTime' failed to satisfy constraint: Member must have value greater than or equal to 0"},
		{"GetLogEvents", getBody(`,"nextToken":"f/1"`), inv, "The specified nextToken is invalid."},
		{"GetLogEvents", getBody(`,"nextToken":"x/` + strings.Repeat("0", 56) + `"`), inv, "The specified nextToken is invalid."},
		{"GetLogEvents", `{"logGroupName":"g","logStreamName":"none"}`, "ResourceNotFoundException", "The specified log stream does not exist."},
		{"FilterLogEvents", `{"logGroupName":"g","limit":10001}`, inv, one + "'10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000"},
		{"FilterLogEvents", `{"logGroupName":"g","nextToken":"1"}`, inv, "The specified nextToken is invalid."},
		{"FilterLogEvents", `{"logGroupName":"g","logStreamNames":[]}`, inv, one + "'[]' at 'logStreamNames' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"FilterLogEvents", `{"logGroupName":"g","logStreamNames":["s"],"logStreamNamePrefix":"s"}`, inv, "LogStream names and LogStream name prefix are mutually exclusive parameters."},
		{"FilterLogEvents", `{"logGroupName":"g","filterPattern":"{ $.a = 1 }"}`, inv, "Invalid filter pattern: cwlocal knows patterns of terms only, not of JSON ({), columns ([) or regular expressions (%)"},
		{"FilterLogEvents", `{"logGroupName":"g","logGroupIdentifier":"g"}`, "ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters."},
	} {
		c.refused(tc.op, tc.body, tc.code, tc.message)
	}
}
