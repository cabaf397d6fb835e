package cwlocal

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// contentType is the media type of the service's protocol.
const contentType = "application/x-amz-json-1.1"

const (
	testRegion = "eu-central-1"
	testKey    = "AKIDEXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// testNow is the time of the clock in most tests.
var testNow = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// A client calls a Server's handler with requests that the SDK's signer signs.
type client struct {
	t                     testing.TB
	s                     *Server
	region, keyID, secret string
	token                 string
	now                   func() time.Time
}

// newClient makes a Server and a client for it. The clock is fixed at testNow unless opts
// has another.
func newClient(t testing.TB, opts Options) *client {
	t.Helper()
	if opts.Now == nil {
		opts.Now = func() time.Time { return testNow }
	}
	s := New(opts)
	t.Cleanup(func() { s.Close() })
	return &client{t: t, s: s, region: testRegion, keyID: testKey, secret: testSecret, now: opts.Now}
}

// newStreamClient also creates group g with stream s.
func newStreamClient(t testing.TB, opts Options) *client {
	t.Helper()
	c := newClient(t, opts)
	c.ok("CreateLogGroup", `{"logGroupName":"g"}`)
	c.ok("CreateLogStream", `{"logGroupName":"g","logStreamName":"s"}`)
	return c
}

type result struct {
	status  int
	code    string
	message string
	body    []byte
}

func (r result) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("response %q: %v", r.body, err)
	}
}

// request makes a signed request. The edit functions change it before it is signed.
func (c *client) request(op string, body []byte, edit ...func(*http.Request)) *http.Request {
	c.t.Helper()
	r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Amz-Target", "Logs_20140328."+op)
	for _, e := range edit {
		e(r)
	}
	sum := sha256.Sum256(body)
	cred := aws.Credentials{AccessKeyID: c.keyID, SecretAccessKey: c.secret, SessionToken: c.token}
	if err := v4.NewSigner().SignHTTP(context.Background(), cred, r, hex.EncodeToString(sum[:]), "logs", c.region, c.now()); err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c *client) serve(r *http.Request) result {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.s.ServeHTTP(w, r)
	res := result{status: w.Code, body: w.Body.Bytes()}
	if w.Code != http.StatusOK {
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(res.body, &e); err == nil {
			res.code, res.message = e.Type, e.Message
		}
	}
	if w.Header().Get("x-amzn-RequestId") == "" {
		c.t.Errorf("response %d has no x-amzn-RequestId", w.Code)
	}
	return res
}

func (c *client) do(op, body string, edit ...func(*http.Request)) result {
	c.t.Helper()
	return c.serve(c.request(op, []byte(body), edit...))
}

func (c *client) ok(op, body string, edit ...func(*http.Request)) result {
	c.t.Helper()
	res := c.do(op, body, edit...)
	if res.status != http.StatusOK {
		c.t.Fatalf("%s %.200s: got %d %s", op, body, res.status, res.body)
	}
	return res
}

// refused checks that a call gets an error of the service, with HTTP status 400.
func (c *client) refused(op, body, code, message string) {
	c.t.Helper()
	res := c.do(op, body)
	if res.status != http.StatusBadRequest || res.code != code || res.message != message {
		c.t.Errorf("%s %.200s:\n got %d %s: %.400s\nwant 400 %s: %.400s", op, body, res.status, res.code, res.message, code, message)
	}
}

type ev struct {
	t int64
	m string
}

// at returns an event at testNow plus a duration.
func at(d time.Duration, message string) ev { return ev{testNow.Add(d).UnixMilli(), message} }

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// batch returns the body of a PutLogEvents to group g and stream s.
func batch(events ...ev) string { return batchTo("g", "s", events...) }

func batchTo(group, stream string, events ...ev) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"logGroupName":%s,"logStreamName":%s,"logEvents":[`, quote(group), quote(stream))
	for i, e := range events {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"timestamp":%d,"message":%s}`, e.t, quote(e.m))
	}
	b.WriteString("]}")
	return b.String()
}

func gzipped(t testing.TB, body string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(body))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipHeader(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }

func messages(events []Event) (out []string) {
	for _, e := range events {
		out = append(out, e.Message)
	}
	return out
}

// newHTTPClient returns an HTTP client whose connections are closed when the test ends.
func newHTTPClient(t *testing.T) *http.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}
