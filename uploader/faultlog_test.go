package uploader

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	serviceFails = "sending to CloudWatch Logs failed; the plugin keeps trying"
	serviceWorks = "CloudWatch Logs accepts requests again"
	groupFails   = "sending to the log group failed; the plugin keeps trying"
	groupWorks   = "sending to the log group works again"
)

// TestOutageIsLoggedWhileItLasts: an outage is logged at once, then every ten minutes with
// the containers, what waits and since when, and when it ends.
func TestOutageIsLoggedWhileItLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		down := true
		f.faults = func(string, string, string) *fault {
			if down {
				return &fault{err: errors.New("connection refused")}
			}
			return nil
		}
		var log logged
		u := start(t, f, Options{Log: log.log()})
		var deliveries []*Delivery
		begin := time.Now()
		for i := range 8 {
			feed := newFeed(t)
			feed.name = fmt.Sprintf("web-%d (%012d)", i, i)
			to := testTarget
			to.Stream = fmt.Sprint(i)
			f.has("g", to.Stream)
			for j := range 10 - i { // the first has the most
				feed.add(begin.Add(time.Duration(i+j)*time.Second), "0123456789")
			}
			deliveries = append(deliveries, u.Attach(to, feed, time.Second))
		}
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		said := log.with("ERROR", serviceFails)
		if len(said) != 4 || len(log.with("ERROR")) != 4 {
			t.Errorf("logged %d lines: %q", len(said), log.lines)
		}
		for i, line := range said {
			for _, part := range []string{
				`"containers":"web-0 (000000000000), web-1 (000000000001), web-2 (000000000002), web-3 (000000000003), web-4 (000000000004) and 3 more"`,
				`"waiting_bytes":520`, `"oldest":"` + begin.UTC().Format(time.RFC3339), "connection refused",
			} {
				if !strings.Contains(line, part) {
					t.Errorf("no %s in %s", part, line)
				}
			}
			if since := strings.Contains(line, `"since":"`+begin.UTC().Format(time.RFC3339)); since != (i > 0) {
				t.Errorf("line %d: %s", i, line)
			}
			if strings.Contains(line, "nothing is lost") {
				t.Errorf("the log promises what nobody checked: %s", line)
			}
		}
		f.mu.Lock()
		down = false
		f.mu.Unlock()
		for _, d := range deliveries {
			d.Finish()
			<-d.Done()
		}
		if len(log.with("INFO", serviceWorks)) != 1 || len(log.with("works again")) > 0 {
			t.Errorf("logged %q", log.lines)
		}
		stop(t, u)
	})
}

// TestSuccessOfOneGroupDoesNotEndFailureOfAnother: it does not matter whether the failure
// looks like one of the group or one of CloudWatch.
func TestSuccessOfOneGroupDoesNotEndFailureOfAnother(t *testing.T) {
	for name, k := range map[string]struct {
		err         error
		fails, ends string
	}{
		"denied": {apiErr("AccessDeniedException"), groupFails, groupWorks},
		"500":    {&fakeErr{status: 500}, serviceFails, serviceWorks},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				fails := true
				f.faults = func(_, group, _ string) *fault {
					if fails && group == "bad" {
						return &fault{err: k.err}
					}
					return nil
				}
				var log logged
				u := start(t, f, Options{Log: log.log(), Plain: true})
				var deliveries []*Delivery
				for _, group := range []string{"bad", "good"} {
					f.has(group, "s")
					feed := newFeed(t)
					feed.name = group + " (1f2e3d4c5b6a)"
					to := testTarget
					to.Group = group
					d := u.Attach(to, feed, time.Second)
					deliveries = append(deliveries, d)
					for range 2 {
						d.Notify(feed.add(time.Now(), "x"))
					}
					go func() {
						for i := range 300 {
							d.Notify(feed.add(time.Now(), line(i)))
							time.Sleep(5 * time.Second)
						}
					}()
				}
				time.Sleep(25*time.Minute + time.Second)
				synctest.Wait()
				if n := len(log.with("ERROR", k.fails, "bad (1f2e3d4c5b6a)")); n != 3 || len(log.with("ERROR")) != 3 || len(log.with("works again")) > 0 || len(log.with("accepts requests")) > 0 {
					t.Errorf("logged %q", log.lines)
				}
				// When the first line is logged, it is not known yet which group fails.
				if len(log.with("good (1f2e3d4c5b6a)", `"since"`)) > 0 {
					t.Errorf("a container that is not affected is named: %q", log.lines)
				}
				f.mu.Lock()
				fails = false
				f.mu.Unlock()
				for _, d := range deliveries {
					d.Finish()
					<-d.Done()
				}
				stop(t, u)
				if len(log.with("INFO", k.ends)) != 1 {
					t.Errorf("logged %q", log.lines)
				}
			})
		})
	}
}

// TestStreamThatNeverExistsIsLoggedAsFailure: CloudWatch says that it has created the
// stream, and then that the stream does not exist.
func TestStreamThatNeverExistsIsLoggedAsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		lost := true
		f.faults = func(op, _, _ string) *fault {
			if op == "put" && lost {
				return &fault{err: apiErr("ResourceNotFoundException")}
			}
			return nil
		}
		var log logged
		u := start(t, f, Options{Log: log.log()})
		feed := newFeed(t)
		feed.name = "web (0123456789ab)"
		feed.add(time.Now(), line(0))
		to := testTarget
		to.Create.Group, to.Create.Stream = true, true
		d := u.Attach(to, feed, 0)
		time.Sleep(25 * time.Minute)
		synctest.Wait()
		if said := log.with("ERROR", groupFails, `"containers":"web (0123456789ab)"`); len(said) != 3 {
			t.Errorf("logged %q", log.lines)
		}
		f.mu.Lock()
		lost = false
		f.mu.Unlock()
		d.Finish()
		<-d.Done()
		if len(log.with("INFO", groupWorks)) != 1 {
			t.Errorf("logged %q", log.lines)
		}
		stop(t, u)
	})
}
