package feed

import (
	"regexp"
	"strings"
	"testing"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/spool"
)

func TestMarkerGivesReason(t *testing.T) {
	for r, want := range map[spool.Reason]string{
		spool.Full:                    "reason: spool_full (the spool was full)",
		gapReason(events.TooOld):      "reason: too_old (CloudWatch accepts nothing older than 14 days)",
		gapReason(events.TooLarge):    "reason: too_large (larger than CloudWatch accepts)",
		spool.EndOfReasons:            "reason: unknown (this version of the plugin does not know the reason)",
		gapReason(events.LossReasons): "reason: unknown (this version of the plugin does not know the reason)",
	} {
		if got := gapText(spool.Gap{Reason: r}); !strings.HasSuffix(got, "\n"+want) {
			t.Errorf("reason %d: %q, want %q", r, got, want)
		}
	}
}

// TestMarkerCannotBeForged checks that a container cannot print a marker as SECURITY.md
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
