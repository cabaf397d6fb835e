package cwlocal

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// FuzzRequest sends any bytes to any operation, compressed or not. The Server must send a
// response of the service, and the events that it accepts must be the events that
// encoding/json reads.
func FuzzRequest(f *testing.F) {
	for _, op := range protocol.Operations() {
		f.Add(op, []byte(`{"logGroupName":"g","logStreamName":"s"}`), false)
		f.Add(op, []byte(`{"resourceArn":"arn:aws:logs:eu-central-1:123456789012:log-group:g","tags":{"a":"b"},"retentionInDays":7}`), false)
	}
	f.Add("PutLogEvents", []byte(batch(at(0, "x"), at(1, "\u2028\"\\\x01ä😀"))), false)
	f.Add("PutLogEvents", []byte(`{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":1793620800000,"message":"\ud83d\ude00\ud83d\uDE0`+"\xff"+`"}],"entity":{"a":[1.5e3,null,true,{}]}}`), false)
	f.Add("PutLogEvents", gzipped(f, batch(at(0, "x"))), true)
	f.Add("GetLogEvents", []byte(`{"logGroupName":"g","logStreamName":"s","limit":1,"startFromHead":true,"startTime":0,"endTime":1,"nextToken":"f/00000001793620800000000000000000000000000000000000000001"}`), false)
	f.Add("FilterLogEvents", []byte(`{"logGroupIdentifier":"g","filterPattern":"\"a b\" -c ?d","logStreamNames":["s"],"interleaved":true}`), false)
	f.Add("DescribeLogStreams", []byte(`{"logGroupName":"g","orderBy":"LastEventTime","descending":true,"nextToken":"MS9z"}`), false)
	f.Fuzz(func(t *testing.T, op string, body []byte, packed bool) {
		c := newStreamClient(t, Options{Sequence: MarkedSequence})
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		r.Header = http.Header{"Content-Type": {contentType}, "X-Amz-Target": {"Logs_20140328." + op}, "X-Amz-Date": {"20261102T120000Z"},
			"Authorization": {"AWS4-HMAC-SHA256 Credential=K/20261102/eu-central-1/logs/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("0", 64)}}
		if packed {
			r.Header.Set("Content-Encoding", "gzip")
		}
		w := httptest.NewRecorder()
		c.s.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 400 && w.Code != 413 {
			t.Fatalf("status %d", w.Code)
		}
		if b := w.Body.Bytes(); len(b) > 0 && !json.Valid(b) {
			t.Fatalf("response %q", b)
		}
		if w.Code != 200 || op != "PutLogEvents" || packed {
			return
		}
		var in struct {
			LogEvents []struct {
				Timestamp int64
				Message   string
			} `json:"logEvents"`
		}
		if err := json.Unmarshal(body, &in); err != nil {
			t.Fatalf("accepted %q: %v", body, err)
		}
		if !utf8.Valid(body) {
			return // encoding/json need not replace invalid UTF-8 in the same way
		}
		st := c.s.Stats()
		if st.Events+st.TooOld+st.TooNew != int64(len(in.LogEvents)) {
			t.Fatalf("%+v of %d events", st, len(in.LogEvents))
		}
		var want, got []string
		for _, e := range in.LogEvents[st.TooOld : int64(len(in.LogEvents))-st.TooNew] {
			want = append(want, e.Message)
		}
		if got = messages(c.s.Arrived(testRegion, "g", "s")); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

// FuzzAuthorization sends any headers of a signature. Only the right ones must be accepted.
func FuzzAuthorization(f *testing.F) {
	c := newClient(f, Options{})
	r := c.request("DescribeLogGroups", nil)
	f.Add(r.Header.Get("Authorization"), r.Header.Get("X-Amz-Date"), "")
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=, Signature=", "", "token")
	f.Fuzz(func(t *testing.T, auth, date, token string) {
		c := newClient(t, Options{Keys: map[string]string{testKey: testSecret}})
		r := c.request("DescribeLogGroups", []byte("{}"))
		was := r.Header.Get("Authorization")
		r.Header.Set("Authorization", auth)
		r.Header.Set("X-Amz-Date", date)
		r.Header.Set("X-Amz-Security-Token", token)
		if res := c.serve(r); res.status == 200 && auth != was {
			t.Fatalf("%q was accepted as a signature", auth)
		}
	})
}
