package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/logspool/logspool/internal/faultlog"
	"github.com/logspool/logspool/internal/oneline"
)

const (
	// maxLogLine is the length of the longest line, in bytes. dockerd stops reading a plugin's
	// output at a line of 64 KiB, and the plugin would then block.
	maxLogLine = 8 << 10

	// logLines is the most lines that wait while dockerd does not read. Further lines are
	// dropped and counted.
	logLines = 1024

	// logCloseTime is how long Close waits for the last lines.
	logCloseTime = 200 * time.Millisecond
)

// lineWriter writes log lines in its own goroutine, so that logging never waits for dockerd.
type lineWriter struct {
	out, err io.Writer
	lines    chan logLine
	done     chan struct{}

	mu      sync.Mutex
	dropped int
	closed  bool
}

type logLine struct {
	to   io.Writer
	text []byte
}

func newLineWriter(stdout, stderr io.Writer) *lineWriter {
	w := &lineWriter{out: stdout, err: stderr, lines: make(chan logLine, logLines), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for l := range w.lines {
			_, _ = l.to.Write(l.text)
		}
	}()
	return w
}

func (w *lineWriter) write(to io.Writer, p []byte) {
	if len(p) > maxLogLine {
		p = []byte(oneline.Cut(string(p), maxLogLine) + "…\n")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if w.dropped > 0 {
		text := `level=WARN msg="lines of the plugin's own log were dropped because dockerd did not read them" lines=` + strconv.Itoa(w.dropped)
		note := logLine{w.err, []byte(text + "\n")}
		select {
		case w.lines <- note:
			w.dropped = 0
		default:
		}
	}
	select {
	case w.lines <- logLine{to, bytes.Clone(p)}:
	default:
		w.dropped++
	}
}

// Close writes the waiting lines. It waits at most for logCloseTime.
func (w *lineWriter) Close() {
	w.mu.Lock()
	w.closed = true
	close(w.lines)
	w.mu.Unlock()
	select {
	case <-w.done:
	case <-time.After(logCloseTime):
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// newLogger logs errors to stderr and everything else to stdout. dockerd shows stderr as
// level=error and stdout as level=info, and puts the time before each line. faults gets the
// failures that last.
func newLogger(w *lineWriter, debug bool, faults *faultlog.Set) *slog.Logger {
	o := &slog.HandlerOptions{
		Level: slog.LevelInfo,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return plainQuotes(a)
		},
	}
	if debug {
		o.Level = slog.LevelDebug
	}
	return slog.New(faultlog.NewHandler(splitHandler{
		out: slog.NewTextHandler(writerFunc(func(p []byte) { w.write(w.out, p) }), o),
		err: slog.NewTextHandler(writerFunc(func(p []byte) { w.write(w.err, p) }), o),
	}, faults))
}

var (
	quoteMarks  = regexp.MustCompile(`\\*"`)
	backslashes = regexp.MustCompile(`\\{2,}`)
)

// plainQuotes replaces double quotes in a text, escaped or not, by single quotes. Errors quote
// values, and errors that contain other errors quote them again. The handler would escape each
// quote once more, and so would dockerd, which logs the line as a quoted string.
func plainQuotes(a slog.Attr) slog.Attr {
	var text string
	switch v := a.Value.Resolve().Any().(type) {
	case string:
		text = v
	case error:
		text = v.Error()
	}
	if strings.ContainsAny(text, `"\`) {
		text = backslashes.ReplaceAllString(quoteMarks.ReplaceAllString(text, "'"), `\`)
		a.Value = slog.StringValue(text)
	}
	return a
}

// splitHandler passes errors to err and everything else to out.
type splitHandler struct{ out, err slog.Handler }

func (h splitHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.out.Enabled(ctx, l) }

func (h splitHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		return h.err.Handle(ctx, r)
	}
	return h.out.Handle(ctx, r)
}

func (h splitHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return splitHandler{h.out.WithAttrs(attrs), h.err.WithAttrs(attrs)}
}

func (h splitHandler) WithGroup(name string) slog.Handler {
	return splitHandler{h.out.WithGroup(name), h.err.WithGroup(name)}
}
