package cwlocal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

func TestCallsThatAreNotAWSJSONAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		edit   func(*http.Request)
		status int
		code   string
	}{
		{"as it should be", func(r *http.Request) {}, 200, ""},
		{"charset", func(r *http.Request) { r.Header.Set("Content-Type", contentType+"; charset=utf-8") }, 200, ""},
		{"awsJson 1.0", func(r *http.Request) { r.Header.Set("Content-Type", "application/x-amz-json-1.0") }, 404, "UnknownOperationException"},
		{"JSON", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 404, "UnknownOperationException"},
		{"no type", func(r *http.Request) { r.Header.Del("Content-Type") }, 404, "UnknownOperationException"},
		{"GET", func(r *http.Request) { r.Method = "GET" }, 404, "UnknownOperationException"},
		{"a path", func(r *http.Request) { r.URL.Path = "/x" }, 404, "UnknownOperationException"},
		{"no target", func(r *http.Request) { r.Header.Del("X-Amz-Target") }, 400, "UnknownOperationException"},
		{"another service", func(r *http.Request) { r.Header.Set("X-Amz-Target", "DynamoDB_20120810.DescribeLogGroups") }, 400, "UnknownOperationException"},
		{"another operation", func(r *http.Request) { r.Header.Set("X-Amz-Target", "Logs_20140328.Sing") }, 400, "UnknownOperationException"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClient(t, Options{})
			res := c.do("DescribeLogGroups", "{}", tc.edit)
			if res.status != tc.status || !strings.Contains(string(res.body), tc.code) {
				t.Errorf("got %d %s, want %d %s", res.status, res.body, tc.status, tc.code)
			}
			if refused := len(c.s.Refusals()) == 1; refused != (tc.status != 200) {
				t.Errorf("refusals: %v", c.s.Refusals())
			}
		})
	}
}

func TestBodiesMayBeCompressedWithGzipOnly(t *testing.T) {
	body := batch(at(0, strings.Repeat("x", 5000)))
	packed := gzipped(t, body)
	header := func(v string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Content-Encoding", v) }
	}
	for _, tc := range []struct {
		name   string
		body   []byte
		edit   func(*http.Request)
		status int
		code   string
	}{
		{"gzip", packed, header("gzip"), 200, ""},
		{"gzip in two members", append(gzipped(t, body[:100]), gzipped(t, body[100:])...), header("gzip"), 200, ""},
		{"not gzip", []byte(body), header("gzip"), 400, "SerializationException"},
		{"nothing", nil, header("gzip"), 400, "SerializationException"},
		{"truncated", packed[:len(packed)-9], header("gzip"), 400, "SerializationException"},
		{"checksum", append(bytes.Clone(packed[:len(packed)-8]), 1, 2, 3, 4, 0, 0, 0, 0), header("gzip"), 400, "SerializationException"},
		{"garbage at the end", append(bytes.Clone(packed), "garbage"...), header("gzip"), 400, "SerializationException"},
		{"compressed without the header", packed, func(*http.Request) {}, 400, "SerializationException"},
		{"twice", gzipped(t, string(packed)), header("gzip"), 400, "SerializationException"},
		{"deflate", packed, header("deflate"), 415, "UnsupportedMediaTypeException"},
		{"identity", []byte(body), header("identity"), 415, "UnsupportedMediaTypeException"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newStreamClient(t, Options{})
			res := c.serve(c.request("PutLogEvents", tc.body, tc.edit))
			if res.status != tc.status || res.code != tc.code {
				t.Errorf("got %d %s: %s; want %d %s", res.status, res.code, res.message, tc.status, tc.code)
			}
			want := 0
			if tc.status == 200 {
				want = 1
			}
			if got := len(c.s.Arrived(testRegion, "g", "s")); got != want {
				t.Errorf("%d events stored, want %d", got, want)
			}
		})
	}
}

func TestBodiesOverEightMebibytesAreRefused(t *testing.T) {
	const maxBody = 8 << 20
	c := newClient(t, Options{})
	spaces := func(n int) string { return "{}" + strings.Repeat(" ", n-2) }
	for _, tc := range []struct {
		name   string
		body   []byte
		edit   []func(*http.Request)
		status int
	}{
		{"8 MiB", []byte(spaces(maxBody)), nil, 200},
		{"8 MiB and a byte", []byte(spaces(maxBody + 1)), nil, 413},
		{"8 MiB and a byte, of unknown length", []byte(spaces(maxBody + 1)), []func(*http.Request){func(r *http.Request) { r.ContentLength = -1 }}, 413},
		{"8 MiB decompressed", gzipped(t, spaces(maxBody)), []func(*http.Request){gzipHeader}, 200},
		{"8 MiB and a byte decompressed", gzipped(t, spaces(maxBody+1)), []func(*http.Request){gzipHeader}, 413},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if res := c.serve(c.request("DescribeLogGroups", tc.body, tc.edit...)); res.status != tc.status {
				t.Errorf("got %d, want %d", res.status, tc.status)
			}
		})
	}
}

// Each client's batches also stay in order.
func TestParallelRequestsAreNeitherLostNorRepeated(t *testing.T) {
	c := startClient(t, Options{Sequence: MarkedSequence})
	c.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer c.http.CloseIdleConnections()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				status, got, err := c.send(context.Background(), "PutLogEvents", nowBatch(fmt.Sprintf("seq=w%d:%d", w, i)))
				if status != 200 {
					t.Errorf("got %d %s %v", status, got, err)
				}
			}
		})
	}
	wg.Wait()
	st, _ := c.s.Stream(testRegion, "g", "s")
	if st.Events != 400 || len(st.Sequences) != 8 {
		t.Errorf("%d events of %d writers", st.Events, len(st.Sequences))
	}
	for _, q := range st.Sequences {
		if q.Highest != 49 || q.Missing+q.Doubled+q.Backwards != 0 {
			t.Errorf("%+v", q)
		}
	}
	if got := c.s.Stats(); got.Concurrent != 0 || got.MaxConcurrent < 1 || got.MaxConcurrent > 8 {
		t.Errorf("concurrent %d, at most %d", got.Concurrent, got.MaxConcurrent)
	}
}

func TestStartNeedsAFreeAddress(t *testing.T) {
	s, err := Start("127.0.0.1:0", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := Start(strings.TrimPrefix(s.URL(), "http://"), Options{}); err == nil {
		t.Error("two servers listen on one address")
	}
	resp, err := http.Get(s.URL() + "/_cwlocal/stats")
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}
