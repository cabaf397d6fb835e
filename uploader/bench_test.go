package uploader

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/stream"
	"github.com/logspool/logspool/internal/target"
)

// endless is a feed of n events that repeat one line.
type endless struct {
	line []byte
	at   int64
	n, i int
	r    [1]stream.Range

	event events.Event
}

func (e *endless) Next(time.Time) (*events.Event, bool) {
	if e.i == e.n {
		return nil, false
	}
	e.i++
	e.r[0] = stream.Range{From: uint64(e.i), To: uint64(e.i + 1)}
	e.event = events.Event{Time: e.at + int64(e.i)*20_000, Message: e.line, Ranges: e.r[:]}
	return &e.event, true
}
func (e *endless) Unread()                             { e.i-- }
func (e *endless) Due() time.Time                      { return time.Time{} }
func (e *endless) Ack([]stream.Range) error            { return nil }
func (e *endless) Rewind()                             { panic("nothing fails here") }
func (e *endless) SetMaxMessage(int)                   {}
func (e *endless) Accepted(int, int64)                 {}
func (e *endless) Release()                            {}
func (e *endless) Backlog() (string, int64, time.Time) { return "", 0, time.Time{} }
func (e *endless) Lost(_ events.LossReason, _ []stream.Range, n int, bytes int64, _, _ time.Time) (int, int64) {
	return n, bytes
}

// BenchmarkUpload sends one stream through the real SDK to a server in this process that
// discards it. MB/s are of messages.
func BenchmarkUpload(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write([]byte("{}"))
	}))
	defer srv.Close()
	for name, plain := range map[string]bool{"gzip": false, "plain": true} {
		b.Run(name, func(b *testing.B) {
			u := New(Options{Config: staticConfig, Plain: plain, Log: discard})
			line := []byte(escapeKinds[0].line)
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			d := u.Attach(target.Target{Access: target.Access{Region: "r", Endpoint: srv.URL}, Group: "g", Stream: "s"},
				&endless{line: line, at: time.Now().UnixNano(), n: b.N}, 0)
			d.Finish()
			<-d.Done()
			if err := u.Stop(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
