package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
)

// arrival is an event that the service accepts: a line or a marker.
type arrival struct {
	n    int   // line number; -1: the event has the text
	ms   int64 // its time
	text string
}

// TestBalanceCountsEveryDifference compares the balance, which judges all rows, with
// invented runs of ten lines, each in a millisecond of its own.
func TestBalanceCountsEveryDifference(t *testing.T) {
	line := func(n int) arrival { return arrival{n: n, ms: int64(n)} }
	marker := func(ms int64, text string) arrival { return arrival{-1, ms, markerPrefix + text} }
	lines := func(numbers ...int) (all []arrival) {
		for _, n := range numbers {
			all = append(all, line(n))
		}
		return all
	}
	for _, test := range []struct {
		name     string
		accepted []arrival
		want     balance
	}{
		{"all", lines(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), balance{delivered: 10}},
		{"nothing", nil, balance{lost: 10}},
		{"batches in another order than time", lines(5, 6, 7, 8, 9, 0, 1, 2, 3, 4), balance{delivered: 10}},
		{"one doubled", lines(0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9), balance{delivered: 10, doubled: 1}},
		{"two at the wrong times", append(lines(0, 1, 2, 5, 6, 7, 8, 9), arrival{n: 3, ms: 4}, arrival{n: 4, ms: 3}), balance{delivered: 10, disordered: 1}},
		{"lost in the middle", lines(0, 1, 2, 6, 7, 8, 9), balance{delivered: 7, lost: 3}},
		{"lost at the end", lines(0, 1, 2), balance{delivered: 3, lost: 7}},
		{"marked", append(lines(0, 1, 2, 6, 7, 8, 9), marker(3, "3 lines, 300 bytes; reason: full")), balance{delivered: 7, marked: 3}},
		{"marked by one marker that arrives twice", append(lines(0, 1, 2, 6, 7, 8, 9), marker(3, "3 lines, 1 bytes"), marker(3, "3 lines, 1 bytes")), balance{delivered: 7, marked: 3}},
		{"marked by two markers", append(lines(0, 1, 2, 6, 7, 8, 9), marker(3, "1 lines, 1 bytes"), marker(4, "2 lines, 2 bytes")), balance{delivered: 7, marked: 3}},
		{"marked in part", append(lines(0, 1, 2, 6, 7, 8, 9), marker(3, "2 lines, 2 bytes")), balance{delivered: 7, marked: 2, lost: 1}},
		{"marked in bytes", append(lines(0, 1, 2, 6, 7, 8, 9), marker(2, "300 bytes")), balance{delivered: 7, marked: 3}},
		{"marked elsewhere", append(lines(0, 1, 2, 6, 7, 8, 9), marker(8, "3 lines, 3 bytes")), balance{delivered: 7, lost: 3, overmarked: 3}},
		{"marked elsewhere in bytes", append(lines(0, 1, 2, 6, 7, 8, 9), marker(0, "3 bytes")), balance{delivered: 7, lost: 3}},
		{"too many marked", append(lines(0, 1, 2, 6, 7, 8, 9), marker(3, "4 lines, 4 bytes")), balance{delivered: 7, marked: 3, overmarked: 1}},
		{"marked and delivered", append(lines(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), marker(3, "1 lines, 4 bytes")), balance{delivered: 10, overmarked: 1}},
		{"marked at the end", append(lines(0, 1, 2), marker(3, "7 lines, 7 bytes")), balance{delivered: 3, marked: 7}},
		// The marker of a rejected event comes after others of the same millisecond.
		{"marked after lines of the same time", append([]arrival{{n: 0}, {n: 1}, {n: 2}, {n: 4}, {n: 5}, {n: 7}, {n: 8}, {n: 9}},
			marker(0, "1 lines, 1 bytes"), marker(0, "1 lines, 2 bytes")), balance{delivered: 8, marked: 2}},
		{"not a line", append(lines(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), arrival{-1, 3, "what is this"}), balance{delivered: 10, wrong: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAccount()
			q := dockertest.Sequence{Container: "c", Source: "stdout"}
			var text []string
			for range 10 {
				text = append(text, q.Next(60))
			}
			a.written(q)
			for i, h := range test.accepted {
				m := h.text
				if h.n >= 0 {
					m = text[h.n]
				}
				a.accepted("c", []cwlocal.Event{{Timestamp: a.begun.UnixMilli() + 1 + h.ms, Seq: uint64(i), Message: m}})
			}
			got := a.balance()
			test.want.written = 10
			got.examples = nil
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
			if open, _ := a.open(); test.name == "all" && open != 0 || test.name == "nothing" && open != 10 {
				t.Errorf("%d lines are open", open)
			}
		})
	}
}

// TestDoubledOutside: a line may arrive twice if its first batch was in flight at a kill.
func TestDoubledOutside(t *testing.T) {
	a := newAccount()
	q := dockertest.Sequence{Container: "c", Source: "stdout"}
	var events []cwlocal.Event
	for n := range 6 {
		events = append(events, cwlocal.Event{Timestamp: a.begun.UnixMilli() + int64(n), Seq: uint64(n), Message: q.Next(60)})
	}
	a.written(q)
	a.accepted("c", events[:3])
	a.accepted("c", events[3:])
	a.batches[0].at = a.batches[0].at.Add(-time.Minute)
	kills := []time.Time{a.batches[0].at.Add(50 * time.Millisecond)}
	again := func(e cwlocal.Event) {
		e.Seq += 100
		a.accepted("c", []cwlocal.Event{e})
	}
	again(events[1])
	again(events[2])
	if n := a.doubledOutside(kills, 100*time.Millisecond); n != 0 {
		t.Errorf("%d lines of the batch at the kill were not in flight", n)
	}
	again(events[4])
	if n := a.doubledOutside(kills, 100*time.Millisecond); n != 1 {
		t.Errorf("%d lines duplicated outside, want 1", n)
	}
}
