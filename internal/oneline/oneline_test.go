package oneline

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestQuoteEscapesAndCuts(t *testing.T) {
	for _, test := range []struct {
		text string
		most int
		want string
	}{
		{"", 5, `""`},
		{"abc", 3, `"abc"`},
		{"abcd", 3, `"abc"…`},
		{"ééé", 3, `"é"…`}, // not inside a character
		{"a\nb\x1b[31m", 80, `"a\nb\x1b[31m"`},
		{"a\u202eb", 80, `"a\u202eb"`},
		{"a\xffb", 80, `"a\xffb"`},
	} {
		if got := Quote(test.text, test.most); got != test.want {
			t.Errorf("Quote(%q, %d) = %s, want %s", test.text, test.most, got, test.want)
		}
	}
}

func TestTextIsOnePrintableLine(t *testing.T) {
	for _, test := range []struct {
		text string
		most int
		want string
	}{
		{"", 5, ""},
		{"two words, é and \ufffd", 80, "two words, é and \ufffd"},
		{"a\r\nb\tc\u2028d\u00a0e", 80, "a  b c d e"},
		{"\x1b[31mred\x00\u202e", 80, `\x1b[31mred\x00\u202e`},
		{"a\xff\xc3", 80, `a\xff\xc3`},
		{"abcd", 3, "abc…"},
		{"ééé", 3, "é…"},
		{"\x00\x00", 5, `\x00\…`},
	} {
		if got := Text(test.text, test.most); got != test.want {
			t.Errorf("Text(%q, %d) = %q, want %q", test.text, test.most, got, test.want)
		}
	}
}

// TestAnyInputBecomesOneBoundedLine also checks that a printable line is not changed.
func TestAnyInputBecomesOneBoundedLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.String(),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		).Draw(t, "text")
		most := rapid.IntRange(0, 40).Draw(t, "most")
		for _, got := range []string{Text(text, most), Quote(text, most)} {
			if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !strconv.IsPrint(r) }) {
				t.Errorf("not printable: %q", got)
			}
		}
		if got := Text(text, most); len(got) > most+len(ellipsis) {
			t.Errorf("%q has %d bytes, want %d", got, len(got), most)
		}
		once := Text(text, 10*len(text))
		if again := Text(once, len(once)); again != once {
			t.Errorf("%q became %q", once, again)
		}
		if cut := Cut(text, most); len(cut) > most || !strings.HasPrefix(text, cut) {
			t.Errorf("Cut(%q, %d) = %q", text, most, cut)
		}
	})
}
