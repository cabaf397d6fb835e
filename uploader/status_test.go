package uploader

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/status"
	"github.com/logspool/logspool/internal/target"
)

var (
	errUnreachable = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	errDenied      = apiErrWith("AccessDeniedException", "User: u is not authorized to perform: logs:PutLogEvents on resource: g")
)

// only returns the status of the only service.
func only(t *testing.T, u *Uploader) status.Service {
	t.Helper()
	all := u.Status()
	if len(all) != 1 {
		t.Fatalf("%d services", len(all))
	}
	return all[0]
}

func wantState(t *testing.T, u *Uploader, when, state string) status.Service {
	t.Helper()
	s := only(t, u)
	failing := state != status.ServiceOK && state != status.ServiceIdle
	if s.State != state || failing != (s.Error != "") || failing != (s.Remedy != "") {
		t.Errorf("%s: %s since %v, error %q, remedy %q; want %s", when, s.State, s.Since, s.Error, s.Remedy, state)
	}
	return s
}

// writer is a delivery that gets one event after the other.
type writer struct {
	feed *fakeFeed
	d    *Delivery
}

func attach(t *testing.T, u *Uploader, to target.Target) *writer {
	w := &writer{feed: newFeed(t)}
	w.d = u.Attach(to, w.feed, 0)
	return w
}

func (w *writer) write() { w.d.Notify(w.feed.add(time.Now(), "x")) }

// end makes the service work again, and waits until the event of the writer is delivered.
func (w *writer) end(t *testing.T, u *Uploader) {
	w.d.Finish()
	<-w.d.Done()
	stop(t, u)
}

// TestServiceStateIsThatOfTheLastAnswers: each failure is the state of the service while nothing
// succeeds, and it ends with the first success. The delivery has the same failure.
func TestServiceStateIsThatOfTheLastAnswers(t *testing.T) {
	for _, c := range []struct {
		state string
		op    string
		err   error
		kind  string
	}{
		{status.ServiceUnreachable, "put", errUnreachable, "connection"},
		{status.ServiceUnauthenticated, "put", apiErr("ExpiredTokenException"), "ExpiredTokenException"},
		{status.ServiceUnauthenticated, "put", &credentialsError{errors.New("no EC2 IMDS role found")}, "credentials"},
		{status.ServiceFailing, "put", &fakeErr{status: 503}, "HTTP status 503"},
		{status.ServiceThrottled, "put", apiErr("ThrottlingException"), "ThrottlingException"},
		{status.ServiceDenied, "put", errDenied, "AccessDeniedException"},
		{status.ServiceFailing, "put", apiErr("ValidationException"), "ValidationException"},
		{status.ServiceDenied, "group", apiErr("AccessDeniedException"), "AccessDeniedException"},
		{status.ServiceThrottled, "group", apiErr("ThrottlingException"), "ThrottlingException"},
		{status.ServiceThrottled, "stream", apiErr("ThrottlingException"), "ThrottlingException"},
		{status.ServiceUnreachable, "stream", errUnreachable, "connection"},
	} {
		t.Run(c.state+" "+c.op+" "+c.kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				failing := true
				f.faults = func(op, _, _ string) *fault {
					if failing && op == c.op {
						return &fault{err: c.err}
					}
					return nil
				}
				if c.op == "put" {
					f.has("g", "s")
				}
				u := start(t, f, Options{Log: discard})
				w := attach(t, u, testTarget)
				wantState(t, u, "before the first request", status.ServiceIdle)
				if f := w.d.Failure(); f != nil {
					t.Errorf("before the first request: %+v", f)
				}
				began := time.Now()
				w.write()
				time.Sleep(10 * time.Second)
				s := wantState(t, u, "while it fails", c.state)
				if s.Since.Before(began) || s.Since.After(began.Add(2*time.Second)) || s.Retries == 0 || s.Senders != 1 {
					t.Errorf("since %v after the beginning, %+v", s.Since.Sub(began), s)
				}
				why := w.d.Failure()
				if why == nil || why.Kind != c.kind || why.Err == "" || why.Remedy == "" || why.Since.Sub(began) > 2*time.Second {
					t.Errorf("failure %+v", why)
				}
				time.Sleep(10 * time.Second)
				if now := w.d.Failure(); why != nil && (now == nil || !now.Since.Equal(why.Since)) {
					t.Errorf("a failure that lasts began at %v, and then at %v", why, now)
				}
				f.mu.Lock()
				failing = false
				f.mu.Unlock()
				time.Sleep(40 * time.Second) // the next try, and throttledPeriod
				if f := w.d.Failure(); f != nil {
					t.Errorf("after a success: %+v", f)
				}
				w.write()
				time.Sleep(time.Second)
				wantState(t, u, "after a success", status.ServiceOK)
				w.end(t, u)
			})
		})
	}
}

// TestThrottlingLastsWhileSomeRequestsSucceed: the state does not change with each answer.
// Throttling ends some time after the last throttled request, also if none follows.
func TestThrottlingLastsWhileSomeRequestsSucceed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.has("g", "s")
		n, every := 0, 2
		f.faults = func(string, string, string) *fault {
			if n++; n%every == 1 {
				return &fault{err: apiErr("ThrottlingException")}
			}
			return nil
		}
		u := start(t, f, Options{Log: discard})
		w := attach(t, u, testTarget)
		began := time.Now()
		for range 20 {
			w.write()
			time.Sleep(2 * maxBackoff) // the event is throttled once, and then accepted
			if s := wantState(t, u, "under throttling", status.ServiceThrottled); s.Since.Sub(began) > time.Second {
				t.Fatalf("throttled since %v after the beginning", s.Since.Sub(began))
			}
			if f := w.d.Failure(); f != nil {
				t.Errorf("the last request was accepted: %+v", f)
			}
		}
		time.Sleep(throttledPeriod)
		if s := wantState(t, u, "without requests", status.ServiceOK); s.Throttles != 20 || s.Since.After(time.Now()) {
			t.Errorf("%d throttled, ok since %v", s.Throttles, s.Since)
		}
		f.mu.Lock()
		every = 1
		f.mu.Unlock()
		w.write()
		time.Sleep(time.Second)
		wantState(t, u, "with requests", status.ServiceOK)
		w.end(t, u)
	})
}

// TestDeniedGroupIsNotTheStateOfAServiceThatDelivers: only the deliveries to that group fail.
func TestDeniedGroupIsNotTheStateOfAServiceThatDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.has("g", "s")
		f.has("forbidden", "s")
		var outage atomic.Bool
		f.faults = func(_, group, _ string) *fault {
			switch {
			case outage.Load():
				return &fault{err: errUnreachable}
			case group == "forbidden":
				return &fault{err: errDenied}
			}
			return nil
		}
		u := start(t, f, Options{Log: discard})
		to := testTarget
		to.Group = "forbidden"
		bad, good := attach(t, u, to), attach(t, u, testTarget)
		bad.write()
		time.Sleep(time.Minute)
		wantState(t, u, "nothing was accepted", status.ServiceDenied)
		good.write()
		for range 60 {
			time.Sleep(time.Second) // the denied group is tried again meanwhile
			wantState(t, u, "something was accepted", status.ServiceOK)
		}
		if f := bad.d.Failure(); f == nil || !strings.Contains(f.Remedy, "allow logs:PutLogEvents") {
			t.Errorf("the denied group: %+v", f)
		}
		if f := good.d.Failure(); f != nil {
			t.Errorf("the other group: %+v", f)
		}
		outage.Store(true)
		good.write()
		time.Sleep(time.Minute)
		wantState(t, u, "in an outage", status.ServiceUnreachable)
		outage.Store(false)
		time.Sleep(time.Minute)
		wantState(t, u, "after the outage", status.ServiceOK)
		<-bad.d.Detach()
		good.end(t, u)
	})
}

// TestFailureEndsWithTheSendersOfTheGroup: a container that is gone leaves no failure behind.
func TestFailureEndsWithTheSendersOfTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.has("g", "s")
		err := errDenied
		f.faults = func(_, _, stream string) *fault {
			if stream == "denied" {
				return &fault{err: err}
			}
			return nil
		}
		u := start(t, f, Options{Log: discard})
		good := attach(t, u, testTarget)
		to := testTarget
		to.Stream = "denied"
		bad := attach(t, u, to)
		bad.write()
		time.Sleep(time.Second)
		wantState(t, u, "denied", status.ServiceDenied)
		<-bad.d.Detach()
		synctest.Wait()
		wantState(t, u, "after the container", status.ServiceOK)
		f.mu.Lock()
		err = errUnreachable
		f.mu.Unlock()
		bad = attach(t, u, to)
		bad.write()
		time.Sleep(time.Second)
		wantState(t, u, "unreachable", status.ServiceUnreachable)
		<-bad.d.Detach()
		<-good.d.Detach()
		synctest.Wait()
		wantState(t, u, "without containers", status.ServiceIdle)
		stop(t, u)
	})
}

// TestWaitingDeliveryHasTheFailureOfItsAccess: during an outage, there is one request at a time,
// so that most senders have not failed themselves.
func TestWaitingDeliveryHasTheFailureOfItsAccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.faults = func(string, string, string) *fault { return &fault{hang: true} }
		u := start(t, f, Options{Log: discard})
		var writers []*writer
		for i := range 30 {
			to := testTarget
			to.Stream = fmt.Sprint("s", i)
			w := attach(t, u, to)
			writers = append(writers, w)
			w.write()
		}
		to := testTarget
		to.Stream = "idle"
		idle := attach(t, u, to)
		time.Sleep(30 * time.Second)
		if n := only(t, u).Requests["unavailable"]; n == 0 || n >= 30 {
			t.Errorf("%d requests failed, want fewer than the 30 senders", n)
		}
		for i, w := range writers {
			if f := w.d.Failure(); f == nil || f.Kind != "timeout" || f.Remedy == "" || f.Since.IsZero() {
				t.Errorf("stream %d: %+v", i, f)
			}
		}
		if f := idle.d.Failure(); f != nil {
			t.Errorf("a delivery without events fails: %+v", f)
		}
		f.mu.Lock()
		f.faults = func(string, string, string) *fault { return nil }
		f.mu.Unlock()
		for _, w := range append(writers, idle) {
			w.d.Finish()
			<-w.d.Done()
		}
		stop(t, u)
	})
}

// TestServiceCountsWhatItSends compares the counters with what CloudWatch got.
func TestServiceCountsWhatItSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.latency = 200 * time.Millisecond
		f.rejects = rejected{tooOldEnd: 1}
		u := start(t, f, Options{Log: discard, Plain: true})
		a, b := newFeed(t), newFeed(t)
		for i := range 12 {
			a.add(time.Now().Add(time.Duration(i)), "12345678")
		}
		b.add(time.Now().Add(time.Millisecond), "1234")
		da := u.Attach(testTarget, a, time.Second)
		db := u.Attach(testTarget, b, time.Second)
		da.Notify(12, 96)
		db.Notify(1, 4)
		da.Finish()
		db.Finish()
		<-da.Done()
		<-db.Done()
		synctest.Wait()
		s := only(t, u)
		got := fmt.Sprint(s.Requests["accepted"], s.Requests["not_found"], s.Requests["throttled"], len(s.Requests), s.Accepted, s.Created, s.Retries, s.InFlight, s.Senders, s.Limit)
		if want := fmt.Sprint(1, 1, 0, 10, status.Counter{Lines: 12, Bytes: 11*34 + 30}, 1, 1, 0, 0, 6); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if s.BodyBytes != s.SentBytes || s.BodyBytes < 12*34 {
			t.Errorf("bodies of %d bytes, %d sent", s.BodyBytes, s.SentBytes)
		}
		want := []status.Histogram{
			{Bounds: latencyBounds, Counts: []int64{0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0}, Sum: 0.4},
			{Bounds: eventsBounds, Counts: []int64{0, 0, 1, 0, 0, 0, 0, 0, 0}, Sum: 13},
			{Bounds: bytesBounds, Counts: []int64{1, 0, 0, 0, 0, 0, 0, 0}, Sum: 12*34 + 30},
		}
		if diff := cmp.Diff(want, []status.Histogram{s.Latency, s.BatchEvents, s.BatchBytes}); diff != "" {
			t.Error(diff)
		}
		if fmt.Sprint(a.accepted, a.acceptedBytes, b.accepted, b.acceptedBytes) != fmt.Sprint([]int{11}, 11*34, []int{1}, 30) {
			t.Errorf("the feeds were told %v events, %d bytes and %v events, %d bytes", a.accepted, a.acceptedBytes, b.accepted, b.acceptedBytes)
		}
		if m := u.Metrics(); m.Batches != 1 || m.Events != 12 || m.Bytes != s.Accepted.Bytes || m.DroppedEvents[events.TooOld] != 1 || m.Created != 1 {
			t.Errorf("%+v", m)
		}
		stop(t, u)
	})
}

// TestMetricsKeepWhatForgottenServicesCounted: the counters never go back.
func TestMetricsKeepWhatForgottenServicesCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		u := start(t, f, Options{Log: discard})
		const n = 2 * maxIdleServices
		for i := range n {
			to := testTarget
			to.RoleARN = fmt.Sprint("role", i)
			w := attach(t, u, to)
			w.write()
			w.d.Finish()
			<-w.d.Done()
			synctest.Wait()
			if m := u.Metrics(); m.Batches != int64(i+1) || m.Created < 1 || m.Events != m.Batches || m.Bytes != 27*m.Batches {
				t.Fatalf("after %d batches: %+v", i+1, m)
			}
		}
		all := u.Status()
		if len(all) > maxIdleServices+1 {
			t.Errorf("%d services", len(all))
		}
		for i := range all[1:] {
			if all[i].Role >= all[i+1].Role {
				t.Errorf("%s comes before %s", all[i].Role, all[i+1].Role)
			}
		}
		stop(t, u)
	})
}

// TestStatusHidesSecrets: neither the path of the credentials endpoint nor the external ID is
// in the status.
func TestStatusHidesSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.connErr = errors.New("Authorization: AWS4-HMAC-SHA256 Credential=SECRET")
		u := start(t, f, Options{Log: discard})
		to := testTarget
		to.Endpoint, to.RoleARN, to.ExternalID, to.CredentialsEndpoint = "http://e", "role", "SECRET", "/SECRET"
		w := attach(t, u, to)
		w.write()
		time.Sleep(time.Second)
		s := wantState(t, u, "no credentials", status.ServiceUnauthenticated)
		text := fmt.Sprintf("%+v %+v", s, w.d.Failure())
		if strings.Contains(text, "SECRET") || s.Endpoint != "http://e" || s.Role != "role" || s.Credentials != "credentials-endpoint" {
			t.Error(text)
		}
		<-w.d.Detach()
		stop(t, u)
	})
}

// TestWrongClockIsAFailureWhileItLasts: requests succeed, because the SDK corrects its
// signatures, so nothing else would say it.
func TestWrongClockIsAFailureWhileItLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var lines logged
		var set faultlog.Set
		log := faultlog.NewHandler(lines.log().Handler(), &set)
		u := start(t, f, Options{Log: slog.New(log)})
		w := attach(t, u, testTarget)
		f.ahead.Store(int64(20*time.Minute + 300*time.Millisecond))
		w.write()
		time.Sleep(time.Second)
		if got := lines.with("ERROR", "the host's clock is wrong", "the host's clock is 20m0s ahead of AWS's", "NTP"); len(got) != 1 {
			t.Errorf("logged %q", lines.lines)
		}
		if got := set.Ongoing(); len(got) != 1 || got[0].Attrs["err"] == "" {
			t.Errorf("ongoing: %+v", got)
		}
		if s := wantState(t, u, "with a wrong clock", status.ServiceOK); s.ClockAhead != 1200 {
			t.Errorf("the clock is %v s ahead", s.ClockAhead)
		}
		f.ahead.Store(int64(-4 * time.Minute))
		w.write()
		time.Sleep(time.Second)
		if len(lines.with("INFO", "the host's clock is right again")) != 1 || len(set.Ongoing()) != 0 {
			t.Errorf("logged %q", lines.lines)
		}
		w.end(t, u)
	})
}

// TestNoFailureOutlivesItsOwner: nothing would ever end it in the status.
func TestNoFailureOutlivesItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var final atomic.Bool
		f.faults = func(op, _, _ string) *fault {
			switch {
			case op != "retention":
				return nil
			case final.Load():
				return &fault{err: errDenied}
			}
			return &fault{err: apiErr("ThrottlingException")}
		}
		f.ahead.Store(int64(time.Hour))
		var set faultlog.Set
		u := start(t, f, Options{Log: slog.New(faultlog.NewHandler(discard.Handler(), &set))})
		w := attach(t, u, withNewGroup(&wanted))
		w.feed.ackErr = errors.New("no space left on device")
		w.write()
		time.Sleep(10 * time.Second)
		messages := func() (all []string) {
			for _, o := range set.Ongoing() {
				all = append(all, strings.Split(o.Message, ";")[0])
			}
			slices.Sort(all)
			return all
		}
		want := []string{"cannot save delivery progress", "cannot set a log group's retention", "the host's clock is wrong"}
		if got := messages(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		final.Store(true)
		time.Sleep(10 * time.Minute)
		if got := messages(); slices.Contains(got, want[1]) {
			t.Errorf("nobody tries to set the retention any more: %q", got)
		}
		<-w.d.Detach()
		synctest.Wait()
		if got := messages(); len(got) > 0 {
			t.Errorf("after the container: %q", got)
		}
		stop(t, u)
	})
}

// TestStatusMayBeAskedAtAnyTime is for the race detector.
func TestStatusMayBeAskedAtAnyTime(t *testing.T) {
	f := newFake(t)
	n := 0
	f.faults = func(op, _, _ string) *fault {
		if n++; op == "put" && n%3 == 0 {
			return &fault{err: apiErr("ThrottlingException")}
		}
		return nil
	}
	u := start(t, f, Options{Log: discard})
	w := attach(t, u, testTarget)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 20 {
			w.write()
		}
		w.d.Finish()
		<-w.d.Done()
	}()
	for {
		_, _, _ = u.Status(), u.Metrics(), w.d.Failure()
		select {
		case <-ended:
			stop(t, u)
			return
		default:
		}
	}
}
