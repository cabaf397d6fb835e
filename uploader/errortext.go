package uploader

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/logspool/logspool/internal/oneline"
)

var (
	// quotes matches quotation marks that were escaped any number of times. The log escapes
	// them, and dockerd escapes them again.
	quotes = regexp.MustCompile(`\\*"`)
)

// ErrorText returns an error of AWS as one short line without secrets, because dockerd stops
// reading the plugin's output at a line of 64 KiB. Of a long error it keeps the beginning,
// which says what was tried, and the end, which has the cause.
func ErrorText(err error) string {
	const head, tail = 200, 400
	s := oneline.Redact(err.Error())
	s = quotes.ReplaceAllString(strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "\ufffd"), "'")
	if len(s) <= head+tail {
		return s
	}
	to := len(s) - tail
	for !utf8.RuneStart(s[to]) {
		to++
	}
	return oneline.Cut(s, head) + "…" + s[to:]
}
