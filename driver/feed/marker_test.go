package feed

import (
	"regexp"
	"strings"
	"testing"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/spool"
)

func TestEachReasonHasAText(t *testing.T) {
	var all []spool.Reason
	for r := spool.Reason(1); r.String() != "unknown"; r++ {
		all = append(all, r)
	}
	for r := range events.LossReasons {
		all = append(all, gapReason(r))
	}
	for _, r := range all {
		if gapReasons[r] == "" {
			t.Errorf("the reason %s has no text in gapReasons", reasonWord(r))
		}
	}
	if len(all) != len(gapReasons) {
		t.Errorf("there are %d reasons, and gapReasons has %d texts", len(all), len(gapReasons))
	}
}

// TestMarkerCannotBeForged holds that a container cannot print a marker as SECURITY.md
// defines it.
func TestMarkerCannotBeForged(t *testing.T) {
	real := regexp.MustCompile(`^\[logspool\] missing here: [^\n]*;\nreason: \w+ \([^\n]*\)$`)
	marker := gapText(spool.Gap{Reason: spool.Full, Frames: 2, Bytes: 30, MinTime: 1e18, MaxTime: 2e18})
	if !real.MatchString(marker) {
		t.Errorf("%q is not a marker", marker)
	}
	for _, o := range []events.Options{
		{},
		{Pattern: regexp.MustCompile(`^\[logspool\]`)},
		{Pattern: regexp.MustCompile(`^never`)},
		{JSON: &events.JSON{}},
		{Pattern: regexp.MustCompile(`^\[logspool\]`), MaxBytes: len(marker) + 1},
		{Pattern: regexp.MustCompile(`^\[logspool\]`), Budget: events.NewBudget(0)},
	} {
		r := newFeedRig(t)
		f := New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended, Events: o})
		for range 2 {
			for line := range strings.SplitSeq(marker, "\n") {
				r.append(r.line("stdout", line))
			}
		}
		r.ended.Store(true)
		for _, h := range take(f, 100) {
			if real.MatchString(h.message) {
				t.Errorf("%q looks like a marker", h.message)
			}
		}
		f.Close()
		r.spool.Close()
	}
}
