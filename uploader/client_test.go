package uploader

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/target"
)

const (
	testKey    = "AKIDEXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// staticConfig is a configuration like the plugin's, with the keys that the stand-in knows.
func staticConfig(context.Context, target.Access) (aws.Config, error) {
	return aws.Config{
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret, SessionToken: "TOKENTOKEN"}, nil
		}),
	}, nil
}

// standIn starts a strict CloudWatch Logs, and an uploader that uses it through the real
// SDK.
func standIn(t *testing.T, o Options) (*cwlocal.Server, *Uploader, target.Target) {
	t.Helper()
	s, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{Keys: map[string]string{testKey: testSecret}})
	if err != nil {
		t.Fatal(err)
	}
	o.Config, o.Version = staticConfig, "1.2.3"
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(testLog{t}, nil))
	}
	u := New(o)
	t.Cleanup(func() {
		stop(t, u)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, r := range s.Refusals() {
			t.Errorf("refused: %+v", r)
		}
	})
	return s, u, target.Target{Access: target.Access{Region: "eu-central-1", Endpoint: s.URL()}, Group: "g", Stream: "s", Create: target.Create{Group: true, Stream: true}}
}

func arrived(s *cwlocal.Server, t target.Target) (shown []stored) {
	for _, e := range s.Sorted(t.Region, t.Group, t.Stream) {
		shown = append(shown, stored{e.Timestamp, e.Message})
	}
	return shown
}

// TestSDKDeliversUnderEachFault sends a backlog of every kind of text through the real SDK,
// under each fault of the stand-in, and finds each event there.
func TestSDKDeliversUnderEachFault(t *testing.T) {
	for _, plain := range []bool{false, true} {
		for _, kind := range append([]cwlocal.FaultKind{""}, cwlocal.FaultKinds...) {
			if kind == cwlocal.Slow || kind == cwlocal.Poison || kind == cwlocal.SmallEvents || kind == cwlocal.ErrorCode || kind == cwlocal.Bottleneck || strings.HasPrefix(string(kind), "hang") {
				continue // these have tests of their own, or take real time
			}
			if plain && kind != "" && kind != cwlocal.HTMLBad && kind != cwlocal.ResetAfter {
				continue // the encoding does not matter
			}
			t.Run(fmt.Sprintf("%s plain=%v", kind, plain), func(t *testing.T) {
				t.Parallel()
				s, u, local := standIn(t, Options{Plain: plain})
				if kind != "" {
					s.AddFault(cwlocal.Fault{Kind: kind, Operation: "PutLogEvents", Count: 2})
				}
				feed := newFeed(t)
				at := time.Now().Add(-time.Minute)
				n := 1_000
				if kind == "" {
					n = 11_000 // more than a batch
				}
				for i := range n {
					feed.add(at.Add(time.Duration(i)*time.Millisecond), line(i)+escapeKinds[i%3].line+"\x00\t\xff🙂")
				}
				d := u.Attach(local, feed, time.Millisecond)
				d.Finish()
				<-d.Done()
				checkShown(t, arrived(s, local), feed, true, nil)
			})
		}
	}
}

// TestSDKKeepsErrorCodes: each code that classify knows comes through the real SDK.
func TestSDKKeepsErrorCodes(t *testing.T) {
	s, _, local := standIn(t, Options{})
	sdk := newSDK(staticConfig, "1")
	defer sdk.close()
	c, err := sdk.connect(t.Context(), local.Access)
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range codes {
		s.AddFault(cwlocal.Fault{Kind: cwlocal.ErrorCode, Code: code, Text: "no", Count: 1})
		err := c.CreateLogStream(t.Context(), "g", "s")
		if got := classify(err, true); err == nil || got != want || kind(err) != code {
			t.Errorf("%s: %v, verdict %d, want %d", code, err, got, want)
		}
	}
}

func TestSDKRequestThatHangsIsRetried(t *testing.T) {
	t.Parallel()
	s, u, local := standIn(t, Options{})
	const patient = time.Second
	u.connector.(*sdk).headerTimeout = patient
	s.AddFault(cwlocal.Fault{Kind: cwlocal.HangAfter, Operation: "CreateLogStream", Count: 1})
	feed := newFeed(t)
	feed.add(time.Now(), "x")
	d := u.Attach(local, feed, 0)
	begin := time.Now()
	d.Finish()
	<-d.Done()
	if d := time.Since(begin); d < patient || d > patient+maxBackoff {
		t.Errorf("took %v", d)
	}
	checkShown(t, arrived(s, local), feed, false, nil)
}

func TestSDKFindsPoisonEvents(t *testing.T) {
	s, u, local := standIn(t, Options{})
	s.AddFault(cwlocal.Fault{Kind: cwlocal.Poison, Text: "poison"})
	feed := newFeed(t)
	for i := range 500 {
		feed.add(time.Now(), line(i))
		if i == 77 || i == 78 {
			feed.add(time.Now(), fmt.Sprint("poison ", i))
		}
	}
	d := u.Attach(local, feed, 0)
	d.Finish()
	<-d.Done()
	checkShown(t, arrived(s, local), feed, false, func(m string) bool { return strings.HasPrefix(m, "poison") })
	if n := u.Metrics().DroppedEvents[events.Refused]; n != 2 {
		t.Errorf("%d refused", n)
	}
}

// TestSDKCountsRejectedEvents sends events outside of the time that CloudWatch accepts.
// CloudWatch drops them, and the uploader counts them.
func TestSDKCountsRejectedEvents(t *testing.T) {
	s, u, local := standIn(t, Options{})
	now := time.Now()
	feed := newFeed(t)
	for _, age := range []time.Duration{20 * 24 * time.Hour, 20*24*time.Hour - time.Minute} {
		feed.add(now.Add(-age), "old")
	}
	feed.add(now, "good")
	feed.add(now.Add(3*time.Hour), "future")
	d := u.Attach(local, feed, 0)
	d.Finish()
	<-d.Done()
	if shown := arrived(s, local); len(shown) != 1 || shown[0].message != "good" {
		t.Errorf("%v", shown)
	}
	c := u.Metrics()
	if c.DroppedEvents[events.TooOld] != 2 || c.DroppedEvents[events.TooNew] != 1 || c.Events != 1 {
		t.Errorf("%+v", c)
	}
}

// Credentials that are rotated are read again.
func TestSDKReadsRotatedCredentials(t *testing.T) {
	s, u, local := standIn(t, Options{})
	s.AddFault(cwlocal.Fault{Kind: cwlocal.ExpiredToken, AccessKey: "old"})
	var loads atomic.Int32
	u.connector.(*sdk).config = func(ctx context.Context, a target.Access) (aws.Config, error) {
		cfg, err := staticConfig(ctx, a)
		if loads.Add(1) == 1 {
			cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{}, fmt.Errorf("none yet")
			})
		}
		return cfg, err
	}
	feed := newFeed(t)
	feed.add(time.Now(), "x")
	d := u.Attach(local, feed, 0)
	d.Finish()
	<-d.Done()
	checkShown(t, arrived(s, local), feed, false, nil)
}

// The request on the wire: headers and body.
func TestRequestHeadersAndBody(t *testing.T) {
	var got http.Header
	var body bytes.Buffer
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		_, _ = body.ReadFrom(r.Body)
		_, _ = w.Write([]byte(`{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":1,"tooNewLogEventStartIndex":0}}`))
	}))
	defer srv.Close()
	s := newSDK(staticConfig, "1.2.3")
	defer s.close()
	c, err := s.connect(t.Context(), target.Access{Region: "eu-central-1", Endpoint: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	rej, err := c.PutLogEvents(t.Context(), putRequest{group: "g", stream: "s", body: []byte("the body"), gzip: true, emf: true})
	if err != nil {
		t.Fatal(err)
	}
	if rej != (rejected{tooOldEnd: 1, tooNew: true}) {
		t.Errorf("%+v", rej)
	}
	if body.String() != "the body" {
		t.Errorf("body %q", body.String())
	}
	for name, want := range map[string]string{
		"Content-Encoding": "gzip", "Content-Type": "application/x-amz-json-1.1",
		"X-Amz-Target": "Logs_20140328.PutLogEvents", "X-Amz-Security-Token": "TOKENTOKEN", "Content-Length": "8",
		"X-Amzn-Logs-Format": "json/emf",
	} {
		if got.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Get(name), want)
		}
	}
	if ua := got.Get("User-Agent"); !strings.Contains(ua, "logspool/1.2.3") {
		t.Errorf("User-Agent: %s", ua)
	}
	if auth := got.Get("Authorization"); !strings.Contains(auth, "content-encoding") || !strings.Contains(auth, "x-amzn-logs-format") || !strings.Contains(auth, "/eu-central-1/logs/aws4_request") {
		t.Errorf("Authorization: %s", auth)
	}
}

func TestHTTPErrorsAreClassified(t *testing.T) {
	answer := ""
	status := 400
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}))
	s := newSDK(staticConfig, "1")
	defer s.close()
	c, err := s.connect(t.Context(), target.Access{Region: "eu-central-1", Endpoint: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		status int
		answer string
		want   verdict
	}{
		{400, `{"__type":"com.amazonaws.logs#ResourceNotFoundException","message":"The specified log group does not exist."}`, notFound},
		{400, `{"__type":"ThrottlingException","message":"Rate exceeded"}`, throttled},
		{403, `{"__type":"InvalidSignatureException","message":"no.\n\nThe Canonical String was 'x-amz-security-token:TOKENTOKEN'"}`, unauthenticated},
		{503, "<html>TOKENTOKEN</html>", unavailable},
		{400, "<html>", badEncoding},
		{200, "<html>", unavailable},
		{307, "", unavailable},
		{404, "", badEncoding},
	} {
		status, answer = k.status, k.answer
		_, err := c.PutLogEvents(t.Context(), putRequest{group: "g", stream: "s", body: []byte("{}"), gzip: true})
		if got := classify(err, true); got != k.want {
			t.Errorf("%d %s: %d, want %d: %v", k.status, k.answer, got, k.want, err)
		}
		if b := ErrorText(err); strings.Contains(b, "TOKEN") || strings.Contains(b, "\n") || len(b) > 310 {
			t.Errorf("logged: %s", b)
		}
	}
	srv.Close()
	if _, err = c.PutLogEvents(t.Context(), putRequest{group: "g", stream: "s", body: []byte("{}")}); classify(err, true) != unavailable {
		t.Errorf("connection refused: %v", err)
	}
}

// The transport keeps what the configuration says and gets our limits.
func TestTransportKeepsProxyAndHasLimits(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
	tr, ok := newHTTPClient(nil, headerTimeout).Transport.(*http.Transport)
	if !ok {
		t.Fatal("not a transport")
	}
	if tr.Proxy == nil || tr.ResponseHeaderTimeout != headerTimeout || tr.MaxIdleConnsPerHost != maxRequests || tr.Protocols.HTTP2() {
		t.Errorf("%+v", tr)
	}
	if _, err := tr.Proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: "logs.eu-central-1.amazonaws.com"}}); err != nil {
		t.Error(err)
	}
}

// TestDebugLogsOneLineForEachBatch checks that the line has names and numbers, and no text
// of events.
func TestDebugLogsOneLineForEachBatch(t *testing.T) {
	var log bytes.Buffer
	_, u, local := standIn(t, Options{Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	feed := newFeed(t)
	feed.add(time.Now(), "secret text")
	d := u.Attach(local, feed, 0)
	d.Finish()
	<-d.Done()
	stop(t, u)
	var found bool
	for l := range bytes.Lines(log.Bytes()) {
		var e map[string]any
		if err := json.Unmarshal(l, &e); err != nil {
			t.Fatal(err)
		}
		found = found || e["msg"] == "submitted batch" && e["group"] == "g" && e["stream"] == "s" && e["events"] == 1.0
	}
	if !found || strings.Contains(log.String(), "secret text") || strings.Contains(log.String(), "TOKEN") {
		t.Error(log.String())
	}
}

// TestDeadConnectionsAreClosed: after an outage, idle connections are dead. When one
// request hangs, the other idle connections are closed, so that the next try makes a new
// one.
func TestDeadConnectionsAreClosed(t *testing.T) {
	var dead sync.Map // remote addresses of connections that do not answer
	var both sync.WaitGroup
	both.Add(2)
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, is := dead.Load(r.RemoteAddr); is {
			<-release
			return
		}
		if r.Header.Get("Content-Encoding") == "gzip" { // the first two requests run together, so that there are two connections
			both.Done()
			both.Wait()
			dead.Store(r.RemoteAddr, true)
		}
		_, _ = w.Write([]byte("{}"))
	}))
	defer srv.Close()
	defer close(release)
	s := newSDK(staticConfig, "1")
	defer s.close()
	c, err := s.connect(t.Context(), target.Access{Region: "eu-central-1", Endpoint: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	put := func(gzip bool, d time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		_, err := c.PutLogEvents(ctx, putRequest{group: "g", stream: "s", body: []byte("{}"), gzip: gzip})
		return err
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if err := put(true, time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := put(false, 50*time.Millisecond); classify(err, false) != unavailable {
		t.Errorf("a dead connection: %v", err)
	}
	if err := put(false, 5*time.Second); err != nil {
		t.Errorf("the next try: %v", err)
	}
}

// TestDeadEndpointKeepsConnectionsToOthers: if an endpoint does not answer, the idle
// connections to another endpoint stay.
func TestDeadEndpointKeepsConnectionsToOthers(t *testing.T) {
	var conns atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("{}")) }))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	s := newSDK(staticConfig, "1")
	defer s.close()
	put := func(url string) error {
		c, err := s.connect(t.Context(), target.Access{Region: "eu-central-1", Endpoint: url})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.PutLogEvents(t.Context(), putRequest{group: "g", stream: "s", body: []byte("{}")})
		return err
	}
	for range 3 {
		if err := put(srv.URL); err != nil {
			t.Fatal(err)
		}
		if err := put(gone.URL); err == nil {
			t.Fatal("it answers")
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestClosedRequestBodyReadsNothing: the buffer is reused after the call, while the
// transport may still read the body.
func TestClosedRequestBodyReadsNothing(t *testing.T) {
	r := &requestBody{b: []byte("body")}
	p := make([]byte, 2)
	if n, err := r.Read(p); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if at, err := r.Seek(-1, io.SeekEnd); at != 3 || err != nil {
		t.Errorf("%d, %v", at, err)
	}
	if _, err := r.Seek(-5, io.SeekCurrent); err == nil {
		t.Error("before the beginning")
	}
	r.close()
	if n, err := r.Read(p); n != 0 || err != errBodyClosed {
		t.Errorf("%d, %v", n, err)
	}
}

// countedConn counts what is written to a connection.
type countedConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// TestSmallRequestIsOneWrite checks that a small body leaves with the headers, and that a body of
// any length arrives whole.
func TestSmallRequestIsOneWrite(t *testing.T) {
	bodies := make(chan []byte, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- body
		_, _ = io.WriteString(w, "{}")
	}))
	defer srv.Close()
	s := newSDK(staticConfig, "1")
	defer s.close()
	c, err := s.connect(t.Context(), target.Access{Region: "r", Endpoint: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	var writes atomic.Int64
	tr := c.(*cwl).http.Transport.(*http.Transport)
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return countedConn{conn, &writes}, err
	}
	for _, size := range []int{1, smallBody, smallBody + 1, 1 << 20} {
		writes.Store(0)
		body := bytes.Repeat([]byte("x"), size)
		if _, err := c.PutLogEvents(t.Context(), putRequest{group: "g", stream: "s", body: body}); err != nil {
			t.Fatal(err)
		}
		if got := <-bodies; !bytes.Equal(got, body) {
			t.Errorf("of %d bytes, %d arrived", size, len(got))
		}
		if n := writes.Load(); size <= smallBody && n != 1 {
			t.Errorf("a request of %d bytes took %d writes", size, n)
		}
	}
}
