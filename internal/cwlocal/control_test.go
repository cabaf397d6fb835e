package cwlocal

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestControlEndpointReportsStatsAndEvents(t *testing.T) {
	c := newStreamClient(t, Options{})
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		c.s.ServeHTTP(w, httptest.NewRequest("GET", "/_cwlocal/"+path, nil))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	c.ok("PutLogEvents", batch(at(0, "b")))
	c.ok("PutLogEvents", batch(at(-time.Second, "a")))
	c.do("PutLogEvents", "{")
	where := "region=" + testRegion + "&group=g&stream=s"
	for _, tc := range []struct {
		path   string
		status int
		want   string
	}{
		{"wait?events=2&timeout=1h&" + where, 200, `{"events":2}`},
		{"wait?events=3&timeout=1ms&" + where, 408, `{"events":2}`},
		{"wait?events=many", 400, `{"error":"events is \"many\"; it must be a number"}`},
		{"wait?events=1&timeout=soon", 400, `{"error":"time: invalid duration \"soon\""}`},
		{"events?order=odd", 400, `{"error":"order is \"odd\"; it must be sorted or arrival"}`},
		{"events?" + where, 200, `{"timestamp":1793620799000,"ingestionTime":1793620800000,"seq":2,"message":"a"}` + "\n" + `{"timestamp":1793620800000,"ingestionTime":1793620800000,"seq":1,"message":"b"}`},
		{"events?order=arrival&" + where, 200, `{"timestamp":1793620800000,"ingestionTime":1793620800000,"seq":1,"message":"b"}` + "\n" + `{"timestamp":1793620799000,"ingestionTime":1793620800000,"seq":2,"message":"a"}`},
	} {
		if status, got := get(tc.path); status != tc.status || got != tc.want {
			t.Errorf("%s:\n got %d %s\nwant %d %s", tc.path, status, got, tc.status, tc.want)
		}
	}
	for path, v := range map[string]any{"stats": c.s.Stats(), "streams": c.s.Streams(), "refusals": c.s.Refusals()} {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if status, got := get(path); status != 200 || got != string(want) {
			t.Errorf("%s: got %d %s, want %s", path, status, got, want)
		}
	}
}

func TestControlEndpointAddsListsAndClearsFaults(t *testing.T) {
	c := startClient(t, Options{})
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, c.s.URL()+"/_cwlocal/"+path, bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, strings.TrimSpace(string(b))
	}
	full := `{"kind":"slow","operation":"PutLogEvents","region":"r","group":"g","stream":"s","accessKey":"k","probability":0.5,"seed":7,"count":3,"for":"1m30s","delay":"10ms"}`
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "faults", "", 200, `[]`},
		{"POST", "faults", `{"kind":"503","count":1}`, 200, `{"id":1}`},
		{"POST", "faults", full, 200, `{"id":2}`},
		{"GET", "faults", "", 200, `[{"id":1,"fault":{"kind":"503","count":1},"taken":0},{"id":2,"fault":` + full + `,"taken":0}]`},
		{"DELETE", "faults/1", "", 200, `{"cleared":1}`},
		{"DELETE", "faults/1", "", 200, `{"cleared":0}`},
		{"DELETE", "faults/x", "", 400, `{"error":"\"x\" is not the number of a fault"}`},
		{"DELETE", "faults", "", 200, `{"cleared":1}`},
		{"POST", "faults", `{"kind":"rain"}`, 400, `{"error":"kind is \"rain\"; it must be one of [throttle 500 503 denied expired-token unrecognized-client reset-before reset-after hang hang-after html-200 html-400 truncated data-accepted gzip-415 gzip-serialization gzip-500 slow poison small-events code bottleneck]"}`},
		{"POST", "faults", `{"kind":"503","colour":"red"}`, 400, `{"error":"json: unknown field \"colour\""}`},
		{"POST", "faults", `{"kind":"503","for":"soon"}`, 400, `{"error":"time: invalid duration \"soon\""}`},
		{"POST", "faults", `{"kind":"503","probability":2}`, 400, `{"error":"probability is 2; it must be from 0 to 1"}`},
		{"POST", "faults", `{"kind":"503","count":-1}`, 400, `{"error":"count, for and delay must not be negative"}`},
		{"POST", "faults", `{"kind":"503","operation":"Sing"}`, 400, `{"error":"unknown operation \"Sing\""}`},
		{"POST", "faults", `{"kind":"slow"}`, 400, `{"error":"slow needs a delay"}`},
		{"POST", "faults", `{"kind":"code"}`, 400, `{"error":"code needs a code"}`},
		{"POST", "faults", `{"kind":"poison"}`, 400, `{"error":"poison needs a text"}`},
		{"POST", "faults", `{"kind":"small-events","limit":26}`, 400, `{"error":"limit is 26; small-events needs a limit of more than 26 bytes"}`},
		{"POST", "faults", `{"kind":"bottleneck"}`, 400, `{"error":"bottleneck needs a limit"}`},
		{"PUT", "faults", ``, 405, "Method Not Allowed"},
		{"GET", "nothing", ``, 404, "404 page not found"},
	} {
		status, got := ask(tc.method, tc.path, tc.body)
		if status != tc.status || got != tc.want {
			t.Errorf("%s %s %s:\n got %d %s\nwant %d %s", tc.method, tc.path, tc.body, status, got, tc.status, tc.want)
		}
	}
}
