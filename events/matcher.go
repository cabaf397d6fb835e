package events

import (
	"regexp"
	"regexp/syntax"
)

// maxWork bounds what one match costs, in instructions of the regexp times bytes of the text: package regexp
// takes time in proportion to that, tens of nanoseconds a step where a regexp is made for it. All lanes of the
// uploader wait for one that takes minutes.
const maxWork = 64 << 20

// matcher matches a regexp with the beginning of a text, as far as maxWork goes: with all of the longest
// message for up to 64 instructions, and most regexps have fewer.
type matcher struct {
	re   *regexp.Regexp // nil: there is none
	most int            // bytes of a text that it looks at
}

func newMatcher(re *regexp.Regexp) matcher {
	if re == nil {
		return matcher{}
	}
	return matcher{re, maxWork / instructions(re)}
}

// instructions returns how many a regexp comes to.
func instructions(re *regexp.Regexp) int {
	// What was compiled once parses again: regexp.Compile does just this.
	if tree, err := syntax.Parse(re.String(), syntax.Perl); err == nil {
		if program, err := syntax.Compile(tree.Simplify()); err == nil {
			return len(program.Inst)
		}
	}
	return 1
}

func (m matcher) match(text []byte) bool { return m.re.Match(text[:min(len(text), m.most)]) }
