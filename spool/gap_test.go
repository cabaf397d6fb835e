package spool

import "testing"

func TestEachReasonHasAWordAndAText(t *testing.T) {
	seen := map[string]Reason{}
	for r := Reason(1); r < EndOfReasons; r++ {
		if r.String() == "" || r.Text() == "" {
			t.Errorf("reason %d has the word %q and the text %q: reasonDocs in spool/gap.go needs a row with both", r, r, r.Text())
		}
		if other, ok := seen[r.String()]; ok {
			t.Errorf("reasons %d and %d have the word %q", other, r, r)
		}
		seen[r.String()] = r
	}
}

// TestReasonsKeepTheirNumbers: the numbers are on disk, so a reason that is in this list must not
// move.
func TestReasonsKeepTheirNumbers(t *testing.T) {
	for i, word := range []string{"spool_full", "spool_unwritable", "spool_damaged", "unreadable"} {
		if r := Reason(i + 1); r.String() != word {
			t.Errorf("reason %d is %s, want %s: a new reason goes before EndOfReasons", i+1, r, word)
		}
	}
}
