package spool

import (
	"slices"
	"testing"
)

// TestTrackerCountsDamage: Skipped is the number of bytes that are not part of a frame, and
// counts each of them once.
func TestTrackerCountsDamage(t *testing.T) {
	good, bad := testFrame("stdout", 1, []byte("a line")), []byte("garbage ")
	for _, c := range []struct {
		name string
		p    []byte
		want int
	}{
		{"none", slices.Concat(good, good), 0},
		{"before a frame", slices.Concat(bad, good), 8},
		{"between frames", slices.Concat(good, bad, bad, good, bad, good), 24},
		{"at the end", slices.Concat(good, bad, bad, bad), 24},
	} {
		var tr Tracker
		if all := tr.All(c.p).Skipped; all != c.want {
			t.Errorf("%s: All skips %d bytes, want %d", c.name, all, c.want)
		}
		sum, rest := 0, c.p
		for len(rest) > 0 {
			n, info := tr.Whole(rest)
			if n == 0 {
				n, info = len(rest), tr.All(rest)
			}
			tr.Advance(info)
			sum, rest = sum+info.Skipped, rest[n:]
		}
		// Up to three bytes at the end may be the beginning of a frame's length.
		if sum > c.want || sum < c.want-3 {
			t.Errorf("%s: Whole skips %d bytes, want %d", c.name, sum, c.want)
		}
	}
}
