package uploader

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/target"
)

var wanted = target.NewGroup{
	RetentionDays: 30, Tags: map[string]string{"team": "a"}, Class: "INFREQUENT_ACCESS",
	KMSKeyID: "arn:aws:kms:eu-central-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef",
}

// wantedWithout returns wanted after f has changed it.
func wantedWithout(f func(*target.NewGroup)) target.NewGroup {
	n := wanted
	f(&n)
	return n
}

const warnRetention = "the log group's retention was not set"

// TestNewGroupGetsWhatCloudWatchAccepts has CloudWatch accept or refuse each option of a
// new group.
func TestNewGroupGetsWhatCloudWatchAccepts(t *testing.T) {
	untagged := wantedWithout(func(n *target.NewGroup) { n.Tags = nil })
	unclassed := wantedWithout(func(n *target.NewGroup) { n.Class = "" })
	bare := wantedWithout(func(n *target.NewGroup) { n.Tags, n.Class = nil, "" })
	for _, k := range []struct {
		name    string
		group   string
		want    *target.NewGroup
		options func(target.NewGroup) error
		made    *target.NewGroup // nil if the group is not created
		calls   int              // calls to create it
		warned  []string         // parts of the one warning about missing options
	}{
		{"nothing is asked for", "g", nil, nil, &target.NewGroup{}, 1, nil},
		{"all is taken", "g", &wanted, nil, &wanted, 1, nil},
		{"tags are denied", "a-class-of-its-own", &wanted, func(n target.NewGroup) error {
			if n.Tags != nil {
				return apiErrWith("AccessDeniedException", "User: x is not authorized to perform: logs:TagResource on resource: arn:aws:logs:r:1:log-group:a-class-of-its-own")
			}
			return nil
		}, &untagged, 2, []string{`"without":"tags"`, "allow logs:TagResource", `"group":"a-class-of-its-own"`}},
		{"tags are denied, and it does not say so", "class-a", &wanted, func(n target.NewGroup) error {
			if n.Tags != nil {
				return apiErrWith("AccessDeniedException", "no access to class-a")
			}
			return nil
		}, &untagged, 2, []string{`"without":"tags"`}},
		{"class is not known", "staging", &wanted, func(n target.NewGroup) error {
			if n.Class != "" {
				return apiErrWith("InvalidParameterException", "The log group class of staging is not supported in this region.")
			}
			return nil
		}, &unclassed, 2, []string{`"without":"class INFREQUENT_ACCESS"`, "fixed at creation"}},
		{"class is denied", "g", &wanted, func(n target.NewGroup) error {
			if n.Class != "" {
				return apiErrWith("AccessDeniedException", "no")
			}
			return nil
		}, &bare, 3, []string{`"without":"tags, class INFREQUENT_ACCESS"`}},
		{"neither is taken", "g", &wanted, func(n target.NewGroup) error {
			if n.Class != "" || n.Tags != nil {
				return apiErrWith("ValidationException", "no")
			}
			return nil
		}, &bare, 3, []string{"allow logs:TagResource", "fixed at creation"}},
		{"tags alone", "g", &target.NewGroup{Tags: wanted.Tags}, func(n target.NewGroup) error {
			if n.Tags != nil {
				return apiErrWith("ValidationException", "no")
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
				for i := range 20 { // one group, whatever the number of containers
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
					t.Errorf("created %+v, want %+v", made, expect)
				}
				if f.count("group") != k.calls {
					t.Errorf("%d calls to create it, want %d", f.count("group"), k.calls)
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

// ship attaches a feed of one event, and finishes it.
func ship(t *testing.T, u *Uploader, to target.Target) *Delivery {
	feed := newFeed(t)
	feed.add(time.Now(), "x")
	d := u.Attach(to, feed, 0)
	d.Finish()
	return d
}

// withNewGroup returns the target with options for a new group.
func withNewGroup(n *target.NewGroup) target.Target {
	to := testTarget
	to.Create.NewGroup = n
	return to
}

// TestForeignGroupIsNotChanged: a group that exists, or that somebody else creates at the
// same time, is not changed.
func TestForeignGroupIsNotChanged(t *testing.T) {
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
				<-ship(t, u, withNewGroup(&wanted)).Done()
				time.Sleep(time.Minute)
				stop(t, u)
				if n := f.count("retention"); n > 0 {
					t.Errorf("retention set %d times", n)
				}
			})
		})
	}
}

func TestGroupOfUnansweredCallGetsItsRetention(t *testing.T) {
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
				<-ship(t, u, withNewGroup(&wanted)).Done()
				time.Sleep(time.Minute)
				stop(t, u)
				if f.set["g"] != 30 || f.count("retention") != 1 {
					t.Errorf("retention %d, set %d times", f.set["g"], f.count("retention"))
				}
			})
		})
	}
}

// TestGroupIsNotCreatedWithoutItsKey: events wait until the key can be used.
func TestGroupIsNotCreatedWithoutItsKey(t *testing.T) {
	for name, err := range map[string]error{
		"not there":  apiErrWith("InvalidParameterException", "The specified KMS Key Id could not be found."),
		"not ours":   apiErrWith("AccessDeniedException", "User is not authorized to perform: kms:DescribeKey"),
		"not stated": apiErrWith("AccessDeniedException", "no"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, log := newFake(t), &logged{}
				good := false // under f's lock
				f.options = func(n target.NewGroup) error {
					if n.KMSKeyID == "" {
						t.Error("a group without its key is created")
					}
					if good {
						return nil
					}
					return err
				}
				u := start(t, f, Options{Log: log.log()})
				d := ship(t, u, withNewGroup(&wanted))
				time.Sleep(time.Hour)
				f.mu.Lock()
				if f.groups["g"] {
					t.Error("it was created")
				}
				f.mu.Unlock()
				if name != "not stated" && f.count("group") > f.count("stream") {
					t.Errorf("%d calls to create the group in %d tries", f.count("group"), f.count("stream"))
				}
				said := log.with("ERROR", "not created without its KMS key", "check that the key is enabled", `"group":"g"`)
				if len(said) != 6 || len(log.with("ERROR")) != 6 { // at once, and every ten minutes
					t.Errorf("logged %q", log.lines)
				}
				f.mu.Lock()
				good = true
				f.mu.Unlock()
				fixed := time.Now()
				<-d.Done()
				if d := time.Since(fixed); d > maxSlowBackoff+3*time.Second { // three calls, at two a second
					t.Errorf("delivered %v after it was fixed", d)
				}
				stop(t, u)
				made := f.asked["g"]
				if name == "not stated" { // it may have been fixed between the call with all options and the one with fewer
					made.Tags, made.Class = wanted.Tags, wanted.Class
				}
				if !equal(made, wanted) {
					t.Errorf("created %+v", f.asked["g"])
				}
			})
		})
	}
}

func TestSDKSendsNewGroupAndEMF(t *testing.T) {
	s, u, local := standIn(t, Options{})
	s.AddFault(cwlocal.Fault{Kind: cwlocal.Throttle, Operation: "PutRetentionPolicy", Count: 1})
	s.AddFault(cwlocal.Fault{Kind: cwlocal.Denied, Operation: "PutRetentionPolicy", Group: "denied"})
	for _, name := range []string{"g", "denied"} {
		to := local
		to.Create.NewGroup, to.EMF, to.Group = &wanted, true, name
		feed := newFeed(t)
		feed.add(time.Now(), "x")
		d := u.Attach(to, feed, 0)
		d.Finish()
		<-d.Done()
		u.wg.Wait() // for the retention
		if st, ok := s.Stream(to.Region, name, "s"); !ok || st.EMFBatches != 1 || st.Batches != 1 {
			t.Errorf("%+v", st)
		}
	}
	groups := s.Groups()
	if len(groups) != 2 {
		t.Fatalf("%+v", groups)
	}
	for i, g := range groups {
		days := []int{0, 30}[i] // of denied, and g
		if g.Class != wanted.Class || g.KMSKey != wanted.KMSKeyID || g.RetentionDays != days || !maps.Equal(g.Tags, wanted.Tags) {
			t.Errorf("%+v", g)
		}
	}
}

// TestSDKKeyErrorIsAboutTheKey: the real SDK's error for a key that cannot be used is
// recognised.
func TestSDKKeyErrorIsAboutTheKey(t *testing.T) {
	s, err := cwlocal.Start("127.0.0.1:0", cwlocal.Options{Keys: map[string]string{testKey: testSecret}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sdk := newSDK(staticConfig, "1")
	defer sdk.close()
	c, err := sdk.connect(t.Context(), target.Access{Region: "us-east-1", Endpoint: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	err = c.CreateLogGroup(t.Context(), "tag-class", wanted) // its key is in another region
	if v := classify(err, false); !aboutOptions(v, err) || len(reducedGroups(wanted, "tag-class", v, err)) > 0 {
		t.Errorf("%d: %v", v, err)
	}
}
