package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// pool is how many different lines logLines makes.
const pool = 4096

// logLines makes lines as services write them, each of size bytes and a newline: a time, a
// level, and fields of which two are quoted. They are the same in each run.
func logLines(size int) []string {
	r := rand.New(rand.NewPCG(1, 2))
	n := max(16, min(pool, (4<<20)/size)) // 4 MiB at most
	lines := make([]string, n)
	var b strings.Builder
	for i := range lines {
		b.Reset()
		for b.Len() < size {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			record(&b, r, i)
		}
		text := b.String()
		if size < 40 { // the time would be all
			text = text[len(text)-size:]
		}
		lines[i] = text[:size] + "\n"
	}
	return lines
}

// record writes about 130 bytes.
func record(b *strings.Builder, r *rand.Rand, i int) {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	fmt.Fprintf(b, `2026-01-02T15:04:%02d.%03dZ %s %s path="/api/v1/%s/%d" status=%s user="%s %c." ms=%d.%d trace=%016x bytes=%d`,
		i/100%60, r.IntN(1000), pick("INFO", "INFO", "INFO", "WARN", "DEBUG"), pick("GET", "GET", "POST", "PUT"),
		pick("items", "orders", "carts", "users", "sessions"), r.IntN(100_000), pick("200", "200", "200", "304", "404", "500"),
		pick("Ada", "Grace", "Edsger", "Barbara", "Niklaus"), 'A'+rune(r.IntN(26)), r.IntN(500), r.IntN(10), r.Uint64(), r.IntN(50_000))
}
