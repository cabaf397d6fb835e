package config

import (
	"strings"
	"testing"
)

func TestClosestNameIsSuggested(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3},
	} {
		if got := edits(test.a, test.b); got != test.want {
			t.Errorf("%q, %q: got %d, want %d", test.a, test.b, got, test.want)
		}
	}
	if got := closest(strings.Repeat("group", 20), []string{"group"}); got != "" {
		t.Errorf("got %q", got)
	}
}
