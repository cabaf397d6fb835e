//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// parities returns the cases of TestEventsAreThoseOfAwslogs.
func parities(t *testing.T) []parity {
	const many = 20_000
	java := strings.Join(javaTrace, "")
	traces := func(name, pattern, to string, events []string) parity {
		return parity{name: name, opts: []string{"awslogs-multiline-pattern=" + pattern},
			prints: []chunk{{to, strings.Join(events, "")}}, want: events}
	}
	dates := func(name, format string, events ...string) parity {
		return parity{name: name, opts: []string{"awslogs-datetime-format=" + format}, prints: stdout(strings.Join(events, "")), want: events}
	}
	anyLines := lines(anyBytes())
	one := stdout("one\ntwo\n")
	two := []string{"one", "two"}
	long, huge := wide("long", 300_000), wide("huge", 2_500_000)
	return []parity{
		// Names.
		{name: "names", opts: []string{"awslogs-region=eu-west-1", "awslogs-stream=a stream/of.its-own"}, region: "eu-west-1",
			stream: "a stream/of.its-own", prints: one, want: two},
		{name: "empty values", groups: []string{"parity/empty"}, bare: true, group: "parity/empty", prints: one, want: two,
			opts: []string{"awslogs-group=parity/empty", "awslogs-region=", "awslogs-stream=", "tag=", "awslogs-create-group=",
				"awslogs-force-flush-interval-seconds=", "awslogs-max-buffered-events=", "awslogs-datetime-format="}},
		{name: "tag fields", opts: []string{"tag={{.Name}} {{.ID}} {{.FullID}} {{.ContainerName}} {{.DaemonName}} {{.Hostname}} " +
			"{{index .ContainerLabels \"a.b\"}} {{len .ContainerEnv}} {{.ContainerEntrypoint}} {{index .ContainerArgs 0}} {{.Command}} " +
			"{{.ContainerCreated.Year}} {{index .Config \"awslogs-group\"}} {{.LogPath}} {{len (.ExtraAttributes nil)}} {{truncate .ImageFullID 6}}"},
			docker: []string{"--label", "a.b=c"}, prints: one, want: two,
			stream: "NAME SHORT ID /NAME docker " + hostName(t) + " c 0 /program -name /program -name NAME -control /control/control " +
				fmt.Sprint(time.Now().UTC().Year()) + " parity/tag-fields  0 sha256"},
		{name: "tag functions", opts: []string{`tag={{join (split .ImageName ":") "_"}} {{upper "a"}}{{lower "B"}} {{title "ab cd"}}` +
			`{{pad "x" 1 2}}{{truncate .FullID 5}} {{json .ContainerLabels | printf "%.4s"}} {{if eq .Name ""}}no{{else}}yes{{end}}`},
			prints: one, want: two, stream: strings.ReplaceAll(image, ":", "_") + " Ab Ab Cd x  FIVE {\"co yes"},
		{name: "stream before tag", opts: []string{"awslogs-stream=s", "tag={{.Name}}"}, stream: "s", prints: one, want: two},
		{name: "refused name", opts: []string{"tag={{.ImageName}}"}, stream: strings.ReplaceAll(image, ":", "_"), prints: one, want: two,
			shows: []row{{"a name that the service refuses", "the container does not start"}}, differs: &difference{refused: "InvalidParameterException"}},
		{name: "no group", bare: true, group: hostName(t), stream: "NAME", prints: one, want: two,
			shows: []row{{"no group", "the group has the host's name"}}, differs: &difference{refused: "must specify a value for log opt 'awslogs-group'"}},

		// Creating groups and streams.
		{name: "group not there", bare: true, opts: []string{"awslogs-group=parity/new"}, group: "parity/new", prints: one, want: two,
			shows: []row{{"`awslogs-create-group`", "`false`; `true` makes a missing group"}}, differs: &difference{refused: "The specified log group does not exist"}},
		{name: "group there", bare: true, opts: []string{"awslogs-group=parity/there", "awslogs-create-group=false"}, group: "parity/there",
			groups: []string{"parity/there"}, prints: one, want: two},
		{name: "group made later", bare: true, opts: []string{"awslogs-group=parity/later", "awslogs-create-group=false"}, group: "parity/later",
			late: "parity/later", prints: one, want: two,
			shows: []row{{"AWS cannot be reached, or refuses, at the start", "it starts; lines are kept"}}, differs: &difference{refused: "The specified log group does not exist"}},
		{name: "create stream", opts: []string{"awslogs-create-stream=true"}, prints: one, want: two,
			shows: []row{{"`awslogs-create-stream`", "Docker 20.10 does not know the option"}}, differs: &difference{before: 23, refused: "unknown log opt 'awslogs-create-stream'"}},

		{name: "options of json-file", opts: []string{"max-size=1m", "max-file=2", "compress=true"}, prints: one, want: two,
			shows: []row{{"`max-size`", "refused"}, {"`max-file`", ""}, {"`compress`", "refused"}}, differs: &difference{refused: "unknown log opt"}},

		// Text.
		{name: "text", prints: stdout(texts), want: lines(texts), shows: []row{{"an empty line", "not sent; within a multi-line event it is kept"}}},
		{name: "stderr", prints: []chunk{{"stderr", texts}}, want: lines(texts)},
		{name: "both outputs", prints: []chunk{{"stdout", "out 1\n"}, {"stderr", "err 1\nerr 2\n"}, {"stdout", "out 2\nout 3\n"}},
			want: []string{"out 1", "err 1", "err 2", "out 2", "out 3"}},
		{name: "binary", prints: stdout(anyBytes()), want: lines(anyBytes())},
		{name: "terminal", docker: []string{"--tty"}, prints: stdout("one\ntwo\n"), want: []string{"one\r", "two\r"}},
		{name: "nothing", prints: stdout("\n\n\n"),
			shows: []row{{"`awslogs-create-stream`", "a container that prints nothing leaves no stream"}}, differs: &difference{empty: true}},
		{name: "many lines", prints: stdout(counted(many)), want: lines(counted(many))},

		// Long lines.
		{name: "over 16 KiB", prints: stdout(wide("a", 16383) + "\n" + wide("b", 16384) + "\n" + wide("c", 16385) + "\n" + wide("d", 262_118) + "\nshort\n" + wide("e", 100_000)),
			want: []string{wide("a", 16383), wide("b", 16384), wide("c", 16385), wide("d", 262_118), "short", wide("e", 100_000)}},
		{name: "over 256 KiB", prints: stdout(long + "\nshort\n"), want: []string{long, "short"},
			shows: []row{{"long lines, over 256 KiB", "cut into events of 262,118 bytes"}}, differs: &difference{want: []string{long[:262_118], long[262_118:], "short"}}},
		{name: "over 1 MiB", opts: []string{"cache-disabled=true"}, prints: stdout(huge + "\nshort\n"), want: append(parts(huge), "short"),
			shows: []row{{"long lines, over 256 KiB", "`[logspool: part 2]`"}}, differs: &difference{want: append(pieces(huge, 262_118), "short")}},

		// Multi-line events.
		traces("java", `^\d{4}-\d\d-\d\d `, "stdout", javaTrace),
		traces("python", `^(INFO|WARNING|ERROR):`, "stderr", pythonTrace),
		traces("go", `^(panic:|goroutine 1[0-9]|\d{4}/)`, "stderr", goTrace),
		{name: "before the first", opts: []string{"awslogs-multiline-pattern=^2026"}, prints: stdout("\nno date\n\n" + java),
			shows: []row{{"end of a multi-line event", "a newline"}}, want: append([]string{"\nno date\n\n"}, javaTrace...)},
		{name: "event without an end", opts: []string{"awslogs-multiline-pattern=^2026"}, prints: stdout(strings.TrimSuffix(java, "\n")), want: javaTrace},
		{name: "event of nothing", opts: []string{"awslogs-multiline-pattern=^2026"}, prints: stdout("\n\n"), want: []string{"\n\n"}},
		{name: "binary event", opts: []string{"awslogs-multiline-pattern=^cut"}, prints: stdout(anyBytes()),
			want: []string{anyLines[0] + "\n", strings.Join(anyLines[1:], "\n") + "\n"}},
		dates("date", `%Y-%m-%d %H:%M:%S`, javaTrace...),
		dates("another date", `\[%b %d, %Y %I:%M:%S %p\]`,
			"[Nov 02, 2026 10:15:30 AM] one\n  more\n[Nov 2, 2026 10:15:30 AM] too\n", "at [Dec 31, 2026 12:00:00 PM] two\n"),
		dates("all of a date", `%a|%A %j %f %z %Z %B %w %y%L`,
			"Tue\nno\n", "at Wed\n", "Wednesday 306 123456 +0100 CET November 3 26.123\nno\n"),
		{name: "long lines of one event", opts: []string{"awslogs-multiline-pattern=^x"}, prints: stdout("x" + wide("a", 50_000) + "\n" + wide("b", 100_000) + "\nx\n"),
			want: []string{"x" + wide("a", 50_000) + "\n" + wide("b", 100_000) + "\n", "x\n"}},
		{name: "event over 256 KiB", opts: []string{"awslogs-multiline-pattern=^x"},
			prints: stdout("x" + wide("a", 100_000) + "\n" + wide("b", 100_000) + "\n" + wide("c", 100_000) + "\nx\n"),
			want:   []string{"x" + wide("a", 100_000) + "\n" + wide("b", 100_000) + "\n" + wide("c", 100_000) + "\n", "x\n"},
			shows:  []row{{"a multi-line event over 256 KiB", "262,118 bytes"}}, differs: &difference{
				want: []string{"x" + wide("a", 100_000) + "\n" + wide("b", 100_000) + "\n", wide("c", 100_000) + "\n", "x\n"}}},
		{name: "both outputs in events", opts: []string{"awslogs-multiline-pattern=^x"},
			prints: []chunk{{"stdout", "x out\n"}, {"stderr", "x err\n"}, {"stdout", "  more out\n"}, {"stderr", "  more err\n"}},
			want:   []string{"x out\n  more out\n", "x err\n  more err\n"},
			shows:  []row{{"`awslogs-multiline-pattern`", "Lines are joined separately for stdout and stderr"}}, differs: &difference{want: []string{"x out\n", "x err\n  more out\n  more err\n"}}},
		{name: "slow event", opts: []string{"awslogs-multiline-pattern=^x", "awslogs-force-flush-interval-seconds=1"},
			prints: []chunk{{"stdout", "x one\n"}, {theirsArrived, "1"}, {"stdout", "  more\n"}, {"stdout", "x two\n"}},
			want:   []string{"x one\n  more\n", "x two\n"}, paused: []string{"x one\n", "  more\n", "x two\n"},
			shows: []row{{"a multi-line event whose next line takes its time", "cut at a flush, once it is older than the flush interval"},
				{"time of a multi-line event", "that of an earlier event after a pause"}}, differs: &difference{want: []string{"x one\n", "  more\n", "x two\n"}, stale: []int{1}}},

		// Sending.
		{name: "flush", opts: []string{"awslogs-force-flush-interval-seconds=1", "awslogs-max-buffered-events=10"},
			prints: append(stdout("one\n"), chunk{arrived, "1"}, chunk{"stdout", "two\n"}), want: two},
		{name: "not blocking", opts: []string{"mode=non-blocking", "max-buffer-size=4m", "cache-max-size=1m", "cache-max-file=2", "cache-compress=false", "awslogs-force-flush-interval-seconds=1"},
			prints: append(stdout(counted(1000)), chunk{arrived, "1000"}), want: lines(counted(1000))},
		{name: "lent keys", opts: []string{"awslogs-credentials-endpoint=" + lentPath}, lent: true, prints: one, want: two},
		{name: "emf", opts: []string{"awslogs-format=json/emf"}, prints: stdout(`{"_aws":{}}` + "\n"), want: []string{`{"_aws":{}}`}, emf: true,
			shows: []row{{"`awslogs-format`", "Docker 20.10 does not know the option"}}, differs: &difference{before: 23, refused: "unknown log opt 'awslogs-format'"}},
	}
}

// lentPath is a path on the container credentials endpoint.
const lentPath = "/v2/credentials/42?a=b"

// refusals returns the cases in which the plugin refuses the options.
func refusals() []refusal {
	return []refusal{
		{name: "unknown", opts: []string{"awslogs-grup=x"}, theirs: "unknown log opt", ours: `unknown log option "awslogs-grup"`,
			shows: []row{{"a bad option", "each fails the start with [one line]"}}},
		{name: "bad boolean", opts: []string{"awslogs-create-group=perhaps"}, theirs: "awslogs-create-group", ours: "awslogs-create-group"},
		{name: "bad interval", opts: []string{"awslogs-force-flush-interval-seconds=0"}, theirs: "positive integer", ours: "awslogs-force-flush-interval-seconds"},
		{name: "bad buffer", opts: []string{"awslogs-max-buffered-events=-1"}, theirs: "positive integer", ours: "awslogs-max-buffered-events"},
		{name: "bad pattern", opts: []string{"awslogs-multiline-pattern=("}, theirs: "could not parse multiline pattern", ours: "awslogs-multiline-pattern"},
		{name: "bad date", opts: []string{"awslogs-datetime-format=%Y("}, theirs: "could not parse multiline pattern", ours: "awslogs-datetime-format"},
		{name: "bad tag", opts: []string{"tag={{.Nmae}}"}, theirs: "Nmae", ours: "Nmae"},
		{name: "two of one kind", opts: []string{"awslogs-datetime-format=%Y", "awslogs-multiline-pattern=x"}, theirs: "at the same time", ours: "awslogs-multiline-pattern"},
		{name: "a definition", opts: []string{`tag={{define "x"}}a{{end}}{{template "x"}}`}, ours: "{{define}} and {{block}} are not allowed",
			shows: []row{{"`{{define}}`, `{{block}}` and `{{template}}` in a tag template", "refused, with one line"}}},
		{name: "a time zone", opts: []string{"tag={{.ContainerCreated.Local.Year}}"}, ours: ".Local",
			shows: []row{{"`tag`", "`.ContainerCreated.Local` and everything else that reads a time zone are refused"}}},
	}
}
