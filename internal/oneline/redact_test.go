package oneline

import "testing"

func TestRedactLeavesOutSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"no secret":                                "no secret",
		"parse http://me:pw@proxy:3128 failed":     "parse http://…@proxy:3128 failed",
		"refused X-Amz-Security-Token:TOKEN\nmore": "refused …",
		"The Canonical String should have been …":  "The …",
		"Authorization: Basic abc":                 "…",
	} {
		if got := Redact(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
