package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// repaired is the oracle for invalid UTF-8: Go replaces each byte by one U+FFFD, as
// CloudWatch does.
func repaired(b []byte) string { return string([]rune(string(b))) }

func checkEscape(t *testing.T, msg []byte) {
	t.Helper()
	out, counted := AppendEscaped([]byte(`x"`), msg)
	if !strings.HasPrefix(string(out), `x"`) {
		t.Fatalf("the earlier contents of the buffer are gone: %q", out)
	}
	if !bytes.Equal(out[2:], simplyEscaped(msg)) {
		t.Fatalf("escape of %q is %q, want %q", msg, out[2:], simplyEscaped(msg))
	}
	var got string
	if err := json.Unmarshal(append(append([]byte(nil), out[1:]...), '"'), &got); err != nil {
		t.Fatalf("escape of %q is not JSON: %v: %s", msg, err, out)
	}
	want := repaired(msg)
	if got != want {
		t.Fatalf("escape of %q reads as %q, want %q", msg, got, want)
	}
	if counted != len(want) {
		t.Fatalf("escape of %q counted %d bytes, want %d", msg, counted, len(want))
	}
	for _, limit := range []int{0, 1, 2, 3, len(want) - 1, len(want)} {
		if limit < 0 {
			continue
		}
		c := Truncate(msg, limit)
		if n := len(repaired(c)); n > limit {
			t.Fatalf("Truncate(%q, %d) counts %d", msg, limit, n)
		}
		if limit == len(want) && len(c) != len(msg) {
			t.Fatalf("Truncate(%q, %d) is too short: %q", msg, limit, c)
		}
	}
}

func TestEscapeOfEveryByteAtEveryOffset(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			msg := []byte(strings.Repeat("a", 20))
			msg[at] = byte(c)
			checkEscape(t, msg)
		}
	}
	for _, s := range []string{
		"", "plain", "ünï©ødé 日本語 🙂", "\u2028\u2029", "\xf0\x9f\x99", "a\xc3", "\xc3\x28", "\xed\xa0\x80",
		"\xf4\x90\x80\x80", "\ufffd", "1234567\xe6\x97\xa5", "12345678\"", "\x7f",
	} {
		checkEscape(t, []byte(s))
	}
}

// simplyEscaped is the reference for AppendEscaped: one character after the other.
func simplyEscaped(text []byte) (out []byte) {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch i := strings.IndexByte("\"\\\b\f\n\r\t", text[0]); {
		case i >= 0:
			out = append(out, '\\', `"\bfnrt`[i])
		case r < ' ':
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = utf8.AppendRune(out, r)
		}
		text = text[size:]
	}
	return out
}

// TestEscapeOfEverySetOfQuotesInAWord checks text with an escape, or several, at every place
// of a word, at every distance from the end of the text.
func TestEscapeOfEverySetOfQuotesInAWord(t *testing.T) {
	for _, c := range "\"\\\t\x01ü" {
		for set := range 1 << 8 {
			for before := range 3 {
				for after := range 17 {
					word := []rune("abcdefgh")
					for i := range word {
						if set>>i&1 != 0 {
							word[i] = c
						}
					}
					text := []byte(strings.Repeat("<12345678", before) + string(word) + strings.Repeat(">", after))
					if got, n := AppendEscaped(nil, text); !bytes.Equal(got, simplyEscaped(text)) || n != len(text) {
						t.Fatalf("escape of %q is %q, counted %d", text, got, n)
					}
				}
			}
		}
	}
}

// TestEscapeOfLongText checks text that AppendEscaped makes room for more than once.
func TestEscapeOfLongText(t *testing.T) {
	for _, unit := range []string{"x", `"`, "\x00", "ü", "\xff", "plain text, and a \"quote\"", "é\"\xff\n日本"} {
		for n := range 24 {
			text := []byte(strings.Repeat(unit, 2*reservedBytes/len(unit)+n))
			room := make([]byte, 1, 1+n*10)
			if got, _ := AppendEscaped(room, text); !bytes.Equal(got[1:], simplyEscaped(text)) {
				t.Fatalf("escape of %d times %q is %q", n, unit, got)
			}
		}
	}
}

// TestEscapedTextReadsAsRepaired checks that escaped text is read as CloudWatch would
// repair it, and is as long as escapedFit measured.
func TestEscapedTextReadsAsRepaired(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.SliceOf(rapid.Byte()),
			rapid.Map(rapid.SliceOf(rapid.SampledFrom(texts)), func(s []string) []byte { return []byte(strings.Join(s, "")) })).Draw(t, "text")
		limit := rapid.IntRange(0, 100).Draw(t, "limit")
		n := escapedFit(text, limit)
		escaped, _ := AppendEscaped(nil, text[:n])
		if len(escaped) > limit || !utf8.Valid(escaped) {
			t.Fatalf("%q within %d is %q", text, limit, escaped)
		}
		if n < len(text) {
			_, size := utf8.DecodeRune(text[n:])
			if longer, _ := AppendEscaped(nil, text[:n+size]); len(longer) <= limit {
				t.Fatalf("%q: %d bytes fit in %d", text, n+size, limit)
			}
		}
		all, _ := AppendEscaped(nil, text)
		var got string
		if err := json.Unmarshal(slices.Concat([]byte(`"`), all, []byte(`"`)), &got); err != nil || got != string([]rune(string(text))) {
			t.Fatalf("%q is read as %q, %v", text, got, err)
		}
		if bytes.ContainsAny(escaped, "\n\r") {
			t.Fatalf("%q", escaped)
		}
	})
}

func FuzzEscape(f *testing.F) {
	f.Add([]byte("plain ASCII that is longer than a word"))
	f.Add([]byte("quote \" slash \\ tab \t nul \x00 ü \xff 🙂"))
	f.Fuzz(func(t *testing.T, msg []byte) { checkEscape(t, msg) })
}

var escapeKinds = []struct{ name, line string }{
	{"ascii", `127.0.0.1 - - [22/Nov/2026:10:11:12 +0000] GET /api/v1/items/4711?page=2 HTTP/1.1 200 5316 curl/8.5.0`},
	{"json", `{"level":"info","ts":"2026-11-22T10:11:12.345Z","msg":"request served","path":"/api/v1/items","status":200}`},
	{"utf8", `Größenänderung für Überträge abgeschlossen – 日本語のログ 行です – naïve café déjà vu`},
}

func BenchmarkEscape(b *testing.B) {
	for _, k := range escapeKinds {
		b.Run(k.name, func(b *testing.B) {
			msg := []byte(k.line)
			buf := make([]byte, 0, 4096)
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				buf, _ = AppendEscaped(buf[:0], msg)
			}
		})
	}
}
