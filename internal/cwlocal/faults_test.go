package cwlocal

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A wireClient calls a Server over TCP, with a new connection for each call.
type wireClient struct {
	*client
	http *http.Client
}

func startClient(t *testing.T, opts Options) *wireClient {
	t.Helper()
	s, err := Start("127.0.0.1:0", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &wireClient{&client{t: t, s: s, region: testRegion, keyID: testKey, secret: testSecret, now: time.Now},
		&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	for _, body := range []string{`{"logGroupName":"g"}`, `{"logGroupName":"g","logStreamName":"s"}`} {
		op := "CreateLogGroup"
		if strings.Contains(body, "Stream") {
			op = "CreateLogStream"
		}
		if _, _, err := c.send(context.Background(), op, body); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *wireClient) send(ctx context.Context, op, body string, edit ...func(*http.Request)) (int, string, error) {
	c.t.Helper()
	toServer := func(r *http.Request) {
		r.URL.Scheme, r.URL.Host, r.Host, r.RequestURI = "http", c.s.URL()[len("http://"):], "", ""
	}
	payload := []byte(body)
	r := c.request(op, payload, append(edit, toServer)...)
	resp, err := c.http.Do(r.WithContext(ctx))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func nowBatch(message string) string { return batch(ev{time.Now().UnixMilli(), message}) }

func TestEveryKindOfFaultFailsAsDocumented(t *testing.T) {
	type want struct {
		status int
		has    string // in the body
		stored bool
	}
	reset := want{0, "", false}
	for kind, w := range map[FaultKind]want{
		Throttle:           {400, `"__type":"ThrottlingException","message":"Rate exceeded"`, false},
		InternalError:      {500, `"__type":"InternalFailure"`, false},
		Unavailable:        {503, `"__type":"ServiceUnavailableException"`, false},
		Denied:             {400, `"__type":"AccessDeniedException","message":"User: arn:aws:iam::123456789012:user/AKIDEXAMPLE is not authorized to perform: logs:PutLogEvents on resource: arn:aws:logs:eu-central-1:123456789012:log-group:g:log-stream:s because`, false},
		ExpiredToken:       {400, `"__type":"ExpiredTokenException","message":"The security token included in the request is expired"`, false},
		UnrecognizedClient: {400, `"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."`, false},
		ResetBefore:        reset,
		ResetAfter:         {0, "", true},
		HTMLOK:             {200, "<html>", false},
		HTMLBad:            {400, "<html>", false},
		Truncated:          {200, `{"nextSeq`, true},
		DataAccepted:       {400, `"__type":"DataAlreadyAcceptedException"`, true},
		GzipUnsupported:    {415, "UnsupportedMediaTypeException", false},
		GzipMisread:        {400, `"__type":"SerializationException"`, false},
		GzipCrash:          {500, `"__type":"InternalFailure"`, false},
		SmallEvents:        {400, `"__type":"InvalidParameterException","message":"Log event too large: 34 bytes exceeds limit of 33"`, false},
		Slow:               {200, `"nextSequenceToken"`, true},
		Bottleneck:         {200, `"nextSequenceToken"`, true},
		Poison:             {400, `"__type":"InvalidParameterException"`, false},
		ErrorCode:          {400, `"__type":"LogGroupFrozenException","message":"frozen"`, false},
	} {
		t.Run(string(kind), func(t *testing.T) {
			c := startClient(t, Options{})
			f := Fault{Kind: kind, Operation: "PutLogEvents", Count: 1}
			body, edit := nowBatch("poisoned"), func(*http.Request) {}
			switch kind {
			case Slow:
				f.Delay = time.Millisecond
			case Bottleneck:
				f.Limit = 1 << 20
			case Poison:
				f.Text = "poison"
			case ErrorCode:
				f.Code, f.Text = "LogGroupFrozenException", "frozen"
			case SmallEvents:
				f.Limit = len("poisoned") + 26 - 1
				if status, got, err := c.send(context.Background(), "PutLogEvents", nowBatch("shorter")); status != 200 {
					t.Fatalf("an event within the limit got %d %s %v", status, got, err)
				}
			case GzipMisread, GzipUnsupported, GzipCrash:
				if status, got, err := c.send(context.Background(), "PutLogEvents", nowBatch("plain")); status != 200 {
					t.Fatalf("a plain body got %d %s %v", status, got, err)
				}
				body, edit = string(gzipped(t, body)), gzipHeader
			}
			before := c.s.Stats().Events
			c.s.AddFault(f)
			status, got, err := c.send(context.Background(), "PutLogEvents", body, edit)
			if w.status == 0 {
				if !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("got %d %s %v, want a reset", status, got, err)
				}
			} else if err != nil || status != w.status || !strings.Contains(got, w.has) {
				t.Errorf("got %d %s %v, want %d with %s", status, got, err, w.status, w.has)
			}
			if kind == Truncated && json.Valid([]byte(got)) {
				t.Errorf("the response %s is complete", got)
			}
			if stored := c.s.Stats().Events > before; stored != w.stored {
				t.Errorf("stored: %v, want %v", stored, w.stored)
			}
			if kind != Slow && kind != Bottleneck {
				if n := c.s.Stats().Requests["PutLogEvents"]["fault:"+string(kind)]; n != 1 {
					t.Errorf("outcomes: %v", c.s.Stats().Requests)
				}
			}
			if r := c.s.Refusals(); len(r) != 0 {
				t.Errorf("a fault caused refusals: %v", r)
			}
			if status, got, err := c.send(context.Background(), "PutLogEvents", nowBatch("after")); status != 200 {
				t.Errorf("after the fault: got %d %s %v", status, got, err)
			}
		})
	}
}

func TestHangEndsWhenClientFaultOrServerGoes(t *testing.T) {
	for _, kind := range []FaultKind{Hang, HangAfter} {
		stored := int64(0)
		if kind == HangAfter {
			stored = 1
		}
		hung := func(t *testing.T) (c *wireClient, ctx context.Context, cancel func(), done chan error) {
			c = startClient(t, Options{})
			c.s.AddFault(Fault{Kind: kind, Operation: "PutLogEvents"})
			ctx, cancel = context.WithCancel(context.Background())
			t.Cleanup(cancel)
			done = make(chan error, 1)
			body := nowBatch("x")
			go func() {
				_, _, err := c.send(ctx, "PutLogEvents", body)
				done <- err
			}()
			if err := c.s.WaitEvents(context.Background(), testRegion, "g", "s", stored); err != nil {
				t.Fatal(err)
			}
			if err := c.s.Wait(context.Background(), func() bool { return c.s.ListFaults()[0].Taken > 0 }); err != nil {
				t.Fatal(err)
			}
			return c, ctx, cancel, done
		}
		check := func(t *testing.T, c *wireClient) {
			t.Helper()
			if err := c.s.Wait(context.Background(), func() bool { return c.s.Stats().Concurrent == 0 }); err != nil {
				t.Fatal(err)
			}
			if got := c.s.Stats().Events; got != stored {
				t.Errorf("%d events stored, want %d", got, stored)
			}
		}
		t.Run(string(kind)+" and the client goes away", func(t *testing.T) {
			c, _, cancel, done := hung(t)
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			check(t, c)
		})
		t.Run(string(kind)+" and the fault is cleared", func(t *testing.T) {
			c, _, _, done := hung(t)
			if n := c.s.ClearFault(0); n != 1 {
				t.Errorf("cleared %d", n)
			}
			if err := <-done; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %v, want a reset", err)
			}
			check(t, c)
		})
		t.Run(string(kind)+" and the server is closed", func(t *testing.T) {
			c, _, _, done := hung(t)
			if err := c.s.Close(); err != nil {
				t.Error(err)
			}
			if err := <-done; err == nil {
				t.Error("the request got a response")
			}
		})
	}
}

func TestFaultAppliesOnlyToMatchingRequests(t *testing.T) {
	now := testNow
	put := func(c *client) string { return c.do("PutLogEvents", batch(at(0, "x"))).code }
	refused := "ServiceUnavailableException"
	for _, tc := range []struct {
		name  string
		fault Fault
		want  string // of a put to g/s, with key AKIDEXAMPLE
	}{
		{"everything", Fault{}, refused},
		{"operation", Fault{Operation: "PutLogEvents"}, refused},
		{"another operation", Fault{Operation: "CreateLogGroup"}, ""},
		{"group", Fault{Group: "g"}, refused},
		{"another group", Fault{Group: "h"}, ""},
		{"stream", Fault{Stream: "s"}, refused},
		{"another stream", Fault{Stream: "t"}, ""},
		{"region", Fault{Region: testRegion}, refused},
		{"another region", Fault{Region: "us-east-1"}, ""},
		{"key", Fault{AccessKey: testKey}, refused},
		{"another key", Fault{AccessKey: "OTHER"}, ""},
		{"always", Fault{Probability: 1}, refused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newStreamClient(t, Options{})
			tc.fault.Kind = Unavailable
			c.s.AddFault(tc.fault)
			if got := put(c); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	t.Run("count", func(t *testing.T) {
		c := newStreamClient(t, Options{})
		c.s.AddFault(Fault{Kind: Throttle, Count: 2})
		c.s.AddFault(Fault{Kind: Unavailable, Count: 1})
		got := []string{put(c), put(c), put(c), put(c)}
		if diff := cmp.Diff([]string{"ThrottlingException", "ThrottlingException", refused, ""}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("duration", func(t *testing.T) {
		c := newStreamClient(t, Options{Now: func() time.Time { return now }})
		c.s.AddFault(Fault{Kind: Unavailable, For: time.Minute})
		now = testNow.Add(time.Minute - 1)
		if got := put(c); got != refused {
			t.Errorf("just before the minute: %q", got)
		}
		now = testNow.Add(time.Minute)
		if got := put(c); got != "" {
			t.Errorf("after the minute: %q", got)
		}
	})
	t.Run("probability", func(t *testing.T) {
		run := func(seed uint64) (pattern string) {
			c := newStreamClient(t, Options{})
			c.s.AddFault(Fault{Kind: Unavailable, Probability: 0.3, Seed: seed})
			for range 300 {
				pattern += map[bool]string{true: "x", false: "."}[put(c) == refused]
			}
			return pattern
		}
		one, two := run(1), run(2)
		if n := strings.Count(one, "x"); n < 60 || n > 120 {
			t.Errorf("%d of 300 failed, want about 90", n)
		}
		if one != run(1) || one == two {
			t.Error("the failures do not depend on the seed alone")
		}
	})
	t.Run("a request that breaks a rule gets its own error", func(t *testing.T) {
		c := newStreamClient(t, Options{})
		c.s.AddFault(Fault{Kind: Throttle})
		if got := c.do("PutLogEvents", `{"x":1}`).code; got != "SerializationException" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("poison in one of many", func(t *testing.T) {
		c := newStreamClient(t, Options{})
		c.s.AddFault(Fault{Kind: Poison, Text: "BAD"})
		c.refused("PutLogEvents", batch(at(0, "a"), at(0, "is BAD"), at(0, "b")), "InvalidParameterException", "A log event is not acceptable.")
		c.ok("PutLogEvents", batch(at(0, "a"), at(0, "b")))
	})
	t.Run("data accepted needs a batch that can be", func(t *testing.T) {
		c := newStreamClient(t, Options{})
		c.s.AddFault(Fault{Kind: DataAccepted})
		c.refused("PutLogEvents", batchTo("g", "none", at(0, "x")), "ResourceNotFoundException", "The specified log stream does not exist.")
		c.refused("PutLogEvents", batch(at(0, "x")), "DataAlreadyAcceptedException", "The given batch of log events has already been accepted.")
	})
}
