package events

import "testing"

func TestEachLossReasonHasAWordAndAText(t *testing.T) {
	seen := map[string]LossReason{}
	for r := range LossReasons {
		if r.String() == "" || r.Text() == "" {
			t.Errorf("reason %d has the word %q and the text %q: lossDocs in events/loss.go needs a row with both", r, r, r.Text())
		}
		if other, ok := seen[r.String()]; ok {
			t.Errorf("reasons %d and %d have the word %q", other, r, r)
		}
		seen[r.String()] = r
	}
}

// TestLossReasonsKeepTheirNumbers: the numbers are on disk, so a reason that is in this list must
// not move.
func TestLossReasonsKeepTheirNumbers(t *testing.T) {
	for i, word := range []string{"too_old", "expired", "too_new", "refused", "too_large", "unprocessable"} {
		if r := LossReason(i); r.String() != word {
			t.Errorf("reason %d is %s, want %s: a new reason goes before LossReasons", i, r, word)
		}
	}
}
