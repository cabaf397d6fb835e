package uploader

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/logspool/logspool/internal/target"
)

// encodings is a fake service that records which requests were compressed. answer returns
// its error; with nil, it accepts the request.
type encodings struct {
	*fake
	got    []bool // whether each request was compressed
	answer func(gzip bool) error
}

func (e *encodings) PutLogEvents(ctx context.Context, r putRequest) (rejected, error) {
	e.mu.Lock()
	e.got = append(e.got, r.gzip)
	answer := e.answer
	e.mu.Unlock()
	if err := answer(r.gzip); err != nil {
		return rejected{}, err
	}
	return e.fake.PutLogEvents(ctx, r)
}

func (e *encodings) connect(context.Context, target.Access) (client, error) { return e, nil }

// TestGzipIsSentWhereItIsAccepted: an endpoint that has accepted a compressed request gets
// compressed ones, even if an unexpected answer follows. An endpoint that has never
// accepted one, and answers in an unexpected way or with 500, gets plain ones. Compression
// is tried again later.
func TestGzipIsSentWhereItIsAccepted(t *testing.T) {
	odd, crash := &fakeErr{status: 400}, &fakeErr{status: 500}
	for name, k := range map[string]struct {
		answer func(n int, gzip bool) error // the error of the n-th request, from 1
		want   string                       // the requests for four lines, a minute apart: z is compressed, - is plain
		after  string                       // the requests for one more line after plainPeriod
	}{
		"takes it":            {func(int, bool) error { return nil }, "zzzz", "z"},
		"one odd answer":      {func(n int, _ bool) error { return once(n == 2, odd) }, "zz-zz", "z"},
		"415 once":            {func(n int, _ bool) error { return once(n == 2, &fakeErr{status: 415}) }, "zz-zz", "z"},
		"never":               {func(_ int, gzip bool) error { return once(gzip, odd) }, "z----", "z-"},
		"never, by code":      {func(_ int, gzip bool) error { return once(gzip, apiErr("SerializationException")) }, "z----", "z-"},
		"crashes":             {func(_ int, gzip bool) error { return once(gzip, crash) }, "z----", "z-"},
		"one 500":             {func(n int, _ bool) error { return once(n == 2, crash) }, "zzzzz", "z"},
		"down at first":       {func(n int, _ bool) error { return once(n <= 4, crash) }, "z-z-zzzz", "z"},
		"crashes, then down":  {func(n int, gzip bool) error { return once(gzip || n == 2, crash) }, "z-z----", "z-"},
		"crashes, then fixed": {func(n int, gzip bool) error { return once(gzip && n < 3, crash) }, "z----", "z"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &encodings{fake: newFake(t)}
				e.answer = func(gzip bool) error { return k.answer(len(e.got), gzip) }
				e.has("g", "s")
				u := New(Options{Log: discard, connector: e})
				feed := newFeed(t)
				d := u.Attach(testTarget, feed, time.Second)
				ship := func(n int) (requests string) {
					for i := range n {
						d.Notify(feed.add(time.Now(), line(i)))
						time.Sleep(time.Minute)
						synctest.Wait()
					}
					for _, gzip := range e.got {
						requests += map[bool]string{true: "z", false: "-"}[gzip]
					}
					e.got = e.got[:0:0]
					return requests
				}
				if got := ship(4); got != k.want {
					t.Errorf("requests %s, want %s", got, k.want)
				}
				seen := 5
				e.answer = func(gzip bool) error { return k.answer(seen, gzip) }
				time.Sleep(plainPeriod)
				if got := ship(1); got != k.after {
					t.Errorf("later %s, want %s", got, k.after)
				}
				if !feed.ackedAll() {
					t.Error("not everything is delivered")
				}
				stop(t, u)
			})
		})
	}
}

func once(is bool, err error) error {
	if is {
		return err
	}
	return nil
}

// TestEndpointThatStopsAcceptingGzipGetsPlainRequests: an endpoint that refuses each
// compressed request after it has accepted some, as behind a new proxy, gets plain ones
// after a few refusals. Not every second request fails.
func TestEndpointThatStopsAcceptingGzipGetsPlainRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &encodings{fake: newFake(t)}
		e.answer = func(gzip bool) error { return once(gzip && len(e.got) > 1, &fakeErr{status: 415}) }
		e.has("g", "s")
		var log logged
		u := New(Options{Log: log.log(), connector: e})
		feed := newFeed(t)
		d := u.Attach(testTarget, feed, time.Second)
		for i := range 9 {
			d.Notify(feed.add(time.Now(), line(i)))
			time.Sleep(30 * time.Second)
			synctest.Wait()
		}
		var requests string
		for _, gzip := range e.got {
			requests += map[bool]string{true: "z", false: "-"}[gzip]
		}
		if want := "zz-z-z------"; requests != want {
			t.Errorf("requests %s, want %s", requests, want)
		}
		if !feed.ackedAll() || len(log.with("WARN", "does not accept compressed requests")) != 1 {
			t.Errorf("not all is delivered, or logged %q", log.lines)
		}
		stop(t, u)
	})
}

func TestRefusedGzipIsSentPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		first := true
		f.faults = func(op, _, _ string) *fault {
			if first {
				first = false
				return &fault{err: apiErr("SerializationException")}
			}
			return nil
		}
		u := start(t, f, Options{})
		d := u.Attach(testTarget, feed, 0)
		d.Notify(feed.add(time.Now(), line(0)))
		d.Finish()
		<-d.Done()
		stop(t, u)
		if m := u.Metrics(); m.SentBytes != m.BodyBytes || m.Retries != 1 {
			t.Errorf("%+v", m)
		}
		checkShown(t, f.shown("g", "s"), feed, false, nil)
	})
}

// BenchmarkGzipLevel compresses full bodies of log lines with each level that may be fit: MB/s
// are of the body before it is compressed.
func BenchmarkGzipLevel(b *testing.B) {
	levels := []struct {
		name  string
		level int
	}{
		{"stateless", gzip.StatelessCompression}, {"huffman", gzip.HuffmanOnly}, {"1", 1}, {"2", 2}, {"3", 3}, {"6", 6},
	}
	for _, k := range pathKinds {
		s := pathSender(b, pathSpool(b, 12_000, k.line), true)
		body := finishedBatch(s).out
		for _, l := range levels {
			b.Run(k.name+"/"+l.name, func(b *testing.B) {
				var out bytes.Buffer
				w, err := gzip.NewWriterLevel(&out, l.level)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					out.Reset()
					w.Reset(&out)
					_, _ = w.Write(body)
					_ = w.Close()
				}
				b.ReportMetric(float64(len(body))/float64(out.Len()), "ratio")
			})
		}
	}
}
