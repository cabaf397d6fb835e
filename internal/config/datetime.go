package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// sequences are the regexps that awslogs uses for strftime's sequences (moby,
// daemon/logger/awslogs/cloudwatchlogs.go, strftimeToRegex). They include its oddities,
// because a format must produce the same events here.
var sequences = map[string]string{
	"%a": `(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)`,
	"%A": `(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)`,
	"%w": `[0-6]`,
	"%d": `(?:0[1-9]|[1,2][0-9]|3[0,1])`,
	"%b": `(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)`,
	"%B": `(?:January|February|March|April|May|June|July|August|September|October|November|December)`,
	"%m": `(?:0[1-9]|1[0-2])`,
	"%Y": `\d{4}`,
	"%y": `\d{2}`,
	"%H": `(?:[0,1][0-9]|2[0-3])`,
	"%I": `(?:0[0-9]|1[0-2])`,
	"%p": `[A,P]M`,
	"%M": `[0-5][0-9]`,
	"%S": `[0-5][0-9]`,
	"%f": `\d{6}`,
	"%z": `[+-]\d{4}`,
	"%Z": `[A-Z]{1,4}T`,
	"%j": `(?:0[0-9][1-9]|[1,2][0-9][0-9]|3[0-5][0-9]|36[0-6])`,
	"%L": `\.\d{3}`,
}

func datetimeSequences() []string { return slices.Sorted(maps.Keys(sequences)) }

var sequence = regexp.MustCompile("%.")

// parseDatetime turns a strftime format into a regexp, as awslogs does: text between
// sequences is part of the regexp, and unknown sequences are removed. It returns the
// unknown sequences. The regexp is nil if nothing of the format is left.
func parseDatetime(text string) (pattern *regexp.Regexp, unknown []string, err error) {
	expanded := sequence.ReplaceAllStringFunc(text, func(s string) string {
		r, ok := sequences[s]
		if !ok && !slices.Contains(unknown, s) {
			unknown = append(unknown, s)
		}
		return r
	})
	if expanded == "" {
		return nil, unknown, nil
	}
	if pattern, err = compile(expanded); err != nil {
		return nil, unknown, fmt.Errorf("%s is not a valid format: %w", shown(text), err)
	}
	return pattern, unknown, nil
}
