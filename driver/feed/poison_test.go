package feed

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/events"
)

// TestPanicLosesOnlyItsFrames checks that a panic on a container's output loses only the
// frames that were being processed. They are set aside, counted, and recorded by a
// marker. Everything else is delivered once.
func TestPanicLosesOnlyItsFrames(t *testing.T) {
	panicOn := func(p []byte) {
		if bytes.Contains(p, []byte("boom")) {
			panic("test")
		}
	}
	decodeHook = panicOn
	defer func() { decodeHook = nil }()
	for _, test := range []struct {
		name   string
		hook   func([]byte)
		o      events.Options
		poison []string // texts of the frames set aside
	}{
		{"decode", nil, events.Options{}, []string{"boom"}},
		{"line", func(p []byte) { panicOn(bytes.ReplaceAll(p, []byte("BOOM"), []byte("boom"))) }, events.Options{}, []string{"boom", "BOOM"}},
		{"event", func(p []byte) { panicOn(bytes.ReplaceAll(p, []byte("BOOM"), []byte("boom"))) },
			events.Options{Pattern: regexp.MustCompile("^[a-zB]")}, []string{"boom", "BOOM", "  more"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newFeedRig(t)
			defer r.spool.Close()
			var poison, lost []string
			panics := 0
			f := New(r.spool, Options{
				Outputs: BothOutputs, Ended: &r.ended, Events: test.o,
				OnPanic: func(cause any, stack []byte) {
					if panics++; cause != "test" || !bytes.Contains(stack, []byte("TestPanicLosesOnlyItsFrames")) {
						t.Errorf("%v at %s", cause, stack)
					}
				},
				OnPoison: func(frame []byte, cause any) {
					var fr events.Frame
					if err := events.Decode(frame, &fr); err != nil {
						t.Error(err)
					}
					poison = append(poison, string(fr.Line))
				},
				OnLost: func(reason string, events int, bytes int64) {
					lost = append(lost, fmt.Sprint(reason, " ", events))
				},
			})
			f.poison.hook = test.hook
			for _, line := range []string{"one", "boom", "two", "BOOM", "  more", "three", "four"} {
				r.append(r.line("stdout", line))
			}
			r.ended.Store(true)
			all := take(f, 100)
			for range 2 { // The result is the same after a rewind.
				f.Rewind()
				again := take(f, 100)
				if len(again) < 4 {
					t.Errorf("only %q after a rewind", messages(again))
				}
				all = again
			}
			frames := 0
			var lines []string
			for _, h := range all {
				var n int
				if _, err := fmt.Sscanf(h.message, missing+"%d lines", &n); err == nil {
					if !strings.Contains(h.message, "reason: unprocessable") {
						t.Errorf("%q", h.message)
					}
					frames += n
				} else {
					lines = append(lines, strings.Split(strings.TrimSuffix(h.message, "\n"), "\n")...)
				}
				if err := f.Ack(h.ranges); err != nil {
					t.Fatal(err)
				}
			}
			f.Close()
			var want []string
			for _, line := range []string{"one", "boom", "two", "BOOM", "  more", "three", "four"} {
				if !slices.Contains(test.poison, line) {
					want = append(want, line)
				}
			}
			if !slices.Equal(lines, want) {
				t.Errorf("delivered %q, want %q", lines, want)
			}
			if panics != 1 || frames != len(test.poison) || !slices.Equal(poison, test.poison) || len(lost) == 0 {
				t.Errorf("%d calls of OnPanic, %d frames in gaps, set aside %q, lost %q; want %q", panics, frames, poison, lost, test.poison)
			}
			if r.spool.Pending() {
				t.Errorf("acknowledged up to %d of %d", r.spool.Acked(), r.spool.End())
			}
		})
	}
}

// TestFeedSurvivesPanicOfRegexp checks that a feed survives a panic inside the pipeline
// while lines are unfinished.
func TestFeedSurvivesPanicOfRegexp(t *testing.T) {
	r := newFeedRig(t)
	defer r.spool.Close()
	f := New(r.spool, Options{Outputs: BothOutputs, Ended: &r.ended, Events: events.Options{Exclude: &regexp.Regexp{}}}) // panics on every text
	defer f.Close()
	r.append(slices.Concat(r.pieces("stderr", strings.Repeat("y", 20_000))[0], r.line("stdout", "one"), r.line("stdout", "two")))
	r.ended.Store(true)
	frames := 0
	for _, h := range take(f, 100) {
		var n int
		if _, err := fmt.Sscanf(h.message, missing+"%d lines", &n); err != nil {
			t.Errorf("%.100q", h.message)
		}
		frames += n
		if err := f.Ack(h.ranges); err != nil {
			t.Fatal(err)
		}
	}
	if frames != 3 || r.spool.Pending() {
		t.Errorf("%d frames in gaps, acknowledged up to %d of %d", frames, r.spool.Acked(), r.spool.End())
	}
}
