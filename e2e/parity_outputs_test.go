//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"strings"
)

// texts has many kinds of text lines. The last one has no newline.
const texts = "first\n\n\n  indented\ttabbed  \n \n\t\nwith \r in it\r\n\"quoted\" \\ /slashed/ <&> \u2028\nÄ ü – 日本 🙂 e\u0301\n\x1b[31mred\x1b[0m\n" +
	"{\"level\":\"info\",\"n\":1.50}\nthe same\nthe same\nthe end"

// lines returns the events of a text in which each line is an event. An empty line is not,
// because an event has at least one byte (PutLogEvents).
func lines(text string) (all []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			all = append(all, valid(line))
		}
	}
	return all
}

// finalLine returns the last line of a text.
func finalLine(text string) string {
	text = strings.TrimSuffix(text, "\n")
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// valid returns text as the service stores it, with U+FFFD for each byte that is not UTF-8.
func valid(text string) string { return string([]rune(text)) }

// anyBytes returns every byte except the newline, and each kind of invalid UTF-8.
func anyBytes() string {
	var b bytes.Buffer
	for i := range 256 {
		if i != '\n' {
			b.WriteByte(byte(i))
		}
	}
	b.WriteString("\ncut short: \xe6\x97\ntoo long: \xc0\xaf \xe0\x80\xaf\na surrogate: \xed\xa0\x80\nbeyond: \xf4\x90\x80\x80\n\x00\n\xff\n\xef\xbb\xbfa mark\n")
	return b.String()
}

// wide returns a line of n bytes in which no two places look the same.
func wide(name string, n int) string {
	var b strings.Builder
	b.WriteString(name + ":")
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, " %x", i)
	}
	return b.String()[:n]
}

// counted returns n numbered lines.
func counted(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

var javaTrace = []string{
	"2026-11-02 10:15:30,123 INFO  [main] com.example.Shop - started in 1.5 s\n",
	"2026-11-02 10:15:31,001 ERROR [http-1] com.example.Shop - order 17 failed\n" +
		"java.lang.IllegalStateException: no stock\n" +
		"\tat com.example.Stock.take(Stock.java:42)\n" +
		"\tat com.example.Shop.lambda$order$0(Shop.java:17)\n" +
		"\tat java.base/java.lang.Thread.run(Thread.java:1583)\n" +
		"Caused by: java.io.IOException: 日本: connection reset\n" +
		"\tat com.example.Store.read(Store.java:7)\n" +
		"\t... 2 more\n",
	"2026-11-02 10:15:32,500 WARN  [http-2] com.example.Shop - slow:\n\n  the query took 3 s\n\n",
	"2026-11-02 10:15:33,000 INFO  [main] com.example.Shop - done\n",
}

var pythonTrace = []string{
	"INFO:shop:started\n",
	"ERROR:shop:order 17 failed\n" +
		"Traceback (most recent call last):\n" +
		"  File \"/app/shop.py\", line 17, in order\n" +
		"    stock.take(1)\n" +
		"    ~~~~~~~~~~^^^\n" +
		"  File \"/app/stock.py\", line 42, in take\n" +
		"    raise ValueError(\"no stock\")\n" +
		"ValueError: no stock\n\n" +
		"During handling of the above exception, another exception occurred:\n\n" +
		"Traceback (most recent call last):\n" +
		"  File \"/app/shop.py\", line 20, in order\n" +
		"KeyError: 'shelf'\n",
	"WARNING:shop:done\n",
}

var goTrace = []string{
	"2026/11/02 10:15:30 listening\n",
	"panic: runtime error: index out of range [5] with length 3\n\n" +
		"goroutine 1 [running]:\n" +
		"main.order(...)\n" +
		"\t/app/main.go:17\n" +
		"main.main()\n" +
		"\t/app/main.go:9 +0x1d\n",
	"goroutine 18 [chan receive]:\nmain.wait(0xc000012345)\n\t/app/wait.go:5 +0x3a\nexit status 2\n",
}

// pieces returns a text in pieces of n bytes.
func pieces(text string, n int) (all []string) {
	for ; len(text) > n; text = text[n:] {
		all = append(all, text[:n])
	}
	return append(all, text)
}

// parts returns a line of ASCII in the parts that the plugin makes of it, each as long as
// an event can be.
func parts(line string) (all []string) {
	const most = 1_048_550
	for n := 1; ; n++ {
		before, after := "", fmt.Sprintf(" [logspool: continued in part %d]", n+1)
		if n > 1 {
			before = fmt.Sprintf("[logspool: part %d] ", n)
		}
		if len(before)+len(line) <= most {
			return append(all, before+line)
		}
		n := most - len(before) - len(after)
		all = append(all, before+line[:n]+after)
		line = line[n:]
	}
}
