package uploader

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/logspool/logspool/internal/target"
)

// TestOddResponsesAreClassified says the same things as the stand-in does, in other ways.
func TestOddResponsesAreClassified(t *testing.T) {
	type reply struct {
		status int
		header string // X-Amzn-Errortype
		body   string
	}
	var now reply
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/prefix/" && r.URL.Path != "/prefix" {
			t.Errorf("path %q", r.URL.Path)
		}
		if now.header != "" {
			w.Header().Set("X-Amzn-Errortype", now.header)
		}
		w.WriteHeader(now.status)
		if f, ok := w.(http.Flusher); ok {
			f.Flush() // chunked
		}
		_, _ = w.Write([]byte(now.body))
	}))
	defer srv.Close()
	s := newSDK(staticConfig, "1")
	defer s.close()
	c, err := s.connect(t.Context(), target.Access{Region: "us-gov-west-1", Endpoint: srv.URL + "/prefix"})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		reply
		want verdict
	}{
		{reply{200, "", `{}`}, accepted},
		{reply{200, "", `{"nextSequenceToken":null}`}, accepted},
		{reply{200, "", `{"rejectedLogEventsInfo":{"somethingNew":{"a":[1]},"tooOldLogEventEndIndex":null},"x":1}`}, accepted},
		{reply{200, "", ""}, accepted},
		{reply{400, "ResourceNotFoundException", "{}"}, notFound},
		{reply{400, "ResourceNotFoundException:http://internal.amazon.com/coral/com.amazonaws.logs/", `{"message":"x"}`}, notFound},
		{reply{400, "com.amazonaws.logs#ResourceNotFoundException", ""}, notFound},
		{reply{400, "", `{"code":"ResourceNotFoundException","Message":"x"}`}, notFound},
		{reply{400, "", `{"__type":"com.amazon.coral.service#UnrecognizedClientException","Message":"x"}`}, unauthenticated},
		{reply{400, "", `{"__type":"com.amazonaws.logs#SomethingNew"}`}, badEncoding},
		{reply{400, "", ""}, badEncoding},
		{reply{400, "", `[]`}, badEncoding},
		{reply{400, "", `{"__type":7}`}, badEncoding},
		{reply{400, "", `{"__type":"InvalidParameterException","message":"Log event too large: 262145 bytes exceeds limit of 262144"}`}, invalid},
		{reply{400, "", `{"__type":"InvalidParameterException","message":"The KMS key is disabled"}`}, badTarget},
		{reply{413, "", "<html>413 Request Entity Too Large"}, invalid},
		{reply{429, "", ""}, throttled},
		{reply{403, "", ""}, denied},
		{reply{401, "", ""}, denied},
		{reply{407, "", ""}, unavailable},
		{reply{500, "", ""}, unavailable},
		{reply{301, "", ""}, unavailable},
		{reply{308, "", ""}, unavailable},
	} {
		now = k.reply
		_, err := c.PutLogEvents(t.Context(), putRequest{group: "g", stream: "s", body: []byte("{}"), gzip: true})
		if got := classify(err, true); got != k.want {
			t.Errorf("%+v: %d, want %d: %v", k.reply, got, k.want, err)
		}
	}
}

// TestEndlessResponseIsCutOff: it costs neither memory nor the time until the deadline.
func TestEndlessResponseIsCutOff(t *testing.T) {
	for _, status := range []int{200, 503} {
		sent := 0
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			page := bytes.Repeat([]byte("<p>"), 1<<16)
			for sent = 0; sent < 512<<20; sent += len(page) {
				if _, err := w.Write(page); err != nil {
					return
				}
			}
		}))
		s := newSDK(staticConfig, "1")
		c, err := s.connect(t.Context(), target.Access{Region: "eu-central-1", Endpoint: srv.URL})
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = c.PutLogEvents(t.Context(), putRequest{group: "g", stream: "s", body: []byte("{}")})
		runtime.ReadMemStats(&after)
		if got := classify(err, false); got != unavailable {
			t.Errorf("%d: %v, %v", status, got, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
			t.Errorf("%d: took %d MiB", status, n>>20)
		}
		s.close()
		srv.CloseClientConnections()
		srv.Close()
	}
}
