package promtest

import "regexp"

// short has what Shorten replaces. The conditions stay as they are, except for the times.
var short = []struct {
	long *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`(?m)^( +for:) \S+$`), "$1 2s"},
	{regexp.MustCompile(`\[5m\]`), "[10s]"},
	{regexp.MustCompile(`\[15m\]`), "[20s]"},
	{regexp.MustCompile(`(oldest_age_seconds >) 300\b`), "$1 10"},
}

// Shorten returns alert rules whose times are seconds instead of minutes, for a test that
// scrapes once a second. An alert fires after 2 s instead of its own for, an increase counts
// over 10 s instead of 5 min, a change over 20 s instead of 15 min, and a line is late after
// 10 s instead of 5 min.
func Shorten(rules string) string {
	for _, s := range short {
		rules = s.long.ReplaceAllString(rules, s.by)
	}
	return rules
}
