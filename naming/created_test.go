package naming

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/daemon/logger/templates"
)

// In Docker, the template has a time.Time. The methods that exist here return the same.
func TestCreatedRendersAsInDocker(t *testing.T) {
	c := testContainer()
	docker := struct{ ContainerCreated time.Time }{c.Created.UTC()}
	tried := map[string]bool{"MarshalJSON": true} // {{json}}
	for _, text := range []string{
		"{{.}}", "{{.String}}", "{{json .}}", "{{print .}}", "{{println .}}", `{{printf "%s %v %q %d" . . . .}}`, "{{html .}}", "{{urlquery .}}",
		`{{.Format "2006-01-02T15:04:05.000000000Z07:00 Mon MST"}}`, `{{.Format ""}}`, `{{"060102" | .Format}}`,
		"{{.UTC}}", `{{.UTC.Format "15"}}`, `{{.Year}}-{{.Month}}-{{.Day}}`, `{{printf "%02d" .Month}}`, "{{.Weekday}}", "{{.YearDay}}",
		"{{.Hour}}:{{.Minute}}:{{.Second}}.{{.Nanosecond}}", "{{.Unix}} {{.UnixMilli}} {{.UnixMicro}} {{.UnixNano}}", "{{.IsZero}}",
		"{{.Add 3600000000000}}", "{{.AddDate 0 1 -1}}", "{{.Round 3600000000000}}", "{{(.Truncate 60000000000).Unix}}",
		`{{if .}}made{{end}}`,
	} {
		for _, method := range createdMethods {
			tried[method] = tried[method] || strings.Contains(text, "."+method)
		}
		text = "{{with .ContainerCreated}}" + text + "{{end}}"
		theirs, err := templates.NewParse("", text)
		if err != nil {
			t.Fatal(err)
		}
		want := &strings.Builder{}
		if err := theirs.Execute(want, docker); err != nil {
			t.Fatal(err)
		}
		ours, err := ParseTag(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := ours.Execute(c); err != nil || got != want.String() {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, method := range createdMethods {
		if !tried[method] {
			t.Errorf("%s is not tried", method)
		}
	}
}

// Every method of time.Time is either present or in the list of omitted ones. A new method in a
// later Go version fails the test.
func TestCreatedHasAllUsefulMethodsOfTime(t *testing.T) {
	left := []string{
		"In", "Local", "Location", "Zone", "ZoneBounds", "IsDST", // read a zone
		"AppendBinary", "AppendFormat", "AppendText", // grow what they are given
		"After", "Before", "Compare", "Equal", "Sub", // there is no other time
		"Clock", "Date", "ISOWeek", // a template can call nothing with several results
		"GoString", "GobEncode", "MarshalBinary", "MarshalText", "GobDecode", "UnmarshalBinary", "UnmarshalJSON", "UnmarshalText",
	}
	all := slices.Sorted(slices.Values(slices.Concat(createdMethods, left)))
	if want := methodsOf(reflect.TypeFor[*time.Time]()); !slices.Equal(all, want) {
		t.Errorf("here or left out: %q\na time has: %q", all, want)
	}
	if !slices.Equal(createdMethods, methodsOf(reflect.TypeFor[*created]())) {
		t.Error("a method has a pointer's receiver: a template can change the time by it")
	}
}
