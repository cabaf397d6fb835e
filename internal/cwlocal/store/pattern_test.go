package store

import "testing"

func TestPatternsOfTermsMatchAsInTheService(t *testing.T) {
	for _, tc := range []struct {
		pattern string
		yes, no []string
	}{
		{"", []string{"", "x"}, nil},
		{"ERROR", []string{"ERROR", "[ERROR] x"}, []string{"error", ""}},
		{"ERROR disk", []string{"disk ERROR"}, []string{"ERROR", "disk"}},
		{`"disk full"`, []string{"a disk full b"}, []string{"full disk"}},
		{`"a \"b\""`, []string{`a "b"`}, []string{"a b"}},
		{"ERROR -retry", []string{"ERROR"}, []string{"ERROR retry", "retry"}},
		{`-"no way"`, []string{"", "way"}, []string{"no way"}},
		{"?ERROR ?WARN", []string{"ERROR", "WARN"}, []string{"INFO"}},
		{"?ERROR WARN", []string{"WARN"}, []string{"ERROR"}}, // with a plain term, optional terms have no effect
	} {
		match, err := parsePattern(tc.pattern)
		if err != nil {
			t.Errorf("%s: %s", tc.pattern, err.Message)
			continue
		}
		for _, m := range tc.yes {
			if !match(m) {
				t.Errorf("%s does not match %q", tc.pattern, m)
			}
		}
		for _, m := range tc.no {
			if match(m) {
				t.Errorf("%s matches %q", tc.pattern, m)
			}
		}
	}
	for _, bad := range []string{"{ $.x = 1 }", "[a, b]", "%x%", `"open`, "a.b", "-", `""`} {
		if _, err := parsePattern(bad); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
