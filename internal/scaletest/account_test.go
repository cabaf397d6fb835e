// Package scaletest simulates a fleet: many uploaders, in virtual time, against the quotas of
// one account. It consists only of tests. `make scale` writes its figures into docs/scale.md.
package scaletest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/logspool/logspool/internal/target"
)

// quotas are calls per second of a whole account and region, as AWS documents the defaults.
type quotas struct{ puts, streams, groups, retentions float64 }

var defaultQuotas = quotas{puts: 5000, streams: 50, groups: 10, retentions: 5}

func (q quotas) scale(f float64) quotas {
	return quotas{q.puts * f, q.streams * f, q.groups * f, q.retentions * f}
}

// A bucket admits a rate, and what it has saved in a second.
type bucket struct {
	rate, tokens float64
	last         time.Time
}

func newBucket(rate float64) *bucket {
	return &bucket{rate: rate, tokens: max(rate, 1), last: time.Now()}
}

func (b *bucket) take() bool {
	now := time.Now()
	b.tokens = min(max(b.rate, 1), b.tokens+b.rate*now.Sub(b.last).Seconds())
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// calls counts one kind of call in one second.
type calls struct{ offered, accepted, throttled, failed int }

// account is CloudWatch Logs for one account and region. It knows whether groups and streams
// exist, and counts events. Any goroutine may use it.
type account struct {
	mu      sync.Mutex
	begin   time.Time
	down    bool // down says that every call gets a 503.
	buckets map[string]*bucket
	groups  map[string]bool
	events  map[string]int // events counts the accepted events of each stream that exists.
	// seconds has the calls of each kind in each second since begin.
	seconds map[string][]calls
	// lastStream is when the last stream was created.
	lastStream time.Time
}

func newAccount(q quotas) *account {
	return &account{
		begin: time.Now(), groups: map[string]bool{}, events: map[string]int{}, seconds: map[string][]calls{},
		buckets: map[string]*bucket{
			"PutLogEvents": newBucket(q.puts), "CreateLogStream": newBucket(q.streams),
			"CreateLogGroup": newBucket(q.groups), "PutRetentionPolicy": newBucket(q.retentions),
		},
	}
}

// config is an uploader's Options.Config. The SDK does everything for a call except what its
// HTTP client would do.
func (a *account) config(context.Context, target.Access) (aws.Config, error) {
	answer := middleware.DeserializeMiddlewareFunc("account", func(ctx context.Context, in middleware.DeserializeInput, _ middleware.DeserializeHandler) (
		out middleware.DeserializeOutput, metadata middleware.Metadata, err error) {
		r := in.Request.(*smithyhttp.Request)
		body, err := io.ReadAll(r.GetStream())
		if err != nil {
			return out, metadata, err
		}
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		out.RawResponse = &smithyhttp.Response{Response: a.serve(operation, body)}
		return out, metadata, nil
	})
	return aws.Config{
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "secret"}, nil
		}),
		APIOptions: []func(*middleware.Stack) error{func(s *middleware.Stack) error {
			return s.Deserialize.Add(answer, middleware.After)
		}},
	}, nil
}

// serve answers one call. A call takes 20 to 80 ms, and half of that before it counts.
func (a *account) serve(operation string, body []byte) *http.Response {
	latency := 10*time.Millisecond + rand.N(30*time.Millisecond)
	time.Sleep(latency)
	status, code := a.decide(operation, body)
	time.Sleep(latency)
	text := "{}"
	if code != "" {
		text = fmt.Sprintf(`{"__type":%q,"message":"the simulation says so"}`, code)
	}
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}},
		Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)),
	}
}

func (a *account) decide(operation string, body []byte) (status int, code string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.callsNow(operation)
	c.offered++
	switch {
	case a.down:
		c.failed++
		return 503, "ServiceUnavailableException"
	case a.buckets[operation] == nil:
		panic("no quota for " + operation)
	case !a.buckets[operation].take():
		c.throttled++
		return 400, "ThrottlingException"
	}
	if code := a.apply(operation, body); code != "" {
		c.failed++
		return 400, code
	}
	c.accepted++
	return 200, ""
}

// callsNow returns the counts of this second.
func (a *account) callsNow(operation string) *calls {
	second := int(time.Since(a.begin) / time.Second)
	all := a.seconds[operation]
	for len(all) <= second {
		all = append(all, calls{})
	}
	a.seconds[operation] = all
	return &all[second]
}

func (a *account) apply(operation string, body []byte) (code string) {
	group, stream := field(body, "logGroupName"), field(body, "logStreamName")
	n, exists := a.events[stream]
	switch operation {
	case "PutLogEvents":
		if !exists {
			return "ResourceNotFoundException"
		}
		a.events[stream] = n + bytes.Count(body, []byte(`{"timestamp":`))
	case "CreateLogStream":
		switch {
		case !a.groups[group]:
			return "ResourceNotFoundException"
		case exists:
			return "ResourceAlreadyExistsException"
		}
		a.events[stream] = 0
		a.lastStream = time.Now()
	case "CreateLogGroup":
		if a.groups[group] {
			return "ResourceAlreadyExistsException"
		}
		a.groups[group] = true
	}
	return ""
}

// field returns a member of a JSON object whose value has no quotes.
func field(body []byte, name string) string {
	_, rest, _ := bytes.Cut(body, []byte(`"`+name+`":"`))
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}

func (a *account) setDown(down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = down
}
