package events

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// Runtime is a language runtime whose stack traces the plugin knows.
type Runtime string

// Runtimes are the runtimes whose stack traces the plugin knows.
func Runtimes() []Runtime {
	all := make([]Runtime, len(traceFormats))
	for i, f := range traceFormats {
		all[i] = f.runtime
	}
	return all
}

// ParseRuntimes reads a list of runtimes, separated by commas. It returns the name that is not
// a runtime, or "" if all are. A list without any name has the bad name ",".
func ParseRuntimes(text string) (all []Runtime, bad string) {
	known := Runtimes()
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		r := Runtime(strings.ToLower(name))
		if !slices.Contains(known, r) {
			return nil, cmp.Or(name, ",")
		}
		if !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	return all, ""
}

// traceState is where in a stack trace of its format a line is. Zero is outside.
type traceState uint8

// in is a set of traceStates.
type in uint16

func states(all ...traceState) (set in) {
	for _, s := range all {
		set |= 1 << s
	}
	return set
}

func (set in) has(s traceState) bool { return set&(1<<s) != 0 }

// traceFormat is how a runtime prints stack traces.
type traceFormat struct {
	runtime Runtime
	rules   []traceRule
}

// traceRule says that a line which matches belongs to a stack trace. The first rule of a
// format that applies decides.
type traceRule struct {
	from traceState // from is the only state in which the rule applies, if set is 0.
	set  in         // set has the states in which the rule applies.
	line lineMatcher
	to   traceState // to is the state after the line.
	// begins says that the line begins a trace. It belongs to the event of the line before
	// it, unless that is part of another trace.
	begins bool
}

// lineMatcher matches a line. first and words are cheap tests that the regexp implies, because
// most lines are not part of a trace, and a regexp takes tens of times as long.
type lineMatcher struct {
	first string   // first has the bytes with which a line may begin; empty means any.
	words []string // words has texts of which the line contains one; nil means any.
	re    func() *regexp.Regexp
}

func (m *lineMatcher) match(text []byte) bool {
	if m.first != "" && (len(text) == 0 || strings.IndexByte(m.first, text[0]) < 0) {
		return false
	}
	if m.words != nil && !slices.ContainsFunc(m.words, func(w string) bool { return bytes.Contains(text, []byte(w)) }) {
		return false
	}
	return m.re().Match(text)
}

func (r *traceRule) applies(s traceState) bool {
	if r.set != 0 {
		return r.set.has(s)
	}
	return r.from == s
}

// maxTraceLine is how many bytes of a line are compared with the rules.
const maxTraceLine = 4 << 10

// traces recognises the lines of stack traces, for each source. Formats have lines in common,
// so each format has a state of its own.
type traces struct {
	formats []*traceFormat
	within  [Stderr + 1][]traceState // within has a state for each format.
}

// newTraces returns a traces for some runtimes, or nil if there are none.
func newTraces(runtimes []Runtime) *traces {
	if len(runtimes) == 0 {
		return nil
	}
	t := &traces{}
	for i := range traceFormats {
		if slices.Contains(runtimes, traceFormats[i].runtime) {
			t.formats = append(t.formats, &traceFormats[i])
		}
	}
	t.reset()
	return t
}

// continues takes the next line of a source, and reports whether it belongs to the event of
// the line before it.
func (t *traces) continues(src Source, text []byte) bool {
	text = bytes.TrimRight(text[:min(len(text), maxTraceLine)], "\r")
	var after, within, begins bool
	for i, f := range t.formats {
		state := &t.within[src][i]
		r := f.find(*state, text)
		if *state != 0 {
			after = true
			if r == nil {
				r = f.find(0, text)
			}
		}
		switch {
		case r == nil:
			*state = 0
			continue
		case r.begins:
			begins = true
		default:
			within = true
		}
		*state = r.to
	}
	return within || begins && !after
}

func (t *traces) reset() {
	for src := range t.within {
		t.within[src] = make([]traceState, len(t.formats))
	}
}

// find returns the first rule that applies to a line, or nil.
func (f *traceFormat) find(s traceState, text []byte) *traceRule {
	for i := range f.rules {
		if r := &f.rules[i]; r.applies(s) && r.line.match(text) {
			return r
		}
	}
	return nil
}
