package uploader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestStopSendsWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		f.latency = time.Second
		u := start(t, f, Options{})
		d := u.Attach(testTarget, feed, time.Hour)
		d.Notify(feed.add(time.Now(), line(0)))
		synctest.Wait()
		stop(t, u)
		checkShown(t, f.shown("g", "s"), feed, false, nil)
		if !feed.ackedAll() {
			t.Error("delivered and not acknowledged")
		}
		select {
		case <-d.Done():
			t.Error("done without Finish")
		default:
		}
		<-d.Detach()
		late := u.Attach(testTarget, feed, 0)
		late.Notify(1, 1)
		late.Finish()
		<-late.Detach()
	})
}

func TestStopCancelsRequestsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		f.has("g", "s")
		f.faults = func(string, string, string) *fault { return &fault{hang: true} }
		var log bytes.Buffer
		u := start(t, f, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		d := u.Attach(testTarget, feed, 0)
		d.Notify(feed.add(time.Now(), line(0)))
		synctest.Wait()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := u.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop: %v", err)
		}
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("took %v", d)
		}
		feed.ended = true
		if log.Len() > 0 {
			t.Errorf("a stopped request is logged as a failure: %s", &log)
		}
		if feed.ackedAll() {
			t.Error("acknowledged what was never delivered")
		}
	})
}

func TestStopDoesNotWaitForAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.faults = func(string, string, string) *fault { return &fault{err: errors.New("refused")} }
		u := start(t, f, Options{})
		for i := range 50 {
			feed := newFeed(t)
			tg := testTarget
			tg.Stream = fmt.Sprint(i)
			d := u.Attach(tg, feed, 0)
			d.Notify(feed.add(time.Now(), line(0)))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		begin := time.Now()
		stop(t, u)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// TestStopWithinDelayIsNotAFailure: a plugin that stops before the first stream is created
// logs nothing.
func TestStopWithinDelayIsNotAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, feed := newFake(t), newFeed(t)
		var log logged
		u := start(t, f, Options{Log: log.log()})
		d := u.Attach(testTarget, feed, 4*time.Second)
		d.Notify(feed.add(time.Now(), "x"))
		time.Sleep(time.Second)
		stop(t, u)
		if f.count("put") != 1 || len(log.lines) > 0 {
			t.Errorf("%d requests, logged %q", f.count("put"), log.lines)
		}
	})
}
