package cli

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
)

func TestNumbersForPeople(t *testing.T) {
	for _, test := range [][2]string{
		{age(-time.Second), "0s"}, {age(400 * time.Millisecond), "0s"}, {age(59600 * time.Millisecond), "1m"}, {age(61 * time.Second), "1m1s"},
		{age(3600 * time.Second), "1h"}, {age(25*time.Hour + 59*time.Minute), "1d1h"}, {age(math.MaxInt64), "106751d23h"},
		{count(0), "0"}, {count(999), "999"}, {count(1000), "1,000"}, {count(-1234567), "-1,234,567"},
		{plural(1, "line"), "1 line"}, {plural(0, "line"), "0 lines"},
		{lineRate(0), "0"}, {lineRate(0.01), "<0.1"}, {lineRate(9.96), "10.0"}, {lineRate(12345.6), "12,346"}, {lineRate(math.NaN()), "0"},
		{byteRate(2048), "2KiB"}, {byteRate(0.5), "1B"}, {size(-1), "0B"}, {size(4 << 30), "4GiB"},
	} {
		if test[0] != test[1] {
			t.Errorf("got %q, want %q", test[0], test[1])
		}
	}
}

func TestTableLeavesOutAndCutsColumns(t *testing.T) {
	table := &table{columns: []column{{title: "NAME", least: 4}, {title: "X", drop: 1}, {title: "AGE"}}}
	table.add("日本語日本語", "12345", "4m")
	table.add("a", "", "10m12s")
	for _, test := range []struct {
		width int
		want  string
	}{
		{0, "NAME           X       AGE\n日本語日本語   12345   4m\na                      10m12s\n"},
		{26, "NAME        X       AGE\n日本語日…   12345   4m\na                   10m12s\n"},
		{15, "NAME     AGE\n日本…    4m\na        10m12s\n"},
		{3, "NAME   AGE\n日…    4m\na      10m12s\n"}, // the narrowest
	} {
		var out bytes.Buffer
		if err := table.write(&out, test.width); err != nil || out.String() != test.want {
			t.Errorf("width %d:\n%s", test.width, out.String())
		}
	}
}

func TestWrapBreaksBetweenWords(t *testing.T) {
	if got := strings.Join(wrap("one two three", 8), "|"); got != "one two|three" {
		t.Errorf("got %q", got)
	}
	if got := strings.Join(wrap("onetwothree", 3), "|"); got != "onetwothree" {
		t.Errorf("got %q", got)
	}
}
