package faultlog

import (
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A set lists the failures of its loggers, with the attributes of the logger and of the last
// failure, from the first failure to the end.
func TestSetHasWhatLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set Set
		log := slog.New(NewHandler(slog.NewTextHandler(io.Discard, nil), &set)).With("region", "r1")
		begun := time.Now()
		fault := NewFault(log, "sending failed", "", nil)
		shared := NewShared(log.With("group", "g"), "group failed", "", func([]string) []any { return nil })
		loss := NewLoss(log, "lines are lost", "container", "web")
		check := func(when string, want ...Ongoing) {
			t.Helper()
			if diff := cmp.Diff(want, set.Ongoing()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		check("at first")
		fault.Failed("timeout", "err", errors.New("no answer"))
		fault.Failed("denied", "err", errors.New("no"), "hint", "ask")
		time.Sleep(time.Second)
		shared.Failed("a", "x")
		shared.Failed("b", "y", "n", 3)
		time.Sleep(time.Second)
		loss.Lost(2, 10)
		f := Ongoing{"sending failed", "denied", begun, 2, false, map[string]string{"region": "r1", "err": "no", "hint": "ask"}}
		s := Ongoing{"group failed", "y", begun.Add(time.Second), 2, false, map[string]string{"region": "r1", "group": "g", "n": "3"}}
		l := Ongoing{"lines are lost", "", begun.Add(2 * time.Second), 2, true, map[string]string{"region": "r1", "container": "web"}}
		check("while all fail", f, s, l)
		fault.Succeeded()
		shared.Succeeded("a")
		check("while one member fails", s, l)
		shared.Forget("b")
		check("when the last member is gone", l)
		time.Sleep(2 * time.Minute)
		check("after the loss")
		loss.Lost(1, 5)
		loss.Close()
		check("after the close")
	})
}
