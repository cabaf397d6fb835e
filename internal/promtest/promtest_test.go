package promtest

import (
	"strings"
	"testing"
)

func TestShortenReplacesOnlyTimes(t *testing.T) {
	got := Shorten(strings.Join([]string{
		"      - alert: A",
		"        expr: increase(x_total[5m]) > 300 and changes(y[15m]) > 2 or z_oldest_age_seconds > 300",
		"        for: 10m",
		"          summary: wait for: 10m [1h]",
	}, "\n"))
	want := strings.Join([]string{
		"      - alert: A",
		"        expr: increase(x_total[10s]) > 300 and changes(y[20s]) > 2 or z_oldest_age_seconds > 10",
		"        for: 2s",
		"          summary: wait for: 10m [1h]",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
