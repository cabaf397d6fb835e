package cwlocal

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkPutLogEvents sends a full batch: about a mebibyte in lines of 100 bytes.
func BenchmarkPutLogEvents(b *testing.B) {
	var events []ev
	for i := range 8300 {
		events = append(events, at(0, fmt.Sprintf(`{"level":"info","n":%05d,"msg":"%s"}`, i, strings.Repeat("m", 60))))
	}
	body := []byte(batch(events...))
	for name, tc := range map[string]struct {
		opts   Options
		packed bool
	}{
		"plain":           {Options{Keep: KeepNone}, false},
		"gzip":            {Options{Keep: KeepNone}, true},
		"gzip, verified":  {Options{Keep: KeepNone, Keys: map[string]string{testKey: testSecret}}, true},
		"gzip, sequences": {Options{Keep: KeepNone, Sequence: MarkedSequence}, true},
		"plain, all kept": {Options{Keep: 1 << 20}, false},
	} {
		b.Run(name, func(b *testing.B) {
			c := newStreamClient(b, tc.opts)
			sent, r := body, c.request("PutLogEvents", body)
			if tc.packed {
				sent = gzipped(b, string(body))
				r = c.request("PutLogEvents", sent, gzipHeader)
			}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				q := r.Clone(r.Context())
				q.Body = nopBody{strings.NewReader(string(sent))}
				w := httptest.NewRecorder()
				c.s.ServeHTTP(w, q)
				if w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

type nopBody struct{ *strings.Reader }

func (nopBody) Close() error { return nil }
