package uploader

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/costtest"
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

// quietFeed has a few events at a time, and reports when they are acknowledged.
type quietFeed struct {
	endless
	left     atomic.Int64
	accepted chan struct{}
}

func (f *quietFeed) Next(now time.Time) (*events.Event, bool) {
	if f.left.Load() == 0 {
		return nil, false
	}
	f.left.Add(-1)
	f.i++
	f.r[0] = stream.Range{From: uint64(f.i), To: uint64(f.i + 1)}
	f.event = events.Event{Time: now.UnixNano(), Message: f.line, Ranges: f.r[:]}
	return &f.event, true
}

func (f *quietFeed) Ack([]stream.Range) error {
	f.accepted <- struct{}{}
	return nil
}

// sinkVariable makes the test binary run the server of newSink.
const sinkVariable = "UPLOADER_TEST_SINK"

// newSink starts a server that discards what it gets, in a process of its own, so that the CPU
// time of this process is the client's. It returns the server's URL.
func newSink(b testing.TB) string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), sinkVariable+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(url)
}

// runSink is the server's process. It ends when its standard input does.
func runSink() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write([]byte("{}"))
	}))
	fmt.Println(srv.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// BenchmarkSmallRequests sends batches of nine lines, each of its own stream, through the real
// SDK.
func BenchmarkSmallRequests(b *testing.B) {
	srv := newSink(b)
	for name, plain := range map[string]bool{"gzip": false, "plain": true} {
		b.Run(name, func(b *testing.B) {
			const streams = 100
			u := New(Options{Config: staticConfig, Plain: plain, Log: discard})
			b.ReportAllocs()
			var deliveries []*Delivery
			feeds := make([]*quietFeed, streams)
			for i := range feeds {
				feeds[i] = &quietFeed{endless: endless{line: []byte(escapeKinds[0].line)}, accepted: make(chan struct{}, 1)}
				d := u.Attach(target.Target{Access: target.Access{Region: "r", Endpoint: srv}, Group: "g", Stream: strconv.Itoa(i)}, feeds[i], 0)
				deliveries = append(deliveries, d)
			}
			send := func(i int) {
				feeds[i].left.Store(9)
				deliveries[i].Notify(9, 9*124)
				<-feeds[i].accepted
			}
			send(0)
			before := costtest.ProcessTime()
			b.ResetTimer()
			for i := range b.N {
				send(i % streams)
			}
			b.StopTimer()
			b.ReportMetric(float64((costtest.ProcessTime()-before).Microseconds())/float64(b.N), "cpu-µs/request")
			if err := u.Stop(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
