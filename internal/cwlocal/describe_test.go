package cwlocal

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

func TestDescribeLogGroupsFiltersAndPages(t *testing.T) {
	c := newClient(t, Options{})
	var want []string
	for i := range 120 {
		name := fmt.Sprintf("g%03d", i)
		want = append(want, name)
		c.ok("CreateLogGroup", `{"logGroupName":"`+name+`"}`)
	}
	c.ok("CreateLogGroup", `{"logGroupName":"Other","logGroupClass":"INFREQUENT_ACCESS"}`)
	type answer struct {
		LogGroups []struct{ LogGroupName, LogGroupArn, Arn, LogGroupClass string }
		NextToken string
	}
	list := func(body string) (names []string, token string) {
		t.Helper()
		var a answer
		c.ok("DescribeLogGroups", body).into(t, &a)
		for _, g := range a.LogGroups {
			names = append(names, g.LogGroupName)
			if g.Arn != g.LogGroupArn+":*" || g.LogGroupArn != "arn:aws:logs:"+testRegion+":123456789012:log-group:"+g.LogGroupName {
				t.Errorf("ARNs %q, %q", g.Arn, g.LogGroupArn)
			}
		}
		return names, a.NextToken
	}
	var got, sizes = []string{}, []int{}
	for token := ""; ; {
		body := `{"logGroupNamePrefix":"g"}`
		if token != "" {
			body = `{"logGroupNamePrefix":"g","nextToken":"` + token + `"}`
			c.ok("DeleteLogGroup", `{"logGroupName":"`+got[len(got)-1]+`"}`) // the next page must not depend on the last group of this one
		}
		names, next := list(body)
		got, sizes = append(got, names...), append(sizes, len(names))
		if token = next; token == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || !slices.Equal(sizes, []int{50, 50, 20}) {
		t.Errorf("pages of %v:\n%s", sizes, diff)
	}
	if names, _ := list(`{"logGroupNamePattern":"THE"}`); !slices.Equal(names, []string{"Other"}) {
		t.Errorf("pattern: %v", names)
	}
	if names, _ := list(`{"logGroupClass":"INFREQUENT_ACCESS"}`); !slices.Equal(names, []string{"Other"}) {
		t.Errorf("class: %v", names)
	}
	if names, token := list(`{"limit":1}`); len(names) != 1 || token == "" {
		t.Errorf("limit 1: %v, token %q", names, token)
	}
	const inv = "InvalidParameterException"
	c.refused("DescribeLogGroups", `{"logGroupNamePattern":"a","logGroupNamePrefix":"b"}`, inv, "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	c.refused("DescribeLogGroups", `{"nextToken":"x"}`, inv, "The specified nextToken is invalid.")
	c.refused("DescribeLogGroups", `{"limit":51}`, inv, "1 validation error detected: Value '51' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 50")
	c.refused("DescribeLogGroups", `{"limit":0}`, inv, "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1")
}

func TestDescribeLogStreamsSortsAndPages(t *testing.T) {
	now := testNow
	c := newClient(t, Options{Now: func() time.Time { return now }})
	c.ok("CreateLogGroup", `{"logGroupName":"g"}`)
	for _, name := range []string{"c", "a", "b", "never"} {
		c.ok("CreateLogStream", `{"logGroupName":"g","logStreamName":"`+name+`"}`)
	}
	c.ok("PutLogEvents", batchTo("g", "a", at(-3*time.Second, "1"), at(-2*time.Second, "2")))
	c.ok("PutLogEvents", batchTo("g", "b", at(-1*time.Second, "1")))
	c.ok("PutLogEvents", batchTo("g", "c", at(-5*time.Second, "1")))
	pages := func(members string) (names []string) {
		t.Helper()
		for token := ""; ; {
			body := `{"limit":1,` + members + token + `}`
			var a struct {
				LogStreams []struct{ LogStreamName string }
				NextToken  string
			}
			c.ok("DescribeLogStreams", body).into(t, &a)
			for _, s := range a.LogStreams {
				names = append(names, s.LogStreamName)
			}
			if a.NextToken == "" {
				return names
			}
			token = `,"nextToken":"` + a.NextToken + `"`
		}
	}
	for _, tc := range []struct{ members, want string }{
		{`"logGroupName":"g"`, "[a b c never]"},
		{`"logGroupIdentifier":"g"`, "[a b c never]"},
		{`"logGroupIdentifier":"arn:aws:logs:` + testRegion + `:123456789012:log-group:g"`, "[a b c never]"},
		{`"logGroupName":"g","descending":true`, "[never c b a]"},
		{`"logGroupName":"g","orderBy":"LastEventTime"`, "[never c a b]"},
		{`"logGroupName":"g","orderBy":"LastEventTime","descending":true`, "[b a c never]"},
		{`"logGroupName":"g","logStreamNamePrefix":"n"`, "[never]"},
	} {
		if got := fmt.Sprint(pages(tc.members)); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.members, got, tc.want)
		}
	}
	var a struct{ LogStreams []map[string]any }
	c.ok("DescribeLogStreams", `{"logGroupName":"g","limit":1}`).into(t, &a)
	want := map[string]any{
		"arn":           "arn:aws:logs:" + testRegion + ":123456789012:log-group:g:log-stream:a",
		"logStreamName": "a", "storedBytes": 0.0, "creationTime": float64(testNow.UnixMilli()),
		"firstEventTimestamp": float64(testNow.UnixMilli() - 3000), "lastEventTimestamp": float64(testNow.UnixMilli() - 2000),
		"lastIngestionTime": float64(testNow.UnixMilli()), "uploadSequenceToken": protocol.SequenceToken(1),
	}
	if diff := cmp.Diff(want, a.LogStreams[0]); diff != "" {
		t.Error(diff)
	}
	const inv = "InvalidParameterException"
	c.refused("DescribeLogStreams", `{"logGroupName":"g","orderBy":"LastEventTime","logStreamNamePrefix":"a"}`, inv, "Cannot order by LastEventTime with a logStreamNamePrefix.")
	c.refused("DescribeLogStreams", `{"logGroupName":"g","orderBy":"Size"}`, inv, "1 validation error detected: Value 'Size' at 'orderBy' failed to satisfy constraint: Member must satisfy enum value set: [LogStreamName, LastEventTime]")
	c.refused("DescribeLogStreams", `{"logGroupName":"g","nextToken":"!"}`, inv, "The specified nextToken is invalid.")
	c.refused("DescribeLogStreams", `{"logGroupName":"g","logGroupIdentifier":"g"}`, "ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters.")
}
