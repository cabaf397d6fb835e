// Package docpart reads and replaces the part of a document that a program or a test writes.
// The part is between two marks, which stay in the document.
package docpart

import (
	"fmt"
	"os"
	"strings"
)

// Cut returns the text before the part, the part, and the text after it. The marks belong to what
// is before and after. ok is false if there is no begin, or no end after it.
func Cut(text, begin, end string) (before, part, after string, ok bool) {
	before, rest, found := strings.Cut(text, begin)
	part, after, ok = strings.Cut(rest, end)
	return before + begin, part, end + after, found && ok
}

// Replace replaces the part in a file.
func Replace(file, begin, end, part string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, _, after, ok := Cut(string(text), begin, end)
	if !ok {
		return fmt.Errorf("%s has no place for the table: the lines %q and %q", file, begin, end)
	}
	return os.WriteFile(file, []byte(before+part+after), 0o644)
}
