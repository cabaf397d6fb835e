//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// printing is what a pair of containers prints, one with json-file and one with the plugin.
type printing struct {
	name   string // in the document
	docker []string
	opts   []string // log options of both
	attrs  string   // what --details shows with json-file; a plugin cannot pass it to dockerd
	chunks []chunk
}

// chunk is output that is printed at once. The next chunk is printed after this one has
// been read back, so that the order of the two outputs is known.
type chunk struct {
	to   string
	text string
}

// endMark is the last whole line of each printing that is not empty.
const endMark = "-- that is all --"

func stdout(text string) []chunk { return []chunk{{"stdout", text}} }

// numberedLines returns lines of different lengths, each with its number.
func numberedLines(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, "line %d %s\n", i, strings.Repeat("x", i*7%113))
	}
	return b.String()
}

// longLines returns lines of critical lengths: around dockerd's buffer of 16 KiB, twice
// that and a pipe, and longer ones.
func longLines() string {
	var b strings.Builder
	for _, n := range []int{16383, 16384, 16385, 1, 32767, 32768, 32769, 65536, 65537, 100_000, 1 << 20, 1<<20 + 100_001} {
		line := fmt.Sprintf("%d:", n)
		for i := 0; len(line) < n; i++ {
			line += strings.Repeat(string(rune('a'+i%26)), min(1000, n-len(line)))
		}
		b.WriteString(line[:n] + "\nshort\n")
	}
	return b.String()
}

// binary returns every byte, each kind of invalid UTF-8, and multi-byte characters that the
// end of dockerd's buffer cuts.
func binary() string {
	var b bytes.Buffer
	for i := range 256 {
		b.WriteByte(byte(i))
	}
	b.WriteString("\n\xff\xfe\n\xe2\x82\n\xed\xa0\x80\n\xf4\x90\x80\x80\n\xc0\xaf\n\u2028\u2029 < > & \" \\ \x7f\x00\n")
	for pad := range 4 {
		b.WriteString(strings.Repeat("p", pad) + strings.Repeat("\u20ac", 6000) + "\n")
	}
	return b.String()
}

// printings returns the columns of the document's table.
func printings() []printing {
	var both []chunk
	for i := range 12 {
		to := "stdout"
		if i%3 == 1 {
			to = "stderr"
		}
		both = append(both, chunk{to, fmt.Sprintf("%s %d\n%s again\n", to, i, to)})
	}
	marked := func(text string) []chunk { return stdout(text + endMark + "\n") }
	return []printing{
		{name: "lines", chunks: marked(numberedLines(1, 200))},
		{name: "both outputs", chunks: append(both, chunk{"stderr", endMark + "\n"}, chunk{"stdout", endMark + "\n"})},
		{name: "long lines", chunks: marked(longLines())},
		{name: "empty lines", chunks: marked("\n\none\n\n\n\ntwo\n\n")},
		{name: "no final newline", chunks: stdout("one\ntwo\n" + endMark + "\nthe end")},
		{name: "long, no final newline", chunks: stdout(endMark + "\n" + strings.Repeat("x", 40_000))},
		{name: "binary", chunks: marked(binary())},
		{name: "terminal", docker: []string{"-t"}, chunks: marked("one\ntwo\r\n\x1b[31mred\x1b[0m\nprogress 1\rprogress 2\n")},
		{name: "nothing"},
		{name: "labels and variables", docker: []string{"--label", "color=red", "-e", "SIZE=3"}, opts: []string{"labels=color", "env=SIZE"},
			attrs: "SIZE=3,color=red", chunks: marked("one\ntwo\n")},
	}
}

// query is a call of docker logs, and a row of the document's table.
type query struct {
	name string // in the document
	// args returns the options, for a container whose entries have these times.
	args    func(times []time.Time) []string
	times   bool // the answer has a time before each entry
	details bool // the answer has the attributes before each entry
}

func fixed(args ...string) func([]time.Time) []string {
	return func([]time.Time) []string { return args }
}

// at returns the time of the entry at a part of the list, as docker logs prints it. Without
// entries, it returns the current time.
func at(times []time.Time, part float64) string {
	if len(times) == 0 {
		return time.Now().Format(time.RFC3339Nano)
	}
	return times[int(part*float64(len(times)-1))].Format(time.RFC3339Nano)
}

func queries() []query {
	const future = "2096-01-01T00:00:00Z"
	return []query{
		{name: "(none)", args: fixed()},
		{name: "-t", args: fixed("-t"), times: true},
		{name: "--details", args: fixed("--details"), details: true},
		{name: "--details -t --tail 5", args: fixed("--details", "-t", "--tail", "5"), times: true, details: true},
		{name: "--tail 0", args: fixed("--tail", "0")},
		{name: "--tail 1", args: fixed("--tail", "1")},
		{name: "--tail 10", args: fixed("--tail", "10")},
		{name: "--tail all", args: fixed("--tail", "all")},
		{name: "--tail 1000000", args: fixed("--tail", "1000000")},
		{name: "--tail 9223372036854775807", args: fixed("--tail", "9223372036854775807")},
		{name: "--tail -1", args: fixed("--tail=-1")},
		{name: "--tail -5", args: fixed("--tail=-5")},
		{name: "--tail many", args: fixed("--tail", "many")},
		{name: "--since FIRST", args: func(t []time.Time) []string { return []string{"--since", at(t, 0)} }},
		{name: "--since MIDDLE", args: func(t []time.Time) []string { return []string{"--since", at(t, 0.5)} }},
		{name: "--since LAST", args: func(t []time.Time) []string { return []string{"--since", at(t, 1)} }},
		{name: "--since FUTURE", args: fixed("--since", future)},
		{name: "--since 10m", args: fixed("--since", "10m")},
		{name: "--until FIRST", args: func(t []time.Time) []string { return []string{"--until", at(t, 0)} }},
		{name: "--until MIDDLE", args: func(t []time.Time) []string { return []string{"--until", at(t, 0.5)} }},
		{name: "--until LAST", args: func(t []time.Time) []string { return []string{"--until", at(t, 1)} }},
		{name: "--until FUTURE", args: fixed("--until", future)},
		{name: "--until 10m", args: fixed("--until", "10m")},
		{name: "--since FIRST --until MIDDLE", args: func(t []time.Time) []string {
			return []string{"--since", at(t, 0), "--until", at(t, 0.5)}
		}},
		{name: "--since LAST --until FIRST", args: func(t []time.Time) []string {
			return []string{"--since", at(t, 1), "--until", at(t, 0)}
		}},
		{name: "--since MIDDLE --tail 3", args: func(t []time.Time) []string {
			return []string{"--since", at(t, 0.5), "--tail", "3"}
		}},
		{name: "--since LAST --tail 3 -t", times: true, args: func(t []time.Time) []string {
			return []string{"--since", at(t, 1), "--tail", "3", "-t"}
		}},
		{name: "--until MIDDLE --tail 3", args: func(t []time.Time) []string {
			return []string{"--until", at(t, 0.5), "--tail", "3"}
		}},
	}
}
