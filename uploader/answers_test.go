package uploader

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/logspool/logspool/internal/target"
)

// An answer without end costs neither memory nor the time until the deadline.
func TestEndlessAnswer(t *testing.T) {
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
