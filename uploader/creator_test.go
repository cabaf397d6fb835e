package uploader

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/internal/target"
)

func TestDeletedGroupAndStreamAreCreatedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		u := start(t, f, Options{})
		var feeds []*fakeFeed
		var deliveries []*Delivery
		for i := range 30 {
			feeds = append(feeds, newFeed(t))
			deliveries = append(deliveries, u.Attach(target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: fmt.Sprint(i), Create: target.Create{Group: true, Stream: true}}, feeds[i], time.Second))
		}
		say := func(s string) {
			for i, d := range deliveries {
				d.Notify(feeds[i].add(time.Now(), s))
			}
			time.Sleep(20 * time.Second)
			synctest.Wait()
		}
		say("one")
		if n := f.count("group"); n != 1 {
			t.Errorf("%d calls to create one group", n)
		}
		f.mu.Lock()
		f.groups = map[string]bool{}
		clear(f.streams)
		f.mu.Unlock()
		say("two")
		if n := f.count("group"); n != 2 {
			t.Errorf("%d calls to create one group twice", n)
		}
		if n := f.count("stream"); n > 100 {
			t.Errorf("%d calls to create 60 streams", n)
		}
		for i := range deliveries {
			if s := f.shown("g", fmt.Sprint(i)); len(s) != 1 || s[0].message != "two" {
				t.Errorf("stream %d: %v", i, s)
			}
		}
		stop(t, u)
	})
}

// TestCreationStaysBelowQuotas starts two hundred containers at once.
func TestCreationStaysBelowQuotas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.latency = 20 * time.Millisecond
		var streams []time.Time
		f.faults = func(op, _, _ string) *fault {
			if op == "stream" {
				streams = append(streams, time.Now())
			}
			return nil
		}
		u := start(t, f, Options{})
		var deliveries []*Delivery
		for i := range 200 {
			feed := newFeed(t)
			feed.add(time.Now(), "x")
			deliveries = append(deliveries, u.Attach(target.Target{Access: target.Access{Region: "r"}, Group: "g", Stream: fmt.Sprint(i), Create: target.Create{Group: true, Stream: true}}, feed, time.Second))
		}
		for _, d := range deliveries {
			d.Finish()
		}
		for _, d := range deliveries {
			<-d.Done()
		}
		stop(t, u)
		for i := range streams {
			if i+40 < len(streams) && streams[i+40].Sub(streams[i]) < time.Second {
				t.Fatalf("40 in %v", streams[i+40].Sub(streams[i]))
			}
		}
	})
}

// TestDeniedGroupDelaysNoOtherGroup has a hundred containers that may not create their
// group. They deliver soon after they may.
func TestDeniedGroupDelaysNoOtherGroup(t *testing.T) {
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
			to := withNewGroup(&target.NewGroup{RetentionDays: 1})
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
		fixed := time.Now()
		for len(f.shown("denied", "99")) == 0 || len(f.shown("denied", "0")) == 0 {
			time.Sleep(time.Second)
		}
		if d := time.Since(fixed); d > maxSlowBackoff+15*time.Second {
			t.Errorf("delivered %v after it was fixed", d)
		}
		stop(t, u)
	})
}

// TestFirstNewGroupApplies: feeds of one target share a sender even if they ask for
// different new groups. The group gets what the first feed asks for.
func TestFirstNewGroupApplies(t *testing.T) {
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

// TestRolesShareTheRateOfCreation: the rates of creation belong to a region and endpoint.
// They stay below the quotas, whatever the number of roles.
func TestRolesShareTheRateOfCreation(t *testing.T) {
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
