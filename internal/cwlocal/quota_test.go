package cwlocal

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/store"
)

func TestQuotasApplyPerRegionAndOperation(t *testing.T) {
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
		{"DescribeLogGroups", `{}`, 3}, // from Rates
	} {
		if got := burst(c, tc.op, tc.body, 60); got != tc.want {
			t.Errorf("%s: %d of a burst of 60 were accepted, want %d", tc.op, got, tc.want)
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
		t.Errorf("throttled requests were counted as refusals: %v", r)
	}
	if store.DefaultRates()["PutLogEvents"] != 5000 {
		t.Error("PutLogEvents' quota is 5,000/s")
	}
}
