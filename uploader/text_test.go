package uploader

// repaired is the oracle for invalid UTF-8: Go replaces each byte by one U+FFFD, as
// CloudWatch does.
func repaired(b []byte) string { return string([]rune(string(b))) }

// escapeKinds are log lines that need few, many and no escapes.
var escapeKinds = []struct{ name, line string }{
	{"ascii", `127.0.0.1 - - [22/Nov/2026:10:11:12 +0000] GET /api/v1/items/4711?page=2 HTTP/1.1 200 5316 curl/8.5.0`},
	{"json", `{"level":"info","ts":"2026-11-22T10:11:12.345Z","msg":"request served","path":"/api/v1/items","status":200}`},
	{"utf8", `Größenänderung für Überträge abgeschlossen – 日本語のログ 行です – naïve café déjà vu`},
}
