package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/dockertest"
)

// happening is what the service takes: a line, a line of a number that is not the stream's next, or a marker.
type happening struct {
	n    int   // line number; -1: text
	ms   int64 // its time
	text string
}

// TestBalance holds the oracle of all rows against made-up runs of ten lines, each in a millisecond of its own.
func TestBalance(t *testing.T) {
	line := func(n int) happening { return happening{n: n, ms: int64(n)} }
	marker := func(ms int64, text string) happening { return happening{-1, ms, markerPrefix + text} }
	lines := func(numbers ...int) (all []happening) {
		for _, n := range numbers {
			all = append(all, line(n))
		}
		return all
	}
	for _, test := range []struct {
		name  string
		taken []happening
		want  balance
	}{
		{"all", lines(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), balance{delivered: 10}},
		{"nothing", nil, balance{lost: 10}},
		{"batches in another order than time", lines(5, 6, 7, 8, 9, 0, 1, 2, 3, 4), balance{delivered: 10}},
		{"one doubled", lines(0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9), balance{delivered: 10, doubled: 1}},
		{"two at the wrong times", append(lines(0, 1, 2, 5, 6, 7, 8, 9), happening{n: 3, ms: 4}, happening{n: 4, ms: 3}), balance{delivered: 10, disordered: 1}},
		{"lost in the middle", lines(0, 1, 2, 6, 7, 8, 9), balance{delivered: 7, lost: 3}},
		{"lost at the end", lines(0, 1, 2), balance{delivered: 3, lost: 7}},
		{"told", append(lines(0, 1, 2, 6, 7, 8, 9), marker(3, "3 lines, 300 bytes; reason: full")), balance{delivered: 7, marked: 3}},
		{"told twice by one marker", append(lines(0, 1, 2, 6, 7, 8, 9), marker(3, "3 lines, 1 bytes"), marker(3, "3 lines, 1 bytes")), balance{delivered: 7, marked: 3}},
		{"told by two markers", append(lines(0, 1, 2, 6, 7, 8, 9), marker(3, "1 lines, 1 bytes"), marker(4, "2 lines, 2 bytes")), balance{delivered: 7, marked: 3}},
		{"told in part", append(lines(0, 1, 2, 6, 7, 8, 9), marker(3, "2 lines, 2 bytes")), balance{delivered: 7, marked: 2, lost: 1}},
		{"told in bytes", append(lines(0, 1, 2, 6, 7, 8, 9), marker(2, "300 bytes")), balance{delivered: 7, marked: 3}},
		{"told elsewhere", append(lines(0, 1, 2, 6, 7, 8, 9), marker(8, "3 lines, 3 bytes")), balance{delivered: 7, lost: 3, overtold: 3}},
		{"told elsewhere in bytes", append(lines(0, 1, 2, 6, 7, 8, 9), marker(0, "3 bytes")), balance{delivered: 7, lost: 3}},
		{"told too much", append(lines(0, 1, 2, 6, 7, 8, 9), marker(3, "4 lines, 4 bytes")), balance{delivered: 7, marked: 3, overtold: 1}},
		{"told and delivered", append(lines(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), marker(3, "1 lines, 4 bytes")), balance{delivered: 10, overtold: 1}},
		{"told at the end", append(lines(0, 1, 2), marker(3, "7 lines, 7 bytes")), balance{delivered: 3, marked: 7}},
		// The marker of an event that the service refuses comes after others of the same millisecond.
		{"told behind lines of its time", append([]happening{{n: 0}, {n: 1}, {n: 2}, {n: 4}, {n: 5}, {n: 7}, {n: 8}, {n: 9}},
			marker(0, "1 lines, 1 bytes"), marker(0, "1 lines, 2 bytes")), balance{delivered: 8, marked: 2}},
		{"not a line", append(lines(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), happening{-1, 3, "what is this"}), balance{delivered: 10, wrong: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAccount()
			q := dockertest.Sequence{Container: "c", Source: "stdout"}
			var text []string
			for range 10 {
				text = append(text, q.Next(60))
			}
			a.written(q)
			for i, h := range test.taken {
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

// TestDoubledElsewhere: a line may come twice if its first batch was under way at a kill.
func TestDoubledElsewhere(t *testing.T) {
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
	if n := a.doubledElsewhere(kills, 100*time.Millisecond); n != 0 {
		t.Errorf("%d lines of the batch at the kill were not under way", n)
	}
	again(events[4])
	if n := a.doubledElsewhere(kills, 100*time.Millisecond); n != 1 {
		t.Errorf("%d lines doubled elsewhere, want 1", n)
	}
}
