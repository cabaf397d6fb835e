package container

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestLabelIsOneShortLine: a label is one printable line of bounded length, cut between
// characters.
func TestLabelIsOneShortLine(t *testing.T) {
	const id = "1f2e3d4c5b6a7988776655443322110000112233445566778899aabbccddeeff"
	for _, tc := range []struct{ name, id, want string }{
		{"/web", id, "web (1f2e3d4c5b6a)"},
		{"", id, "1f2e3d4c5b6a"},
		{"/web", "", "web"},
		{"/a\nb\x1b[31m\u202e\xff", "x\ny", `a b\x1b[31m\u202e\xff (x y)`},
		{"/" + strings.Repeat("é", 100), id, strings.Repeat("é", 32) + "… (1f2e3d4c5b6a)"},
		{"/x" + strings.Repeat("é", 100), id, "x" + strings.Repeat("é", 31) + "… (1f2e3d4c5b6a)"},
	} {
		if got := Label(tc.name, tc.id); got != tc.want || !utf8.ValidString(got) {
			t.Errorf("%q, %q: %q, want %q", tc.name, tc.id, got, tc.want)
		}
	}
}
