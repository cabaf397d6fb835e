package cli

import (
	"strings"
	"testing"
)

// A long name is not cut, and a name that is not printable is one line.
func TestContainerNameIsWhole(t *testing.T) {
	for name, want := range map[string]string{
		strings.Repeat("n", 200): strings.Repeat("n", 200) + " (0123456789ab)",
		"a\n\x1b[31m":            `a \x1b[31m (0123456789ab)`,
		"":                       "0123456789ab",
		"<script>":               "<script> (0123456789ab)",
	} {
		if got := fullName(name, "0123456789abcdef"); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
