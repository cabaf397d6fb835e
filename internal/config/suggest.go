package config

import "strings"

// didYouMean returns a hint that gives the known name closest to an unknown one. It
// returns "" if none is close.
func didYouMean(name string, known []string) string {
	if nearest := closest(name, known); nearest != "" {
		return ` (did you mean "` + nearest + `"?)`
	}
	return ""
}

// closest returns the known name that needs the fewest edits, at most one for three
// letters. A change of case, and _ instead of -, are not edits. The prefix of awslogs
// counts as half an edit, not as eight letters that two names have in common.
func closest(name string, known []string) string {
	const longest = 64 // much longer than any known name
	if len(name) > longest {
		return ""
	}
	plain, prefixed := strings.CutPrefix(normal(name), awslogsPrefix)
	best, fewest := "", 2*max(1, len(plain)/3)+2
	for _, candidate := range known {
		other, otherPrefixed := normal(candidate), false
		if prefixed {
			other, otherPrefixed = strings.CutPrefix(other, awslogsPrefix)
		}
		n := 2 * edits(plain, other)
		if prefixed != otherPrefixed {
			n++
		}
		if n < fewest {
			best, fewest = candidate, n
		}
	}
	return best
}

func normal(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

// edits returns the optimal string alignment distance: how many bytes must be inserted,
// removed, replaced or swapped with the next one to turn a into b.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
