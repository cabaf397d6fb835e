package fault

import (
	"testing"
	"time"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

func TestBottleneckServesRequestsOneAfterAnother(t *testing.T) {
	var l List
	begun := time.Unix(1_700_000_000, 0)
	l.Add(Fault{Kind: Bottleneck, Limit: 1000, Operation: "PutLogEvents"}, begun)
	l.Add(Fault{Kind: Throttle, Stream: "throttled"}, begun)
	for _, c := range []struct {
		at        time.Duration
		operation string
		stream    string
		bytes     int
		want      time.Duration
		fails     bool
	}{
		{0, "PutLogEvents", "a", 500, 500 * time.Millisecond, false},
		{0, "PutLogEvents", "b", 1500, 2 * time.Second, false},
		{0, "CreateLogStream", "b", 1500, 0, false},
		{500 * time.Millisecond, "PutLogEvents", "throttled", 1000, 2500 * time.Millisecond, true},
		{10 * time.Second, "PutLogEvents", "a", 10, 10 * time.Millisecond, false}, // nothing is left
	} {
		r := &protocol.Request{Operation: c.operation, BodyBytes: c.bytes,
			Input: protocol.Input{Strings: map[string]string{"logStreamName": c.stream}}}
		f, delay := l.take(r, begun.Add(c.at))
		if delay != c.want || (f != nil) != c.fails {
			t.Errorf("%+v: got %v and the fault %v", c, delay, f)
		}
	}
}
