package events

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/stream"
)

// rest is the end of the objects of these tests, after log.
const rest = `,"source":"stdout","host":"","container_id":"c0ffee","container_name":"web","image_name":"nginx:1"}`

func jsonOptions() Options {
	return Options{JSON: &JSON{ContainerID: "c0ffee", ContainerName: "web", ImageName: "nginx:1"}}
}

func TestJSONObjects(t *testing.T) {
	for _, test := range []struct{ name, in, log string }{
		{"text", "hello", `"hello"`},
		{"white space of text stays", " a ", `" a "`},
		{"escapes", "\"\\/\b\f\r\t\x00\x1f\x7f<é😀\u2028>", `"\"\\/\b\f\r\t\u0000\u001f` + "\x7f<é😀\u2028>" + `"`},
		{"invalid UTF-8", "a\xff\xe6\x97b\xf0\x9f\x98", `"a` + "\uFFFD\uFFFD\uFFFDb\uFFFD\uFFFD\uFFFD" + `"`},
		{"U+FFFD itself", "\uFFFD", `"` + "\uFFFD" + `"`},
		{"an object", `{"a":1}`, `{"a":1}`},
		{"an object in white space", " \t{\"a\":1}\r", `{"a":1}`},
		{"digits, order, second keys and spaces stay", `{"b": 1.10, "a":12345678901234567890, "b":1e400 }`, `{"b": 1.10, "a":12345678901234567890, "b":1e400 }`},
		{"an empty object", "{}", "{}"},
		{"nested objects", `{"a":{"b":[{}]}}`, `{"a":{"b":[{}]}}`},
		{"an array", `[{}]`, `"[{}]"`},
		{"a number", `1`, `"1"`},
		{"a string", `"a"`, `"\"a\""`},
		{"half an object", `{"a":1`, `"{\"a\":1"`},
		{"an object and more", `{"a":1} x`, `"{\"a\":1} x"`},
		{"two objects", `{"a":1}{"a":2}`, `"{\"a\":1}{\"a\":2}"`},
		{"not quite an object", `{a:1}`, `"{a:1}"`},
		{"other spaces do not count", "\u00a0{}", "\"\u00a0{}\""},
		{"too deep an object", strings.Repeat(`{"a":`, 10_001) + "1" + strings.Repeat("}", 10_001),
			`"` + strings.Repeat(`{\"a\":`, 10_001) + "1" + strings.Repeat("}", 10_001) + `"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := NewPipeline(jsonOptions())
			p.Push(whole(Stdout, 1, test.in), 0, 1, newScript(Options{}).now)
			e, _ := p.Next()
			if want := `{"log":` + test.log + rest; string(e.Message) != want {
				t.Errorf("%.200q gives\n     %.300s\nwant %.300s", test.in, e.Message, want)
			}
			if !json.Valid(e.Message) || e.Time != 1 || !slices.Equal(e.Ranges, []stream.Range{{From: 0, To: 1}}) {
				t.Errorf("%.300s, %d, %v", e.Message, e.Time, e.Ranges)
			}
		})
	}
}

func TestJSONHasFields(t *testing.T) {
	s := newScript(Options{JSON: &JSON{
		Host: "myhost", InstanceID: "i-1", ContainerID: "id", ContainerName: `a"b`, ImageName: "é\xff", Tag: "t", Attrs: map[string]string{"z": "1", "a\n": "<&>"},
	}})
	s.push(whole(Stderr, 1, "x"))
	s.push(whole(Unknown, 2, ""))
	s.push(whole(Unknown, 3, "y"))
	fields := `"host":"myhost","instance_id":"i-1","container_id":"id","container_name":"a\"b","image_name":"é` + "\uFFFD" + `","tag":"t","attrs":{"a\n":"<&>","z":"1"}}`
	s.check(t, event(`{"log":"x","source":"stderr",`+fields, "stderr 1", "[0-1]"), `unknown 2 "" [1-2]`,
		event(`{"log":"y","source":"unknown",`+fields, "unknown 3", "[2-3]"))
}

// TestLongestJSONFieldsAreLeftOut checks that the longest fields are left out if they
// leave no room for the text.
func TestLongestJSONFieldsAreLeftOut(t *testing.T) {
	huge := strings.Repeat("x", MaxBytes/4)
	s := newScript(Options{JSON: &JSON{ContainerID: "id", ContainerName: "web", ImageName: huge, Tag: "t", Attrs: map[string]string{"a": huge + huge}}})
	s.push(whole(Stdout, 1, "x"))
	s.check(t, event(`{"log":"x","source":"stdout","host":"","container_id":"id","container_name":"web","tag":"t"}`, "stdout 1", "[0-1]"))
}

func TestJSONGoesOutInParts(t *testing.T) {
	o := jsonOptions()
	o.MaxBytes = 1024
	o.JSON.ContainerID = strings.Repeat("c", 64)
	o.JSON.ImageName = ""
	tail := `,"source":"stdout","host":"","container_id":"` + o.JSON.ContainerID + `","container_name":"web","image_name":""}`
	room := 1024 - len(`{"log":""`) - len(tail)
	part := func(log, more string) string { return `{"log":"` + log + `"` + more + tail }
	first := room - len(`,"part":1,"continued":true`)

	s := newScript(o)
	s.push(whole(Stdout, 1, xs(room)))
	s.check(t, event(part(xs(room), ""), "stdout 1", "[0-1]"))
	s.push(whole(Stdout, 1, xs(room+1)))
	s.check(t, event(part(xs(first), `,"part":1,"continued":true`), "stdout 1", "[]"),
		event(part(xs(room+1-first), `,"part":2`), "stdout 1", "[1-2]"))

	// Escapes and characters are not divided.
	s.push(whole(Stdout, 2, xs(first-5)+"\x01"+xs(room)))
	s.check(t, event(part(xs(first-5), `,"part":1,"continued":true`), "stdout 2", "[]"),
		event(part(`\u0001`+xs(first-6), `,"part":2,"continued":true`), "stdout 2", "[]"),
		event(part(xs(room-first+6), `,"part":3`), "stdout 2", "[2-3]"))

	// An object counts with its own length, not with that of its string. If it does not
	// fit, it is text.
	object := `{"a":"` + strings.Repeat(`\"`, (room-6)/2) + xs(room%2) + `"}` // as long as a string with its quotes
	s.push(whole(Stdout, 3, object))
	s.check(t, event(`{"log":`+object+tail, "stdout 3", "[3-4]"))
	s.push(piece(Stdout, 4, `{"a":`, "i", 1))
	s.push(last(Stdout, 4, strings.Repeat("1", room-3)+"}", "i", 2))
	s.check(t, event(part(`{\"a\":`+strings.Repeat("1", first-7), `,"part":1,"continued":true`), "stdout 4", "[4-5]"),
		event(part(strings.Repeat("1", room-3-(first-7))+"}", `,"part":2`), "stdout 4", "[5-6]"))
}

func TestJSONOfSeveralLines(t *testing.T) {
	o := jsonOptions()
	o.Pattern = beginning
	s := newScript(o)
	for _, line := range []string{"{", ` "a": 1`, "}", "BEGIN a", "", "b", "", "BEGIN", "BEGIN x"} {
		s.push(whole(Stdout, 1, line))
	}
	s.a.Close()
	s.take()
	s.check(t, event(`{"log":{`+"\n"+` "a": 1`+"\n}"+rest, "stdout 1", "[0-3]"), event(`{"log":"BEGIN a\n\nb\n"`+rest, "stdout 1", "[3-7]"),
		event(`{"log":"BEGIN"`+rest, "stdout 1", "[7-8]"), event(`{"log":"BEGIN x"`+rest, "stdout 1", "[8-9]"))
	s.push(whole(Stdout, 1, ""))
	s.push(whole(Stdout, 1, ""))
	s.a.Close()
	s.take()
	s.check(t, `stdout 1 "" [9-11]`)
}
