package store

import (
	"strings"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// parsePattern makes a filter of a FilterLogEvents pattern of terms: plain ones and "quoted ones"
// must all be in the message, -excluded ones must not; of ?optional ones one must be there, and they
// count only where there are no others, as in the service. Case matters. The patterns for JSON, for
// columns and for regular expressions are refused.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
func parsePattern(text string) (match func(string) bool, err *protocol.Error) {
	text = strings.TrimSpace(text)
	if text != "" && strings.ContainsRune("{[%", rune(text[0])) {
		return nil, protocol.Invalid("Invalid filter pattern: cwlocal knows patterns of terms only, not of JSON ({), columns ([) or regular expressions (%%)")
	}
	var all, none, any []string
	for text != "" {
		list := &all
		switch text[0] {
		case '-':
			list, text = &none, text[1:]
		case '?':
			list, text = &any, text[1:]
		}
		term, rest, ok := cutTerm(text)
		if !ok {
			return nil, protocol.Invalid("Invalid filter pattern")
		}
		*list = append(*list, term)
		text = strings.TrimLeft(rest, " \t")
	}
	return func(message string) bool {
		for _, t := range all {
			if !strings.Contains(message, t) {
				return false
			}
		}
		for _, t := range none {
			if strings.Contains(message, t) {
				return false
			}
		}
		if len(all)+len(none) > 0 || len(any) == 0 {
			return true
		}
		for _, t := range any {
			if strings.Contains(message, t) {
				return true
			}
		}
		return false
	}, nil
}

// cutTerm takes one term, in quotes or of the characters that need none.
func cutTerm(text string) (term, rest string, ok bool) {
	if strings.HasPrefix(text, `"`) {
		var b strings.Builder
		for i := 1; i < len(text); i++ {
			switch c := text[i]; {
			case c == '"':
				return b.String(), text[i+1:], b.Len() > 0
			case c == '\\' && i+1 < len(text):
				i++
				b.WriteByte(text[i])
			default:
				b.WriteByte(c)
			}
		}
		return "", "", false
	}
	end := strings.IndexAny(text, " \t")
	if end < 0 {
		end = len(text)
	}
	term = text[:end]
	for _, c := range term {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80) {
			return "", "", false // the service wants quotes around it
		}
	}
	return term, text[end:], term != ""
}
