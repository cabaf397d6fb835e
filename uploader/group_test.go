package uploader

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/target"
)

// logged keeps what is logged, one text a line.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (log *logged) Write(p []byte) (int, error) {
	log.mu.Lock()
	defer log.mu.Unlock()
	log.lines = append(log.lines, string(bytes.TrimSpace(p)))
	return len(p), nil
}

// with returns the lines that have all of these in them.
func (log *logged) with(parts ...string) (found []string) {
	log.mu.Lock()
	defer log.mu.Unlock()
	for _, line := range log.lines {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			found = append(found, line)
		}
	}
	return found
}

func (log *logged) log() *slog.Logger { return slog.New(slog.NewJSONHandler(log, nil)) }

func told(code, message string) error {
	return &codeErr{fakeErr{code: code, message: message, status: 400}}
}

var wanted = target.NewGroup{
	RetentionDays: 30, Tags: map[string]string{"team": "a"}, Class: "INFREQUENT_ACCESS",
	KMSKeyID: "arn:aws:kms:eu-central-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef",
}

// but returns wanted without what f takes away.
func but(f func(*target.NewGroup)) target.NewGroup {
	n := wanted
	f(&n)
	return n
}

const warnRetention = "log group's retention is not set"

// TestNewGroup has the service take, or refuse, each thing that can be asked of a new group.
func TestNewGroup(t *testing.T) {
	untagged := but(func(n *target.NewGroup) { n.Tags = nil })
	unclassed := but(func(n *target.NewGroup) { n.Class = "" })
	bare := but(func(n *target.NewGroup) { n.Tags, n.Class = nil, "" })
	for _, k := range []struct {
		name    string
		group   string
		want    *target.NewGroup
		options func(target.NewGroup) error
		made    *target.NewGroup // nil: not at all
		calls   int              // to make it
		warned  []string         // what the one warning of what it lacks says
	}{
		{"nothing is asked for", "g", nil, nil, &target.NewGroup{}, 1, nil},
		{"all is taken", "g", &wanted, nil, &wanted, 1, nil},
		{"tags are denied", "a-class-of-its-own", &wanted, func(n target.NewGroup) error {
			if n.Tags != nil {
				return told("AccessDeniedException", "User: x is not authorized to perform: logs:TagResource on resource: arn:aws:logs:r:1:log-group:a-class-of-its-own")
			}
			return nil
		}, &untagged, 2, []string{`"without":"tags"`, "allow logs:TagResource", `"group":"a-class-of-its-own"`}},
		{"tags are denied, and it does not say so", "class-a", &wanted, func(n target.NewGroup) error {
			if n.Tags != nil {
				return told("AccessDeniedException", "no access to class-a")
			}
			return nil
		}, &untagged, 2, []string{`"without":"tags"`}},
		{"class is not known", "staging", &wanted, func(n target.NewGroup) error {
			if n.Class != "" {
				return told("InvalidParameterException", "The log group class of staging is not supported in this region.")
			}
			return nil
		}, &unclassed, 2, []string{`"without":"class INFREQUENT_ACCESS"`, "fixed at creation"}},
		{"class is denied", "g", &wanted, func(n target.NewGroup) error {
			if n.Class != "" {
				return told("AccessDeniedException", "no")
			}
			return nil
		}, &bare, 3, []string{`"without":"tags, class INFREQUENT_ACCESS"`}},
		{"neither is taken", "g", &wanted, func(n target.NewGroup) error {
			if n.Class != "" || n.Tags != nil {
				return told("ValidationException", "no")
			}
			return nil
		}, &bare, 3, []string{"allow logs:TagResource", "fixed at creation"}},
		{"tags alone", "g", &target.NewGroup{Tags: wanted.Tags}, func(n target.NewGroup) error {
			if n.Tags != nil {
				return told("ValidationException", "no")
			}
			return nil
		}, &target.NewGroup{}, 2, []string{`"without":"tags"`}},
	} {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, log := newFake(t), &logged{}
				if k.options != nil {
					f.options = k.options
				}
				u := start(t, f, Options{Log: log.log()})
				var feeds []*fakeFeed
				var deliveries []*Delivery
				for i := range 20 { // once, whatever the number of containers
					feed := newFeed(t)
					feed.add(time.Now(), line(i))
					to := testTarget
					to.Group, to.Stream, to.Create.NewGroup = k.group, fmt.Sprint(i/2), k.want
					feeds, deliveries = append(feeds, feed), append(deliveries, u.Attach(to, feed, time.Second))
				}
				for i, d := range deliveries {
					d.Finish()
					<-d.Done()
					if !feeds[i].ackedAll() {
						t.Error("not delivered")
					}
				}
				time.Sleep(time.Minute)
				stop(t, u)
				made, ok := f.asked[k.group]
				made.RetentionDays = 0
				expect := *k.made
				expect.RetentionDays = 0
				if !ok || !equal(made, expect) {
					t.Errorf("made %+v, want %+v", made, expect)
				}
				if f.count("group") != k.calls {
					t.Errorf("%d calls to make it, want %d", f.count("group"), k.calls)
				}
				days, calls := int32(0), 0
				if k.want != nil {
					days = k.want.RetentionDays
				}
				if days > 0 {
					calls = 1
				}
				if f.set[k.group] != days || f.count("retention") != calls {
					t.Errorf("retention %d, set %d times", f.set[k.group], f.count("retention"))
				}
				if got := len(log.with("WARN")); got > 0 != (k.warned != nil) || got > 1 {
					t.Errorf("%d warnings: %q", got, log.lines)
				}
				if len(log.with(append(k.warned, "WARN")...)) == 0 != (k.warned == nil) {
					t.Errorf("logged %q, want %q", log.lines, k.warned)
				}
			})
		})
	}
}

func equal(a, b target.NewGroup) bool {
	return a.RetentionDays == b.RetentionDays && a.Class == b.Class && a.KMSKeyID == b.KMSKeyID && maps.Equal(a.Tags, b.Tags)
}

// ship attaches a feed of one event that is all there will be.
func ship(t *testing.T, u *Uploader, to target.Target) *Delivery {
	feed := newFeed(t)
	feed.add(time.Now(), "x")
	d := u.Attach(to, feed, 0)
	d.Finish()
	return d
}

// wishing is the target with a wish for a new group.
func wishing(n *target.NewGroup) target.Target {
	to := testTarget
	to.Create.NewGroup = n
	return to
}

// A group that is there, or that somebody makes at the same time, is left as it is.
func TestForeignGroupIsLeftAlone(t *testing.T) {
	for name, prepare := range map[string]func(f *fake){
		"there before": func(f *fake) { f.has("g", "") },
		"quicker": func(f *fake) {
			f.faults = func(op, group, _ string) *fault {
				if op == "group" {
					f.groups[group] = true
				}
				return nil
			}
		},
		"while the service could not be reached": func(f *fake) {
			begin := time.Now()
			f.faults = func(op, group, _ string) *fault {
				if op != "group" || time.Since(begin) > 10*time.Second {
					return nil
				}
				time.AfterFunc(5*time.Second, func() { f.has("g", "") })
				return &fault{err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}}
			}
		},
		"long after a call without an answer": func(f *fake) {
			begin := time.Now()
			f.faults = func(op, group, _ string) *fault {
				switch {
				case time.Since(begin) > time.Hour:
					f.groups["g"] = true
					return nil
				case f.calls["group"] > 0 && op == "stream", op == "group":
					return &fault{err: apiErr("ServiceUnavailableException")}
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				prepare(f)
				u := start(t, f, Options{Log: discard})
				<-ship(t, u, wishing(&wanted)).Done()
				time.Sleep(time.Minute)
				stop(t, u)
				if n := f.count("retention"); n > 0 {
					t.Errorf("retention set %d times", n)
				}
			})
		})
	}
}

// A group whose making came to no answer is ours all the same.
func TestUnansweredGroupIsOurs(t *testing.T) {
	for name, ft := range map[string]fault{
		"hang":  {hang: true, after: true},
		"reset": {err: errors.New("connection reset by peer"), after: true},
		"503":   {err: apiErr("ServiceUnavailableException"), after: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.faults = func(op, _, _ string) *fault {
					if op == "group" {
						return &ft
					}
					return nil
				}
				u := start(t, f, Options{Log: discard})
				<-ship(t, u, wishing(&wanted)).Done()
				time.Sleep(time.Minute)
				stop(t, u)
				if f.set["g"] != 30 || f.count("retention") != 1 {
					t.Errorf("retention %d, set %d times", f.set["g"], f.count("retention"))
				}
			})
		})
	}
}

// Without the key that it should have, a group is not made: what is logged waits until the key is good.
func TestNoGroupWithoutItsKey(t *testing.T) {
	for name, err := range map[string]error{
		"not there":  told("InvalidParameterException", "The specified KMS Key Id could not be found."),
		"not ours":   told("AccessDeniedException", "User is not authorized to perform: kms:DescribeKey"),
		"not stated": told("AccessDeniedException", "no"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, log := newFake(t), &logged{}
				good := false // under f's lock
				f.options = func(n target.NewGroup) error {
					if n.KMSKeyID == "" {
						t.Error("asked for a group without its key")
					}
					if good {
						return nil
					}
					return err
				}
				u := start(t, f, Options{Log: log.log()})
				d := ship(t, u, wishing(&wanted))
				time.Sleep(time.Hour)
				f.mu.Lock()
				if f.groups["g"] {
					t.Error("it was made")
				}
				f.mu.Unlock()
				if name != "not stated" && f.count("group") > f.count("stream") {
					t.Errorf("asked %d times in %d tries", f.count("group"), f.count("stream"))
				}
				said := log.with("ERROR", "not created without its KMS key", "check that the key is enabled", `"group":"g"`)
				if len(said) != 6 || len(log.with("ERROR")) != 6 { // at once, and every ten minutes
					t.Errorf("logged %q", log.lines)
				}
				f.mu.Lock()
				good = true
				f.mu.Unlock()
				mended := time.Now()
				<-d.Done()
				if d := time.Since(mended); d > maxSlowBackoff+3*time.Second { // three calls, at two a second
					t.Errorf("delivered %v after it was mended", d)
				}
				stop(t, u)
				made := f.asked["g"]
				if name == "not stated" { // it may have been mended between asking for all and asking for less
					made.Tags, made.Class = wanted.Tags, wanted.Class
				}
				if !equal(made, wanted) {
					t.Errorf("made %+v", f.asked["g"])
				}
			})
		})
	}
}

// A hundred containers that may not make their one group hold up nobody else, and have it soon when they may.
func TestDeniedGroupHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.faults = func(op, group, _ string) *fault {
			if op == "group" && group == "denied" {
				return &fault{err: apiErr("AccessDeniedException")}
			}
			return nil
		}
		u := start(t, f, Options{Log: discard})
		attach := func(group, stream string) *Delivery {
			to := wishing(&target.NewGroup{RetentionDays: 1})
			to.Group, to.Stream = group, stream
			return ship(t, u, to)
		}
		for i := range 100 {
			attach("denied", fmt.Sprint(i))
		}
		time.Sleep(10 * time.Minute)
		begin := time.Now()
		<-attach("other", "s").Done()
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("another group took %v", d)
		}
		f.mu.Lock()
		f.faults = func(string, string, string) *fault { return nil }
		f.mu.Unlock()
		mended := time.Now()
		for len(f.shown("denied", "99")) == 0 || len(f.shown("denied", "0")) == 0 {
			time.Sleep(time.Second)
		}
		if d := time.Since(mended); d > maxSlowBackoff+15*time.Second {
			t.Errorf("delivered %v after it was mended", d)
		}
		stop(t, u)
	})
}

// What fails about the retention holds up nobody. It is tried again where that can help, and else told of once.
func TestRetention(t *testing.T) {
	for _, k := range []struct {
		name  string
		errs  []error // of the first calls; the last one again and again if forever
		ever  bool
		calls int
		hint  string // of the one warning that it is not set
	}{
		{"throttled", slices.Repeat([]error{apiErr("ThrottlingException")}, 30), false, 31, ""},
		{"unavailable", slices.Repeat([]error{&fakeErr{status: 503}}, 30), false, 31, ""},
		{"conflict", []error{apiErr("OperationAbortedException")}, false, 2, ""},
		{"not known yet", []error{apiErr("ResourceNotFoundException")}, false, 2, ""},
		{"deleted", []error{apiErr("ResourceNotFoundException")}, true, maxUnknownRetentions, "set it by hand"},
		{"denied", []error{apiErr("AccessDeniedException")}, true, 1, "allow logs:PutRetentionPolicy"},
		{"invalid", []error{apiErr("InvalidParameterException")}, true, 1, "set it by hand"},
		{"unknown operation", []error{apiErr("UnknownOperationException")}, true, 1, "set it by hand"},
	} {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, log := newFake(t), &logged{}
				f.faults = func(op, _, _ string) *fault {
					if n := f.calls["retention"]; op == "retention" && (k.ever || n <= len(k.errs)) {
						return &fault{err: k.errs[min(n, len(k.errs))-1]}
					}
					return nil
				}
				u := start(t, f, Options{Log: log.log()})
				begin := time.Now()
				for i := range 2 {
					to := wishing(&wanted)
					to.Stream = fmt.Sprint(i)
					<-ship(t, u, to).Done()
				}
				if d := time.Since(begin); d > 2*time.Second {
					t.Errorf("delivered after %v", d)
				}
				time.Sleep(time.Hour)
				stop(t, u)
				if f.count("retention") != k.calls {
					t.Errorf("%d calls, want %d", f.count("retention"), k.calls)
				}
				if (f.set["g"] == 30) != (k.hint == "") {
					t.Errorf("retention is %d", f.set["g"])
				}
				if got := log.with(warnRetention); len(got) > 0 != (k.hint != "") || len(got) > 1 {
					t.Errorf("logged %q", log.lines)
				}
				if k.hint != "" && len(log.with(warnRetention, k.hint, `"group":"g"`, `"days":30`)) != 1 {
					t.Errorf("logged %q", log.lines)
				}
			})
		})
	}
}

// A stop while the retention cannot be set does not wait for it, and says so.
func TestStopBeforeRetentionIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := newFake(t), &logged{}
		f.faults = func(op, _, _ string) *fault {
			if op == "retention" {
				return &fault{err: apiErr("ThrottlingException")}
			}
			return nil
		}
		u := start(t, f, Options{Log: log.log()})
		<-ship(t, u, wishing(&wanted)).Done()
		time.Sleep(time.Minute)
		begin := time.Now()
		stop(t, u)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("stopped after %v", d)
		}
		if len(log.with(warnRetention, "set it by hand")) != 1 {
			t.Errorf("logged %q", log.lines)
		}
	})
}

// Feeds with one target share a sender whatever they want of a new group, and the first that wants anything has it.
func TestFirstWishWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		u := start(t, f, Options{Log: discard})
		var deliveries []*Delivery
		for _, k := range []struct {
			create bool
			n      *target.NewGroup
		}{
			{false, &target.NewGroup{RetentionDays: 1}}, {true, nil}, {true, &target.NewGroup{}}, {true, &target.NewGroup{RetentionDays: 30}}, {true, &target.NewGroup{RetentionDays: 60}},
		} {
			feed := newFeed(t)
			feed.add(time.Now(), "x")
			to := testTarget
			to.Create.Group, to.Create.NewGroup = k.create, k.n
			deliveries = append(deliveries, u.Attach(to, feed, time.Second))
		}
		if n := u.Metrics().Senders; n != 1 {
			t.Errorf("%d senders", n)
		}
		for _, d := range deliveries {
			d.Finish()
		}
		for _, d := range deliveries {
			<-d.Done()
		}
		time.Sleep(time.Second)
		stop(t, u)
		if f.set["g"] != 30 {
			t.Errorf("retention %d", f.set["g"])
		}
		if len(f.batches) != 1 {
			t.Errorf("%d batches", len(f.batches))
		}
	})
}

// The rates of creating are those of a region and endpoint, and stay below the quotas whoever's role it is.
func TestNewGroupsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var groups, retentions []time.Time
		f.faults = func(op, _, _ string) *fault {
			switch op {
			case "group":
				groups = append(groups, time.Now())
			case "retention":
				retentions = append(retentions, time.Now())
			}
			return nil
		}
		u := start(t, f, Options{Log: discard})
		var deliveries []*Delivery
		for i := range 60 {
			feed := newFeed(t)
			feed.add(time.Now(), "x")
			to := testTarget
			to.RoleARN, to.Group, to.Create.NewGroup = fmt.Sprint("role", i%3), fmt.Sprint(i), &wanted
			deliveries = append(deliveries, u.Attach(to, feed, 0))
		}
		for _, d := range deliveries {
			d.Finish()
			<-d.Done()
		}
		time.Sleep(2 * time.Minute)
		stop(t, u)
		for what, times := range map[string][]time.Time{"groups": groups, "retentions": retentions} {
			if len(times) != 60 {
				t.Errorf("%d %s", len(times), what)
			}
			quota := map[string]int{"groups": 10, "retentions": 5}[what]
			for i := range times {
				if j := i + quota/2; j < len(times) && times[j].Sub(times[i]) < time.Second {
					t.Errorf("%s: more than half the quota in a second", what)
					break
				}
			}
		}
	})
}
