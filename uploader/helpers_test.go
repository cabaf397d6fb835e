package uploader

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/logspool/logspool/internal/target"
)

func TestMain(m *testing.M) {
	if os.Getenv(sinkVariable) != "" {
		runSink()
		return
	}
	// This is enough for each run. For a longer search, pass -rapid.checks.
	if err := flag.Set("rapid.checks", "15"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

var discard = slog.New(slog.DiscardHandler)

// testLog writes log lines to the test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}

func start(t *testing.T, f *fake, o Options) *Uploader {
	o.connector = f
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(testLog{t}, nil))
	}
	return New(o)
}

func stop(t *testing.T, u *Uploader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := u.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

var testTarget = target.Target{Access: target.Access{Region: "eu-central-1"}, Group: "g", Stream: "s", Create: target.Create{Group: true, Stream: true}}

func line(i int) string { return "line " + strconv.Itoa(i) }

// logged keeps log lines.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (log *logged) Write(p []byte) (int, error) {
	log.mu.Lock()
	defer log.mu.Unlock()
	log.lines = append(log.lines, string(bytes.TrimSpace(p)))
	return len(p), nil
}

// with returns the lines that contain all of parts.
func (log *logged) with(parts ...string) (found []string) {
	log.mu.Lock()
	defer log.mu.Unlock()
	for _, line := range log.lines {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			found = append(found, line)
		}
	}
	return found
}

func (log *logged) log() *slog.Logger { return slog.New(slog.NewJSONHandler(log, nil)) }

var errNoAnswer = errors.New("no answer")
