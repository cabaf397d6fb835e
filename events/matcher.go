package events

import (
	"regexp"
	"regexp/syntax"
)

// maxWork bounds the work of one match, in instructions of the regexp times bytes of the
// text. Package regexp takes time in proportion to that: tens of nanoseconds per step for
// a regexp built to be slow. A match that takes minutes would delay all senders of the
// uploader.
const maxWork = 64 << 20

// matcher matches a regexp with the beginning of a text, as far as maxWork allows. For a
// regexp of up to 64 instructions, as most are, that is all of the longest message.
type matcher struct {
	re   *regexp.Regexp // re is nil if nothing is matched.
	most int            // most is how many bytes of a text are matched.
}

func newMatcher(re *regexp.Regexp) matcher {
	if re == nil {
		return matcher{}
	}
	return matcher{re, maxWork / instructions(re)}
}

// instructions returns the number of instructions of a regexp. It repeats what
// regexp.Compile does, so it cannot fail.
func instructions(re *regexp.Regexp) int {
	if tree, err := syntax.Parse(re.String(), syntax.Perl); err == nil {
		if program, err := syntax.Compile(tree.Simplify()); err == nil {
			return len(program.Inst)
		}
	}
	return 1
}

func (m matcher) match(text []byte) bool { return m.re.Match(text[:min(len(text), m.most)]) }
