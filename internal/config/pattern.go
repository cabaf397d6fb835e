package config

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
)

// These limits bound the cost of a regexp. The time for matching is proportional to the number
// of its instructions and to the length of the text (package regexp), and an event may have a
// megabyte.
const (
	maxPattern      = 8 << 10 // in bytes
	maxInstructions = 10_000
)

// parsePattern reads a Go regexp. White space around it is part of it.
func parsePattern(text string) (*regexp.Regexp, error) {
	re, err := compile(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not a regexp: %w", shown(text), err)
	}
	return re, nil
}

// compile compiles a Go regexp within the limits. Its error says what is wrong and what
// is allowed.
func compile(text string) (*regexp.Regexp, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("it has %d bytes, use at most %d", len(text), maxPattern)
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, badSyntax(err)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, badSyntax(err)
	}
	if len(program.Inst) > maxInstructions {
		return nil, fmt.Errorf("it compiles to %d instructions, which is more than %d: use fewer or smaller repetitions", len(program.Inst), maxInstructions)
	}
	return regexp.Compile(text)
}

// badSyntax shortens an error of regexp/syntax, which quotes a part of the regexp.
func badSyntax(err error) error {
	what := "it cannot be read"
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		what = fmt.Sprintf("%s in %s", e.Code, shown(e.Expr))
	}
	return fmt.Errorf("%s, use the syntax of Go (https://golang.org/s/re2syntax)", what)
}
