package store

import (
	"strings"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// parsePattern makes a function of a filter pattern of terms, which reports whether a
// message matches. The message must contain all plain and all "quoted" terms, and none of
// the -excluded terms. If all terms are ?optional, it must contain one of them; otherwise
// optional terms have no effect, as in the service. Letters must match in case. Patterns
// for JSON, columns and regular expressions are refused.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
func parsePattern(text string) (match func(string) bool, err *protocol.Error) {
	text = strings.TrimSpace(text)
	if text != "" && strings.ContainsRune("{[%", rune(text[0])) {
		return nil, protocol.Invalid("Invalid filter pattern: " +
			"cwlocal knows patterns of terms only, not of JSON ({), columns ([) or regular expressions (%%)")
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

// cutTerm reads one term, in quotes or of characters that need no quotes.
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
			return "", "", false // the service requires quotes
		}
	}
	return term, text[end:], term != ""
}
