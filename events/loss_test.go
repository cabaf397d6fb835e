package events

import "testing"

func TestEachLossReasonHasAWord(t *testing.T) {
	seen := map[string]LossReason{}
	for r := range LossReasons {
		if r.String() == "" {
			t.Errorf("reason %d has no word in lossWords", r)
		}
		if other, ok := seen[r.String()]; ok {
			t.Errorf("reasons %d and %d have the word %q", other, r, r)
		}
		seen[r.String()] = r
	}
}
