package uploader

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/logspool/logspool/internal/target"
)

// TestStrangeAnswers has the same meaning said in other ways than the stand-in's.
func TestStrangeAnswers(t *testing.T) {
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

// Keys that the service does not take any more are not kept because they have no end known to the SDK.
func TestRefusedKeysAreAskedForAgain(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "=old/") {
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}`))
			return
		}
		_, _ = w.Write([]byte("{}"))
	}))
	defer srv.Close()
	var asked atomic.Int32
	cache := aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		c := aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret, CanExpire: true, Expires: time.Now().Add(time.Hour)}
		if asked.Add(1) == 1 {
			c.AccessKeyID = "old"
		}
		return c, nil
	}))
	u := New(Options{
		Config: func(context.Context, target.Access) (aws.Config, error) { return aws.Config{Credentials: cache}, nil },
		Log:    discard,
	})
	defer stop(t, u)
	to := testTarget
	to.Endpoint = srv.URL
	feed := newFeed(t)
	feed.add(time.Now(), "x")
	d := u.Attach(to, feed, 0)
	d.Finish()
	select {
	case <-d.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the keys are never asked for again")
	}
	if n := asked.Load(); n > 3 {
		t.Errorf("asked for %d times", n)
	}
}

// What a proxy's URL has in it is not logged.
func TestBriefHidesUserInfo(t *testing.T) {
	err := fmt.Errorf("invalid proxy address %q: parse", "http://user:pa/ss%zz@127.0.0.1:1")
	if b := brief(err); strings.Contains(b, "pa/ss") || !strings.Contains(b, "127.0.0.1:1") {
		t.Error(b)
	}
}

// A message that is cut and then too old is lost once.
func TestCutAndTooOldIsToldOnce(t *testing.T) {
	f := newFake(t)
	f.has("g", "s")
	f.rejects = rejected{tooOldEnd: 1}
	u := start(t, f, Options{})
	feed := newFeed(t)
	feed.add(time.Now(), strings.Repeat("x", maxMessageBytes+7))
	d := u.Attach(testTarget, feed, 0)
	d.Finish()
	<-d.Done()
	stop(t, u)
	if got := fmt.Sprint(feed.lost); got != "[too_old 1]" {
		t.Errorf("told %s", got)
	}
}
