package uploader

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestRetentionDelaysNoEvents: a retention that cannot be set is tried again if that can
// help, and is otherwise logged once.
func TestRetentionDelaysNoEvents(t *testing.T) {
	for _, k := range []struct {
		name  string
		errs  []error // the errors of the first calls; the last one repeats if ever
		ever  bool
		calls int
		hint  string // the hint of the one warning that it is not set
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
					to := withNewGroup(&wanted)
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

// TestStopDoesNotWaitForRetention: the log says that the retention is not set.
func TestStopDoesNotWaitForRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := newFake(t), &logged{}
		f.faults = func(op, _, _ string) *fault {
			if op == "retention" {
				return &fault{err: apiErr("ThrottlingException")}
			}
			return nil
		}
		u := start(t, f, Options{Log: log.log()})
		<-ship(t, u, withNewGroup(&wanted)).Done()
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
