package cwlocal

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

// sized returns n events of the same time whose messages have size bytes in total.
func sized(n, size int) []ev {
	events := make([]ev, n)
	for i := range events {
		events[i] = at(0, strings.Repeat("x", size/n))
	}
	events[0].m += strings.Repeat("x", size%n)
	return events
}

func TestPutLogEventsAcceptsBatchesAtTheLimits(t *testing.T) {
	for name, body := range map[string]string{
		"one event":                  batch(at(0, "x")),
		"10,000 events":              batch(sized(10000, 10000)...),
		"1,048,576 bytes":            batch(sized(2, 1048576-2*26)...),
		"1,048,576 bytes in 10,000":  batch(sized(10000, 1048576-10000*26)...),
		"message of 1,048,550 bytes": batch(sized(1, 1048550)...),
		"1,048,550 bytes as \\u00XX": `{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":` + fmt.Sprint(testNow.UnixMilli()) + `,"message":"` + strings.Repeat(`\u0001`, 1048550) + `"}]}`,
		"24 h":                       batch(at(-24*time.Hour, "a"), at(0, "b")),
		"the same millisecond":       batch(at(0, "a"), at(0, "b")),
		"timestamps before messages": `{"logStreamName":"s","logEvents":[{"message":"x","timestamp":1}],"logGroupName":"g"}`,
		"a sequence token, ignored":  `{"logGroupName":"g","logStreamName":"s","sequenceToken":"nonsense","logEvents":[{"timestamp":1,"message":"x"}]}`,
		"an entity":                  `{"logGroupName":"g","logStreamName":"s","entity":{"keyAttributes":{"Type":"Service","Name":"n","Environment":"e"}},"logEvents":[{"timestamp":1,"message":"x"}]}`,
		"members that are null":      `{"logGroupName":"g","logStreamName":"s","sequenceToken":null,"entity":null,"logEvents":[{"timestamp":1,"message":"x"}]}`,
		"white space":                " {\t\"logGroupName\" : \"g\" ,\r\n\"logStreamName\":\"s\",\"logEvents\":[ { \"timestamp\" : 1 , \"message\" : \"x\" } ] } \n",
	} {
		t.Run(name, func(t *testing.T) {
			c := newStreamClient(t, Options{})
			var out struct {
				NextSequenceToken string
			}
			c.ok("PutLogEvents", body).into(t, &out)
			if len(out.NextSequenceToken) != 56 {
				t.Errorf("nextSequenceToken is %q, want 56 digits", out.NextSequenceToken)
			}
			if r := c.s.Refusals(); len(r) != 0 {
				t.Errorf("refusals: %v", r)
			}
		})
	}
}

func TestPutLogEventsRefusesInvalidBatches(t *testing.T) {
	const (
		inv = "InvalidParameterException"
		ser = "SerializationException"
		one = "1 validation error detected: Value "
	)
	events := func(list string) string {
		return `{"logGroupName":"g","logStreamName":"s","logEvents":[` + list + `]}`
	}
	named := func(group, stream string) string { return batchTo(group, stream, at(0, "x")) }
	long := strings.Repeat("n", 513)
	for _, tc := range []struct{ name, body, code, message string }{
		{"no events", events(""), inv, one + "'[]' at 'logEvents' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"events missing", `{"logGroupName":"g","logStreamName":"s"}`, inv, one + "null at 'logEvents' failed to satisfy constraint: Member must not be null"},
		{"events null", `{"logGroupName":"g","logStreamName":"s","logEvents":null}`, inv, one + "null at 'logEvents' failed to satisfy constraint: Member must not be null"},
		{"10,001 events", batch(sized(10001, 10001)...), inv, one + "'[...]' at 'logEvents' failed to satisfy constraint: Member must have length less than or equal to 10000"},
		{"1,048,577 bytes", batch(sized(2, 1048577-2*26)...), inv, "Upload too large: 1048577 bytes exceeds limit of 1048576"},
		{"1,048,577 bytes in 10,000", batch(sized(10000, 1048577-10000*26)...), inv, "Upload too large: 1048577 bytes exceeds limit of 1048576"},
		{"message of 1,048,551 bytes", batch(sized(1, 1048551)...), inv, "Log event too large: 1048577 bytes exceeds limit of 1048576"},
		{"too large in bytes only", batch(at(0, strings.Repeat("ä", 524276))), inv, "Log event too large: 1048578 bytes exceeds limit of 1048576"},
		{"empty message", batch(at(0, "x"), at(0, "")), inv, one + "'' at 'logEvents.2.member.message' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"message missing", events(`{"timestamp":1}`), inv, one + "null at 'logEvents.1.member.message' failed to satisfy constraint: Member must not be null"},
		{"message null", events(`{"timestamp":1,"message":null}`), inv, one + "null at 'logEvents.1.member.message' failed to satisfy constraint: Member must not be null"},
		{"timestamp missing", events(`{"message":"x"}`), inv, one + "null at 'logEvents.1.member.timestamp' failed to satisfy constraint: Member must not be null"},
		{"timestamp negative", events(`{"timestamp":-1,"message":"x"}`), inv, one + "'-1' at 'logEvents.1.member.timestamp' failed to satisfy constraint: Member must have value greater than or equal to 0"},
		{"two violations", events(`{"timestamp":-1,"message":""}`), inv, "2 validation errors detected: Value '-1' at 'logEvents.1.member.timestamp' failed to satisfy constraint: Member must have value greater than or equal to 0; Value '' at 'logEvents.1.member.message' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"a millisecond back", batch(at(0, "a"), at(-time.Millisecond, "b")), inv, "Log events in a single PutLogEvents request must be in chronological order."},
		{"24 h and a millisecond", batch(at(-24*time.Hour-time.Millisecond, "a"), at(0, "b")), inv, "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."},
		{"sequence token empty", `{"logGroupName":"g","logStreamName":"s","sequenceToken":"","logEvents":[{"timestamp":1,"message":"x"}]}`, inv, one + "'' at 'sequenceToken' failed to satisfy constraint: Member must have length greater than or equal to 1"},

		{"no such group", named("other", "s"), "ResourceNotFoundException", "The specified log group does not exist."},
		{"no such stream", named("g", "other"), "ResourceNotFoundException", "The specified log stream does not exist."},
		{"group missing", `{"logStreamName":"s","logEvents":[{"timestamp":1,"message":"x"}]}`, inv, one + "null at 'logGroupName' failed to satisfy constraint: Member must not be null"},
		{"group's characters", named("a b", "s"), inv, one + `'a b' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+`},
		{"group of 513", named(long, "s"), inv, one + "'" + long + "' at 'logGroupName' failed to satisfy constraint: Member must have length less than or equal to 512"},
		{"stream with :", named("g", "a:b"), inv, one + "'a:b' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*"},
		{"stream with *", named("g", "a*b"), inv, one + "'a*b' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*"},

		{"nothing", "", ser, protocol.ErrNotJSON.Message},
		{"not JSON", "hello", ser, protocol.ErrNotJSON.Message},
		{"a list", "[]", ser, "Start of list found where not expected"},
		{"truncated", batch(at(0, "x"))[:60], ser, protocol.ErrNotJSON.Message},
		{"data after the end", batch(at(0, "x")) + "{}", ser, protocol.ErrNotJSON.Message},
		{"unknown member", `{"logGroupNam":"g"}`, ser, "Unknown member 'logGroupNam'"},
		{"member twice", `{"logGroupName":"g","logGroupName":"g"}`, ser, "Member 'logGroupName' occurs twice"},
		{"unknown member of an event", events(`{"timestamp":1,"message":"x","level":"info"}`), ser, "Unknown member 'level' of an event"},
		{"message twice", events(`{"timestamp":1,"message":"x","message":"y"}`), ser, "Member 'message' occurs twice"},
		{"message a number", events(`{"timestamp":1,"message":2}`), ser, "NUMBER_VALUE can not be converted to a String"},
		{"message true", events(`{"timestamp":1,"message":true}`), ser, "TRUE_VALUE can not be converted to a String"},
		{"message an object", events(`{"timestamp":1,"message":{}}`), ser, "Start of structure or map found where not expected."},
		{"timestamp a string", events(`{"timestamp":"1","message":"x"}`), ser, "STRING_VALUE can not be converted to a Long"},
		{"timestamp with a fraction", events(`{"timestamp":1.5,"message":"x"}`), ser, "NUMBER_VALUE can not be converted to a Long"},
		{"timestamp with an exponent", events(`{"timestamp":1e12,"message":"x"}`), ser, "NUMBER_VALUE can not be converted to a Long"},
		{"timestamp beyond 63 bits", events(`{"timestamp":9223372036854775808,"message":"x"}`), ser, "NUMBER_VALUE can not be converted to a Long"},
		{"timestamp with a leading zero", events(`{"timestamp":01,"message":"x"}`), ser, protocol.ErrNotJSON.Message},
		{"events an object", `{"logEvents":{}}`, ser, "Start of structure or map found where not expected."},
		{"event a string", events(`"x"`), ser, "STRING_VALUE can not be converted to a Map"},
		{"comma at the end", events(`{"timestamp":1,"message":"x"},`), ser, protocol.ErrNotJSON.Message},
		{"raw newline in a string", events("{\"timestamp\":1,\"message\":\"a\nb\"}"), ser, protocol.ErrNotJSON.Message},
		{"unknown escape", events(`{"timestamp":1,"message":"\x"}`), ser, protocol.ErrNotJSON.Message},
		{"escape cut", events(`{"timestamp":1,"message":"\u12"}`), ser, protocol.ErrNotJSON.Message},
		{"entity is a list", `{"entity":[]}`, ser, "Start of list found where not expected"},
		{"entity with another member", `{"entity":{"type":"Service"}}`, ser, "Unknown member 'type' of an entity"},
		{"attribute is no string", `{"entity":{"attributes":{"a":1}}}`, ser, "NUMBER_VALUE can not be converted to a String"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newStreamClient(t, Options{})
			c.refused("PutLogEvents", tc.body, tc.code, tc.message)
			if n := len(c.s.Arrived(testRegion, "g", "s")); n != 0 {
				t.Errorf("%d events of a refused batch were stored", n)
			}
			if want := tc.code != "ResourceNotFoundException"; want != (len(c.s.Refusals()) == 1) {
				t.Errorf("refusals: %v; want one: %v", c.s.Refusals(), want)
			}
		})
	}
}

func TestAtMostTenViolationsAreReported(t *testing.T) {
	c := newStreamClient(t, Options{})
	res := c.do("PutLogEvents", batch(make([]ev, 20)...))
	if !strings.HasPrefix(res.message, "10 validation errors detected: ") || strings.Count(res.message, "logEvents.") != 10 {
		t.Errorf("got %q", res.message)
	}
}

// The end indices are exclusive. The start index is inclusive.
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_RejectedLogEventsInfo.html
func TestOnlyEventsOutsideTheTimeWindowAreDropped(t *testing.T) {
	const day = 24 * time.Hour
	ms := time.Millisecond
	for _, tc := range []struct {
		name      string
		retention int
		events    []ev
		want      string // rejectedLogEventsInfo
		stored    []string
	}{
		{"14 days", 0, []ev{at(-14*day, "a")}, ``, []string{"a"}},
		{"14 days and 1 ms", 0, []ev{at(-14*day-ms, "a")}, `{"tooOldLogEventEndIndex":1}`, nil},
		{"about 14 days", 0, []ev{at(-14*day-2*ms, "a"), at(-14*day-ms, "b"), at(-14*day, "c"), at(-14*day+ms, "d")}, `{"tooOldLogEventEndIndex":2}`, []string{"c", "d"}},
		{"2 h ahead", 0, []ev{at(2*time.Hour, "a")}, ``, []string{"a"}},
		{"2 h and 1 ms ahead", 0, []ev{at(2*time.Hour+ms, "a")}, `{"tooNewLogEventStartIndex":0}`, nil},
		{"about 2 h ahead", 0, []ev{at(0, "a"), at(2*time.Hour, "b"), at(2*time.Hour+ms, "c"), at(3*time.Hour, "d")}, `{"tooNewLogEventStartIndex":2}`, []string{"a", "b"}},
		{"a week of retention", 7, []ev{at(-7*day, "a")}, ``, []string{"a"}},
		{"a week and 1 ms", 7, []ev{at(-7*day-ms, "a"), at(-7*day, "b")}, `{"expiredLogEventEndIndex":1}`, []string{"b"}},
		{"older than both", 7, []ev{at(-20*day, "a")}, `{"tooOldLogEventEndIndex":1}`, nil},
		{"retention of a year", 365, []ev{at(-15*day, "a"), at(-14*day, "b")}, `{"tooOldLogEventEndIndex":1}`, []string{"b"}},
		{"expired, and an hour old", 1, []ev{at(-day-ms, "a"), at(-time.Hour-ms, "b")}, `{"expiredLogEventEndIndex":1}`, []string{"b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newStreamClient(t, Options{})
			if tc.retention > 0 {
				c.ok("PutRetentionPolicy", fmt.Sprintf(`{"logGroupName":"g","retentionInDays":%d}`, tc.retention))
			}
			body := string(c.ok("PutLogEvents", batch(tc.events...)).body)
			_, got, _ := strings.Cut(body, `"rejectedLogEventsInfo":`)
			if got = strings.TrimSuffix(got, "}"); got != tc.want {
				t.Errorf("rejectedLogEventsInfo is %s, want %s", got, tc.want)
			}
			if diff := cmp.Diff(tc.stored, messages(c.s.Arrived(testRegion, "g", "s"))); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			st := c.s.Stats()
			if st.TooOld+st.Expired+st.TooNew+st.Events != int64(len(tc.events)) {
				t.Errorf("%d too old, %d expired, %d too new, %d accepted, of %d", st.TooOld, st.Expired, st.TooNew, st.Events, len(tc.events))
			}
			if len(c.s.Refusals()) != 0 {
				t.Error("dropped events were counted as a refusal")
			}
		})
	}
}

func TestMessagesAreDecodedAsJSON(t *testing.T) {
	for _, tc := range []struct {
		name, raw, want string
		replaced        int64
	}{
		{"escapes", `\"\\\/\b\f\n\r\t\u0041\u00e4`, "\"\\/\b\f\n\r\tAä", 0},
		{"surrogates", `\ud83d\ude00`, "😀", 0},
		{"UTF-8", "ä😀", "ä😀", 0},
		{"an escaped U+FFFD", `\ufffd`, "\uFFFD", 0},
		{"a plain U+FFFD", "\uFFFD", "\uFFFD", 0},
		{"invalid UTF-8", "a\xffb", "a\uFFFDb", 1},
		{"UTF-8 cut", "a\xe4\xbd", "a\uFFFD\uFFFD", 1},
		{"half a surrogate pair", `a\ud83d`, "a\uFFFD", 1},
		{"half a pair and a character", `\ud83d\u0041`, "\uFFFDA", 1},
		{"the wrong half first", `\ude00\ud83d`, "\uFFFD\uFFFD", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newStreamClient(t, Options{})
			c.ok("PutLogEvents", fmt.Sprintf(`{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":%d,"message":"%s"}]}`, testNow.UnixMilli(), tc.raw))
			if got := c.s.Arrived(testRegion, "g", "s")[0].Message; got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if got := c.s.Stats().Replaced; got != tc.replaced {
				t.Errorf("replaced is %d, want %d", got, tc.replaced)
			}
		})
	}
}

// Each invalid byte grows to three bytes before the size is counted.
func TestSizeIsCountedAfterInvalidUTF8IsReplaced(t *testing.T) {
	c := newStreamClient(t, Options{})
	raw := func(n int) string {
		return fmt.Sprintf(`{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":1,"message":"%s"}]}`, strings.Repeat("\xff", n))
	}
	c.ok("PutLogEvents", raw(1048550/3))
	c.refused("PutLogEvents", raw(1048550/3+1), "InvalidParameterException", "Log event too large: 1048577 bytes exceeds limit of 1048576")
}

func TestEMFHeaderIsRecorded(t *testing.T) {
	c := newStreamClient(t, Options{})
	c.ok("PutLogEvents", batch(at(0, "{}")), func(r *http.Request) { r.Header.Set("x-amzn-logs-format", "json/emf") })
	c.ok("PutLogEvents", batch(at(0, "{}")))
	if st, _ := c.s.Stream(testRegion, "g", "s"); st.Batches != 2 || st.EMFBatches != 1 {
		t.Errorf("%d batches, %d in EMF; want 2 and 1", st.Batches, st.EMFBatches)
	}
}
